"""Shortest paths under a decoder's metric: walks whose decoded items change as little as possible.

The metric of latent space that a decoder D induces is G(z) = J(z)ᵀJ(z), J its Jacobian: |dz|_G is how far the item
moves. A geodesic minimises the energy E = ∫ |d/dt D(z(t))|² dt between its ends; discretised, n Σ |D(zᵢ₊₁) − D(zᵢ)|²,
which needs no Jacobian. Where the decoder hardly listens to a dimension (an inactive one of a VAE), G is nearly
singular and a geodesic would leave the data for nothing; what is minimised here is therefore the energy under
G + floor · g · I, g the mean eigenvalue of G over the data.

Sources: G. Arvanitidis, L. K. Hansen, S. Hauberg, Latent space oddity, ICLR 2018 (the metric, and why it must not
vanish away from the data); N. Chen et al., Metrics for deep generative models, AISTATS 2018 (a parametrised curve).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentstore.encoders.base import Encoder
from latentstore.encoders.cores import one_thread_each
from latentstore.encoders.lbfgs import Minimum, minimise
from latentstore.encoders.pullbacks import pullbacks
from latentstore.errors import InputError, ShapeMismatch
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int64

    from latentstore.types import Array

WAVES = 6  # sines per dimension: on Fashion-MNIST 4 reach .842 of lerp's energy, 6 .837, 8 .834, 16 .831
PIECES = 12  # of the discretised energy, two per wave: with fewer, a path saves energy between the points looked at
# On the VAE of Fashion-MNIST a path takes .73 of lerp's energy without a floor, and none of its frames is realistic;
# with this one it takes .75, and 80 % are.
FLOOR = 0.05
TOLERANCE = 2e-3  # of the energy, which Newton's model says is left to gain: what is shown moves by .002
ITERATIONS = 100  # 4 to 22 are usual
ROUNDING = 1e-6  # relative error of a decoded item in float32
PAIRS = 25  # paths solved together: 25 × 11 decoded points are a product large enough for its speed


@dataclass(frozen=True, eq=False)
class Geodesics:
    """Solved paths: z(t) = (1 − t) start + t end + Σₖ cₖ √2 sin(πkt) / πk.

    Attributes:
        starts: Shape (b, d), float32.
        ends: Shape (b, d), float32.
        coefficients: The cₖ, shape (b, WAVES, d), float32.
        energy: n Σ |D(zᵢ₊₁) − D(zᵢ)|² of each path, shape (b,); unit: squares of pixels, summed over the item.
        lerp_energy: The same of the straight line.
        residual: What is estimated to be left to gain, as a fraction of the energy, shape (b,).
        iterations: Steps taken, shape (b,).
        converged: Residual below the tolerance, shape (b,).
    """

    starts: Float32[Array, "b d"]
    ends: Float32[Array, "b d"]
    coefficients: Float32[Array, "b w d"]
    energy: Float32[Array, " b"]
    lerp_energy: Float32[Array, " b"]
    residual: Float32[Array, " b"]
    iterations: Int64[Array, " b"]
    converged: Bool[Array, " b"]

    def at(self, t: Float[Array, " m"], which: slice = slice(None)) -> Float32[Array, "b m d"]:
        """Latents at fractions t of the way, shape (m,); a geodesic's decoded speed is constant. The ends are exact."""
        starts, ends, coefficients = self.starts[which], self.ends[which], self.coefficients[which]
        s = np.asarray(t, dtype=np.float64)[:, None]
        order = np.arange(1, coefficients.shape[1] + 1)
        waves = math.sqrt(2) * np.sin(np.pi * order * s) / (np.pi * order)
        line = starts[:, None].astype(np.float64) + s * (ends.astype(np.float64) - starts)[:, None]
        bent: Float32[Array, "b m d"] = (line + waves @ coefficients).astype(np.float32)
        bent[:, s[:, 0] == 0], bent[:, s[:, 0] == 1] = starts[:, None], ends[:, None]
        return bent


