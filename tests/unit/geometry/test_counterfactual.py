"""The smallest move to another label: its closed form, its optimality, an independent solver, and its refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry import Softmax, fit_softmax, smallest_move


def classifier(c=5, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return Softmax(np.array([f"c{i}" for i in range(c)]), 2 * rng.normal(size=(c, d)), rng.normal(size=c))


def test_between_two_labels_it_is_the_way_along_the_normal():
    two = classifier(c=2)
    z = np.array([1.0, -2, 0.5, 3])
    target = int(1 - two.scores(z[None]).argmax())
    normal = two.weights[target] - two.weights[1 - target]
    gap = math.log(0.9 / 0.1) - (two.scores(z[None])[0] @ ([-1, 1] if target else [1, -1]))
    move = smallest_move(two, z, target, 0.9)
    np.testing.assert_allclose(move.end, z + gap * normal / (normal @ normal), atol=1e-8)
    assert move.length == pytest.approx(gap / np.linalg.norm(normal))
    assert move.confidence == pytest.approx(0.9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.9, 0.99]))
def test_no_shorter_move_is_found_by_another_solver(seed, confidence):
    many = classifier(seed=seed)
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=4)
    target = int(rng.integers(5))
    try:
        move = smallest_move(many, z, target, confidence)
    except DidNotConverge:
        assume(False)  # a label that lies between the others: see below
    assert many.probabilities(move.end[None])[0, target] >= confidence - 1e-7
    limit = {"type": "ineq", "fun": lambda x: many.probabilities(x[None])[0, target] - confidence}
    found = minimize(
        lambda x: ((x - z) ** 2).sum(), move.end + 0.1 * rng.normal(size=4), constraints=limit, method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    if found.success and limit["fun"](found.x) > -1e-6:
        assert move.length <= math.sqrt(found.fun) + 1e-4
    # 200 points on the way there and around it are either as far, or not yet called so
    for _ in range(200):
        other = z + rng.uniform(0, 0.999) * (move.end - z) + rng.normal(size=4) * 0.2 * move.length
        nearer = np.linalg.norm(other - z) < move.length * 0.999
        assert not (nearer and many.probabilities(other[None])[0, target] > confidence + 1e-6)


def test_more_confidence_is_farther_and_enough_of_it_is_no_move():
    many = classifier(seed=1)
    z = np.zeros(4)
    target = int(many.scores(z[None]).argmin())
    lengths = [smallest_move(many, z, target, tau).length for tau in (0.3, 0.5, 0.9, 0.99, 0.999)]
    assert lengths == sorted(lengths)
    assert lengths[0] > 0
    end = smallest_move(many, z, target, 0.99).end
    again = smallest_move(many, end, target, 0.9)
    assert (again.length, again.iterations) == (0.0, 0)
    np.testing.assert_array_equal(again.end, end)


def test_a_label_that_never_wins_is_said():
    # label 1 lies between the two others: nowhere is it likelier than one half
    between = Softmax(np.array(["a", "b", "c"]), np.array([[-1.0, 0], [0, 0], [1, 0]]), np.zeros(3))
    with pytest.raises(DidNotConverge, match="ask for a lower confidence") as error:
        smallest_move(between, np.array([3.0, 0]), 1, 0.9)
    assert error.value.residual > 1e-3
    assert smallest_move(between, np.array([3.0, 0]), 1, 0.3).end[0] < 1


def test_refusals():
    with pytest.raises(InputError, match="confidence is 1"):
        smallest_move(classifier(), np.zeros(4), 0, 1.0)
    with pytest.raises(InputError, match="another label"):
        smallest_move(classifier(c=1), np.zeros(4), 0, 0.9)


def test_the_classifier_is_the_maximum_of_its_likelihood():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 2000)
    x = (rng.normal(size=(2000, 3)) * [1, 5, 0.2] + 2 * np.eye(3)[label] * [1, 5, 0.2] + 40).astype(np.float32)
    found = fit_softmax(x, np.array(["a", "b", "c"])[label])

    def loss(weights, offsets):
        chances = Softmax(found.names, weights, offsets).probabilities(x)
        return -np.log(chances[np.arange(2000), label]).mean()

    best = loss(found.weights, found.offsets)
    assert best < loss(found.weights * 0.5, found.offsets * 0.5)
    centre = x.mean(0)
    for _ in range(30):
        change = rng.normal(size=(3, 3)) / [1, 5, 0.2]
        turned = found.offsets - 0.05 * change @ centre  # turned about the middle of the data
        assert loss(found.weights + 0.05 * change, turned) > best
    assert (found.predict(x) == np.array(["a", "b", "c"])[label]).mean() > 0.8
    np.testing.assert_allclose(found.probabilities(x).sum(1), 1)
