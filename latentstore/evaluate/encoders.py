"""What an encoder is worth on items it was not trained on, always beside PCA of the same width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latentstore.errors import NotSupported, ShapeMismatch
from latentstore.evaluate.probes import knn_accuracy, linear_probe

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Shaped

    from latentstore.encoders import Encoder
    from latentstore.encoders.sources import Readable
    from latentstore.types import Array, Metric

    Items: TypeAlias = Shaped[Array, "n ..."] | Readable

NEIGHBOURS = (5, 10)
ACTIVE = 0.01  # a dimension is active when the posterior mean's variance over items exceeds this
_CHUNK = 4096


def encoder_metrics(
    encoder: Encoder,
    train_items: Items,
    train_labels: Shaped[Array, " n"] | None,
    test_items: Items,
    test_labels: Shaped[Array, " m"] | None,
    *,
    latents: tuple[Float32[Array, "n d"], Float32[Array, "m d"]] | None = None,
    baseline: Encoder | None = None,
    metric: Metric = "l2",
    seed: int = 0,
) -> dict[str, float]:
    """Measure an encoder, and PCA of the same width fitted on the same training items, on the test items.

    Args:
        encoder: The encoder.
        train_items: What it was trained on: an array (n, h, w, c), or anything with `item_shape`, `len` and `read`.
        train_labels: n labels, or None: then nothing that needs labels is measured.
        test_items: What it is judged on, likewise.
        test_labels: m labels, or None.
        latents: Latents of both, when they are at hand; otherwise the items are encoded.
        baseline: A PCA encoder fitted before; by default one is fitted now.
        metric: Of the neighbours.
        seed: Of PCA's (randomised) fit and the VAE's noise.

    Returns:
        name → value. Of the encoder: `mse` (mean squared error of reconstructed test items, pixels from 0 to 1),
        `mse/<label>` by class, `knn5` and `knn10` (share of test items whose training neighbours vote for their label),
        `linear_probe` (accuracy of logistic regression). Of a VAE besides: `negative_elbo` (nats per test item) and
        `active_dims`. What the encoder cannot do (decode) is left out. The same of PCA under `pca_…`.

    Source: active dimensions: Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, section 5.2.
    """
    found = _measure(encoder, train_items, train_labels, test_items, test_labels, latents, metric)
    if encoder.kind == "vae":
        found |= variational_metrics(encoder, test_items, seed=seed)
    pca = baseline or fit_pca(train_items, encoder.dim, seed=seed)
    if pca.dim != encoder.dim:
        raise ShapeMismatch(f"the baseline has d={pca.dim}, the encoder d={encoder.dim}; compare at equal width")
    beside = _measure(pca, train_items, train_labels, test_items, test_labels, None, metric)
    return found | {f"pca_{name}": value for name, value in beside.items()}


def fit_pca(train_items: Items, dim: int, *, seed: int = 0) -> Encoder:
    """The baseline: PCA of width `dim` fitted on the training items."""
    from latentstore.encoders import train

    return train("pca", train_items, dim=dim, seed=seed)[0]


def reconstruction_errors(
    encoder: Encoder, items: Items, latents: Float32[Array, "n d"] | None = None
) -> Float64[Array, " n"]:
    """Mean squared error of each item after encoding and decoding, shape (n,); pixels from 0 to 1.

    Args:
        encoder: With a decoder.
        items: n items.
        latents: Their latents, when at hand.

    Raises:
        NotSupported: The encoder cannot decode.
    """
    errors = []
    for start, part in parts_of(items):
        z = encoder.encode(part) if latents is None else latents[start : start + len(part)]
        truth = part.astype(np.float32) * np.float32(1 / 255) if part.dtype == np.uint8 else part
        offsets = encoder.decode(z) - truth.reshape(len(part), *encoder.item_shape)
        errors.append(np.square(offsets).reshape(len(part), -1).mean(axis=1, dtype=np.float64))
    return np.concatenate(errors)


def variational_metrics(encoder: Encoder, items: Items, *, seed: int = 0) -> dict[str, float]:
    """−ELBO (nats per item) and the number of active dimensions of a VAE.

    Raises:
        NotSupported: The encoder is not a VAE.
    """
    bounds = [encoder.negative_elbo(part, seed=seed + start) for start, part in parts_of(items)]
    means = np.concatenate([encoder.posterior(part)[0] for _, part in parts_of(items)])
    return {
        "negative_elbo": float(np.concatenate(bounds).mean(dtype=np.float64)),
        "active_dims": float((means.var(axis=0, dtype=np.float64) > ACTIVE).sum()),
    }


def _measure(
    encoder: Encoder,
    train_items: Items,
    train_labels: Shaped[Array, " n"] | None,
    test_items: Items,
    test_labels: Shaped[Array, " m"] | None,
    latents: tuple[Float32[Array, "n d"], Float32[Array, "m d"]] | None,
    metric: Metric,
) -> dict[str, float]:
    test = latents[1] if latents else _encode(encoder, test_items)
    found: dict[str, float] = {}
    try:
        errors = reconstruction_errors(encoder, test_items, test)
    except NotSupported:
        pass
    else:
        found["mse"] = float(errors.mean())
        found |= {f"mse/{label}": value for label, value in by_label(errors, test_labels).items()}
    if train_labels is not None and test_labels is not None:
        train = latents[0] if latents else _encode(encoder, train_items)
        votes = knn_accuracy(train, train_labels, test, test_labels, k=NEIGHBOURS, metric=metric)
        found |= {f"knn{k}": accuracy for k, accuracy in votes.items()}
        found["linear_probe"] = linear_probe(train, train_labels, test, test_labels)
    return found


def by_label(values: Float[Array, " n"], labels: Shaped[Array, " n"] | None) -> dict[str, float]:
    """Mean of the values of each label; {} without labels."""
    if labels is None:
        return {}
    names, numbers = np.unique(labels.astype(str), return_inverse=True)
    means = np.bincount(numbers, values) / np.bincount(numbers)
    return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}


def _encode(encoder: Encoder, items: Items) -> Float32[Array, "n d"]:
    return np.concatenate([encoder.encode(part) for _, part in parts_of(items)])


def parts_of(items: Items) -> Iterator[tuple[int, Array]]:
    """Items in parts that fit in memory, each with its start."""
    for start in range(0, len(items), _CHUNK):
        stop = min(start + _CHUNK, len(items))
        yield start, items[start:stop] if isinstance(items, np.ndarray) else items.read(np.arange(start, stop))
