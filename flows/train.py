"""`train`: an encoder for a configuration, or the one the store has already."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task

from flows.config import Config, as_config, digest
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened
from latentstore.errors import UnknownEncoder
from latentstore.storage.files import make_folder

if TYPE_CHECKING:
    from latentstore.encoders import Encoder, Progress


@dataclass(frozen=True)
class Trained(Outcome):
    """Which encoder to use.

    Attributes:
        fingerprint: Its identity; None when items are ready vectors.
        changed: False when the store had it.
    """

    fingerprint: str | None


def train_encoder(work: Workspace) -> Trained:
    """Find the encoder of this lineage in the store, or train and store it.

    A killed training goes on where it last saved its state, at most 15 seconds before the kill.
    """
    section = work.config.encoder
    if section is None:
        return Trained("items are ready vectors: nothing to train", False, None)
    found = find_encoder(work)
    if found is not None:
        return Trained(f"encoder {found} is in the store: nothing to train", False, found)
    from latentstore.encoders import train as train_kind

    state = _state_folder(work)
    make_folder(state)
    part = work.training
    with work.config.blame("encoder"):
        encoder, record = train_kind(
            section.kind,
            part,
            dim=section.dim,
            seed=section.seed,
            resume_from=state,
            progress=lambda progress: _tell(work, progress),
            labels=None if section.labels is None else part.labels(section.labels),
            **section.options,
        )
    fingerprint = _store(work, encoder, record.to_card())
    shutil.rmtree(state.parent, ignore_errors=True)
    work.report("train", 1.0)
    did = f"{section.kind} {fingerprint}: {record.epochs} epochs, {record.items} items, {record.seconds:.1f} s"
    return Trained(did, True, fingerprint)


def find_encoder(work: Workspace) -> str | None:
    """Fingerprint of the stored encoder of this lineage, rather the space's own than another; loads no torch."""
    matching = [card for card in cards_of(work) if work.lineage in card.get("lineages", {})]
    if not matching:
        return None
    serving = None if work.space is None else work.space.fingerprint
    found = (str(card["fingerprint"]) for card in matching)
    return max(found, key=lambda fingerprint: (fingerprint == serving, fingerprint))


def needed_encoder(work: Workspace) -> str | None:
    """Fingerprint of the encoder that `embed` needs; None for ready vectors.

    Raises:
        UnknownEncoder: It was not trained yet.
    """
    if work.config.encoder is None:
        return None
    found = find_encoder(work)
    if found is None:
        raise UnknownEncoder(
            f"{work.config.store} has no {work.config.encoder.kind} of this recipe; run train first, or refresh"
        )
    return found


def _store(work: Workspace, encoder: Encoder, training: dict[str, Any]) -> str:
    """Keep the encoder and note the lineage on its card; two recipes may end in the same bits."""
    from latentstore.encoders import save_encoder

    cards = {card["fingerprint"]: card for card in cards_of(work)}
    known = cards.get(encoder.fingerprint, {"training": training})
    lineage = {
        "dataset": work.dataset.source,
        "dataset_digest": work.dataset_digest,
        "split": work.config.split.model_dump(mode="json"),
    }
    card = {**known, "lineages": {**known.get("lineages", {}), work.lineage: lineage}}
    fingerprint = work.store.add_encoder(encoder, card)
    if fingerprint in cards:
        save_encoder(encoder, work.store.files.encoder_folder(fingerprint), card)  # the same encoder: the card only
    return fingerprint


def cards_of(work: Workspace) -> Iterator[dict[str, Any]]:
    """The cards of all encoders in the store."""
    # Read here and not by `latentstore.encoders`, which imports torch: seconds that an idle refresh does not need.
    for fingerprint in work.store.encoders:
        path = work.store.files.encoder_folder(fingerprint) / "card.json"
        if path.is_file():
            yield json.loads(path.read_bytes())


def _state_folder(work: Workspace) -> Path:
    """Where a training keeps its state; another one when its bits would differ."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return work.config.store / "training" / work.config.space / digest(work.lineage, work.dataset_digest, threads)


def _tell(work: Workspace, progress: Progress) -> None:
    loss = f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.4g}"
    validation = "" if progress.validation is None else f", validation {progress.validation:.4g}"
    words = f"{loss}{validation}, {progress.seconds_left:.0f} s left"
    work.report("train", min(progress.step / progress.steps, 0.999), words)


train_step = task(train_encoder, **step("train"))


@flow(name="train", flow_run_name=run_name("train"))
def train(config: Config | Path | str) -> Trained:
    """Train the encoder of a configuration, unless the store has it."""
    with opened(as_config(config)) as work:
        return train_step(work)
