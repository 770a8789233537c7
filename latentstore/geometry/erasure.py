"""Erasing a concept from latents, so that no linear classifier finds any of it.

Source: N. Belrose, D. Schneider-Joseph, S. Ravfogel, R. Cotterell, E. Raff, S. Biderman, LEACE: Perfect linear concept
erasure in closed form, NeurIPS 2023 (theorem 4.2 and its affine form).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

FLAT = 1e-10  # of the largest variance: directions with less have none
ALIEN = 1e-10  # of the concept's spread: directions that explain less of it hold rounding only


@dataclass(frozen=True, eq=False)
class Eraser:
    """r(x) = x − L R (x − μ): the least change of latents after which they and the concept do not covary.

    Attributes:
        mean: μ, the mean of the latents it was fitted to, float64, shape (d,).
        left: L = W⁺ U, float64, shape (d, r).
        right: R = Uᵀ W, float64, shape (r, d); R L = 1.
        lost: Mean squared distance between x and r(x), as a share of the variance of x, in [0, 1].
    """

    mean: Float64[Array, " d"]
    left: Float64[Array, "d r"]
    right: Float64[Array, "r d"]
    lost: float

    @property
    def rank(self) -> int:
        """How many dimensions are erased: at most one less than a column has values."""
        return len(self.right)

    def apply(self, latents: Float[Array, "n d"]) -> Float32[Array, "n d"]:
        """Erase the concept from latents, shape (n, d) or (d,); also from such as it was not fitted to.

        Raises:
            ShapeMismatch: Another width.
        """
        given = np.asarray(latents, np.float64)
        if given.shape[-1:] != self.mean.shape:
            raise ShapeMismatch(f"latents have shape {given.shape}; this eraser is for d={len(self.mean)}")
        return np.asarray(given - ((given - self.mean) @ self.right.T) @ self.left.T, np.float32)


class EraserFitter:
    """Collects what an eraser needs of latents and a concept, in batches and bounded memory.

    With W = (Σ_xx^½)⁺ and U an orthonormal basis of the columns of W Σ_xz, the eraser is
    r(x) = x − W⁺ U Uᵀ W (x − E[x]).
    """

    def __init__(self, dim: int, concept_dim: int) -> None:
        if dim < 1 or concept_dim < 1:
            raise InputError(f"widths are {dim} and {concept_dim}; both must be at least 1")
        self._count = 0
        self._mean_x, self._mean_z = np.zeros(dim), np.zeros(concept_dim)
        self._xx, self._xz, self._zz = np.zeros((dim, dim)), np.zeros((dim, concept_dim)), 0.0

    def update(self, latents: Float[Array, "n d"], concept: Float[Array, "n k"]) -> Self:
        """Take a batch.

        Args:
            latents: Shape (n, d).
            concept: What is to be erased, as numbers, shape (n, k): an indicator column per label, or values.

        Raises:
            ShapeMismatch: Other widths than before, or not one concept row per latent.
        """
        x, z = np.asarray(latents, np.float64), np.asarray(concept, np.float64)
        if x.shape != (len(x), len(self._mean_x)) or z.shape != (len(x), len(self._mean_z)):
            raise ShapeMismatch(
                f"latents {x.shape} and concept {z.shape}; pass (n, {len(self._mean_x)}) and (n, {len(self._mean_z)})"
            )
        if not len(x):
            return self
        # sums about the mean of all so far: T. Chan, G. Golub, R. LeVeque, 1979
        mean_x, mean_z = x.mean(axis=0), z.mean(axis=0)
        x, z = x - mean_x, z - mean_z
        total = self._count + len(x)
        apart_x, apart_z = mean_x - self._mean_x, mean_z - self._mean_z
        between = self._count * len(x) / total
        self._xx += x.T @ x + between * np.outer(apart_x, apart_x)
        self._xz += x.T @ z + between * np.outer(apart_x, apart_z)
        self._zz += float(np.square(z).sum() + between * np.square(apart_z).sum())
        self._mean_x = self._mean_x + apart_x * len(x) / total
        self._mean_z = self._mean_z + apart_z * len(x) / total
        self._count = total
        return self

    def fit(self) -> Eraser:
        """The eraser of what was taken so far.

        Raises:
            InputError: Fewer than two latents, or latents that are all equal.
        """
        if self._count < 2:
            raise InputError(f"{self._count} latents say nothing of a covariance; pass at least 2")
        values, vectors = np.linalg.eigh(self._xx / self._count)
        kept = values > FLAT * max(float(values[-1]), 1e-300)
        if not kept.any() or not float(values[-1]) > 0:
            raise InputError("all latents are equal, so there is nothing to erase; pass others")
        values, vectors = values[kept], vectors[:, kept]
        whiten = (vectors / np.sqrt(values)) @ vectors.T
        colour = (vectors * np.sqrt(values)) @ vectors.T
        basis, sizes, _ = np.linalg.svd(whiten @ self._xz / self._count, full_matrices=False)
        basis = basis[:, sizes > max(ALIEN * float(np.sqrt(self._zz / self._count)), 1e-300)]
        left, right = colour @ basis, basis.T @ whiten
        # E|LR(x − μ)|² = tr(L R Σ Rᵀ Lᵀ) = |L|², for R Σ Rᵀ = Uᵀ U = 1
        return Eraser(self._mean_x, left, right, float(np.square(left).sum() / values.sum()))


def indicators(labels: Array) -> Float64[Array, "n k"]:
    """A column of 0 and 1 per value of labels (n,), shape (n, k)."""
    names, codes = np.unique(labels, return_inverse=True)
    return np.asarray(np.eye(len(names))[codes])
