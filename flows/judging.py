"""The judge of a configuration: trained once on the training items, kept in the store, then loaded."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from flows.config import digest
from flows.train import cards_of
from latentstore.errors import ConfigInvalid
from latentstore.storage.files import make_folder

if TYPE_CHECKING:
    from flows.workspace import Part, Workspace
    from latentstore.evaluate import Judge


def judge_of(work: Workspace) -> Judge | None:
    """The classifier of the columns `[evaluate] judge`; None when there are none.

    Its key is what it is made from: dataset, split, the columns with their values, seed. Spaces of one store whose
    configurations agree in these share one judge. A killed training goes on where it last saved its state.

    Raises:
        InputError: No such column.
        ConfigInvalid: A column of one value, or no item that has all of them.
    """
    section = work.config.evaluate
    if not section.judge:
        return None
    part, labels = _labelled(work, section.judge)
    values: JsonValue = {column: [*sorted({str(one) for one in found})] for column, found in labels.items()}
    split = work.config.split.model_dump(mode="json")
    key = digest(work.dataset.source, split, values, section.judge_epochs, section.seed)
    from latentstore.evaluate import Judge

    known = next((card["fingerprint"] for card in cards_of(work) if key in card.get("judges", ())), None)
    if known is not None:
        return Judge(work.store.encoder(known))
    state = work.config.store / "training" / "judges" / key
    make_folder(state)
    options: dict[str, Any] = {} if section.judge_epochs is None else {"epochs": section.judge_epochs}
    work.report.say(f"a judge of {', '.join(section.judge)} is trained on {len(part)} items")
    judge = Judge.train(part, labels, seed=section.seed, resume_from=state, **options)
    assert judge.record is not None
    _keep(work, judge, key)
    shutil.rmtree(state, ignore_errors=True)
    work.report.say(f"the judge was trained in {judge.record.seconds:.0f} s")
    return judge


def _labelled(work: Workspace, columns: tuple[str, ...]) -> tuple[Part, dict[str, Any]]:
    """The training items that have all labels, and their labels."""
    part = work.training
    with work.config.blame("evaluate"):
        labels = {column: part.labels(column) for column in columns}
        known = np.all([[one is not None for one in values] for values in labels.values()], axis=0)
        labels = {column: values[known] for column, values in labels.items()}
        for column, values in labels.items():
            if len(set(values)) < 2:
                raise ConfigInvalid(f"judge: column {column!r} has fewer than two values; leave it out")
    return part.only(known), labels


def _keep(work: Workspace, judge: Judge, key: str) -> None:
    """Store the judge; two keys may end in the same bits, so their keys add up on its card."""
    from latentstore.encoders import save_encoder

    assert judge.record is not None
    cards = {card["fingerprint"]: card for card in cards_of(work)}
    fingerprint = judge.encoder.fingerprint
    known = cards.get(fingerprint, {"training": judge.record.to_card()})
    card = {**known, "judges": [*known.get("judges", ()), key]}
    work.store.add_encoder(judge.encoder, card)
    if fingerprint in cards:
        save_encoder(judge.encoder, work.store.files.encoder_folder(fingerprint), card)  # the same: the card only
