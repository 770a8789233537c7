"""Encoder metrics against theorems about PCA and the definitions of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.encoders import Encoder, train
from latentstore.errors import ShapeMismatch
from latentstore.evaluate import encoder_metrics, fit_pca, reconstruction_errors, variational_metrics


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    """400 grey pictures of 8 × 8 that keep away from black and white, so that clipping never acts."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 64)) * 8 + rng.normal(size=(400, 64)) * 2
    return np.clip(128 + factors, 30, 225).astype(np.uint8).reshape(400, 8, 8, 1)


@pytest.fixture(scope="module")
def labels(items: np.ndarray) -> np.ndarray:
    return np.where(items[:, :, :4].mean(axis=(1, 2, 3)) > items[:, :, 4:].mean(axis=(1, 2, 3)), "left", "right")


@pytest.fixture(scope="module")
def vae(items: np.ndarray) -> Encoder:
    return train("vae", items, dim=3, seed=0, epochs=2)[0]


def test_error_of_pca_is_the_variance_it_drops(items: np.ndarray) -> None:
    """On its own training items the squared error is the sum of the eigenvalues left out."""
    flat = items.reshape(400, -1) / 255
    dropped = np.sort(np.linalg.eigvalsh(np.cov(flat.T, bias=True)))[:-4].sum() / 64
    errors = reconstruction_errors(fit_pca(items, 4), items)
    assert errors.shape == (400,)
    assert errors.mean() == pytest.approx(dropped, rel=1e-3)
    assert reconstruction_errors(fit_pca(items, 2), items).mean() > 1.2 * dropped  # control


def test_pca_beside_itself_is_a_draw(items: np.ndarray, labels: np.ndarray) -> None:
    pca = fit_pca(items[:300], 4)
    found = encoder_metrics(pca, items[:300], labels[:300], items[300:], labels[300:])
    ours = {name: value for name, value in found.items() if not name.startswith("pca_")}
    assert set(ours) == {"mse", "mse/left", "mse/right", "knn5", "knn10", "linear_probe"}
    assert {f"pca_{name}": value for name, value in ours.items()} == {
        k: v for k, v in found.items() if k.startswith("pca_")
    }
    assert found["knn5"] > 0.7
    counts = {name: (labels[300:] == name).mean() for name in ("left", "right")}
    assert found["mse"] == pytest.approx(sum(found[f"mse/{name}"] * share for name, share in counts.items()))


def test_given_latents_are_used(items: np.ndarray, labels: np.ndarray) -> None:
    pca = fit_pca(items[:300], 4)
    latents = pca.encode(items[:300]), pca.encode(items[300:])
    plain = encoder_metrics(pca, items[:300], labels[:300], items[300:], labels[300:], baseline=pca)
    given = encoder_metrics(pca, items[:300], labels[:300], items[300:], labels[300:], latents=latents, baseline=pca)
    assert given == pytest.approx(plain)
    shuffled = latents[0], latents[1][::-1].copy()
    other = encoder_metrics(pca, items[:300], labels[:300], items[300:], labels[300:], latents=shuffled, baseline=pca)
    assert other["mse"] > 1.5 * plain["mse"]  # control: wrong latents would show


def test_vae_beside_pca(vae: Encoder, items: np.ndarray) -> None:
    found = encoder_metrics(vae, items[:300], None, items[300:], None)
    assert set(found) == {"mse", "negative_elbo", "active_dims", "pca_mse"}
    assert found["pca_mse"] < found["mse"]  # two epochs lose, and the table would say so
    mean, variance = vae.posterior(items[300:])
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1).mean()
    x, p = items[300:] / 255.0, np.clip(vae.decode(mean).astype(np.float64), 1e-7, 1 - 1e-7)
    at_mean = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    assert found["negative_elbo"] == pytest.approx(kl + at_mean, rel=0.05)
    assert found["active_dims"] == (mean.var(axis=0) > 0.01).sum()


def test_variational_metrics_are_of_the_seed(vae: Encoder, items: np.ndarray) -> None:
    assert variational_metrics(vae, items, seed=1) == variational_metrics(vae, items, seed=1)
    assert (
        variational_metrics(vae, items, seed=1)["negative_elbo"]
        != variational_metrics(vae, items, seed=2)["negative_elbo"]
    )


def test_a_baseline_of_another_width_is_refused(items: np.ndarray) -> None:
    with pytest.raises(ShapeMismatch, match="the baseline has d=3, the encoder d=4"):
        encoder_metrics(fit_pca(items, 4), items, None, items, None, baseline=fit_pca(items, 3))
