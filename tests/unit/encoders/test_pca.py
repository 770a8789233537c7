from __future__ import annotations

import numpy as np
import pytest

from latentstore.encoders import train
from latentstore.errors import ConfigInvalid, NotSupported
from tests.unit.encoders.conftest import blobs


def centred(items: np.ndarray) -> np.ndarray:
    flat = items.reshape(len(items), -1).astype(np.float64) / 255
    return flat - flat.mean(axis=0)


@pytest.mark.parametrize("exact_width", [4096, 1], ids=["exact", "randomised"])
def test_reconstruction_error_is_the_discarded_variance(exact_width: int) -> None:
    """Eckart–Young: the error of the best rank-d approximation is the sum of the squared singular values beyond d."""
    items = np.random.default_rng(0).random((300, 40)).astype(np.float32) @ np.diag(np.linspace(3, 0.1, 40))
    items = items.astype(np.float32)
    singular = np.linalg.svd((items - items.mean(axis=0)).astype(np.float64), compute_uv=False)
    encoder, _ = train("pca", items, dim=10, exact_width=exact_width)
    error = float(((encoder.decode(encoder.encode(items)) - items) ** 2).sum())
    assert error == pytest.approx((singular[10:] ** 2).sum(), rel=1e-3)
    worse, _ = train("pca", items, dim=9, exact_width=exact_width)  # control: one direction less must cost s₁₀²
    more = float(((worse.decode(worse.encode(items)) - items) ** 2).sum())
    assert more - error == pytest.approx(singular[9] ** 2, rel=1e-2)


def test_latents_are_those_of_the_svd() -> None:
    items = blobs(200, (9, 7, 3))
    encoder, record = train("pca", items, dim=5)
    left, singular, right = np.linalg.svd(centred(items), full_matrices=False)
    signs = np.sign(right[np.arange(5), np.abs(right[:5]).argmax(axis=1)])
    np.testing.assert_allclose(encoder.encode(items), left[:, :5] * singular[:5] * signs, atol=1e-5)
    variances = encoder.model.get_buffer("variances").numpy()
    np.testing.assert_allclose(variances, singular[:5] ** 2 / 200, rtol=1e-4)
    assert record.precision == "float64"


def test_images_decode_into_their_range_and_vectors_do_not() -> None:
    images = blobs(100)
    encoder, _ = train("pca", images, dim=3)
    far = encoder.decode(np.full((1, 3), 50.0))
    assert far.shape == (1, 28, 28, 1)
    assert far.min() == 0 and far.max() == 1
    vectors = np.random.default_rng(1).normal(5, 1, (50, 4)).astype(np.float32)
    whole, _ = train("pca", vectors, dim=4)
    np.testing.assert_allclose(whole.decode(whole.encode(vectors)), vectors, atol=1e-4)


def test_refusals() -> None:
    with pytest.raises(ConfigInvalid, match="dim is 11, but 10 items of 40 numbers span at most 10"):
        train("pca", np.zeros((10, 40), np.float32), dim=11)
    with pytest.raises(ConfigInvalid, match="unknown option 'epochs' of encoder kind 'pca'"):
        train("pca", blobs(10), dim=2, epochs=3)
    encoder, _ = train("pca", blobs(10), dim=2)
    with pytest.raises(NotSupported, match="kind 'pca' has no posterior"):
        encoder.posterior(blobs(2))
