"""Interpolation: a path through latents, and how far to trust it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import InputError, NotSupported
from latentstore.space import transport, walks
from latentstore.space.shown import notebook
from latentstore.space.surroundings import Surroundings, surroundings

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.space.latent import Latent
    from latentstore.types import Array

MOST_STEPS = 10_000
TRANSPORT = "transport"  # the one method that makes pictures, and so cannot walk latents


@dataclass(frozen=True)
class PathReport:
    """Numbers about a path.

    Attributes:
        length: Sum of the steps' Euclidean lengths, in the space's unit.
        mean_step: Mean step length.
        max_step: Longest step.
        evenness: Longest / mean step: 1 for an even walk.
        decoded_length: Σ |D(zᵢ₊₁) − D(zᵢ)| over the steps, D the decoder, as a multiple of what lerp has through the
            same anchors; None in a space without a decoder.
        decoded_energy: The same of Σ |D(zᵢ₊₁) − D(zᵢ)|²: below 1 where items change less, and more evenly.
        realism: Per step: share of real items at least as far out as this point, in [0, 1]; None in a space of too few
            items to say.
        nearest: Per step: id of the nearest real item.
        labels: Per step: label of the nearest real item; None in a space without the column `label`.
    """

    length: float
    mean_step: float
    max_step: float
    evenness: float
    decoded_length: float | None
    decoded_energy: float | None
    realism: tuple[float, ...] | None
    nearest: tuple[str, ...]
    labels: tuple[str | None, ...] | None


@dataclass(frozen=True, eq=False)
class Path:
    """Latents on the way from one to another.

    Attributes:
        space: Where they live.
        latents: Shape (steps, d), float32.
        method: "lerp", "slerp", "gaussian", "geodesic", "graph" or "transport".
        anchors: Which of the latents are the anchors, ascending; the first is 0, the last steps − 1.
        items: Of transport: the frames themselves, which the latents between the anchors encode; float32 in [0, 1],
            shape (steps, h, w, c). None where frames are what the decoder draws.
        pictures: Of transport: "items" where the anchors' own pictures were moved, "decoded" where those the decoder
            draws of them; else "".
    """

    space: EmbeddingSpace
    latents: Float32[Array, "steps d"]
    method: str
    anchors: tuple[int, ...]
    items: Float32[Array, "steps h w c"] | None = None
    pictures: str = ""

    def __len__(self) -> int:
        return len(self.latents)

    def decode(self) -> Float32[Array, "steps ..."]:
        """The frames: what the decoder draws on the way, or transport makes; float32 in [0, 1], (steps, h, w, c)."""
        return self.space.decode(self.latents) if self.items is None else self.items

    def save(self, file: str | FilePath, *, fps: int = 12) -> None:
        """Draw the path: as a strip (.png, .jpg, .webp), or as a film there and back again (.gif, .mp4).

        Args:
            file: Its ending says what it becomes.
            fps: Frames per second of a film; the anchors are held for half a second.

        Raises:
            ConfigInvalid: Another ending, or an impossible speed.
            NotSupported: The space decodes no pictures; .mp4 without the extra `video`.
        """
        from latentstore.exchange.film import save_frames

        save_frames(self.decode(), FilePath(file), fps=fps, held=self.anchors)

    def _repr_html_(self) -> str:
        """For notebooks: the strip, with the realism of each step and its nearest item."""
        report = self.report
        captions = [
            f"{'' if report.realism is None else f'{report.realism[i]:.2f}'}\n{report.nearest[i]}"
            for i in range(len(self.latents))
        ]
        return notebook(
            self.space, self.latents, captions, f"{self.method}, {len(self.latents)} steps: realism, nearest"
        )

    @cached_property
    def report(self) -> PathReport:
        """Length, evenness, cost under the decoder, realism and nearest real item of each step."""
        steps = step_lengths(self.latents)
        around: Surroundings = surroundings(self.space, self.latents)
        length, energy = self._beside_lerp()
        return PathReport(
            length=float(steps.sum()),
            mean_step=float(steps.mean()),
            max_step=float(steps.max()),
            evenness=_ratio(float(steps.max()), float(steps.mean())),
            decoded_length=length,
            decoded_energy=energy,
            realism=None if around.realism is None else tuple(around.realism.tolist()),
            nearest=tuple(around.nearest.tolist()),
            labels=None if around.labels is None else tuple(around.labels.tolist()),
        )

    def _beside_lerp(self) -> tuple[float | None, float | None]:
        stops = self.latents[list(self.anchors)]
        line = walks.curves(self.space, stops[:-1], stops[1:], "lerp")
        with contextlib.suppress(NotSupported):
            moved = step_lengths(self.decode())
            straight = step_lengths(self.space.decode(_joined(line, np.diff(self.anchors) + 1)))
            return (
                _ratio(float(moved.sum()), float(straight.sum())),
                _ratio(float((moved**2).sum()), float((straight**2).sum())),
            )
        return None, None


def interpolate(
    space: EmbeddingSpace, *anchors: Any, steps: int = 9, method: str = "lerp", smoothing: float = 0.0
) -> Path:
    """Walk from one latent to another, or through more of them in order.

    Args:
        space: The space.
        anchors: Two or more: expressions, latents or vectors (d,). Each is on the path, exactly.
        steps: Points on the path, all anchors included; between more than two anchors, the longer way gets more.
        method: "lerp" (straight line), "slerp" (great circle), "gaussian" (the line, scaled so that ends drawn from a
            Gaussian prior have a Gaussian middle), "geodesic" (shortest under the decoder's metric: items change
            least), "graph" (shortest through real neighbours, frames evenly spaced: most realistic), "transport"
            (pictures of the anchors, each frame their Wasserstein barycenter: ink is moved; .15 s a frame of 28 × 28).
        smoothing: Of graph: how far its corners are rounded off, as a fraction of its length: 0 not at all, .1 looks
            smooth, from .5 on it is nearly lerp.

    Raises:
        ConfigInvalid: Unknown method; smoothing with another method than graph.
        InputError: Fewer than 2 anchors or than steps, or more than 10,000 steps; slerp between opposite directions.
        NotSupported: geodesic in a space without a decoder, transport in one without pictures.
        DidNotConverge: geodesic, transport.
    """
    walks.check(method, smoothing, (*walks.METHODS, TRANSPORT))
    if len(anchors) < 2:
        raise InputError(f"{len(anchors)} anchors; a path needs a start and an end")
    if not max(2, len(anchors)) <= steps <= MOST_STEPS:
        raise InputError(f"steps is {steps}; choose {max(2, len(anchors))} to {MOST_STEPS}, as each anchor is one")
    points = [space.latent(one) for one in anchors]
    stops = np.stack([one.vector for one in points])
    if method == TRANSPORT:
        return _transported(space, points, steps)
    legs = walks.curves(space, stops[:-1], stops[1:], method, smoothing=smoothing)
    pieces = _shared_out(legs.lengths, steps - 1)
    latents = _joined(legs, pieces + 1)
    at = np.concatenate([[0], np.cumsum(pieces)])
    latents[at] = stops
    return Path(space, latents, method, tuple(at.tolist()))


def _transported(space: EmbeddingSpace, points: list[Latent], steps: int) -> Path:
    """Frames are barycenters of the pictures at two anchors; latents are what the encoder makes of them."""
    images, source = transport.pictures_of(space, points)
    ink = transport.ink_of(images)
    pieces = _shared_out(step_lengths(images.astype(np.float32)), steps - 1)
    frames = [images[:1]]
    for start, end, count in zip(images[:-1], images[1:], pieces, strict=True):
        pair = np.stack([start, end])
        between = [
            geometry.image_barycenter(pair, np.array([1 - t, t]), ink=ink).image
            for t in np.linspace(0, 1, count + 1)[1:-1]
        ]
        frames += [np.stack(between)] if between else []
        frames.append(end[None])
    items = np.concatenate(frames).astype(np.float32)
    at = np.concatenate([[0], np.cumsum(pieces)])
    latents = space.encode(items)
    latents[at] = np.stack([one.vector for one in points])
    return Path(space, latents, TRANSPORT, tuple(at.tolist()), items, source)


def walk_pairs(
    space: EmbeddingSpace,
    starts: Float32[Array, "b d"],
    ends: Float32[Array, "b d"],
    *,
    steps: int = 9,
    method: str = "lerp",
    smoothing: float = 0.0,
) -> Float32[Array, "b steps d"]:
    """`interpolate` for many pairs of latents at once, shape (b, d) each: paths (b, steps, d)."""
    ways = walks.curves(space, starts, ends, method, smoothing=smoothing)
    frames = [ways.frames(i, steps) for i in range(len(starts))]
    return np.stack(frames).astype(np.float32) if frames else np.zeros((0, steps, space.dim), np.float32)


def step_lengths(points: Float32[Array, "n ..."]) -> Float64[Array, " m"]:
    """Euclidean distances of points that follow each other, flattened where they are items; m = n − 1."""
    flat = points.reshape(len(points), -1).astype(np.float64)
    return np.asarray(np.linalg.norm(np.diff(flat, axis=0), axis=1))


def _shared_out(lengths: Float64[Array, " m"], pieces: int) -> Array:
    """How many pieces each leg gets: one, and then always one more for the leg with the longest pieces."""
    counts = np.ones(len(lengths), np.int64)
    for _ in range(pieces - len(lengths)):
        counts[np.argmax(lengths / counts)] += 1
    return counts


def _joined(legs: walks.Curves, counts: Array) -> Float32[Array, "n d"]:
    """Frames of the legs, one after the other; where they meet, one frame."""
    parts = [legs.frames(i, int(count))[1 if i else 0 :] for i, count in enumerate(counts)]
    return np.concatenate(parts).astype(np.float32)


def _ratio(value: float, reference: float) -> float:
    """value / reference; 1 where neither moves, infinity where only the first does."""
    if reference == 0:
        return 1.0 if value == 0 else float("inf")
    return value / reference
