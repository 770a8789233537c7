"""The contrastive encoder: the loss as the paper writes it, changes that keep what is shown, and what labels add."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentstore.encoders import load_encoder, save_encoder, train
from latentstore.encoders.augment import AugmentOptions, augment
from latentstore.encoders.contrastive import alike, contrastive_loss
from latentstore.errors import NotSupported
from latentstore.evaluate import knn_accuracy
from tests.unit.encoders.conftest import blobs

QUICK = {"dim": 6, "hidden": (32,), "components": 32, "batch_size": 64, "precision": "float32", "learning_rate": 5e-3}


def test_the_loss_is_equation_2_of_khosla() -> None:
    """L_out, summed over i and over its positives one by one, in float64."""
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(8, 5, generator=generator), dim=1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2])
    tau, total = 0.3, 0.0
    for i in range(8):
        others = [a for a in range(8) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        below = np.log(sum(np.exp(float(z[i] @ z[a]) / tau) for a in others))
        total -= sum(float(z[i] @ z[p]) / tau - below for p in positives) / len(positives)
    found = contrastive_loss(z, labels[:, None] == labels, tau)
    assert float(found) == pytest.approx(total / 8, rel=1e-5)


def test_two_views_alone_are_nt_xent() -> None:
    """One positive each: the cross-entropy of finding the other view, equation 1 of Chen et al."""
    generator = torch.Generator().manual_seed(1)
    z = torch.nn.functional.normalize(torch.randn(10, 4, generator=generator), dim=1)
    scores = (z @ z.T / 0.1).fill_diagonal_(float("-inf"))
    expected = torch.nn.functional.cross_entropy(scores, (torch.arange(10) + 5) % 10)
    positive = torch.eye(5, dtype=torch.bool).repeat(2, 2)
    torch.testing.assert_close(contrastive_loss(z, positive, 0.1), expected)


def test_nearest_of_the_batch_are_alike_in_either_order() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    found = alike(features, 1)
    assert found.tolist() == [
        [True, True, False, False],
        [True, True, True, False],  # 2's nearest is 1, though 1's is 0
        [False, True, True, True],
        [False, False, True, True],
    ]
    assert torch.equal(alike(features, 0), torch.eye(4, dtype=torch.bool))


def test_changes_are_drawn_by_the_generator_and_small_ones_are_small() -> None:
    x = torch.from_numpy(blobs(32, (24, 20, 3))).permute(0, 3, 1, 2).float() / 255

    def changed(seed: int, **options: object) -> torch.Tensor:
        none = {"shift": 0.0, "zoom": 0.0, "contrast": 0.0, "mirror": False}
        return augment(x, AugmentOptions(**{**none, **options}), torch.Generator().manual_seed(seed))

    torch.testing.assert_close(changed(0), x, atol=1e-5, rtol=0)
    mirrored = changed(0, mirror=True)
    same = (mirrored - x).flatten(1).abs().amax(1) < 1e-4
    other = (mirrored - x.flip(3)).flatten(1).abs().amax(1) < 1e-4
    assert (same ^ other).all() and 4 < int(same.sum()) < 28  # each is itself or its mirror image, both occur
    all_of_it = {"shift": 0.1, "zoom": 0.1, "contrast": 0.2, "mirror": True}
    one = changed(1, **all_of_it)
    assert torch.equal(one, changed(1, **all_of_it)) and not torch.equal(one, changed(2, **all_of_it))
    assert one.shape == x.shape and one.min() >= 0 and one.max() <= 1
    moved = changed(0, shift=0.1)
    centre = (x.sum(1) * torch.arange(20.0)).sum((1, 2)) / x.sum((1, 2, 3))
    after = (moved.sum(1) * torch.arange(20.0)).sum((1, 2)) / moved.sum((1, 2, 3))
    assert 0.2 < (after - centre).abs().max() < 2.5  # at most a tenth of 20 pixels, and the spot's tail at the border


def labelled(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spots, and whether they lie on the one diagonal or the other: pictures alike in edges differ in label."""
    items = blobs(n, (16, 16, 1), seed)
    weights = items[..., 0] / items.sum(axis=(1, 2, 3))[:, None, None]
    below, right = (weights.sum(axis).dot(np.arange(16)) > 7.5 for axis in (2, 1))
    return items, np.where(below == right, "diagonal", "other")


def test_labels_draw_together_what_looks_unlike() -> None:
    items, labels = labelled(800, 0)
    new, truth = labelled(300, 1)
    how = {**QUICK, "epochs": 8, "mirror": False, "shift": 0.02}

    def far_from_diagonal(encoder: object) -> float:
        z, w = encoder.encode(items), encoder.encode(new)  # type: ignore[attr-defined]
        return knn_accuracy(z, labels, w, truth, k=(150,), metric="cosine")[150]  # more than a corner's worth of votes

    with_labels, record = train("contrastive", items, labels=labels, edges=0.0, neighbours=0, **how)
    without, _ = train("contrastive", items, **how)
    assert far_from_diagonal(with_labels) > 0.9
    assert far_from_diagonal(without) < far_from_diagonal(with_labels) - 0.02
    assert record.history[-1]["supervised"] < record.history[0]["supervised"]
    np.testing.assert_allclose(np.linalg.norm(with_labels.encode(new), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("shape", "precision"), [((16, 16, 1), "bfloat16"), ((40, 33, 3), "float32")])
def test_any_size_and_colour_repeats_and_decodes_nothing(
    shape: tuple[int, int, int], precision: str, tmp_path: object
) -> None:
    items = blobs(130, shape)
    how = {**QUICK, "epochs": 1, "precision": precision}
    encoder, _ = train("contrastive", items, **how)
    assert train("contrastive", items, **how)[0].fingerprint == encoder.fingerprint
    assert train("contrastive", items, seed=1, **how)[0].fingerprint != encoder.fingerprint
    folder = save_encoder(encoder, f"{tmp_path}/saved")
    np.testing.assert_array_equal(load_encoder(folder).encode(items), encoder.encode(items))
    with pytest.raises(NotSupported, match="'contrastive' has no decoder; train an autoencoder or a vae"):
        encoder.decode(np.zeros((1, 6), np.float32))


def test_a_mirror_image_is_learned_to_be_the_same() -> None:
    items, new = blobs(600, (16, 16, 1)), blobs(100, (16, 16, 1), seed=5)

    def apart(mirror: bool) -> float:
        how = {**QUICK, "epochs": 6, "mirror": mirror, "edges": 0.0, "neighbours": 0}
        encoder, _ = train("contrastive", items, **how)
        z, other = encoder.encode(new), encoder.encode(new[:, :, ::-1])
        return float(np.mean(1 - (z * other).sum(1)))

    assert apart(True) < 0.3 * apart(False)
