"""The smallest move that makes a linear classifier say something else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry.softmax import Softmax
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

TOLERANCE = 1e-8  # of the optimality conditions: relative to the move, and in nats of the odds
STEPS = 100
CLOSE = 1e-6  # of a Newton step, relative: the next ones double the digits until rounding stops them


@dataclass(frozen=True, eq=False)
class Move:
    """Where a latent has to go.

    Attributes:
        end: Float64, shape (d,).
        length: Euclidean length of the move; 0 where the classifier is that sure already.
        confidence: What the classifier gives the target there.
        iterations: Newton steps taken, all together.
        residual: Of the optimality conditions, as TOLERANCE.
    """

    end: Float64[Array, " d"]
    length: float
    confidence: float
    iterations: int
    residual: float


def smallest_move(classifier: Softmax, start: Float[Array, " d"], target: int, confidence: float) -> Move:
    """The latent nearest to `start` that the classifier calls `target` with at least this probability.

    p(t | z) ≥ τ is g(z) = log Σ_{j ≠ t} exp(sⱼ(z) − s_t(z)) ≤ log((1 − τ)/τ), a convex set: the nearest point is
    unique, and is where z − start + λ ∇g(z) = 0 and g(z) is the bound. For each λ the point is found by Newton's
    method on a strongly convex function, and g falls as λ grows, so λ is found by Newton steps within a bracket.

    Args:
        classifier: Of c ≥ 2 labels.
        start: Shape (d,).
        target: Position of the wanted label in `classifier.names`.
        confidence: τ, between 0 and 1.

    Returns:
        The move.

    Raises:
        InputError: A confidence outside (0, 1), a target that is none, or a classifier of one label.
        DidNotConverge: Nowhere is the classifier that sure of the target, or the solver stopped before its tolerance.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; choose a probability between 0 and 1, for example 0.9")
    if len(classifier.names) < 2 or not 0 <= target < len(classifier.names):
        raise InputError(f"target {target} of {len(classifier.names)} labels; a counterfactual needs another label")
    begin = np.asarray(start, np.float64)
    odds = _Odds(np.delete(classifier.weights, target, 0) - classifier.weights[target],
                 np.delete(classifier.offsets, target) - classifier.offsets[target])  # fmt: skip
    bound = math.log1p(-confidence) - math.log(confidence)
    value, slope, _ = odds.at(begin)
    if value <= bound:
        return Move(begin, 0.0, 1 / (1 + math.exp(value)), 0, 0.0)
    low, high, z, spent = 0.0, math.inf, begin, 0
    force = (value - bound) / max(float(slope @ slope), 1e-300)  # exact where there are two labels
    for _ in range(STEPS):
        z, steps = odds.pulled(begin, force, z)
        spent += steps
        value, slope, bend = odds.at(z)
        residual = _residual(z - begin, force * slope, value - bound)
        if residual <= TOLERANCE:
            return Move(z, float(np.linalg.norm(z - begin)), 1 / (1 + math.exp(value)), spent, residual)
        low, high = (force, high) if value > bound else (low, force)
        if low > 1e12 * max(1.0, float(np.linalg.norm(begin))):
            break
        fall = float(slope @ np.linalg.solve(np.eye(len(z)) + force * bend, slope))
        guess = force + (value - bound) / max(fall, 1e-300)
        if not low < guess < high:
            guess = 2 * low if math.isinf(high) else (low + high) / 2
        force = min(guess, 10 * force) if math.isinf(high) else guess
    raise DidNotConverge(
        f"no move to a confidence of {confidence:g} was found; ask for a lower confidence or another label",
        iterations=spent,
        residual=residual,
    )


def _residual(move: Float64[Array, " d"], push: Float64[Array, " d"], left: float) -> float:
    return max(float(np.linalg.norm(move + push)) / max(float(np.linalg.norm(move)), 1e-300), abs(left))


@dataclass(frozen=True, eq=False)
class _Odds:
    """g(z) = log Σⱼ exp(aⱼ·z + bⱼ)."""

    a: Float64[Array, "m d"]
    b: Float64[Array, " m"]

    def at(self, z: Float64[Array, " d"]) -> tuple[float, Float64[Array, " d"], Float64[Array, "d d"]]:
        """Value, gradient and Hessian."""
        scores = self.a @ z + self.b
        top = float(scores.max())
        chances = np.exp(scores - top)
        total = float(chances.sum())
        chances /= total
        slope = chances @ self.a
        return top + math.log(total), slope, (self.a * chances[:, None]).T @ self.a - np.outer(slope, slope)

    def pulled(
        self, begin: Float64[Array, " d"], force: float, z: Float64[Array, " d"]
    ) -> tuple[Float64[Array, " d"], int]:
        """argmin ½|z − begin|² + force · g(z) by Newton's method with halved steps, and the steps taken."""

        def height(point: Float64[Array, " d"]) -> float:
            return 0.5 * float(np.square(point - begin).sum()) + force * self.at(point)[0]

        here, last = height(z), math.inf
        for number in range(STEPS):
            _, slope, bend = self.at(z)
            gradient = z - begin + force * slope
            step = np.linalg.solve(np.eye(len(z)) + force * bend, gradient)
            size, fall = float(np.linalg.norm(step)), float(gradient @ step)
            close = size <= CLOSE * (np.linalg.norm(z - begin) + np.linalg.norm(z))
            if size == 0 or (close and size >= last / 2):  # rounding is all that is left
                return z, number
            share = 1.0  # this close, steps are whole: heights no longer tell which is better
            while not close and (height(z - share * step)) > here - 0.25 * share * fall and share > 1e-12:
                share /= 2
            z, last = z - share * step, size
            here = height(z)
        return z, STEPS
