"""Autoencoder and vae: what their losses are, what they learn, which items they take."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from latentstore.encoders import Encoder, train
from latentstore.encoders.base import build_model
from latentstore.encoders.networks import initialise
from latentstore.encoders.sources import Source
from latentstore.encoders.vae import VAE, kl_to_standard_normal
from latentstore.encoders.whiten import Whiten
from latentstore.errors import InputError, NotFinite, NotSupported, ShapeMismatch
from tests.unit.encoders.conftest import blobs

SMALL = {"hidden": (32,), "channels": (4, 8), "batch_size": 32}


def untrained(kind: str, shape: tuple[int, int, int], dim: int = 3, **options: object) -> Encoder:
    model = build_model(kind, shape, dim, {"hidden": (16,), "channels": (4, 8), "components": 12, **options})
    model.to_empty(device="cpu")
    model.prepare(Source(blobs(30, shape)), seed=0)
    initialise(model, torch.Generator().manual_seed(0))
    return Encoder(model)


def test_kl_is_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    exact = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), exact)
    assert not torch.allclose(kl_to_standard_normal(mean, -log_variance), exact)  # control


def test_elbo_of_a_model_that_is_known_in_closed_form() -> None:
    """With all weights 0 every pixel has probability ½ and q = N(b, e^s): −ELBO = h·w·log 2 + KL, whatever z is."""
    encoder = untrained("vae", (6, 5, 1), dim=2)
    with torch.no_grad():
        for tensor in encoder.model.parameters():
            tensor.zero_()
        assert isinstance(encoder.model, VAE)
        encoder.model.down.dense[-1].bias.copy_(torch.tensor([0.5, -1.0, math.log(2.0), 0.0]))  # type: ignore[union-attr, operator]
    expected = 30 * math.log(2) + 0.5 * (0.25 + 2 - math.log(2) - 1 + 1.0)
    np.testing.assert_allclose(encoder.negative_elbo(blobs(4, (6, 5, 1))), expected, rtol=1e-6)
    mean, variance = encoder.posterior(blobs(4, (6, 5, 1)))
    np.testing.assert_allclose(mean, [[0.5, -1.0]] * 4, rtol=1e-6)
    np.testing.assert_allclose(variance, [[2.0, 1.0]] * 4, rtol=1e-6)


def test_kl_warms_up_to_beta() -> None:
    model = build_model("vae", (8, 8, 1), 2, {"hidden": [8], "beta": 4.0, "warm_up": 0.5})
    model.to_empty(device="cpu")
    model.prepare(Source(blobs(30, (8, 8, 1))), seed=0)
    initialise(model, torch.Generator().manual_seed(0))
    model.eval()
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def weight(done: float) -> float:
        scalars = model.loss(x, done, torch.Generator().manual_seed(2))
        return float(((scalars["loss"] - scalars["negative_elbo"] + scalars["kl"]) / scalars["kl"]).detach())

    assert [weight(done) for done in (0, 0.25, 0.5, 1)] == pytest.approx([0, 2, 4, 4], abs=1e-2)


@pytest.mark.parametrize("kind", ["autoencoder", "vae", "hybrid"])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_learns_what_a_linear_map_cannot(kind: str, architecture: str) -> None:
    """Moving spots lie on a curved surface of 4 dimensions: the network must beat PCA of the same width by far."""
    items = blobs(1000, (12, 12, 1))
    encoder, record = train(
        kind, items, dim=4, architecture=architecture, epochs=20, learning_rate=5e-3, hidden=(64,), channels=(8, 16),
        batch_size=50, **({"beta": 0.01} if kind == "vae" else {}),
    )  # fmt: skip
    baseline, _ = train("pca", items, dim=4)
    new = blobs(200, (12, 12, 1), seed=1)

    def error(model: Encoder) -> float:
        return float(((model.decode(model.encode(new)) - new / 255) ** 2).mean())

    assert error(encoder) < 0.6 * error(baseline)
    assert record.history[-1]["loss"] < record.history[0]["loss"]
    assert error(untrained(kind, (12, 12, 1), dim=4)) > error(baseline)  # control: it is the training that does it


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (45, 33, 3), (1, 7, 1), (96, 128, 3)])
@pytest.mark.parametrize("kind", ["autoencoder", "vae", "hybrid"])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_any_size(kind: str, architecture: str, shape: tuple[int, int, int]) -> None:
    encoder = untrained(kind, shape, architecture=architecture)
    items = blobs(5, shape)
    latents = encoder.encode(items)
    assert (latents.shape, latents.dtype, latents.flags.c_contiguous) == ((5, 3), np.float32, True)
    decoded = encoder.decode(latents)
    assert (decoded.shape, decoded.dtype, decoded.flags.c_contiguous) == ((5, *shape), np.float32, True)
    assert decoded.min() >= 0 and decoded.max() <= 1
    np.testing.assert_allclose(encoder.encode(items[2:3]), latents[2:3], atol=1e-5)
    # Histograms are relative to what is around: where that is nearly flat they see the rounding of 1/255.
    rounding = 1e-4 if kind == "hybrid" else 1e-5
    np.testing.assert_allclose(encoder.encode(items.astype(np.float64) / 255), latents, atol=rounding)
    np.testing.assert_allclose(encoder.decode(latents[1]), decoded[1], atol=1e-5)
    assert encoder.encode(items[:0]).shape == (0, 3)
    assert encoder.decode(latents[:0]).shape == (0, *shape)


def test_chunks_join_in_order() -> None:
    encoder = untrained("autoencoder", (28, 28, 1))
    items = blobs(4500)
    read_only = np.frombuffer(items.tobytes(), np.uint8).reshape(items.shape)
    latents = encoder.encode(read_only)
    picked = [0, 2047, 2048, 4096, 4499]
    np.testing.assert_allclose(latents[picked], encoder.encode(items[picked]), atol=1e-5)
    assert np.abs(latents[0] - latents[2048]).max() > 1e-3  # control: items do differ
    np.testing.assert_array_equal(encoder.encode(items[:20, :, :, 0]), encoder.encode(items[:20]))


def test_many_threads_encode_at_once() -> None:
    encoder = untrained("vae", (28, 28, 1))
    parts = [blobs(40, seed=seed) for seed in range(8)]
    alone = [encoder.encode(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(encoder.encode, parts * 4), alone * 4, strict=True):
            # To rounding: the linear algebra library may split a product differently under load.
            np.testing.assert_allclose(together, expected, atol=1e-5)
    assert not np.array_equal(alone[0], alone[1])


def test_whitening_evens_out_what_is_large() -> None:
    """In the rotated axes the covariance is diagonal, λ/(λ + ε) up to one factor; its mean is 1."""
    items = blobs(400, (10, 8, 1))
    whiten = Whiten(80, 6, 0.025)
    whiten.fit(Source(items), seed=0)
    x = torch.from_numpy(items).reshape(400, 80).float() / 255
    turned = whiten(x).double()
    covariance = turned.T @ turned / 400
    variances = np.linalg.eigvalsh(np.cov(x.numpy().T.astype(np.float64), ddof=0))[::-1][:6]
    expected = variances / (variances + 0.025 * variances[0])
    np.testing.assert_allclose(covariance.numpy(), np.diag(expected / expected.mean()), atol=1e-4)


def test_an_autoencoders_latents_are_centred_and_still_decode() -> None:
    items = blobs(400, (10, 8, 1))
    encoder, _ = train("autoencoder", items, dim=3, epochs=2, batch_size=32)
    latents = encoder.encode(items)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-4)
    model = encoder.model
    x = torch.from_numpy(items).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert model.down(x).mean(0).abs().max() > 1e-3  # without the centre they are not
        expected = torch.sigmoid(model.up(model.down(x))).permute(0, 2, 3, 1)
    np.testing.assert_allclose(encoder.decode(latents), expected, atol=1e-4)


def test_refusals() -> None:
    encoder = untrained("autoencoder", (28, 28, 1))
    shape = r"items have shape \(2, 32, 28, 1\); this encoder needs \(n, 28, 28, 1\): resize"
    with pytest.raises(ShapeMismatch, match=shape):
        encoder.encode(blobs(2, (32, 28, 1)))
    with pytest.raises(ShapeMismatch, match=r"shape \(2, 28, 28, 3\); this encoder needs \(n, 28, 28, 1\)"):
        encoder.encode(blobs(2, (28, 28, 3)))
    with pytest.raises(ShapeMismatch, match=r"shape \(28, 28, 1\); this encoder needs"):
        encoder.encode(blobs(1)[0])
    with pytest.raises(ShapeMismatch, match="items differ in shape"):
        encoder.encode([[[0.0]], [[0.0, 1.0]]])  # type: ignore[arg-type]
    broken = blobs(3).astype(np.float32) / 255
    broken[1, 4, 4] = np.nan
    with pytest.raises(NotFinite, match="item 1 contains NaN"):
        encoder.encode(broken)
    with pytest.raises(InputError, match=r"float images run from 0 to \d+; pass uint8, or scale them"):
        encoder.encode(blobs(3).astype(np.float32))
    with pytest.raises(InputError, match="images have dtype int64"):
        encoder.encode(blobs(3).astype(np.int64))
    with pytest.raises(InputError, match="items have dtype <U3"):
        encoder.encode(np.array(["one", "two"]))
    with pytest.raises(ShapeMismatch, match=r"latents have shape \(2, 4\); this space needs \(3,\) or \(n, 3\)"):
        encoder.decode(np.zeros((2, 4)))
    with pytest.raises(NotFinite, match="latents row 0 contains NaN"):
        encoder.decode(np.full((1, 3), np.nan))
    with pytest.raises(NotSupported, match="kind 'autoencoder' has no posterior; only a vae"):
        encoder.posterior(blobs(1))
    with pytest.raises(NotSupported, match="kind 'autoencoder' has no likelihood"):
        encoder.negative_elbo(blobs(1))
