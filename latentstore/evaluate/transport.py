"""What optimal transport is worth: items moved to another class, and the means of pairs of pictures."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry import image_barycenter
from latentstore.space.transport import ink_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float32, Shaped

    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

STRENGTHS = np.linspace(0.5, 2.5, 9)  # of the mean difference, among which the one is looked for that does as well
REALISTIC = 0.05


@dataclass(frozen=True)
class TransportMeasures:
    """Items moved to another class by the map between the classes' Gaussians, beside the difference of their means.

    Attributes:
        success: Share of moved items that the judge takes for the other class.
        cost: Mean Euclidean length of the move, by the distance between the classes' means.
        realistic: Share of moved items with realism ≥ .05.
        mean_success, mean_realistic: The same when the mean difference is added that moves as far.
        mean_cost: How far the mean difference has to move for the same success, in the unit of `cost`; infinite when
            2.5 times itself does not do.
    """

    success: float
    cost: float
    realistic: float
    mean_success: float
    mean_realistic: float
    mean_cost: float

    def metrics(self) -> dict[str, float]:
        """By name: `transport_<measure>`, those that are finite."""
        return {f"transport_{name}": value for name, value in vars(self).items() if np.isfinite(value)}


@dataclass(frozen=True)
class BarycenterMeasures:
    """Wasserstein barycenters of pairs of pictures, half and half.

    Attributes:
        seconds: Median wall time of one.
        mass_error: The largest |Σ − 1| of a solution of mass 1.
        converged: Share of the pairs whose solver did.
    """

    seconds: float
    mass_error: float
    converged: float

    def metrics(self) -> dict[str, float]:
        """By name: `barycenter_<measure>`."""
        return {f"barycenter_{name}": value for name, value in vars(self).items()}


def transport_metrics(
    space: EmbeddingSpace,
    judge: Judge,
    *,
    column: str = "label",
    ids: Sequence[str] | Shaped[Array, " m"] | None = None,
    pairs: int = 12,
    items: int = 40,
    seed: int = 0,
) -> TransportMeasures:
    """Move items of one class to another by transport and by mean difference, and ask a judge.

    Args:
        space: It decodes.
        judge: Knows `column`.
        column: The classes.
        ids: Only these items are moved, such as those that no encoder was trained on.
        pairs: Ordered pairs of classes, drawn by the seed; all when there are no more.
        items: Moved per pair, at most.
        seed: Chooses pairs and items.

    Raises:
        ConfigInvalid: No such column.
        UnknownItem: An id that is none.
        InputError: Fewer than two classes with two items, or no item to move.
    """
    space.check_columns([column])
    everything = space.snapshot.live_rows()
    values = np.array([str(v) for v in space.snapshot.columns(everything, [column])[column].to_pylist()])
    names = [str(name) for name in judge.names[column] if (values == str(name)).sum() > 1]
    if len(names) < 2:
        raise InputError(f"column {column!r} has {len(names)} classes of two items; transport is between two")
    allowed = np.ones(len(everything), bool) if ids is None else np.isin(everything, space.rows_of(list(map(str, ids))))
    generator = np.random.default_rng(seed)
    ordered = [(a, b) for a in names for b in names if a != b and (allowed & (values == a)).any()]
    if not ordered or pairs < 1:
        raise InputError(f"{min(pairs, len(ordered))} pairs of classes with items to move; measure at least one")
    chosen = generator.permutation(len(ordered))[:pairs]
    befores, moved, shifts, goals, apart = [], [], [], [], []
    for source, target in (ordered[i] for i in chosen):
        rows = everything[allowed & (values == source)]
        rows = np.sort(generator.choice(rows, min(items, len(rows)), replace=False))
        map_ = space.class_transport(source, target, column)
        before = space.snapshot.vectors(rows)
        shift = map_.target.mean - map_.source.mean
        befores.append(before)
        moved.append(map_(before))
        shifts.append(np.broadcast_to(shift, before.shape))
        goals += [target] * len(rows)
        apart.append(np.full(len(rows), np.linalg.norm(shift)))
    before, after, shift = (np.concatenate(each) for each in (befores, moved, shifts))
    return _beside_mean(space, judge, column, before, after, shift, np.concatenate(apart), np.array(goals))


def _beside_mean(
    space: EmbeddingSpace,
    judge: Judge,
    column: str,
    before: Float32[Array, "n d"],
    moved: Float[Array, "n d"],
    shifts: Float[Array, "n d"],
    apart: Float[Array, " n"],
    goals: Array,
) -> TransportMeasures:
    def reached(latents: Float[Array, "n d"]) -> float:
        said = judge.predict(space.decode(latents.astype(np.float32)), column)
        return float(np.mean(said.astype(str) == goals))

    def realistic(latents: Float[Array, "n d"]) -> float:
        return float((space.realism(latents.astype(np.float32)) >= REALISTIC).mean())

    success, cost = reached(moved), float((np.linalg.norm(moved - before, axis=1) / apart).mean())
    as_far = before + cost * shifts
    needed = np.inf
    earlier: tuple[float, float] | None = None
    for strength in STRENGTHS:
        share = reached(before + strength * shifts)
        if share >= success:
            if earlier is None:
                needed = float(strength)
            else:  # between the two strengths, along the line
                needed = earlier[0] + (strength - earlier[0]) * (success - earlier[1]) / max(share - earlier[1], 1e-12)
            break
        earlier = (float(strength), share)
    return TransportMeasures(
        success=success,
        cost=cost,
        realistic=realistic(moved),
        mean_success=reached(as_far),
        mean_realistic=realistic(as_far),
        mean_cost=float(needed),
    )


def barycenter_metrics(images: Float[Array, "n h w c"], *, pairs: int = 20, seed: int = 0) -> BarycenterMeasures:
    """Mix pairs of pictures half and half under optimal transport.

    Args:
        images: At least two, uint8 or in [0, 1], shape (n, h, w, c).
        pairs: How many.
        seed: Chooses them.

    Raises:
        InputError: Fewer than two pictures.
    """
    if len(images) < 2 or pairs < 1:
        raise InputError(f"{len(images)} pictures and {pairs} pairs; pass at least two, and one pair")
    values = images / 255.0 if images.dtype == np.uint8 else np.clip(images, 0, 1)
    generator = np.random.default_rng(seed)
    half = np.array([0.5, 0.5])
    with suppress(DidNotConverge):  # POT is loaded before anything is timed
        image_barycenter(values[:2], half, ink=ink_of(values[:2]))
    times, errors, failed = [], [], 0
    for _ in range(pairs):
        pair = values[generator.choice(len(values), 2, replace=False)]
        started = time.perf_counter()
        try:
            errors.append(image_barycenter(pair, half, ink=ink_of(pair)).mass_error)
        except DidNotConverge:
            failed += 1
        times.append(time.perf_counter() - started)
    return BarycenterMeasures(float(np.median(times)), max(errors, default=np.inf), 1 - failed / pairs)
