"""Wasserstein barycenters of images, by POT: what lies between pictures when their ink is moved, not faded.

An image is a measure: each pixel weighs what its value says. A channel's mass is taken out before and put back after:
the barycenter has the weighted mean of the images' masses. Each channel of a colour image is moved on its own.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentstore.errors import ConfigInvalid, DidNotConverge, InputError, NotFinite, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

REGULARISATION = 4e-3  # of the entropy, in squared image sides: debiased, it costs no sharpness that an eye would see
LOG_DOMAIN = 3e-3  # below, kernels underflow between opposite corners, whose distance squared is 2
# What POT adds to a kernel before it takes logarithms. Its default, 1e-15, is more than what arrives of mass that lies
# half an image away: far blobs then stay apart, blurred, and the solver converges to that.
FLOOR = 1e-290
TOLERANCE = 2e-5  # of the marginals, in units of the mass: total variation between the images' scalings
Ink = Literal["bright", "dark"]


@dataclass(frozen=True, eq=False)
class ImageBarycenter:
    """The weighted mean of images under optimal transport.

    Attributes:
        image: Float32 in [0, 1], shape (h, w, c).
        iterations: Of the slowest channel.
        residual: Of the worst channel, below the tolerance.
        mass_error: |Σ pixels of the solution − 1| of the worst channel, whose mass is 1, before it was put back.
    """

    image: Float32[Array, "h w c"]
    iterations: int
    residual: float
    mass_error: float


def image_barycenter(
    images: Float[Array, "k h w c"],
    weights: Float[Array, " k"],
    *,
    regularisation: float = REGULARISATION,
    tolerance: float = TOLERANCE,
    max_iterations: int = 5_000,
    ink: Ink = "bright",
) -> ImageBarycenter:
    """The debiased Wasserstein barycenter of images.

    It minimises Σ wᵢ S(b, aᵢ), S the Sinkhorn divergence for squared distances on the image plane whose longer side is
    1. Plain entropic barycenters are blurred by √(regularisation / 2) of that side; debiasing takes the blur away.
    Where moved mass piles up beyond white, it is spread over the other inked pixels, in proportion.

    Args:
        images: k ≥ 1 of one size, in [0, 1], shape (k, h, w, c); uint8 is taken as 0 to 255.
        weights: Not negative, not all 0, shape (k,); only their ratios count.
        regularisation: In squared image sides. Below 3e-3 the solver works with logarithms, some ten times slower.
        tolerance: How far the scalings of the images may disagree, as a share of the mass.
        max_iterations: At most.
        ink: What is moved: "bright" pixels on a dark ground, or "dark" ones on a bright ground.

    Returns:
        The barycenter. An image of weight 1 is itself, exactly; a channel without ink in some image is the barycenter
        of those that have some.

    Raises:
        ShapeMismatch, NotFinite, InputError: Images or weights that are none.
        ConfigInvalid: An impossible regularisation, tolerance or ink.
        DidNotConverge: `max_iterations` were not enough.

    Source: H. Janati et al., Debiased Sinkhorn barycenters, ICML 2020, as in POT (R. Flamary et al., JMLR 2021).
    """
    masses, shares = _checked(images, weights, ink)
    if not (0 < regularisation < 1 and 0 < tolerance < 1 and max_iterations >= 30):
        raise ConfigInvalid(
            f"regularisation {regularisation}, tolerance {tolerance}, {max_iterations} iterations; the first two lie "
            "between 0 and 1, and at least 30 iterations are needed"
        )
    masses, shares = masses[shares > 0], shares[shares > 0]
    if len(masses) == 1:
        found = ImageBarycenter(masses[0].astype(np.float32), 0, 0.0, 0.0)
    else:
        channels = [
            _channel(masses[..., c], shares, regularisation, tolerance, max_iterations) for c in range(masses.shape[-1])
        ]
        found = ImageBarycenter(
            np.stack([one.image for one in channels], axis=-1).astype(np.float32),
            max(one.iterations for one in channels),
            max(one.residual for one in channels),
            max(one.mass_error for one in channels),
        )
    if ink == "dark":
        return ImageBarycenter(1 - found.image, found.iterations, found.residual, found.mass_error)
    return found


def _channel(
    images: Float64[Array, "k h w"], shares: Float64[Array, " k"], regularisation: float, tolerance: float, most: int
) -> ImageBarycenter:
    mass = images.sum(axis=(1, 2))
    total = float(shares @ mass)
    inked = mass > 0
    if inked.sum() < 2:  # nothing to average: the one that there is, with the mass that belongs to the mean
        only = images[inked][0] if inked.any() else images[0]
        return ImageBarycenter(_fill(only, total), 0, 0.0, 0.0)
    measures = images[inked] / mass[inked][:, None, None]
    weights = shares[inked] / shares[inked].sum()
    height, width = images.shape[1:]
    side = max(height, width)  # POT stretches an image over the unit square: pad it to one
    square = np.pad(measures, ((0, 0), (0, side - height), (0, side - width)))
    solver = pot().bregman.convolutional_barycenter2d_debiased
    options: dict[str, Any] = {"method": "sinkhorn_log"}
    if regularisation >= LOG_DOMAIN:
        options = {"method": "sinkhorn", "stabThr": FLOOR}
    with np.errstate(all="ignore"):  # what overflows is told from the result
        solved, log = solver(
            square, regularisation, weights=weights, numItermax=most, stopThr=tolerance, log=True, warn=False, **options
        )  # fmt: skip
    residual, iterations = float(log["err"][-1]), int(log["niter"]) + 1
    if not (residual < tolerance and np.isfinite(solved).all()):
        raise DidNotConverge(
            f"the barycenter of {len(measures)} images of {height} × {width} did not converge at regularisation "
            f"{regularisation:g}; raise it, the tolerance or max_iterations",
            iterations=iterations,
            residual=residual,
        )
    reached = float(solved.sum())
    return ImageBarycenter(_fill(solved[:height, :width], total), iterations, residual, abs(reached - 1))


def _fill(image: Float64[Array, "h w"], mass: float) -> Float64[Array, "h w"]:
    """Scale an image to a mass with no pixel above 1: min(1, s · image), s chosen so that the sum is the mass."""
    values = np.sort(image.ravel())[::-1]
    if mass <= 0 or values[0] <= 0:
        return np.zeros_like(image)
    # With the j largest at 1, s = (mass − j) / Σ of the others: the first j where the next one then stays below 1.
    rest = np.cumsum(values[::-1])[::-1]  # from the smallest on: a difference of sums would lose them
    left = mass - np.arange(len(values))
    fits = np.flatnonzero(left * values <= rest)
    if not len(fits) or rest[fits[0]] <= 0:  # more mass than inked pixels can hold
        return (image > 0) * 1.0
    return np.asarray(np.minimum(1.0, left[fits[0]] / rest[fits[0]] * image))


def _checked(images: Array, weights: Array, ink: str) -> tuple[Float64[Array, "k h w c"], Float64[Array, " k"]]:
    given, shares = np.asarray(images), np.asarray(weights, np.float64)
    if ink not in ("bright", "dark"):
        raise ConfigInvalid(f"ink {ink!r} is unknown; 'bright' on a dark ground or 'dark' on a bright one")
    if given.ndim != 4 or not len(given) or shares.shape != (len(given),):
        raise ShapeMismatch(f"images have shape {given.shape} and weights {shares.shape}; pass (k, h, w, c) and (k,)")
    values = given / 255.0 if given.dtype == np.uint8 else given.astype(np.float64)
    if not (np.isfinite(values).all() and np.isfinite(shares).all()):
        raise NotFinite("images or weights contain NaN or infinity; pass finite numbers")
    if values.min() < 0 or values.max() > 1:
        raise InputError(f"pixels run from {values.min():.3g} to {values.max():.3g}; pass values in [0, 1], or uint8")
    if (shares < 0).any() or not shares.any():
        raise InputError(f"weights are {shares.tolist()}; pass none below 0, and one at least above")
    return (1 - values if ink == "dark" else values), shares / shares.sum()


_importing = Lock()  # of POT, for which the environment is changed for a moment


@cache
def pot() -> Any:
    """POT, imported on first use, for NumPy only: it would load torch, jax and tensorflow if it found them."""
    hidden = {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")}
    with _importing:
        before = {name: os.environ.get(name) for name in hidden}
        os.environ.update(hidden)
        try:
            return importlib.import_module("ot")
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
