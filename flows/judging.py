"""The judge of a configuration, trained once on the training items and kept in the store; and what it says of edits."""

from __future__ import annotations

import io
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
    from latentstore.evaluate import Edits, Judge, Vote
    from latentstore.space import EmbeddingSpace

SHOWN = 8  # items in the picture of edits
VOTED_ON, VOTED = 1_000, 100  # test items that a vote is about, and of them so many for each attribute: a free look


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


def edits_of(work: Workspace, space: EmbeddingSpace, judge: Judge | Vote) -> Edits:
    """What the attribute vectors of a space do to test items, by the judge; by a vote, to fewer of them."""
    from latentstore.evaluate import Vote, edit_metrics

    section, test = work.config.evaluate, work.testing
    positions, voted = test.positions, isinstance(judge, Vote)
    if voted:
        positions = np.random.default_rng(section.seed).permutation(positions)[:VOTED_ON]
    with work.config.blame("evaluate"):
        return edit_metrics(
            space,
            judge,
            ids=test.dataset.ids[positions].tolist(),
            strengths=section.strengths,
            chain=() if voted else section.chain,
            items=min(section.edit_items, VOTED) if voted else section.edit_items,
            seed=section.seed,
            untried=lambda name, error: work.report.say(f"no edit by {name} is measured: {error}"),
        )


def edits_picture(work: Workspace, space: EmbeddingSpace, judge: Judge, edits: Edits) -> bytes:
    """Some test items that lack what the edits bring, edited: a PNG."""
    from latentstore.evaluate.edit_figures import edits_sheet
    from latentstore.evaluate.theme import LIGHT

    test = work.testing
    aims = [one.aim for one in edits.edits] if edits.chain is None else list(edits.chain.aims)
    rows = space.rows_of(test.dataset.ids[test.positions].tolist())
    without = [np.isin(rows, space.matching(aim.negative)) for aim in aims]
    lacking = np.all(without, axis=0)
    shown = test.only(lacking if lacking.any() else without[0])
    order = np.random.default_rng(work.config.evaluate.seed).permutation(len(shown))[:SHOWN]
    ids = shown.dataset.ids[shown.positions[order]].tolist()
    latents = space.snapshot.vectors(space.rows_of(ids))
    png = io.BytesIO()
    edits_sheet(space, judge, edits, shown.read(order), latents, titles=ids)(LIGHT).save(png, "PNG", optimize=True)
    return png.getvalue()


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
