"""Interpolation: a path between two latents, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, suggest

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

METHODS = {"lerp": geometry.lerp, "slerp": geometry.slerp}


@dataclass(frozen=True)
class PathReport:
    """Numbers about a path.

    Attributes:
        length: Sum of the steps' Euclidean lengths, in the space's unit.
        mean_step: Mean step length.
        max_step: Longest step; max/mean is 1 for an even walk.
        realism: Per step: share of real items at least as far out as this point, in [0, 1].
        nearest: Per step: id of the nearest real item.
    """

    length: float
    mean_step: float
    max_step: float
    realism: tuple[float, ...]
    nearest: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Path:
    """Latents on the way from one to another.

    Attributes:
        space: Where they live.
        latents: Shape (steps, d), float32; the ends are the anchors.
        method: "lerp" or "slerp".
    """

    space: EmbeddingSpace
    latents: Float32[Array, "steps d"]
    method: str

    def __len__(self) -> int:
        return len(self.latents)

    def decode(self) -> Float32[Array, "steps ..."]:
        """The items that the decoder draws on the way: float32 in [0, 1], shape (steps, h, w, c)."""
        return self.space.decode(self.latents)

    @cached_property
    def report(self) -> PathReport:
        """Length, evenness, realism and nearest real item of each step."""
        steps = np.linalg.norm(np.diff(self.latents.astype(np.float64), axis=0), axis=1)
        nearest = self.space.search(self.latents, 1).ids[:, 0]
        return PathReport(
            length=float(steps.sum()),
            mean_step=float(steps.mean()),
            max_step=float(steps.max()),
            realism=tuple(self.space.realism(self.latents).tolist()),
            nearest=tuple(nearest.tolist()),
        )


def interpolate(space: EmbeddingSpace, start: Any, end: Any, *, steps: int = 9, method: str = "lerp") -> Path:
    """Walk from one latent to another.

    Args:
        space: The space.
        start: An expression, a latent or a vector (d,).
        end: Likewise.
        steps: Points on the path, both ends included, ≥ 2.
        method: "lerp" (straight line) or "slerp" (great circle).

    Raises:
        ConfigInvalid: Unknown method.
        InputError: Fewer than 2 steps, or more than 10,000; slerp between opposite directions.
    """
    if method not in METHODS:
        raise ConfigInvalid(f"unknown interpolation method {method!r}; {suggest(method, METHODS)}")
    if not 2 <= steps <= 10_000:
        raise InputError(f"steps is {steps}; choose 2 to 10000")
    a, b = space.latent(start).vector, space.latent(end).vector
    return Path(space, METHODS[method](a, b, np.linspace(0, 1, steps)), method)
