"""What is left of a label after it was erased, and what becomes of items that are moved to another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import DidNotConverge, InputError
from latentstore.evaluate.probes import linear_probe
from latentstore.evaluate.votes import said
from latentstore.space.surroundings import REALISTIC
from latentstore.types import without_nan

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.evaluate.judge import Judge
    from latentstore.evaluate.votes import Vote
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array


def erasure_metrics(
    space: EmbeddingSpace,
    column: str,
    train: Int64[Array, " n"],
    test: Int64[Array, " m"],
) -> dict[str, float]:
    """What a linear probe finds of a column before and after it is erased by an eraser fitted to the training rows.

    Args:
        space: The space.
        column: Of the labels.
        train: Rows that eraser and probe are fitted to.
        test: Rows that the probe is tested on.

    Returns:
        `erasure_probe` (accuracy afterwards), `erasure_majority` (of always saying the most frequent training label),
        `erasure_excess` (their difference) and `erasure_lost` (share of the variance that went with it).

    Raises:
        InputError: A single label, or more than the space has dimensions.
        DidNotConverge: The probe did not.
    """
    space.check_columns([column])
    labels, latents = [], []
    for rows in (train, test):
        values = without_nan(space.snapshot.columns(rows, [column])[column].to_pylist())
        known = np.array([one is not None for one in values], bool)
        labels.append(np.array([str(one) for one in values if one is not None], dtype=str))
        latents.append(space.snapshot.vectors(rows[known]))
    names, counts = np.unique(labels[0], return_counts=True)
    if not 2 <= len(names) <= space.dim:
        raise InputError(f"column {column!r} has {len(names)} values; erasing needs 2 to {space.dim} in this space")
    eraser = geometry.EraserFitter(space.dim, len(names)).update(latents[0], geometry.indicators(labels[0])).fit()
    erased = [eraser.apply(one) for one in latents]
    found = linear_probe(erased[0], labels[0], erased[1], labels[1])
    majority = float((labels[1] == names[counts.argmax()]).mean())
    return {
        "erasure_probe": found,
        "erasure_majority": majority,
        "erasure_excess": found - majority,
        "erasure_lost": eraser.lost,
    }


def counterfactual_metrics(
    space: EmbeddingSpace,
    judge: Judge | Vote,
    *,
    column: str = "label",
    items: int = 100,
    confidence: float = 0.9,
    among: Int64[Array, " r"] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Ask for counterfactuals of seeded items towards other seeded labels.

    Args:
        space: The space.
        judge: Who says what they show.
        column: Of the labels; one that the judge knows.
        items: How many.
        confidence: Of the classifier of latents.
        among: Only items in these rows.
        seed: Chooses items and labels.

    Returns:
        `counterfactual_solved` (share that the solver converged for), and of those `counterfactual_success` (share that
        is shown as the label), `counterfactual_realistic`, and `counterfactual_length` (mean length of the move, in
        units of the distance between the labels' means).
    """
    rows = space.snapshot.live_rows() if among is None else among
    generator = np.random.default_rng(seed)
    if not len(rows):
        raise InputError("no items to solve counterfactuals of; name some")
    chosen = np.sort(generator.choice(rows, min(items, len(rows)), replace=False))
    names = [str(name) for name in space.latent_classifier(column).model.names]
    known = space.snapshot.columns(chosen, [column])[column].to_pylist()
    moves, labels, asked = [], [], 0
    for vector, label in zip(space.snapshot.vectors(chosen), known, strict=True):
        others = [name for name in names if name != str(label)]
        target = others[int(generator.integers(len(others)))]
        asked += 1
        try:
            moves.append(space.counterfactual(vector, label=target, column=column, confidence=confidence))
            labels.append(target)
        except DidNotConverge:  # counted: a label may be sure nowhere
            continue
    found = {"counterfactual_solved": len(moves) / asked}
    if moves:
        shown = said(space, judge, np.stack([one.latent.vector for one in moves]))[column].astype(str)
        found |= {
            "counterfactual_success": float((shown == np.array(labels, dtype=str)).mean()),
            "counterfactual_realistic": float(np.mean([one.realism >= REALISTIC for one in moves])),
            "counterfactual_length": float(np.nanmean([one.relative for one in moves])),
        }
    return found
