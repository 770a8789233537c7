"""Decoders whose geodesics are known: a sphere, a plane, a rotation; and the solver under them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from latentstore.encoders import Encoder, GeodesicSolver, Model
from latentstore.encoders.geodesic import PIECES, WAVES
from latentstore.encoders.lbfgs import minimise
from latentstore.errors import InputError, NotFinite, NotSupported, ShapeMismatch


@dataclass(frozen=True)
class NoOptions:
    pass


class Known(Model):
    """A decoder that is a formula."""

    kind = "known"
    takes_vectors = True

    def __init__(self, dim: int, width: int) -> None:
        super().__init__((width,), dim, NoOptions())
        self.register_buffer("matrix", torch.from_numpy(np.random.default_rng(0).normal(size=(dim, width))).float())


class Sphere(Known):
    """(polar angle, azimuth) to the unit sphere: geodesics are great circles."""

    def decode(self, z: Tensor) -> Tensor:
        theta, phi = z[:, 0], z[:, 1]
        return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=1)


class Linear(Known):
    def decode(self, z: Tensor) -> Tensor:
        return z @ self.matrix


class Deaf(Known):
    """A sphere, and a third dimension that hardly matters, but makes the sphere smaller where it is large."""

    def decode(self, z: Tensor) -> Tensor:
        return Sphere.decode(self, z) * torch.exp(-0.01 * z[:, 2:].square())


class Constant(Known):
    def decode(self, z: Tensor) -> Tensor:
        return 0 * z @ self.matrix


class Torn(Known):
    """No gradient comes back."""

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.matrix).detach()


AROUND = np.random.default_rng(1).uniform([1, -1], [2, 1], (50, 2)).astype(np.float32)
STARTS = np.array([[0.7, -1.2], [0.5, 0.0], [1.2, 0.3]], np.float32)
ENDS = np.array([[0.7, 1.2], [1.0, 2.0], [2.4, 1.1]], np.float32)


def on_sphere(z: np.ndarray) -> np.ndarray:
    theta, phi = z[..., 0], z[..., 1]
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def test_on_a_sphere_the_shortest_path_is_the_great_circle():
    found = GeodesicSolver(Encoder(Sphere(2, 3)), AROUND, floor=0).solve(STARTS, ENDS, tolerance=1e-5)
    assert found.converged.all()
    a, b = on_sphere(STARTS.astype(float)), on_sphere(ENDS.astype(float))
    angle = np.arccos((a * b).sum(axis=1))
    # n equal chords of an arc ω: n Σ |chord|² = (2n sin(ω/2n))²
    np.testing.assert_allclose(found.energy, (2 * PIECES * np.sin(angle / 2 / PIECES)) ** 2, rtol=2e-4)
    assert (found.lerp_energy > 1.01 * found.energy).all(), "control: the straight line in the angles is longer"
    walk = on_sphere(found.at(np.linspace(0, 1, 25)).astype(float))
    normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b), axis=1, keepdims=True)
    assert np.abs(np.einsum("btx,bx->bt", walk, normal)).max() < 5e-3
    steps = np.linalg.norm(np.diff(walk, axis=1), axis=2)
    assert (steps.max(axis=1) / steps.min(axis=1)).max() < 1.1  # a geodesic's decoded speed is constant
    line = on_sphere(np.linspace(STARTS, ENDS, 25).astype(float))
    assert np.abs(np.einsum("tbx,bx->bt", line, normal)).max() > 0.05, "control"


def test_under_a_linear_decoder_the_shortest_path_is_the_straight_line():
    generator = np.random.default_rng(2)
    starts, ends = generator.normal(size=(2, 6, 5)).astype(np.float32)
    found = GeodesicSolver(Encoder(Linear(5, 9)), starts, floor=0).solve(starts, ends)
    np.testing.assert_allclose(found.energy, found.lerp_energy, rtol=1e-6)
    t = np.linspace(0, 1, 7)
    np.testing.assert_allclose(found.at(t), (1 - t)[:, None] * starts[:, None] + t[:, None] * ends[:, None], atol=1e-4)
    assert (found.at(t)[:, [0, -1]] == np.stack([starts, ends], axis=1)).all()


def test_the_mean_metric_is_the_jacobians_product():
    encoder = Encoder(Linear(5, 9))
    truth = encoder.model.matrix @ encoder.model.matrix.T
    solver = GeodesicSolver(encoder, np.zeros((3, 5), np.float32), floor=0.5)
    size = float(truth.diagonal().mean())
    assert solver.floor == pytest.approx(0.5 * size, rel=0.1)
    np.testing.assert_allclose(solver.metric, truth + 0.5 * size * torch.eye(5), atol=0.1 * size)


def test_the_floor_keeps_a_path_from_leaving_by_a_dimension_that_hardly_counts():
    around = np.concatenate([AROUND, np.zeros((50, 1), np.float32)], axis=1)
    # off the symmetry plane, where the gradient of the third dimension is not 0
    starts, ends = (np.concatenate([x, np.full((3, 1), 0.5, np.float32)], axis=1) for x in (STARTS, ENDS))
    kept = GeodesicSolver(Encoder(Deaf(3, 3)), around).solve(starts, ends)
    free = GeodesicSolver(Encoder(Deaf(3, 3)), around, floor=1e-6).solve(starts, ends, tolerance=1e-4, iterations=1000)
    t = np.linspace(0, 1, 9)
    assert np.abs(kept.at(t)[..., 2] - 0.5).max() < 1
    assert np.abs(free.at(t)[..., 2] - 0.5).max() > 3, "control: without it the path goes where the sphere is small"


def test_a_pair_is_solved_alike_alone_and_among_others():
    generator = np.random.default_rng(3)
    starts, ends = generator.uniform([0.5, -1], [2.5, 1], (2, 60, 2)).astype(np.float32)
    solver = GeodesicSolver(Encoder(Sphere(2, 3)), AROUND)
    together = solver.solve(starts, ends)
    for i in (0, 31, 59):
        alone = solver.solve(starts[i : i + 1], ends[i : i + 1])
        np.testing.assert_allclose(alone.coefficients[0], together.coefficients[i], atol=1e-3)
        assert alone.iterations[0] == together.iterations[i]


def test_no_way_to_go_and_nothing_to_solve():
    solver = GeodesicSolver(Encoder(Sphere(2, 3)), AROUND)
    still = solver.solve(STARTS, STARTS)
    assert still.converged.all()
    assert (still.energy == 0).all()
    assert (still.at(np.linspace(0, 1, 4)) == STARTS[:, None]).all()
    near = solver.solve(STARTS, STARTS + np.float32(1e-6))  # what is left is rounding
    assert near.converged.all()
    none = solver.solve(STARTS[:0], ENDS[:0])
    assert none.coefficients.shape == (0, WAVES, 2)
    assert none.at(np.linspace(0, 1, 4)).shape == (0, 4, 2)


def test_a_path_that_had_no_time_says_so():
    found = GeodesicSolver(Encoder(Sphere(2, 3)), AROUND).solve(STARTS, ENDS, tolerance=1e-6, iterations=1)
    assert not found.converged.any()
    assert (found.residual > 1e-6).all()
    assert (found.iterations == 1).all()


def test_refusals():
    with pytest.raises(NotSupported, match="without gradients"):
        GeodesicSolver(Encoder(Torn(2, 3)), AROUND)
    with pytest.raises(NotSupported, match="no decoder"):
        GeodesicSolver(Encoder(Known(2, 3)), AROUND)
    with pytest.raises(InputError, match="constant"):
        GeodesicSolver(Encoder(Constant(2, 3)), AROUND)
    with pytest.raises(InputError, match="0 reference latents"):
        GeodesicSolver(Encoder(Sphere(2, 3)), AROUND[:0])
    solver = GeodesicSolver(Encoder(Sphere(2, 3)), AROUND)
    with pytest.raises(ShapeMismatch, match="3 starts and 2 ends"):
        solver.solve(STARTS, ENDS[:2])
    with pytest.raises(NotFinite, match="ends row 1"):
        solver.solve(STARTS[:2], np.array([[1, 1], [1, np.nan]], np.float32))


def test_the_minimiser_ends_each_problem_at_its_own_minimum():
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(20, 6, 6, generator=generator, dtype=torch.float64)
    hessians = roots @ roots.mT + 0.1 * torch.eye(6, dtype=torch.float64)
    at = torch.randn(20, 6, generator=generator, dtype=torch.float64)

    def bowl(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        gradient = ((x - at[which])[:, None] @ hessians[which])[:, 0]
        return 1 + ((x - at[which]) * gradient).sum(1) / 2, gradient

    found = minimise(bowl, torch.zeros(20, 6, dtype=torch.float64), scale=0.1, tolerance=1e-14, iterations=300)
    assert found.converged.all()
    np.testing.assert_allclose(found.at, at, atol=1e-5)
    np.testing.assert_allclose(found.value, 1, atol=1e-10)
    assert len(set(found.iterations.tolist())) > 3  # each had its own end


def test_the_minimiser_follows_a_curved_valley_and_steps_back_from_what_is_not_finite():
    def valley(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Rosenbrock's, with a wall at x > 3."""
        x = x.detach().requires_grad_()
        value = 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2 + 1e-3
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return torch.where(x[:, 0] > 3, torch.nan, value).detach(), gradient

    start = torch.tensor([[-1.2, 1.0], [2.9, 0.0]], dtype=torch.float64)
    found = minimise(valley, start, scale=0.25, tolerance=1e-12, iterations=500)
    assert found.converged.all()
    np.testing.assert_allclose(found.at, 1, atol=1e-4)
