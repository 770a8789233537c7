"""From a place on a map back to a latent: local regression of the latents on their coordinates.

A decoder draws what it gets, so a point of the map anywhere, also where no item lies, becomes an item. NumPy and SciPy
only: nothing is compiled, and nothing is stored but two numbers, as the coordinates and the latents are there already.

Sources: Cleveland and Devlin, "Locally weighted regression", JASA 83, 1988 (the tricube kernel, the local plane);
Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd ed., §7.10 (the choice by leaving out).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.types import Array, check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, Num

K, RIDGE = 20, 1.0  # of maps whose record names none
_KS = (5, 10, 20, 40, 80)
_RIDGES = (0.03, 0.3, 3.0, np.inf)
_ASKED = 2_000  # items that judge the choice
_CHUNK = 1_024  # points at a time


@dataclass(frozen=True, eq=False)
class Inverse:
    """The regression of latents on a map's coordinates.

    At a point y the k nearest items on the map vote, with tricube weights wᵢ = (1 − (rᵢ / r)³)³, r a little more than
    the distance of the farthest. The answer is a in the local plane z = a + B (yᵢ − y) that minimises

        Σ wᵢ ‖zᵢ − a − B (yᵢ − y)‖² + ridge · s² Σ wᵢ ‖B‖²,   s² = Σ wᵢ ‖yᵢ − y‖² / (dim Σ wᵢ);

    the ridge has no unit. 0 is a plane, infinity the weighted mean. Far outside of the map the mean of the nearest
    items is what remains, as s² grows with the distance.

    Attributes:
        coordinates: Of the items on the map, shape (n, dim).
        latents: Theirs, shape (n, d).
        k: Items that vote.
        ridge: How flat the local plane is kept.
    """

    coordinates: Float32[Array, "n dim"]
    latents: Float32[Array, "n d"]
    k: int = K
    ridge: float = RIDGE

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self.coordinates)

    def at(self, points: Num[Array, "m dim"]) -> Float32[Array, "m d"]:
        """Latents of points anywhere on the map.

        Args:
            points: Map coordinates, shape (m, dim).

        Returns:
            Latents, float32 (m, d).

        Raises:
            ShapeMismatch: Not (m, dim).
            NotFinite: NaN or infinity.
        """
        dim = self.coordinates.shape[1]
        if np.ndim(points) != 2:
            raise ShapeMismatch(f"points have shape {np.shape(points)}; pass (m, {dim})")
        checked = check_vectors(points, dim, what="points")
        found = np.empty((len(checked), self.latents.shape[1]), np.float32)
        for first in range(0, len(checked), _CHUNK):
            part = slice(first, first + _CHUNK)
            near = self.nearest(checked[part])
            found[part] = self.voted(checked[part], near, self.ridge)
        return found

    def nearest(
        self, points: Float32[Array, "m dim"], without: Int64[Array, " m"] | None = None
    ) -> Int64[Array, "m k"]:
        """The k nearest items of each point on the map; each point's item in `without` does not count."""
        k = min(self.k, len(self.coordinates) - (without is not None))
        if without is None:
            return np.asarray(self._tree.query(points, k)[1]).reshape(len(points), k)
        found = self._tree.query(points, k + 1)[1]
        others = np.argsort(found == without[:, None], axis=1, kind="stable")[:, :k]
        return np.asarray(np.take_along_axis(found, others, axis=1))

    def voted(self, points: Float32[Array, "m dim"], near: Int64[Array, "m k"], ridge: float) -> Float64[Array, "m d"]:
        """The regression's answer at each point from the items near it."""
        apart = self.coordinates[near].astype(np.float64) - points[:, None]
        latents = self.latents[near].astype(np.float64)
        squared = (apart**2).sum(axis=2)
        reach = 1.05 * np.sqrt(squared.max(axis=1, keepdims=True))  # so that the farthest still has a say
        weights = (1 - (np.sqrt(squared) / np.maximum(reach, 1e-30)) ** 3) ** 3
        weights /= weights.sum(axis=1, keepdims=True)
        mean: Array = np.einsum("mk,mkd->md", weights, latents)
        if not np.isfinite(ridge):
            return mean
        # With w normed: a = z̄ − B ȳ,  B = S_zy (S_yy + ridge s² I)⁻¹, moments about the weighted means.
        dim = points.shape[1]
        centre = np.einsum("mk,mkc->mc", weights, apart)
        here, there = apart - centre[:, None], latents - mean[:, None]
        moments = np.einsum("mk,mkb,mkc->mbc", weights, here, here)
        spread = np.einsum("mk,mk->m", weights, squared) / dim
        moments += ((ridge + 1e-9) * spread + 1e-30)[:, None, None] * np.eye(dim)
        slopes = np.linalg.solve(moments, np.einsum("mk,mkc,mkd->mcd", weights, here, there))
        answer: Array = mean - np.einsum("mc,mcd->md", centre, slopes)
        return answer


def fit_inverse(
    coordinates: Float32[Array, "n dim"], latents: Float32[Array, "n d"], *, seed: int = 0
) -> tuple[Inverse, dict[str, Any]]:
    """Choose k and ridge by leaving items out: each is asked for at its own place, from all the others.

    Args:
        coordinates: Shape (n, dim).
        latents: Shape (n, d), the same items.
        seed: Chooses the items that judge.

    Returns:
        The regression, and what to store: `k`, `ridge` (None for infinity), `explained` (share of the latents' variance
        that a place on the map tells, of items left out; 1 is all, 0 is no better than the mean latent).

    Raises:
        ShapeMismatch: Different numbers of rows.
    """
    n = len(latents)
    if len(coordinates) != n:
        raise ShapeMismatch(f"{len(coordinates)} coordinates for {n} latents; pass one each")
    asked = np.sort(np.random.default_rng(seed).choice(n, min(n, _ASKED), replace=False))
    points, truth = np.asarray(coordinates[asked], np.float32), latents[asked].astype(np.float64)
    whole = Inverse(coordinates, latents, k=min(max(_KS), n - 1))
    near = whole.nearest(points, without=asked)
    errors = {
        (k, ridge): float(((whole.voted(points, near[:, :k], ridge) - truth) ** 2).sum(axis=1).mean())
        for k in sorted({min(k, n - 1) for k in _KS})
        for ridge in _RIDGES
    }
    k, ridge = min(errors, key=lambda choice: errors[choice])
    variance = float(((truth - truth.mean(axis=0)) ** 2).sum(axis=1).mean())
    explained = 1 - errors[k, ridge] / variance if variance else 1.0
    stored = {"k": k, "ridge": None if np.isinf(ridge) else ridge, "explained": explained}
    return Inverse(coordinates, latents, k, ridge), stored


def from_stored(
    coordinates: Float32[Array, "n dim"], latents: Float32[Array, "n d"], stored: dict[str, Any] | None
) -> Inverse:
    """The regression with the numbers chosen when the map was fitted; older maps have none and take `K` and `RIDGE`."""
    if stored is None:
        return Inverse(coordinates, latents)
    return Inverse(coordinates, latents, int(stored["k"]), np.inf if stored["ridge"] is None else stored["ridge"])
