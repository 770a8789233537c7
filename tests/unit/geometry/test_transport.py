"""Transport by its theorems: the Gaussian in the middle, maps that push one to the other, matches of least cost."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from latentstore.errors import ConfigInvalid, DidNotConverge, InputError, NotFinite, ShapeMismatch
from latentstore.geometry import (
    Gaussian,
    GaussianTransport,
    bures_wasserstein,
    cloud_barycenter,
    image_barycenter,
    match,
    slerp,
    spherical_mean,
)

RNG = np.random.default_rng(3)
AWAY = np.array([8.0, -4.0])


def blob(row: float, column: float, width: float = 2.0, size: tuple[int, int] = (28, 28)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))[..., None]


def moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = np.argwhere(np.ones(image.shape[:2])).astype(float)
    shares = image[..., 0].ravel() / image.sum()
    mean = shares @ places
    return mean, np.sqrt(shares @ (places - mean) ** 2)


def covariance(d: int, seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((d, d))
    return factor @ factor.T + 0.1 * np.eye(d)


@pytest.mark.parametrize("t", [0.25, 0.5])
def test_between_two_shifted_gaussians_lies_the_gaussian_in_between(t):
    one, other = blob(9, 8), blob(17, 20)
    found = image_barycenter(np.stack([one, other]), np.array([1 - t, t]))
    expected = blob(9 + 8 * t, 8 + 12 * t)
    np.testing.assert_allclose(found.image, expected, atol=0.04)
    mean, deviation = moments(found.image)
    np.testing.assert_allclose(mean, [9 + 8 * t, 8 + 12 * t], atol=0.02)
    np.testing.assert_allclose(deviation, 2, atol=0.05)  # not blurred: plain Sinkhorn would give 2.4
    assert found.mass_error < 1e-4
    assert found.residual < 2e-5
    faded = (1 - t) * one + t * other
    assert np.abs(faded - expected).max() > 0.3, "control: a cross-fade is another picture"


def test_between_gaussians_of_two_widths_lies_one_of_the_mean_width():
    found = image_barycenter(np.stack([blob(14, 14, 1.5), blob(14, 14, 3.5)]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(moments(found.image)[1], 2.5, atol=0.06)


def test_mass_is_the_weighted_mean_and_no_pixel_is_whiter_than_white():
    wide, narrow = np.zeros((28, 28, 1)), np.zeros((28, 28, 1))
    wide[4:24, 4:24] = 0.9
    narrow[12:15, 5:22] = 1.0
    found = image_barycenter(np.stack([wide, narrow]), np.array([3, 1]))
    assert found.image.sum() == pytest.approx(0.75 * wide.sum() + 0.25 * narrow.sum(), rel=1e-5)
    assert found.image.max() <= 1
    assert found.image.dtype == np.float32


def test_an_image_of_weight_one_is_itself_and_colours_are_moved_each():
    red, blue = np.zeros((20, 14, 3)), np.zeros((20, 14, 3))
    red[..., :1], blue[..., 2:] = blob(5, 4, size=(20, 14)), blob(12, 9, size=(20, 14))
    both = np.stack([red, blue])
    np.testing.assert_allclose(image_barycenter(both, np.array([1, 0])).image, red, atol=1e-7)
    half = image_barycenter(both, np.array([0.5, 0.5])).image  # no channel has two images to move between
    np.testing.assert_allclose(half, (red + blue) / 2, atol=1e-6)
    pair = np.stack([red, np.roll(red, 4, axis=1)])
    moved = image_barycenter(pair, np.array([0.5, 0.5])).image  # pictures need not be square
    np.testing.assert_allclose(moved[..., 0], np.roll(red, 2, axis=1)[..., 0], atol=0.05)
    assert not moved[..., 1:].any()


def test_dark_ink_is_bright_ink_turned_over():
    pair, half = np.stack([blob(9, 8), blob(17, 20)]), np.array([0.5, 0.5])
    turned = image_barycenter(1 - pair, half, ink="dark").image
    np.testing.assert_allclose(turned, 1 - image_barycenter(pair, half).image, atol=1e-4)


def test_the_log_domain_agrees_with_the_plain_one(monkeypatch):
    pair, half = np.stack([blob(5, 5, 1.5, (16, 16)), blob(9, 10, 1.5, (16, 16))]), np.array([0.5, 0.5])
    plain = image_barycenter(pair, half, regularisation=8e-3).image
    monkeypatch.setattr("latentstore.geometry.image_transport.LOG_DOMAIN", 1.0)
    np.testing.assert_allclose(image_barycenter(pair, half, regularisation=8e-3).image, plain, atol=2e-3)


def test_barycenters_that_do_not_converge_say_so():
    pair, half = np.stack([blob(3, 3), blob(24, 24)]), np.array([0.5, 0.5])
    with pytest.raises(DidNotConverge, match="raise it, the tolerance or max_iterations"):
        image_barycenter(pair, half, max_iterations=30, tolerance=1e-9)


@pytest.mark.parametrize(
    ("images", "weights", "options", "error", "message"),
    [
        (np.ones((2, 4, 4)), [1, 1], {}, ShapeMismatch, r"pass \(k, h, w, c\)"),
        (np.ones((2, 4, 4, 1)), [1, 1, 1], {}, ShapeMismatch, r"weights \(3,\)"),
        (np.full((1, 4, 4, 1), np.nan), [1], {}, NotFinite, "NaN"),
        (np.full((1, 4, 4, 1), 1.5), [1], {}, InputError, r"in \[0, 1\]"),
        (np.ones((2, 4, 4, 1)), [1, -1], {}, InputError, "none below 0"),
        (np.ones((2, 4, 4, 1)), [0, 0], {}, InputError, "one at least above"),
        (np.ones((1, 4, 4, 1)), [1], {"ink": "blue"}, ConfigInvalid, "'dark' on a bright"),
        (np.ones((1, 4, 4, 1)), [1], {"regularisation": 0.0}, ConfigInvalid, "regularisation 0.0"),
    ],
)
def test_what_is_no_image_is_refused(images, weights, options, error, message):
    with pytest.raises(error, match=message):
        image_barycenter(images, np.array(weights, float), **options)


def test_the_map_pushes_one_gaussian_to_the_other_exactly():
    a, b = (Gaussian(RNG.standard_normal(5), covariance(5, seed)) for seed in (0, 1))
    map_ = GaussianTransport(a, b)
    np.testing.assert_allclose(map_.matrix @ a.covariance @ map_.matrix, b.covariance, atol=1e-9)
    np.testing.assert_allclose(map_.matrix, map_.matrix.T, atol=1e-10)
    assert np.linalg.eigvalsh(map_.matrix).min() > 0
    np.testing.assert_allclose(map_(a.mean[None])[0], b.mean, atol=1e-12)
    shifted = a.covariance  # control: moving the mean alone leaves the first covariance
    assert np.abs(shifted - b.covariance).max() > 1
    x = RNG.standard_normal((3, 5))
    np.testing.assert_allclose(map_(x, 0.25), 0.75 * x + 0.25 * map_(x), atol=1e-12)


def test_the_map_and_its_cost_agree_with_pot():
    a, b = (Gaussian(RNG.standard_normal(4), covariance(4, seed)) for seed in (2, 3))
    from latentstore.geometry.image_transport import pot

    ours = GaussianTransport(a, b)
    A, shift = pot().gaussian.bures_wasserstein_mapping(a.mean, b.mean, a.covariance, b.covariance)
    np.testing.assert_allclose(ours.matrix, A, atol=1e-9)
    np.testing.assert_allclose(ours(np.zeros((1, 4)))[0], shift.ravel(), atol=1e-9)
    distance = pot().gaussian.bures_wasserstein_distance(a.mean, b.mean, a.covariance, b.covariance)
    assert ours.cost == pytest.approx(float(distance) ** 2, rel=1e-9)
    x = np.random.default_rng(0).multivariate_normal(a.mean, a.covariance, 200_000)
    assert np.square(ours(x) - x).sum(axis=1).mean() == pytest.approx(ours.cost, rel=0.02)


def test_bures_wasserstein_of_known_gaussians():
    zero, three = np.zeros(3), np.full(3, 3.0)
    assert bures_wasserstein(Gaussian(zero, np.eye(3)), Gaussian(three, np.eye(3))) == pytest.approx(27)
    assert bures_wasserstein(Gaussian(zero, np.eye(3)), Gaussian(zero, 4 * np.eye(3))) == pytest.approx(3)
    flat = np.diag([1.0, 0, 0])  # singular: a general matrix root would stumble
    assert bures_wasserstein(Gaussian(zero, flat), Gaussian(zero, 4 * flat)) == pytest.approx(1)
    assert bures_wasserstein(Gaussian(zero, flat), Gaussian(zero, flat)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ShapeMismatch, match="2 and 3 dimensions"):
        bures_wasserstein(Gaussian(zero[:2], np.eye(2)), Gaussian(zero, np.eye(3)))


def test_fitted_gaussians_are_shrunk_where_items_are_few():
    truth = covariance(10, 4)
    many = Gaussian.fit(RNG.multivariate_normal(np.zeros(10), truth, 20_000))
    few = Gaussian.fit(RNG.multivariate_normal(np.zeros(10), truth, 8))
    np.testing.assert_allclose(many.covariance, truth, atol=0.6)
    assert many.shrinkage < 0.01 < few.shrinkage
    assert np.linalg.eigvalsh(few.covariance).min() > 1e-3
    with pytest.raises(InputError, match="1 latents"):
        Gaussian.fit(np.zeros((1, 3)))


def test_a_match_costs_least_of_all_permutations():
    a, b = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 3)) + 1
    found = match(a, b)
    assert sorted(found) == list(range(6))
    costs = [np.square(a - b[list(order)]).sum() for order in itertools.permutations(range(6))]
    assert np.square(a - b[found]).sum() == pytest.approx(min(costs))
    assert np.median(costs) > 1.05 * min(costs), "control: most matches cost more"
    shuffled = RNG.permutation(300)
    many = RNG.standard_normal((300, 8))
    np.testing.assert_array_equal(shuffled[match(many, many[shuffled])], np.arange(300))
    with pytest.raises(ShapeMismatch, match="equally many"):
        match(a, b[:5])
    with pytest.raises(InputError, match="0 latents to match"):
        match(a[:0], b[:0])


def test_a_cloud_between_two_shifted_clouds_is_the_cloud_shifted_half_way():
    cloud = RNG.standard_normal((40, 2))
    found = cloud_barycenter([cloud, RNG.permutation(cloud) + AWAY], np.array([3, 1]))
    expected = cloud + AWAY / 4
    order = match(expected, found.points)
    np.testing.assert_allclose(found.points[order], expected, atol=1e-9)
    assert found.cost == pytest.approx(0.75 * 5 + 0.25 * 45, rel=1e-9)  # Σ wᵢ |shiftᵢ|²
    fewer = cloud_barycenter([cloud, cloud + AWAY], np.array([1, 1]), points=10, tolerance=1e-5)
    assert fewer.points.shape == (10, 2)
    np.testing.assert_allclose(fewer.points.mean(axis=0), cloud.mean(axis=0) + np.array([4, -2]), atol=1e-6)


def test_clouds_are_refused_and_solvers_stop_aloud():
    cloud = RNG.standard_normal((30, 2))
    with pytest.raises(ShapeMismatch, match=r"\[2, 3\] dimensions"):
        cloud_barycenter([cloud, np.zeros((4, 3))], np.array([1, 1]))
    with pytest.raises(ShapeMismatch, match="weights"):
        cloud_barycenter([cloud], np.array([1, 1]))
    with pytest.raises(InputError, match="none below 0"):
        cloud_barycenter([cloud], np.array([-1]))
    with pytest.raises(DidNotConverge, match="still moves"):
        cloud_barycenter([cloud, cloud[:13] * 3], np.array([1, 1]), max_iterations=1)


def test_the_spherical_mean_of_two_is_slerp_and_of_three_the_pole():
    a, b = np.array([2.0, 0, 0]), np.array([0, 4.0, 0])
    np.testing.assert_allclose(spherical_mean(np.stack([a, b]), np.array([0.7, 0.3])), slerp(a, b, 0.3)[0], atol=1e-9)
    ring = np.array([[np.cos(t), np.sin(t), 0.5] for t in np.arange(3) * 2 * np.pi / 3])
    np.testing.assert_allclose(spherical_mean(ring, np.ones(3)), [0, 0, np.linalg.norm(ring[0])], atol=1e-9)
    with pytest.raises(InputError, match="cancel"):
        spherical_mean(np.stack([a, -a]), np.ones(2))
    with pytest.raises(DidNotConverge, match="lie nearer together"):
        spherical_mean(RNG.standard_normal((5, 3)) + 1, np.arange(1.0, 6), max_iterations=1)


def test_pot_loads_nothing_heavy_and_says_nothing():
    code = (
        "import sys, warnings; warnings.simplefilter('error'); import os; before = dict(os.environ)\n"
        "from latentstore.geometry.image_transport import pot; pot()\n"
        "print(*sorted({'torch', 'jax', 'tensorflow', 'cupy'} & set(sys.modules)), before == dict(os.environ))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
    assert done.stderr == ""
