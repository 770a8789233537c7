"""The difference of class means, whole or with other directions projected out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.geometry.attributes.classes import Classes
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

LEFT = 1e-6  # of a difference's length: less than this beside the others is rounding


@dataclass(frozen=True, eq=False)
class Means:
    """mean⁺ − mean⁻ of the classes, orthogonal to `others`.

    Attributes:
        others: Directions that are projected out, shape (m, d); none by default.
    """

    others: Float[Array, "m d"] | None = None

    def fit(self, classes: Classes) -> _FittedMeans:
        """The direction.

        Raises:
            InputError: Nothing of the difference is left beside the others.
        """
        high, low = classes.means
        difference = high - low
        left = self.beside(difference)
        if self.others is not None and np.linalg.norm(left) <= LEFT * np.linalg.norm(difference):
            raise InputError(
                f"what tells {classes.clauses[0]!r} from {classes.clauses[1]!r} lies within the {len(self.others)} "
                "directions it should be orthogonal to; name fewer of them"
            )
        return _FittedMeans(self, classes, left)

    def measure(self, classes: Classes) -> Float64[Array, "d r"]:
        """The map in whose image the length of mean⁺ − mean⁻ says how far the classes are apart."""
        return self.beside(np.eye(classes.positive.shape[1]))

    def beside(self, vectors: Float64[Array, "*n d"]) -> Float64[Array, "*n d"]:
        """Vectors without what lies along the others."""
        if self.others is None or not len(self.others):
            return vectors
        basis, sizes, _ = np.linalg.svd(np.asarray(self.others, np.float64).T, full_matrices=False)
        basis = basis[:, sizes > 1e-10 * max(float(sizes[0]), 1e-300)]
        left = vectors - (vectors @ basis) @ basis.T
        return np.asarray(left - (left @ basis) @ basis.T)  # once more: the first leaves rounding


@dataclass(frozen=True, eq=False)
class _FittedMeans:
    method: Means
    classes: Classes
    normal: Float64[Array, " d"]

    def resampled(self, counts: tuple[Float32[Array, "b p"], Float32[Array, "b q"]]) -> Float64[Array, "b d"]:
        """See `Fitted`."""
        sums, sizes = [], []
        for side in (0, 1):
            ends = np.cumsum(self.classes.counts[:-1, side])
            parts = list(zip(np.split(counts[side], ends, axis=1), self.classes.parts(side), strict=True))
            sums.append(np.stack([often @ latents.astype(np.float32) for often, latents in parts], axis=1))
            sizes.append(np.stack([often.sum(axis=1) for often, _ in parts], axis=1))
        return self.method.beside(_difference(sums[0], sums[1], sizes[0], sizes[1]))


def _difference(high: Array, low: Array, highs: Array, lows: Array) -> Float64[Array, "b d"]:
    """Weighted difference of means from sums (b, s, d) and sizes (b, s) of each class."""
    both = (highs > 0) & (lows > 0)
    weights = np.where(both, highs * lows / np.maximum(highs + lows, 1), 0).astype(np.float64)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    apart = high / np.maximum(highs, 1)[..., None] - low / np.maximum(lows, 1)[..., None]
    return np.asarray(np.einsum("bs,bsd->bd", weights, apart))