class GeodesicSolver:
    """Solves for shortest paths under one decoder, many at once.

    Attributes:
        encoder: Whose decoder.
        metric: The mean of JᵀJ over the reference latents, with the floor added, shape (d, d).
        floor: What the floor adds to every eigenvalue.
    """

    def __init__(
        self, encoder: Encoder, reference: Float32[Array, "r d"], *, floor: float = FLOOR, seed: int = 0
    ) -> None:
        """Measure the decoder's mean metric.

        Args:
            encoder: It needs a decoder.
            reference: Real latents, shape (r, d); some hundred are enough.
            floor: See above; 0 for the decoder's metric alone.
            seed: Of the random directions.

        Raises:
            NotSupported: The encoder has no decoder.
            InputError: No reference latents, a negative floor, or a decoder that is constant there.
        """
        if not len(reference) or not (math.isfinite(floor) and floor >= 0):
            raise InputError(f"{len(reference)} reference latents and a floor of {floor}; pass at least one, and ≥ 0")
        self.encoder = encoder
        pulled = torch.from_numpy(pullbacks(encoder, reference, seed=seed))
        mean = pulled.T @ pulled / len(pulled)
        size = float(mean.diagonal().mean())
        if not size > 0:
            raise InputError(
                "the decoder is constant around the reference latents, so that no path is shorter; use lerp"
            )
        self.floor = floor * size
        self.metric = mean + self.floor * torch.eye(encoder.dim)
        # y ↦ c = Lᵀ⁻¹ y makes the mean metric the identity, and so the energy nearly round: steps of 1 fit at once
        lower = torch.linalg.cholesky(self.metric.double() + 1e-6 * size * torch.eye(encoder.dim))
        self._rounding = torch.linalg.inv(lower).float()

    def solve(
        self,
        starts: Float32[Array, "b d"],
        ends: Float32[Array, "b d"],
        *,
        tolerance: float = TOLERANCE,
        iterations: int = ITERATIONS,
    ) -> Geodesics:
        """Bend straight lines until no more energy can be saved nearby: a local minimum, as lerp's valley has it.

        Args:
            starts: Shape (b, d).
            ends: Shape (b, d).
            tolerance: Stop a path when what is estimated to be left to gain is this fraction of its energy.
            iterations: Stop all at the latest; `converged` says which had not.

        Raises:
            ShapeMismatch, NotFinite: Not as many starts as ends, of the decoder's width, finite.
        """
        a, b = (check_vectors(x, self.encoder.dim, what=w).reshape(-1, self.encoder.dim) for x, w in
                ((starts, "starts"), (ends, "ends")))  # fmt: skip
        if len(a) != len(b):
            raise ShapeMismatch(f"{len(a)} starts and {len(b)} ends; pass as many of each")

        def part(first: int) -> tuple[Minimum, Tensor, Tensor]:
            rows = slice(first, first + PAIRS)
            return self._solve(torch.from_numpy(a[rows]), torch.from_numpy(b[rows]), tolerance, iterations)

        # One path, too, is solved by one thread: its products are so small that threads would only wait for each other.
        with one_thread_each() as (pool, _):
            parts = list(pool.map(part, range(0, len(a), PAIRS)))
        joined = [torch.cat(tensors).numpy() for tensors in zip(*(self._numbers(*one) for one in parts), strict=True)]
        if not joined:
            joined = [np.zeros((0, WAVES, self.encoder.dim), np.float32), *[np.zeros(0, np.float32)] * 3,
                      np.zeros(0, np.int64), np.zeros(0, bool)]  # fmt: skip
        return Geodesics(a, b, *joined)

    def _numbers(self, found: Minimum, energy: Tensor, lerp_energy: Tensor) -> tuple[Tensor, ...]:
        coefficients = found.at.reshape(len(found.at), WAVES, -1) @ self._rounding
        return coefficients, energy, lerp_energy, found.residual, found.iterations, found.converged

    def _solve(self, a: Tensor, b: Tensor, tolerance: float, iterations: int) -> tuple[Minimum, Tensor, Tensor]:
        model, device = self.encoder.model, next(iter(self.encoder.model.state_dict().values())).device
        t = torch.arange(1, PIECES, dtype=torch.float32)[:, None] / PIECES
        order = torch.arange(1, WAVES + 1)
        waves = math.sqrt(2) * torch.sin(math.pi * order * t) / (math.pi * order)  # (PIECES − 1, WAVES)
        line = a[:, None] + t * (b - a)[:, None]  # exactly a where both are
        with torch.no_grad():
            first, last = (model.decode(end.to(device)).flatten(1)[:, None].cpu() for end in (a, b))

        def curve(y: Tensor, which: Tensor) -> Tensor:
            bent: Tensor = line[which] + waves @ (y.reshape(len(y), WAVES, -1) @ self._rounding)
            return bent

        def decoded_energy(z: Tensor, which: Tensor) -> Tensor:
            inner = model.decode(z.flatten(0, 1).to(device)).reshape(*z.shape[:2], -1).cpu()
            items = torch.cat([first[which], inner, last[which]], dim=1)
            return PIECES * (items[:, 1:] - items[:, :-1]).square().flatten(1).sum(1)

        def objective(y: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                z = curve(y, which)
                whole = torch.cat([a[which, None], z, b[which, None]], dim=1)
                wandering = PIECES * (whole[:, 1:] - whole[:, :-1]).square().flatten(1).sum(1)
                value = decoded_energy(z, which) + self.floor * wandering
                (gradient,) = torch.autograd.grad(value.sum(), y)
            return value.detach(), gradient

        noise = (PIECES * ROUNDING) ** 2 * (first.square() + last.square()).flatten(1).sum(1)
        # Along the mean metric the energy's Hessian is 2 I; the decoder bends, so half of Newton's step comes first.
        found = minimise(
            objective, torch.zeros(len(a), WAVES * a.shape[1]), scale=0.25, tolerance=tolerance, iterations=iterations,
            noise=noise,
        )  # fmt: skip
        every = torch.arange(len(a))
        with torch.no_grad():
            return found, decoded_energy(curve(found.at, every), every), decoded_energy(line, every)
