"""Flows: moments of a known distribution, labels, seeds, truncation, and weights that were changed."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.encoders import Flow, train_flow
from latentstore.errors import ChecksumMismatch, ConfigInvalid, InputError, ManifestInvalid, UnknownLabel
from latentstore.geometry import Mixture, fit_gaussian

RNG = np.random.default_rng(0)
SIDE = np.where(RNG.random(4_000) < 0.25, 1, -1)  # two modes, one three times as heavy
TWO = np.stack([3.0 * SIDE + 0.3 * RNG.standard_normal(4_000), 0.3 * RNG.standard_normal(4_000) + 5], 1)
TWO = TWO.astype(np.float32)
NONE = np.zeros(4_000, np.int64)
QUICK = {"steps": 400, "batch_size": 256, "hidden": 64, "blocks": 2, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Starts from one Gaussian, which fills the gap between the modes."""
    return train_flow(TWO, NONE, {None: fit_gaussian(TWO)}, **QUICK)[0]


def test_samples_have_the_moments_of_two_modes(flow):
    drawn = flow.draw(8_000, np.random.default_rng(1))
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(0), TWO.mean(0), atol=0.2)
    np.testing.assert_allclose(drawn.std(0), TWO.std(0), rtol=0.1)
    assert (drawn[:, 0] > 0).mean() == pytest.approx(0.25, abs=0.04)
    gap = (np.abs(drawn[:, 0]) < 1.5).mean()
    started = (np.abs(fit_gaussian(TWO).draw(8_000, np.random.default_rng(1))[:, 0]) < 1.5).mean()
    assert gap < 0.06 < 0.3 < started, "control: the Gaussian that it starts from fills the gap"


def test_an_untrained_flow_draws_from_its_mixture():
    mixture = Mixture.union([fit_gaussian(TWO[SIDE < 0]), fit_gaussian(TWO[SIDE > 0])], np.array([3, 1]))
    flow, _ = train_flow(TWO, NONE, {None: mixture}, steps=1, learning_rate=1e-8, hidden=16, blocks=1)
    np.testing.assert_allclose(
        flow.draw(500, np.random.default_rng(0)), mixture.draw(500, np.random.default_rng(0)), atol=1e-3
    )


def test_seeds_labels_and_truncation(flow):
    one, same, other = (flow.draw(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(flow.draw(50, np.random.default_rng(0), truncation=0), axis=0)) == 1
    labels = (SIDE > 0).astype(np.int64)
    parts = {"left": fit_gaussian(TWO[labels == 0]), "right": fit_gaussian(TWO[labels == 1])}
    of_label, _ = train_flow(TWO, labels, parts, **{**QUICK, "steps": 30})
    assert (of_label.draw(200, np.random.default_rng(0), label="right")[:, 0] > 1).all()
    assert (of_label.draw(200, np.random.default_rng(0), label="left")[:, 0] < -1).all()
    assert (of_label.draw(4_000, np.random.default_rng(0))[:, 0] > 0).mean() == pytest.approx(0.25, abs=0.03)
    with pytest.raises(UnknownLabel, match="did you mean 'right'"):
        of_label.draw(1, np.random.default_rng(0), label="rigth")


def test_training_is_of_its_seed():
    short = {**QUICK, "steps": 5}
    flows = [train_flow(TWO, NONE, {None: fit_gaussian(TWO)}, seed=s, **short)[0].to_bytes() for s in (0, 0, 1)]
    assert flows[0] == flows[1] != flows[2]


def test_what_was_stored_draws_the_same(flow):
    again = Flow.from_bytes(flow.spec, flow.to_bytes())
    np.testing.assert_array_equal(again.draw(9, np.random.default_rng(3)), flow.draw(9, np.random.default_rng(3)))
    with pytest.raises(ChecksumMismatch, match="fit it again"):
        Flow.from_bytes(flow.spec, flow.to_bytes()[:100])
    with pytest.raises(ManifestInvalid, match="does not fit"):
        Flow.from_bytes({**flow.spec, "dim": 3}, flow.to_bytes())


def test_refusals():
    with pytest.raises(ConfigInvalid, match="stepss"):
        train_flow(TWO, NONE, {None: fit_gaussian(TWO)}, stepss=3)
    with pytest.raises(InputError, match="at least 2"):
        train_flow(TWO[:1], NONE[:1], {None: fit_gaussian(TWO)})
