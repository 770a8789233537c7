"""What `evaluate` measures of attribute vectors: edits, chains, erasure, counterfactuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flows.artifacts import show_picture
from flows.judging import edits_of, edits_picture
from latentstore.errors import DidNotConverge, InputError, NotSupported

if TYPE_CHECKING:
    from jaxtyping import Int64

    from flows.workspace import Part, Workspace
    from latentstore.evaluate import Judge, Vote
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

NEARLY_PARTED = 0.99  # AUC
FEWEST = 11  # items, below which there is no 10th neighbour


def attribute_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    """Numbers of attribute vectors, by the judge where there is one, else by a vote of real neighbours."""
    from latentstore.evaluate import Vote, undo_error

    section = work.config.evaluate
    if len(space) < FEWEST:
        return {}
    found: dict[str, float] = {}
    labelled = section.label in space.columns
    expert = work.judge() if _decodes(space) else None
    judge = expert or (Vote(space, [section.label]) if labelled else None)
    if expert is not None:
        found |= _judged(work, space, expert)
    elif judge is not None and len(space.attributes):
        found |= edits_of(work, space, judge).metrics()
    if len(space.attributes):
        found["undo_error"] = undo_error(space, seed=section.seed)
    return found | (_label_metrics(work, space, judge) if labelled and judge is not None else {})


def _judged(work: Workspace, space: EmbeddingSpace, judge: Judge) -> dict[str, float]:
    """How good the judge is, what it says of edits, and a picture of them for the run."""
    test = work.testing
    told = judge.accuracy(test, {column: test.labels(column) for column in judge.names})
    edits = edits_of(work, space, judge)
    if edits.edits:
        picture = edits_picture(work, space, judge, edits)
        show_picture(work.config.space, "edits", "Test items, edited; crosses by the judge", picture)
    return {f"judge_{column}": share for column, share in told.items()} | edits.metrics()


def _label_metrics(work: Workspace, space: EmbeddingSpace, judge: Judge | Vote) -> dict[str, float]:
    from latentstore.evaluate import counterfactual_metrics, erasure_metrics, pair_aucs

    section = work.config.evaluate
    found: dict[str, float] = {}
    try:
        aucs = list(pair_aucs(space, section.label, seed=section.seed).values())
        if aucs:
            found |= {
                "pair_auc_min": min(aucs),
                "pair_auc_median": float(np.median(aucs)),
                "pair_auc_nearly_parted": float(np.mean(np.array(aucs) >= NEARLY_PARTED)),
            }
        train, test = (_rows(space, part) for part in (work.training, work.testing))
        if section.counterfactuals and section.label in judge.names:
            found |= counterfactual_metrics(
                space, judge, column=section.label, items=section.counterfactuals, among=test, seed=section.seed
            )
        found |= erasure_metrics(space, section.label, train, test)
    except (InputError, DidNotConverge, NotSupported) as error:  # a label of one value, or of too many
        work.report.say(f"attributes are measured in part only: {error}")
    return found


def _rows(space: EmbeddingSpace, part: Part) -> Int64[Array, " m"]:
    rows = space.snapshot.find(part.dataset.ids[part.positions].tolist())
    return np.asarray(np.sort(rows[rows >= 0]))


def _decodes(space: EmbeddingSpace) -> bool:
    try:
        return space.decode(np.zeros((1, space.dim), np.float32)).ndim == 4
    except NotSupported:
        return False
