"""What attribute vectors can tell apart, and what is left when they are undone."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import InputError, UnknownAttribute, suggest
from latentstore.types import without_nan

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

PAIRS, ITEMS = 100, 3_000  # of labels, and of items of each, at most: the AUC of 600 + 600 is off by about .001 near 1
CHAINS, LINKS = 200, 6  # chains that are undone, and moves in each
FEWEST = 5  # items of a class, of which one can be held out


def pair_aucs(
    space: EmbeddingSpace,
    column: str = "label",
    *,
    method: str = "logistic",
    pairs: int = PAIRS,
    items: int = ITEMS,
    seed: int = 0,
) -> dict[tuple[str, str], float]:
    """Held-out AUC of an attribute vector between each two labels.

    Args:
        space: The space.
        column: Of the labels; those with fewer than 5 items are left out.
        method: "logistic" or "mean_difference".
        pairs: Of more pairs than so many, a seeded draw.
        items: Of more items of a label than so many, a seeded draw.
        seed: Of the draws and of what is held out.

    Returns:
        By pair of labels, in alphabetical order.

    Raises:
        ConfigInvalid: No such column.
        InputError: An unknown method.
        DidNotConverge: A logistic regression did not.
    """
    fits = {"logistic": geometry.logistic, "mean_difference": geometry.mean_difference}
    if method not in fits:
        raise InputError(f"unknown method {method!r}; {suggest(method, fits)}")
    members = {name: rows for name, rows in _members(space, column).items() if len(rows) >= FEWEST}
    generator = np.random.default_rng(seed)
    members = {name: np.sort(generator.permutation(rows)[:items]) for name, rows in members.items()}
    chosen = list(combinations(sorted(members), 2))
    if len(chosen) > pairs:
        drawn = np.sort(generator.choice(len(chosen), pairs, replace=False))
        chosen = [chosen[i] for i in drawn]
    latents = {name: space.snapshot.vectors(members[name]) for name in {one for pair in chosen for one in pair}}
    return {(a, b): fits[method](latents[a], latents[b], seed=seed).auc for a, b in chosen}


def undo_error(space: EmbeddingSpace, *, chains: int = CHAINS, seed: int = 0) -> float:
    """Largest difference that is left after random chains of moves were undone in another order.

    The moves are those of the stored attributes, and the latents plain float32 vectors, rounded after each move:
    written as expressions, chains cancel exactly.

    Args:
        space: It needs an attribute.
        chains: How many, each of six moves of strengths from −2 to 2 that begin at a stored item.
        seed: Of the chains.

    Raises:
        UnknownAttribute: The space has no attribute.
    """
    directions = list(space.concepts.attribute_vectors.values())
    if not directions:
        raise UnknownAttribute(f"space {space.name!r} has no attribute to move along; fit one with fit_attribute")
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(space.snapshot.live_rows(), min(chains, len(space)), replace=False))
    worst = 0.0
    for vector in space.snapshot.vectors(rows):
        start = space.latent(vector)
        moves = [
            space.latent(directions[i]) * float(strength)
            for i, strength in zip(
                generator.integers(0, len(directions), LINKS), generator.uniform(-2, 2, LINKS), strict=True
            )
        ]
        point = start
        for move in moves:
            point = point + move
        for number in generator.permutation(LINKS):
            point = point - moves[number]
        worst = max(worst, float(np.abs(point.vector - start.vector).max()))
    return worst


def _members(space: EmbeddingSpace, column: str) -> dict[str, Int64[Array, " r"]]:
    space.check_columns([column])
    rows = space.snapshot.live_rows()
    values = without_nan(space.snapshot.columns(rows, [column])[column].to_pylist())
    texts = np.array(["" if one is None else str(one) for one in values], dtype=str)
    known = np.array([one is not None for one in values], bool)
    return {str(name): rows[known & (texts == name)] for name in np.unique(texts[known])}
