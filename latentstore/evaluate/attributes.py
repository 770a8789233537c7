"""What attribute vectors are worth: what becomes of items that are moved along them, and what they undo and erase."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import InputError, UnknownAttribute, suggest
from latentstore.evaluate.verdicts import Verdicts
from latentstore.space.surroundings import REALISTIC

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
PAIRS = 100  # of labels, at most
CHAINS, LINKS = 200, 6  # chains that are undone, and moves in each
FEWEST = 5  # items of a class, of which one can be held out


@dataclass(frozen=True)
class EditMeasures:
    """What becomes of items without a property that are moved along its attribute vector.

    Attributes:
        attribute: Its name.
        strength: How far; 0 is the item decoded as it is, the control.
        column: The column whose values tell those with the property from those without.
        judged: Whether an independent judge of the decoded items said so; else their latents' real neighbours did.
        success: Share that is given a value of the items that have the property.
        realistic: Share with realism ≥ .05: no farther out than 95 % of the real items.
        realism: Median.
        settled_success: The same as `success` after each moved latent went half the way to the mean of its ten nearest
            items (`EmbeddingSpace.settle`).
        settled_realistic: Likewise.
        flipped: By other judged column, the share whose value is another than that of the item decoded unmoved.
        items: How many were moved.
    """

    attribute: str
    strength: float
    column: str
    judged: bool
    success: float
    realistic: float
    realism: float
    settled_success: float
    settled_realistic: float
    flipped: dict[str, float] = field(default_factory=dict)
    items: int = 0


def edit_measures(
    space: EmbeddingSpace,
    verdicts: Verdicts,
    attribute: str,
    *,
    items: int = 200,
    strengths: Sequence[float] = STRENGTHS,
    among: Int64[Array, " r"] | None = None,
    seed: int = 0,
) -> list[EditMeasures]:
    """Move items along an attribute, decode them and have them judged.

    The judged column is the first in which the items that the attribute was fitted to as positive and as negative have
    no value in common.

    Args:
        space: It needs a decoder for a judge.
        verdicts: Who says what they show.
        attribute: Fitted with two predicates.
        items: How many of the negative ones, at most.
        strengths: How far they are moved.
        among: Only items in these rows are moved: those that the encoder never saw, best.
        seed: Chooses them.

    Returns:
        One entry per strength; none where no judged column tells the two groups apart, or no item is left to move.

    Raises:
        UnknownAttribute: No such attribute, or one that was not fitted with predicates.
    """
    clauses = _clauses(space, attribute)
    with_it, without = (space.matching(clause) for clause in clauses)
    told = _telling(space, verdicts.columns, with_it, without)
    if told is None:
        return []
    column, wanted = told
    if among is not None:
        without = np.intersect1d(without, among)
    if not len(without):
        return []
    moved = np.sort(np.random.default_rng(seed).permutation(without)[:items])
    start = space.snapshot.vectors(moved)
    direction = space.concepts.attribute_vectors[attribute]
    before = verdicts.of(start)
    found = []
    for strength in strengths:
        edited = start + np.float32(strength) * direction
        shown = verdicts.of(edited) if strength else before
        realism = space.realism(edited)
        settled = space.settle(edited)
        found.append(
            EditMeasures(
                attribute=attribute,
                strength=float(strength),
                column=column,
                judged=verdicts.judged,
                success=float(np.isin(shown[column], wanted).mean()),
                realistic=float((realism >= REALISTIC).mean()),
                realism=float(np.median(realism)),
                settled_success=float(np.isin(verdicts.of(settled)[column], wanted).mean()),
                settled_realistic=float((space.realism(settled) >= REALISTIC).mean()),
                flipped={
                    other: float((shown[other] != before[other]).mean())
                    for other in verdicts.columns
                    if other != column
                },
                items=len(moved),
            )
        )
    return found


def pair_aucs(
    space: EmbeddingSpace, column: str = "label", *, method: str = "logistic", pairs: int = PAIRS, seed: int = 0
) -> dict[tuple[str, str], float]:
    """Held-out AUC of an attribute vector between each two labels.

    Args:
        space: The space.
        column: Of the labels; those with fewer than 5 items are left out.
        method: "logistic" or "mean_difference".
        pairs: Of more pairs than so many, a seeded draw.
        seed: Of the draw and of what is held out.

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
    chosen = list(combinations(sorted(members), 2))
    if len(chosen) > pairs:
        drawn = np.sort(np.random.default_rng(seed).choice(len(chosen), pairs, replace=False))
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


def judgeable(space: EmbeddingSpace) -> list[str]:
    """Names of the attributes that were fitted with two predicates."""
    rows = space.attributes.select(["name", "positive", "negative"]).to_pylist()
    return [row["name"] for row in rows if _has_clauses(row)]


def _clauses(space: EmbeddingSpace, attribute: str) -> tuple[str, str]:
    known = {row["name"]: row for row in space.attributes.select(["name", "positive", "negative"]).to_pylist()}
    if attribute not in known:
        raise UnknownAttribute(f"no attribute {attribute!r} in space {space.name!r}; {suggest(attribute, known)}")
    row = known[attribute]
    if not _has_clauses(row):
        raise UnknownAttribute(
            f"attribute {attribute!r} was not fitted with two predicates, so nothing says which items have it"
        )
    return row["positive"], row["negative"]


def _has_clauses(row: dict[str, str | None]) -> bool:
    sides = (row["positive"], row["negative"])
    return all(side is not None and " ids, sha256 " not in side for side in sides)


def _telling(
    space: EmbeddingSpace, columns: Iterable[str], with_it: Int64[Array, " p"], without: Int64[Array, " q"]
) -> tuple[str, list[str]] | None:
    """The column in which the two groups have no value in common, and the values of those with the property."""
    for column in columns:
        if column not in space.columns:
            continue
        high, low = (
            {str(one) for one in space.snapshot.columns(rows, [column])[column].unique().to_pylist()}
            for rows in (with_it, without)
        )
        if high and low and not high & low:
            return column, sorted(high)
    return None


def _members(space: EmbeddingSpace, column: str) -> dict[str, Int64[Array, " r"]]:
    space.check_columns([column])
    rows = space.snapshot.live_rows()
    values = space.snapshot.columns(rows, [column])[column].to_pylist()
    texts = np.array(["" if one is None else str(one) for one in values], dtype=str)
    known = np.array([one is not None for one in values], bool)
    return {str(name): rows[known & (texts == name)] for name in np.unique(texts[known])}
