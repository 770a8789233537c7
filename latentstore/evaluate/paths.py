"""What each way of interpolating is worth, over many pairs of items of different labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, LatentStoreError, NotSupported
from latentstore.space.paths import step_lengths, walk_pairs
from latentstore.space.surroundings import REALISTIC

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

# name → method and smoothing
WALKS: dict[str, tuple[str, float]] = {
    "lerp": ("lerp", 0.0),
    "slerp": ("slerp", 0.0),
    "gaussian": ("gaussian", 0.0),
    "geodesic": ("geodesic", 0.0),
    "graph": ("graph", 0.0),
    "graph, smoothed": ("graph", 0.1),
}
EVEN = 2.0  # a path is even when its longest step is at most so many mean ones
DECODED = 64  # walks at a time, so that their items need not all be in memory
FEWEST = 11  # items, below which there is no 10th neighbour


@dataclass(frozen=True)
class WalkMeasures:
    """One way of interpolating.

    Attributes:
        name: As in WALKS.
        realistic: Share of the frames between the anchors with realism ≥ .05.
        evenness: Longest / mean step, median over the pairs.
        even: Share of the pairs whose longest step is at most two mean ones.
        energy: Decoded energy Σ |D(zᵢ₊₁) − D(zᵢ)|² relative to lerp's, mean over the pairs; None without a decoder.
        length: Decoded length Σ |D(zᵢ₊₁) − D(zᵢ)| relative to lerp's, mean over the pairs; None without a decoder.
        ms: Wall time per pair in batch, ms, of the latents alone.
        prepare_s: Wall time of what is done once per snapshot, s: the graph, the decoder's mean metric.
    """

    name: str
    realistic: float
    evenness: float
    even: float
    energy: float | None
    length: float | None
    ms: float
    prepare_s: float


def path_metrics(
    space: EmbeddingSpace,
    *,
    pairs: int = 500,
    steps: int = 9,
    column: str = "label",
    where: str | None = None,
    seed: int = 0,
    unwalkable: Callable[[str, LatentStoreError], None] | None = None,
) -> list[WalkMeasures]:
    """Walk between items of different labels by every method, and measure the walks.

    Args:
        space: Its items are the anchors. Without a decoder, geodesic is left out.
        pairs: How many.
        steps: Frames of a walk, ≥ 3: the two anchors are not measured.
        column: What the two items of a pair differ in.
        where: Only items that satisfy this predicate are anchors.
        seed: Chooses the pairs.
        unwalkable: Told the name of a way that some pair cannot go, and why; it is then left out. By default the error
            is raised.

    Returns:
        One entry per way, in the order of WALKS.

    Raises:
        ConfigInvalid: Unknown column.
        DidNotConverge, NotSupported, InputError: What a way raises for some pair, see `EmbeddingSpace.interpolate`.
        InputError: No pair, fewer than 3 steps, too few items, or items that have all one label.
    """
    if pairs < 1 or steps < 3:
        raise InputError(f"{pairs} pairs of {steps} steps; measure at least 1 pair and 3 steps")
    chosen = cross_pairs(space, pairs, column, where, seed)
    starts, ends = (space.snapshot.vectors(chosen[:, side]) for side in (0, 1))
    space.realism(starts[:1])  # the scale is measured before anything is timed
    straight = _decoded_steps(space, walk_pairs(space, starts, ends, steps=steps))
    found = []
    for name, (method, _) in WALKS.items():
        if straight is None and method == "geodesic":
            continue
        try:
            found.append(_measured(space, name, starts, ends, steps, straight))
        except (DidNotConverge, NotSupported, InputError) as error:
            if unwalkable is None:
                raise
            unwalkable(name, error)
    return found


def cross_pairs(space: EmbeddingSpace, pairs: int, column: str, where: str | None, seed: int) -> Int64[Array, "p 2"]:
    """Rows of `pairs` seeded pairs of items whose values of `column` differ; shape (pairs, 2)."""
    space.check_columns([column])
    rows = space.snapshot.live_rows() if where is None else space.matching(where)
    if len(space) < FEWEST:
        raise InputError(f"space {space.name!r} has {len(space)} items; realism needs at least {FEWEST}")
    values = np.array([str(v) for v in space.snapshot.columns(rows, [column])[column].to_pylist()])
    if len(np.unique(values)) < 2:
        raise InputError(f"{len(rows)} items with one value of {column!r}; a pair needs two that differ")
    generator = np.random.default_rng(seed)
    order = np.argsort(values, kind="stable")
    ordered, by_label = rows[order], values[order]
    first = generator.integers(0, len(rows), pairs)
    start, stop = (np.searchsorted(by_label, by_label[first], side=side) for side in ("left", "right"))
    second = generator.integers(0, len(rows) - (stop - start))  # among those of other labels, however few they are
    second += np.where(second >= start, stop - start, 0)
    return np.stack([ordered[first], ordered[second]], axis=1)


def _measured(
    space: EmbeddingSpace,
    name: str,
    starts: Float32[Array, "p d"],
    ends: Float32[Array, "p d"],
    steps: int,
    straight: Float64[Array, "p m"] | None,
) -> WalkMeasures:
    method, smoothing = WALKS[name]
    began = time.perf_counter()
    walk_pairs(space, starts[:1], ends[:1], steps=steps, method=method, smoothing=smoothing)
    prepared = time.perf_counter()
    walks = walk_pairs(space, starts, ends, steps=steps, method=method, smoothing=smoothing)
    done = time.perf_counter()
    realism = space.realism(walks[:, 1:-1].reshape(-1, space.dim))
    moved = np.stack([step_lengths(walk) for walk in walks])
    unevenness = moved.max(axis=1) / np.maximum(moved.mean(axis=1), np.finfo(np.float64).tiny)
    decoded = None if straight is None else _decoded_steps(space, walks)
    return WalkMeasures(
        name=name,
        realistic=float((realism >= REALISTIC).mean()),
        evenness=float(np.median(unevenness)),
        even=float((unevenness <= EVEN).mean()),
        energy=_relative(decoded, straight, 2),
        length=_relative(decoded, straight, 1),
        ms=(done - prepared) / len(starts) * 1e3,
        prepare_s=prepared - began,
    )


def _decoded_steps(space: EmbeddingSpace, walks: Float32[Array, "p steps d"]) -> Float64[Array, "p m"] | None:
    """How far the decoded item moves in each step; None in a space that does not decode."""
    count, steps, dim = walks.shape
    moved = []
    try:
        for first in range(0, count, DECODED):
            part = walks[first : first + DECODED]
            items = space.decode(part.reshape(-1, dim)).reshape(len(part), steps, -1)
            moved += [step_lengths(walk) for walk in items]
    except NotSupported:
        return None
    return np.stack(moved)


def _relative(moved: Float64[Array, "p m"] | None, straight: Float64[Array, "p m"] | None, power: int) -> float | None:
    """Mean over the pairs of Σ movedᵖ / Σ straightᵖ, pairs that look the same left out."""
    if moved is None or straight is None:
        return None
    ours, theirs = (moved**power).sum(axis=1), (straight**power).sum(axis=1)
    return float((ours[theirs > 0] / theirs[theirs > 0]).mean()) if (theirs > 0).any() else None
