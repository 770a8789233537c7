"""What generated items are worth: as a set beside real ones, one by one, and whether they are only remembered.

Figures stand beside two others: the floor, which real training items have, and what reconstructions of those have, for
no sample is drawn better than the decoder draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotSupported
from latentstore.geometry import Gaussian, auc, bures_wasserstein, pairwise_distances
from latentstore.index import exact_search

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

    from latentstore.evaluate.encoders import Items
    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array, Metric

# name → method and truncation
WAYS: dict[str, tuple[str, float]] = {
    "gmm": ("gmm", 1.0),
    "gmm, truncated": ("gmm", 0.92),
    "flow": ("flow", 1.0),
    "flow, truncated": ("flow", 0.92),
    "prior": ("prior", 1.0),
}
REALISTIC = 0.05  # a sample is realistic when it lies no farther from the data than 95 % of the real items
NEIGHBOUR = 5  # of density and coverage, as its authors advise
DECODED = 2048  # samples at a time


@dataclass(frozen=True)
class SetMeasures:
    """One set of items beside real ones.

    Attributes:
        frechet: Fréchet distance of the Gaussians fitted to a judge's features of both; 0 is the same.
        density: How many real items' 5-neighbour balls an item of the set lies in, by 5: about 1 is as dense as real.
        coverage: Share of the real items in whose ball some item of the set lies.
    """

    frechet: float
    density: float
    coverage: float


@dataclass(frozen=True)
class SampleMeasures:
    """One way of generating.

    Attributes:
        name: As in WAYS.
        realistic: Share of samples with realism ≥ .05.
        nearest_ratio: Median distance of samples to the nearest training latent, by that of test latents: below 1 is
            nearer.
        nearest_auc: Chance that a sample is farther from the training latents than a test item is: below .5 is nearer.
        beside_test: In a judge's features; None without a judge.
    """

    name: str
    realistic: float
    nearest_ratio: float
    nearest_auc: float
    beside_test: SetMeasures | None


@dataclass(frozen=True)
class GenerationMeasures:
    """All ways of generating that a space has.

    Attributes:
        count: Items on each side.
        floor: Real training items beside real test items; None without a judge.
        reconstructions: The same training items, decoded from their latents; None without a judge.
        ways: One per way.
    """

    count: int
    floor: SetMeasures | None
    reconstructions: SetMeasures | None
    ways: tuple[SampleMeasures, ...]

    def metrics(self) -> dict[str, float]:
        """By name: `gen_<way>_<measure>`, `gen_floor_<measure>`, `gen_reconstructions_<measure>`."""
        sets = {"floor": self.floor, "reconstructions": self.reconstructions}
        sets |= {one.name.replace(", ", "_"): one.beside_test for one in self.ways}
        found = {
            f"gen_{name}_{measure}": value
            for name, measured in sets.items()
            if measured is not None
            for measure, value in vars(measured).items()
        }
        for one in self.ways:
            key = f"gen_{one.name.replace(', ', '_')}"
            found[f"{key}_realistic"] = one.realistic
            found[f"{key}_nearest_ratio"], found[f"{key}_nearest_auc"] = one.nearest_ratio, one.nearest_auc
            if one.beside_test is not None and self.reconstructions is not None:
                found[f"{key}_frechet_ratio"] = one.beside_test.frechet / self.reconstructions.frechet
        return found


def generation_metrics(
    space: EmbeddingSpace,
    train_latents: Float32[Array, "n d"],
    test_latents: Float32[Array, "m d"],
    train: Items | None = None,
    test: Items | None = None,
    judge: Judge | None = None,
    *,
    samples: int = 5_000,
    seed: int = 0,
) -> GenerationMeasures:
    """Generate by every way that a space has, and measure what comes.

    Args:
        space: Whose generators they are; they may know test items, too.
        train_latents: Latents that count as known by heart, shape (n, d).
        test_latents: Latents of held-out items, shape (m, d).
        train: Items of the training latents, n of them, for a judge.
        test: Items of the test latents, m of them, for a judge.
        judge: Its features tell how alike two sets of items are; without one only latents are measured.
        samples: How many are drawn, and how many training and test items they stand beside: at most as many as there
            are of either. Fréchet distances of few items are too large, of all sets alike.
        seed: Of samples and choices.

    Returns:
        Floor, reconstructions and ways; a way is left out where the space has it not (no flow was fitted, no VAE).

    Raises:
        InputError: Fewer than 11 items on a side, or a judge without items.
    """
    count = min(samples, len(train_latents), len(test_latents))
    if count < 2 * NEIGHBOUR + 1:
        raise InputError(f"{count} items on a side; generation is measured with at least {2 * NEIGHBOUR + 1}")
    if judge is not None and (train is None or test is None):
        raise InputError("a judge looks at items; pass train and test with it")
    generator = np.random.default_rng(seed)
    chosen = [np.sort(generator.choice(n, count, replace=False)) for n in (len(train_latents), len(test_latents))]
    ruler = floor = reconstructions = None
    if judge is not None and train is not None and test is not None:
        ruler = Ruler(judge.features(_taken(test, chosen[1])))
        floor = ruler.measure(judge.features(_taken(train, chosen[0])))
        reconstructions = ruler.measure(_drawn(space, judge, train_latents[chosen[0]]))
    apart = nearest_distances(train_latents, test_latents[chosen[1]], space.metric)
    ways = []
    for name, (method, truncation) in WAYS.items():
        try:
            drawn = space.sample(count, method=method, truncation=truncation, seed=seed).latents
        except NotSupported:
            continue
        distances = nearest_distances(train_latents, drawn, space.metric)
        ways.append(
            SampleMeasures(
                name=name,
                realistic=float((space.realism(drawn) >= REALISTIC).mean()),
                nearest_ratio=float(np.median(distances) / max(float(np.median(apart)), 1e-30)),
                nearest_auc=auc(distances, apart),
                beside_test=None if ruler is None or judge is None else ruler.measure(_drawn(space, judge, drawn)),
            )
        )
    return GenerationMeasures(count, floor, reconstructions, tuple(ways))


class Ruler:
    """Real items' features, that sets of other items are measured beside.

    Args:
        real: Shape (m, f), m > 5.
    """

    def __init__(self, real: Float[Array, "m f"]) -> None:
        self._real = np.asarray(real, np.float64)
        self._gaussian = sample_gaussian(self._real)
        self._radii = np.sqrt(np.partition(_squared(self._real, self._real), NEIGHBOUR, axis=1)[:, NEIGHBOUR])

    def measure(self, features: Float[Array, "n f"]) -> SetMeasures:
        """Fréchet distance, density and coverage of a set of items' features (n, f).

        Source: M. Heusel et al., GANs trained by a two time-scale update rule …, NeurIPS 2017 (Fréchet distance); M. F.
        Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020 (density, coverage).
        """
        given = np.asarray(features, np.float64)
        frechet = bures_wasserstein(self._gaussian, sample_gaussian(given))
        inside = np.sqrt(_squared(self._real, given)) <= self._radii[:, None]
        return SetMeasures(frechet, float(inside.sum() / (NEIGHBOUR * len(given))), float(inside.any(axis=1).mean()))


def sample_gaussian(features: Float[Array, "n f"]) -> Gaussian:
    """Mean and sample covariance of features, unshrunk: what Fréchet distances are defined by."""
    wide = np.asarray(features, np.float64)
    centred = wide - wide.mean(axis=0)
    return Gaussian(wide.mean(axis=0), centred.T @ centred / max(1, len(wide) - 1))


def nearest_distances(
    known: Float32[Array, "n d"], latents: Float32[Array, "m d"], metric: Metric
) -> Float64[Array, " m"]:
    """Distance of each latent to the nearest known one; Euclidean in an ip space, which has no distances."""
    _, distances = exact_search(known, latents, 1, "l2" if metric == "ip" else metric)
    return np.asarray(distances[:, 0], np.float64)


def _squared(a: Float64[Array, "n f"], b: Float64[Array, "m f"]) -> Float64[Array, "n m"]:
    return pairwise_distances(a, b) ** 2


def _taken(items: Items, positions: Array) -> Items:
    return items[positions] if isinstance(items, np.ndarray) else _Taken(items, positions)


class _Taken:
    """Some of what is read in parts."""

    def __init__(self, items: Items, positions: Array) -> None:
        self._items, self._positions = items, positions
        self.item_shape = items.item_shape  # type: ignore[union-attr]

    def __len__(self) -> int:
        return len(self._positions)

    def read(self, positions: Array) -> Array:
        return self._items.read(self._positions[positions])  # type: ignore[union-attr]


def _drawn(space: EmbeddingSpace, judge: Judge, latents: Float32[Array, "n d"]) -> Float32[Array, "n f"]:
    """A judge's features of what the decoder draws, in parts."""
    parts: Sequence[Array] = [latents[i : i + DECODED] for i in range(0, len(latents), DECODED)]
    return np.concatenate([judge.features(space.decode(part)) for part in parts])
