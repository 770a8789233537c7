"""The normal of a logistic regression's boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry.attributes.classes import Classes
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64


@dataclass(frozen=True)
class Logistic:
    """Both classes weigh one half whatever their counts; see `latentstore.geometry.logistic`.

    Attributes:
        l2: Weight of the penalty, > 0.
        tolerance: Largest component of the gradient at the solution.
        max_iterations: L-BFGS iterations at most.
    """

    l2: float = 1e-2
    tolerance: float = 1e-6
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if not self.l2 > 0:
            raise InputError(f"l2 is {self.l2}; it must be positive, or separable classes have no solution")

    def fit(self, classes: Classes) -> _FittedLogistic:
        """The direction; `DidNotConverge` where the optimum was not reached."""
        problem = _Problem.of(classes.positive, classes.negative, self.l2)
        return _FittedLogistic(problem, self._solved(problem))

    def measure(self, classes: Classes) -> Float64[Array, "d r"]:
        """The map in whose image the squared length of mean⁺ − mean⁻ is the score statistic of the regression.

        That is what its first Newton step gains, δᵀ (Σ/4 + l2)⁻¹ δ with Σ the covariance of all items, which does not
        change when labels are permuted.
        """
        x = _Problem.of(classes.positive, classes.negative, self.l2).x
        x = x - x.mean(axis=0)
        values, vectors = np.linalg.eigh(x.T @ x / len(x) / 4 + self.l2 * np.eye(x.shape[1]))
        return np.asarray(vectors / np.sqrt(values))

    def _solved(self, problem: _Problem) -> Float64[Array, " d_1"]:
        from scipy.optimize import minimize

        options = {
            "maxiter": self.max_iterations,
            "maxfun": 4 * self.max_iterations,
            "gtol": self.tolerance,
            "ftol": 0.0,
            "maxcor": 20,
        }
        start = np.zeros(problem.x.shape[1] + 1)
        solution = minimize(problem.loss, start, jac=True, method="L-BFGS-B", options=options)
        residual = float(np.abs(solution.jac).max())
        if residual > self.tolerance:
            raise DidNotConverge(
                f"logistic regression did not reach a gradient of {self.tolerance:g}; raise max_iterations or l2",
                iterations=int(solution.nit),
                residual=residual,
            )
        return np.asarray(solution.x)


@dataclass(frozen=True, eq=False)
class _FittedLogistic:
    problem: _Problem
    solution: Float64[Array, " d_1"]

    @property
    def normal(self) -> Float64[Array, " d"]:
        """See `Fitted`."""
        return self.solution[:-1]

    def resampled(self, counts: tuple[Float32[Array, "b p"], Float32[Array, "b q"]]) -> Float64[Array, "b d"]:
        """The directions of b resamples, by one Newton step each from the fit to all items.

        A step has the whole fit's curvature: its error falls with the number of items as the resample's distance
        from the whole does, squared.
        """
        slope, curvature = self.problem.slopes(self.solution)
        often = np.concatenate(counts, axis=1) * slope.astype(np.float32)
        pull = np.hstack([often @ self.problem.x.astype(np.float32), often.sum(axis=1, keepdims=True)])
        pull[:, :-1] += self.problem.l2 * self.solution[:-1]
        return np.asarray((self.solution - np.linalg.solve(curvature, pull.T.astype(np.float64)).T)[:, :-1])


@dataclass(frozen=True, eq=False)
class _Problem:
    """The regression in latents that are centred and divided by their root mean square."""

    x: Float64[Array, "n d"]
    y: Float64[Array, " n"]
    share: Float64[Array, " n"]
    l2: float

    @classmethod
    def of(cls, positive: Float[Array, "p d"], negative: Float[Array, "q d"], l2: float) -> _Problem:
        p, q = len(positive), len(negative)
        centre = (positive.mean(axis=0, dtype=np.float64) + negative.mean(axis=0, dtype=np.float64)) / 2
        x = np.concatenate([positive, negative]).astype(np.float64)
        x -= centre
        x /= np.sqrt(np.square(x).mean()) or 1.0
        return cls(x, np.repeat([1.0, -1.0], [p, q]), np.repeat([0.5 / p, 0.5 / q], [p, q]), l2)

    def loss(self, parameters: Float64[Array, " d_1"]) -> tuple[float, Float64[Array, " d_1"]]:
        """Value and gradient at (w, b)."""
        w, b = parameters[:-1], parameters[-1]
        margin = self.y * (self.x @ w + b)
        slope = -self.y * self.share * np.exp(-np.logaddexp(0, margin))  # σ(−margin), without overflow
        gradient = np.append(self.x.T @ slope + self.l2 * w, slope.sum())
        return float(self.share @ np.logaddexp(0, -margin) + self.l2 / 2 * (w @ w)), gradient

    def slopes(self, parameters: Float64[Array, " d_1"]) -> tuple[Float64[Array, " n"], Float64[Array, "d_1 d_1"]]:
        """What each item pulls at the score of itself, and the Hessian of the loss."""
        margin = self.y * (self.x @ parameters[:-1] + parameters[-1])
        wrong = np.exp(-np.logaddexp(0, margin))
        bend = self.share * wrong * (1 - wrong)
        with_one = np.hstack([self.x, np.ones((len(self.x), 1))])
        hessian = (with_one * bend[:, None]).T @ with_one
        hessian[np.diag_indices(len(parameters) - 1)] += self.l2
        hessian[-1, -1] += 1e-12  # where all margins are wide, nothing holds the offset
        return -self.y * self.share * wrong, hessian


def logistic_normal(
    positive: Float[Array, "p d"], negative: Float[Array, "q d"], *, l2: float, tolerance: float, max_iterations: int
) -> Float64[Array, " d"]:
    """Weights w of the regression of `latentstore.geometry.logistic`, in its scaled coordinates; shape (d,)."""
    return Logistic(l2, tolerance, max_iterations).fit(Classes.of(positive, negative)).normal
