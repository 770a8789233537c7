"""What `evaluate` measures of attribute vectors: edits, chains, erasure, counterfactuals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, FilterRefused, InputError, NotSupported

if TYPE_CHECKING:
    from jaxtyping import Int64

    from flows.workspace import Part, Workspace
    from latentstore.evaluate import EditMeasures, Verdicts
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

REALISTIC_SHARE = 0.93  # of the edited items that must stay near the data for a strength to count as usable
NEARLY_PARTED = 0.99  # AUC
FEWEST = 11  # items, below which there is no 10th neighbour


def attribute_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    """Numbers of attributes; those by strength are called `edit_<attribute>/<measure>/<strength>`."""
    from latentstore.evaluate import Verdicts, undo_error

    section = work.config.evaluate
    if not section.edits or len(space) < FEWEST:
        return {}
    judge = work.judge() if _decodes(space) else None
    labelled = section.label in space.columns
    verdicts = Verdicts(space, judge, [section.label] if labelled else [])
    found: dict[str, float] = {}
    if verdicts.columns:
        found |= _edits(work, space, verdicts)
    if len(space.attributes):
        found["undo_error"] = undo_error(space, seed=section.seed)
    return found | (_label_metrics(work, space, verdicts) if labelled else {})


def _edits(work: Workspace, space: EmbeddingSpace, verdicts: Verdicts) -> dict[str, float]:
    from latentstore.evaluate import edit_measures, judgeable

    section, tested = work.config.evaluate, _rows(space, work.testing)
    found: dict[str, float] = {}
    for name in judgeable(space):
        try:
            measured = edit_measures(
                space, verdicts, name, items=section.edits, strengths=section.strengths, among=tested, seed=section.seed
            )
        except FilterRefused as error:  # fitted to a column that is gone
            work.report.say(f"attribute {name} is not judged: {error}")
            continue
        for one in measured:
            found |= _named(one)
        if measured:
            moved = [(one.success, one.realistic) for one in measured if one.strength]
            settled = [(one.settled_success, one.settled_realistic) for one in measured if one.strength]
            found[f"edit_{name}_{_word(verdicts)}"] = _usable(moved)
            found[f"edit_{name}_{_word(verdicts)}_settled"] = _usable(settled)
    return found


def _usable(measured: Iterable[tuple[float, float]]) -> float:
    """The largest success at a strength where enough items stay near the data; 0 where there is none."""
    return max((success for success, realistic in measured if realistic >= REALISTIC_SHARE), default=0.0)


def _named(one: EditMeasures) -> dict[str, float]:
    word = "judged" if one.judged else "vote"
    measures = {
        word: one.success,
        "realistic": one.realistic,
        "realism": one.realism,
        f"settled {word}": one.settled_success,
        "settled realistic": one.settled_realistic,
        **{f"flipped {column}": share for column, share in one.flipped.items()},
    }
    return {f"edit_{one.attribute}/{what}/{one.strength:g}": value for what, value in measures.items()}


def _label_metrics(work: Workspace, space: EmbeddingSpace, verdicts: Verdicts) -> dict[str, float]:
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
        found |= erasure_metrics(space, section.label, train, test)
        if section.counterfactuals and section.label in verdicts.columns:
            found |= counterfactual_metrics(
                space, verdicts, column=section.label, items=section.counterfactuals, among=test, seed=section.seed
            )
    except (InputError, DidNotConverge, NotSupported) as error:  # a label of one value, or of too many
        work.report.say(f"attributes are measured in part only: {error}")
    return found


def _word(verdicts: Verdicts) -> str:
    return "judged" if verdicts.judged else "vote"


def _rows(space: EmbeddingSpace, part: Part) -> Int64[Array, " m"]:
    rows = space.snapshot.find(part.dataset.ids[part.positions].tolist())
    return np.asarray(np.sort(rows[rows >= 0]))


def _decodes(space: EmbeddingSpace) -> bool:
    try:
        return space.decode(np.zeros((1, space.dim), np.float32)).ndim == 4
    except NotSupported:
        return False
