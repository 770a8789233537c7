"""L-BFGS for many small problems at once, each with its own step length and its own end.

Source: J. Nocedal, S. J. Wright, Numerical optimization, 2nd edition, algorithms 7.4 (two-loop recursion) and 3.1
(backtracking to Armijo's condition).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

MEMORY = 6  # pairs of steps and gradient changes kept
ARMIJO = 1e-4
SHRINK = 1 / 3
CURVED = 1e-10  # s·y below this fraction of y·y: no curvature was seen, only rounding

# Points (m, p) and which of the problems they belong to (m,) → values (m,) and gradients (m, p)
Objective: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the problems ended.

    Attributes:
        at: Points, shape (b, p).
        value: Shape (b,).
        residual: Estimated remaining decrease as a fraction of the value, ½ gᵀHg / f, shape (b,).
        iterations: Evaluations until the end, shape (b,).
        converged: Shape (b,).
    """

    at: Tensor
    value: Tensor
    residual: Tensor
    iterations: Tensor
    converged: Tensor


def minimise(
    objective: Objective, start: Tensor, *, scale: float, tolerance: float, iterations: int, noise: Tensor | None = None
) -> Minimum:
    """Minimise b problems of p unknowns. A problem that has ended is not evaluated again.

    Args:
        objective: Values must be ≥ 0.
        start: Shape (b, p).
        scale: First guess of the inverse Hessian, × I.
        tolerance: A problem has converged when half of gᵀHg, by Newton's model what is left to gain, is at most this
            fraction of its value. H is the current estimate of the inverse Hessian.
        iterations: Evaluations at most, after the first.
        noise: What rounding alone makes of the values, shape (b,): nothing less is left to gain. 0 when None.
    """
    count, device = len(start), start.device
    point, active = start.clone(), torch.arange(count, device=device)
    value, gradient = objective(point, active)
    final = Minimum(
        point.clone(), value.clone(), torch.zeros_like(value), torch.zeros(count, dtype=torch.int64, device=device),
        torch.zeros(count, dtype=torch.bool, device=device),
    )  # fmt: skip
    blur = torch.zeros_like(value) if noise is None else noise
    guess = torch.full_like(value, scale)
    step = torch.ones_like(value)
    moves, turns, weights = (torch.zeros(0, count, *shape) for shape in (point.shape[1:], point.shape[1:], ()))
    direction = -guess[:, None] * gradient
    for number in range(iterations + 1):
        left = -(gradient * direction).sum(1) / 2
        done = left <= tolerance * value + blur[active]
        final.at[active], final.value[active], final.iterations[active] = point, value, number
        final.residual[active] = torch.where(value > 0, left / value.clamp_min(torch.finfo(value.dtype).tiny), left)
        final.converged[active] = done
        if done.all() or number == iterations:
            break
        if done.any():
            go = ~done
            active, point, value, gradient, direction = active[go], point[go], value[go], gradient[go], direction[go]
            guess, step, moves, turns, weights = guess[go], step[go], moves[:, go], turns[:, go], weights[:, go]
        tried = point + step[:, None] * direction
        new_value, new_gradient = objective(tried, active)
        # A value that is not finite compares as false, so the step is taken back as one that is too long.
        better = new_value <= value + ARMIJO * step * (gradient * direction).sum(1)
        move = torch.where(better[:, None], tried - point, 0)
        turn = torch.where(better[:, None], new_gradient - gradient, 0)
        along, size = (move * turn).sum(1), turn.square().sum(1)
        curved = better & (along > CURVED * size)
        weight = torch.where(curved, 1 / along.where(curved, torch.ones_like(along)), 0)
        guess = torch.where(curved, along / size.where(curved, torch.ones_like(size)), guess)
        moves, turns, weights = (
            torch.cat([kept[-MEMORY + 1 :], new[None]])
            for kept, new in ((moves, move), (turns, turn), (weights, weight))
        )
        point = torch.where(better[:, None], tried, point)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        value = torch.where(better, new_value, value)
        downhill = _downhill(gradient, guess, moves, turns, weights)
        direction = torch.where(better[:, None], downhill, direction)
        step = torch.where(better, torch.ones_like(step), step * SHRINK)
    return final


def _downhill(gradient: Tensor, guess: Tensor, moves: Tensor, turns: Tensor, weights: Tensor) -> Tensor:
    """−H g by the two-loop recursion; a pair of weight 0 leaves H as it is."""
    left, shares = gradient.clone(), []
    for move, turn, weight in zip(moves.flip(0), turns.flip(0), weights.flip(0), strict=True):
        shares.append(weight * (move * left).sum(1))
        left = left - shares[-1][:, None] * turn
    left = guess[:, None] * left
    for move, turn, weight, share in zip(moves, turns, weights, reversed(shares), strict=True):
        left = left + (share - weight * (turn * left).sum(1))[:, None] * move
    return -left
