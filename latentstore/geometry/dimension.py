"""The intrinsic dimension of a cloud of points, from the distances of each to its nearest neighbours.

A space of d numbers may hold data that vary in fewer directions (the manifold hypothesis); these estimators say in how
many. Both look at small scales, so both take noise for dimensions, and both fall short in high ones for want of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

_KEPT = 0.9  # of the ratios: the largest tenth lies where the density is not constant (Facco et al., "Methods")
_FEWEST = 10  # points
_FOLDS = 20  # groups of points, of which each is left out once for the error


@dataclass(frozen=True)
class IntrinsicDimension:
    """An estimate with its error.

    Attributes:
        value: Dimensions; need not be whole.
        error: Standard error from the number of points alone, not from what the model leaves out.
    """

    value: float
    error: float


def two_nn(distances: Float[Array, "n k"]) -> IntrinsicDimension:
    """From the ratio µ = r₂ / r₁ of each point's distances to its two nearest neighbours.

    Where the density is constant over two neighbours, P(µ > x) = x^(−D): so −log(1 − F(µ)) is a line of slope D in
    log µ through the origin, fitted here to the smallest nine tenths of the ratios. Points with a twin (r₁ = 0) say
    nothing and are left out.

    Args:
        distances: Euclidean distances to other points, ascending, shape (n, ≥ 2), the point itself left out.

    Raises:
        ShapeMismatch: Not such a shape.
        InputError: Fewer than ten points without a twin.

    Source: Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information", Scientific Reports 7:12140, 2017.
    """
    nearest = _checked(distances, 2)
    ratios = np.log(nearest[:, 1] / nearest[:, 0])
    value = _slope(ratios)
    folds = min(_FOLDS, len(ratios))
    left_out = np.array([_slope(np.delete(ratios, np.s_[fold::folds])) for fold in range(folds)])
    # The jackknife over groups (Efron and Tibshirani, "An Introduction to the Bootstrap", §11.5).
    return IntrinsicDimension(value, float(np.sqrt((folds - 1) * left_out.var())))


def _slope(ratios: Float64[Array, " n"]) -> float:
    n = len(ratios)
    kept = max(2, int(_KEPT * n))
    x, y = np.sort(ratios)[:kept], -np.log1p(-np.arange(1, kept + 1) / (n + 1))
    square = float(x @ x)
    if square == 0:
        raise InputError("every point has its two nearest neighbours equally far: the points lie on a lattice")
    return float(x @ y) / square


def levina_bickel(distances: Float[Array, "n k"]) -> IntrinsicDimension:
    """The maximum likelihood from all k distances, under a Poisson process of locally constant density.

    1 / D = mean over points of 1/(k − 1) Σⱼ₌₁ᵏ⁻¹ log(r_k / r_j). That the inverses are averaged, not the dimensions, is
    the correction of MacKay and Ghahramani: 1 / D is then unbiased.

    Args:
        distances: As `two_nn`, shape (n, k ≥ 3).

    Raises:
        ShapeMismatch, InputError: As `two_nn`.

    Sources: Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", NIPS 2004, eq. 8;
    MacKay and Ghahramani, "Comments on 'Maximum likelihood estimation of intrinsic dimension'", 2005.
    """
    nearest = _checked(distances, 3)
    k = nearest.shape[1]
    inverse = np.log(nearest[:, -1:] / nearest[:, :-1]).sum(axis=1) / (k - 1)
    mean = float(inverse.mean())
    if mean == 0:
        raise InputError(f"every point has its {k} nearest neighbours equally far: the points lie on a lattice")
    error = float(inverse.std(ddof=1)) / np.sqrt(len(inverse)) / mean**2
    return IntrinsicDimension(1 / mean, float(error))


def _checked(distances: Float[Array, "n k"], least: int) -> Float64[Array, "m k"]:
    given = np.asarray(distances, np.float64)
    if given.ndim != 2 or given.shape[1] < least:
        raise ShapeMismatch(f"distances have shape {given.shape}; pass (n, ≥ {least}), the point itself left out")
    if not np.isfinite(given).all() or (np.diff(given, axis=1) < 0).any():
        raise InputError("distances are not finite and ascending; pass each point's nearest neighbours in order")
    apart = given[given[:, 0] > 0]
    if len(apart) < _FEWEST:
        raise InputError(f"{len(apart)} of {len(given)} points have no twin; a dimension needs at least {_FEWEST}")
    return apart
