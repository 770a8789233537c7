"""Edges beside pixels: what the histograms of gradients say, and what labels add."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentstore.encoders import Encoder, train
from latentstore.encoders.gradients import BLUNT, FAINT, Gradients
from latentstore.errors import InputError, NotSupported, ShapeMismatch
from latentstore.evaluate.probes import linear_probe
from tests.unit.encoders.conftest import blobs

QUICK = {"dim": 3, "epochs": 12, "hidden": (32,), "batch_size": 50, "precision": "float32", "learning_rate": 5e-3}


def ramp(angle: float, side: int = 32) -> torch.Tensor:
    """An image (1, 1, side, side) that gets brighter in one direction only."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (0.3 + 0.02 * (x * np.cos(angle) + y * np.sin(angle)))[None, None].float()


@pytest.mark.parametrize("number", range(4))
def test_a_ramp_fills_the_bin_of_its_direction(number: int) -> None:
    """One direction everywhere: its bin holds all of a cell's energy, so it is 1, and every other 0."""
    gradients = Gradients((32, 32, 1), bins=4)

    def inside(angle: float) -> torch.Tensor:  # not near the border, which sees half a gradient
        return gradients(ramp(angle)).reshape(4, 8, 8)[:, 2:-2, 2:-2]

    found, expected = inside(number * np.pi / 4), torch.zeros(4, 4, 4)
    share = 0.02 / np.hypot(0.02, FAINT)  # g / √(g² + ε²) of a gradient g
    expected[number] = np.sqrt(share + BLUNT) - np.sqrt(BLUNT)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    between = inside((number + 0.5) * np.pi / 4)
    torch.testing.assert_close(between[number], between[(number + 1) % 4], atol=2e-3, rtol=0)  # shared by both


def test_brightness_and_contrast_say_nothing() -> None:
    gradients = Gradients((28, 28, 1), bins=8)
    x = torch.from_numpy(blobs(8)).permute(0, 3, 1, 2).float() / 255
    for other in (0.5 * x + 0.4, 1 - x):  # paler; the negative: directions have no sign
        torch.testing.assert_close(gradients(other), gradients(x), atol=0.2, rtol=0)
        assert (gradients(other) - gradients(x)).abs().mean() < 0.02
    assert (gradients(x.transpose(2, 3)) - gradients(x)).abs().mean() > 0.05  # control: another shape


def test_colours_agree_on_the_direction_of_the_strongest() -> None:
    gradients = Gradients((32, 32, 3), bins=4)
    upright, level = ramp(0.0), ramp(np.pi / 2)
    colour = torch.cat([0.2 * level, upright, 0.2 * level], 1)
    one = Gradients((32, 32, 1), bins=4)
    torch.testing.assert_close(gradients(colour), one(upright), atol=0.02, rtol=0)
    assert not torch.allclose(gradients(colour), one(level), atol=0.1)


def labelled(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spots, and whether they lie in the upper left or lower right quarter: no plane parts those from the others."""
    items = blobs(n, (12, 12, 1), seed)
    weights = items[..., 0] / items.sum(axis=(1, 2, 3))[:, None, None]
    below, right = (weights.sum(axis).dot(np.arange(12)) > 5.5 for axis in (2, 1))
    return items, np.where(below == right, "diagonal", "other")


def test_labels_draw_apart_what_no_plane_parts() -> None:
    items, labels = labelled(1500, 0)
    new, truth = labelled(300, 1)

    def told(encoder: Encoder) -> float:
        return linear_probe(encoder.encode(items), labels, encoder.encode(new), truth)

    with_labels, record = train("hybrid", items, labels=labels, label_weight=0.1, **QUICK)
    without, _ = train("hybrid", items, **QUICK)
    assert told(with_labels) > 0.9 > 0.8 > told(without)
    assert record.history[-1]["cross_entropy"] < 0.5 < record.history[0]["cross_entropy"]
    assert with_labels.model.options.classes == 2
    shuffled, _ = train("hybrid", items, labels=np.roll(labels, 1), label_weight=0.1, **QUICK)
    assert shuffled.fingerprint != with_labels.fingerprint  # the labels belong to the items


def test_labels_that_do_not_fit_are_refused() -> None:
    items = blobs(20, (12, 12, 1))
    with pytest.raises(NotSupported, match="'autoencoder' learns nothing from labels"):
        train("autoencoder", items, labels=["a"] * 20, **QUICK)
    with pytest.raises(ShapeMismatch, match="19 labels for 20 items"):
        train("hybrid", items, labels=["a"] * 19, **QUICK)
    with pytest.raises(InputError, match="item 3 has no label"):
        train("hybrid", items, labels=["a", "b", "a", None, *["b"] * 16], **QUICK)
