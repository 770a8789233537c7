"""Optimal transport in a space: means of several items, items moved to another class, sets moved onto each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, NotSupported, UnknownLabel, suggest
from latentstore.space.latent import Latent, as_latent, as_queries
from latentstore.types import check_seed, is_finite, without_nan

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

MEANS = ("wasserstein", "euclidean", "spherical")
DISPLACED = 500  # items of a set, unless said otherwise: matched in a tenth of a second
GAUSSIAN_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Barycenter:
    """The weighted mean of several latents, or of the pictures at them.

    Attributes:
        space: Where it lives.
        method: "wasserstein", "euclidean" or "spherical".
        weights: As they were used: sum 1.
        latent: The mean; of wasserstein, the encoded picture.
        pictures: "items": the items' own pictures were mixed; "decoded": what the decoder draws; "none": latents were.
        solution: Of wasserstein: iterations, residual and mass error; None of the others.
        images: Of wasserstein: what was mixed, float64 in [0, 1], shape (k, h, w, c); None of the others.
    """

    space: EmbeddingSpace
    method: str
    weights: Float64[Array, " k"]
    latent: Latent
    pictures: str
    solution: geometry.ImageBarycenter | None
    images: Float64[Array, "k h w c"] | None = None

    @property
    def item(self) -> Float32[Array, "h w c"]:
        """The picture: of wasserstein the mean itself, else what the decoder draws at the mean; in [0, 1]."""
        return self.latent.decode() if self.solution is None else self.solution.image

    def realism(self) -> float:
        """How near the mean is to real data, in [0, 1]."""
        return self.latent.realism()


@dataclass(frozen=True, eq=False)
class Transported:
    """Latents moved from one class to another.

    Attributes:
        space: Where they live.
        before: Shape (n, d), float32.
        latents: Where they were moved to, shape (n, d), float32.
        map: By which they were moved; `map.source.shrinkage` and `map.target.shrinkage` say how much of the classes'
            covariances is not their own.
        amount: Which part of the way they were moved.
    """

    space: EmbeddingSpace
    before: Float32[Array, "n d"]
    latents: Float32[Array, "n d"]
    map: geometry.GaussianTransport
    amount: float

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def cost(self) -> Float64[Array, " n"]:
        """How far each was moved, Euclidean, shape (n,)."""
        return np.asarray(np.linalg.norm(self.latents.astype(np.float64) - self.before, axis=1))

    @property
    def mean_difference(self) -> float:
        """How far adding the difference of the classes' means would move each."""
        return float(np.linalg.norm(self.map.target.mean - self.map.source.mean))

    def decode(self) -> Float32[Array, "n ..."]:
        """The moved items as the decoder draws them: float32 in [0, 1], shape (n, h, w, c)."""
        return self.space.decode(self.latents)

    def realism(self) -> Float64[Array, " n"]:
        """How near each is to real data, in [0, 1]."""
        return self.space.realism(self.latents)


@dataclass(frozen=True, eq=False)
class Displacement:
    """Two sets of items, matched one to one so that the way is shortest in all.

    Attributes:
        space: Where they live.
        rows: Of the items and of their matches, int64, shape (n, 2).
        starts, ends: Their latents, float32, shape (n, d) each.
    """

    space: EmbeddingSpace
    rows: Int64[Array, "n 2"]
    starts: Float32[Array, "n d"]
    ends: Float32[Array, "n d"]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> Shaped[Array, "n 2"]:
        """Of the items and of their matches, dtype object, shape (n, 2)."""
        return np.stack([self.space.snapshot.ids(self.rows[:, side]) for side in (0, 1)], axis=1)

    @property
    def cost(self) -> float:
        """Root of the mean squared way: the 2-Wasserstein distance of the two sets."""
        return float(np.sqrt(np.square(self.ends.astype(np.float64) - self.starts).sum(axis=1).mean()))

    @property
    def unmatched_cost(self) -> float:
        """The same of a match at random, in the mean over all of them."""
        a, b = self.starts.astype(np.float64), self.ends.astype(np.float64)
        apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
        return float(np.sqrt(apart + a.var(axis=0).sum() + b.var(axis=0).sum()))

    def at(self, t: float) -> Float32[Array, "n d"]:
        """The set a fraction t of the way: 0 the first, 1 the second, .5 their barycenter; shape (n, d)."""
        return geometry.lerp(self.starts, self.ends, t)[:, 0]

    def frames(self, steps: int = 9) -> Float32[Array, "steps n d"]:
        """The set at `steps` times from 0 to 1."""
        if steps < 2:
            raise InputError(f"steps is {steps}; choose 2 or more, as both sets are one")
        return np.moveaxis(geometry.lerp(self.starts, self.ends, np.linspace(0, 1, steps)), 1, 0)


@dataclass(frozen=True, eq=False)
class SetBarycenter:
    """The weighted mean of sets of items, itself a set of latents: their clouds' Wasserstein barycenter.

    Attributes:
        space: Where it lives.
        latents: Shape (m, d), float32; each weighs alike.
        weights: As they were used: sum 1.
        cost: Σ wᵢ W₂²(latents, setᵢ).
        iterations: Of the solver.
    """

    space: EmbeddingSpace
    latents: Float32[Array, "m d"]
    weights: Float64[Array, " k"]
    cost: float
    iterations: int

    def __len__(self) -> int:
        return len(self.latents)

    def decode(self) -> Float32[Array, "m ..."]:
        """The items that the decoder draws: float32 in [0, 1], shape (m, h, w, c)."""
        return self.space.decode(self.latents)

    def realism(self) -> Float64[Array, " m"]:
        """How near each is to real data, in [0, 1]."""
        return self.space.realism(self.latents)


def set_barycenter(
    space: EmbeddingSpace, weights: Mapping[str, float], n: int, points: int | None, seed: int
) -> SetBarycenter:
    """The weighted mean of sets of items: see `EmbeddingSpace.set_barycenter`."""
    check_seed(seed)
    shares = _shares(weights)
    if not 1 <= n <= geometry.MOST_MATCHED:
        raise InputError(f"n is {n}; choose 1 to {geometry.MOST_MATCHED} items of each set")
    generator, clouds = np.random.default_rng(seed), []
    for where in weights:
        rows = space.matching(where)
        if not len(rows):
            raise InputError(f"no item matches {where!r}; a set needs some")
        chosen = np.sort(generator.choice(rows, min(n, len(rows)), replace=False))
        clouds.append(space.snapshot.vectors(chosen))
    found = geometry.cloud_barycenter(clouds, shares, points=points, seed=seed)
    return SetBarycenter(space, found.points.astype(np.float32), shares, found.cost, found.iterations)


def _shares(weights: Mapping[Any, float]) -> Float64[Array, " k"]:
    shares = np.array([float(weight) if is_finite(weight) else np.inf for weight in weights.values()])
    if not len(shares) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
        raise InputError(f"weights are {shares.tolist()}; pass {{what: weight}}, none below 0 and one above")
    return np.asarray(shares / shares.sum())


def barycenter(space: EmbeddingSpace, weights: Mapping[Any, float], method: str) -> Barycenter:
    """The weighted mean of latents, or of pictures: see `EmbeddingSpace.barycenter`."""
    if method not in MEANS:
        raise ConfigInvalid(f"unknown barycenter {method!r}; {suggest(method, MEANS)}")
    shares = _shares(weights)
    anchors = [as_latent(space, one) for one in weights]
    vectors = np.stack([one.vector for one in anchors])
    if method == "wasserstein":
        images, source = pictures_of(space, anchors)
        found = geometry.image_barycenter(images, shares, ink=ink_of(images))
        latent = as_latent(space, space.encode(found.image[None])[0])
        return Barycenter(space, method, shares, latent, source, found, images)
    mean = shares @ vectors.astype(np.float64) if method == "euclidean" else geometry.spherical_mean(vectors, shares)
    return Barycenter(space, method, shares, as_latent(space, mean.astype(np.float32)), "none", None)


def pictures_of(space: EmbeddingSpace, anchors: list[Latent]) -> tuple[Float64[Array, "k h w c"], str]:
    """Pictures at latents, in [0, 1], and where they are from.

    "items": all anchors are plain items and their dataset is at hand; else "decoded", all of them.

    Raises:
        NotSupported: The space has no pictures.
    """
    from latentstore.exchange.pictures import of_dataset
    from latentstore.expression import Item

    if space.encoder is None or len(space.encoder.item_shape) != 3:
        raise NotSupported(f"space {space.name!r} has no pictures to move; use method='euclidean' or 'spherical'")
    atoms = [one.expression.terms if one.expression else () for one in anchors]
    names = [
        terms[0][0].id for terms in atoms if len(terms) == 1 and terms[0][1] == 1 and isinstance(terms[0][0], Item)
    ]
    if len(names) == len(anchors):
        rows = space.rows_of(names)
        known = of_dataset(space.snapshot, rows)
        if known is not None:
            return known(rows) / 255.0, "items"
    return np.clip(space.decode(np.stack([one.vector for one in anchors])), 0, 1).astype(np.float64), "decoded"


def ink_of(images: Float64[Array, "k h w c"]) -> geometry.Ink:
    """What of pictures is moved: what is dark where their edges are bright, else what is bright."""
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    return "dark" if np.median(edges) > 0.5 else "bright"


def fit_transport(space: EmbeddingSpace, column: str, source: str, target: str) -> geometry.GaussianTransport:
    """The map between the Gaussians of two labels.

    Raises:
        UnknownLabel: No item has it.
        InputError: Fewer than two items have it.
    """
    space.check_columns([column])
    rows = space.snapshot.live_rows()
    found = without_nan(space.snapshot.columns(rows, [column])[column].to_pylist())
    values: Shaped[Array, " r"] = np.array([None if one is None else str(one) for one in found], object)
    gaussians = []
    for label in (source, target):
        mine = rows[values == label]
        if not len(mine):
            known = {str(value) for value in values if value is not None}
            raise UnknownLabel(f"no item of space {space.name!r} has {column} = {label!r}; {suggest(label, known)}")
        if len(mine) > GAUSSIAN_ROWS:
            mine = np.sort(np.random.default_rng(0).choice(mine, GAUSSIAN_ROWS, replace=False))
        gaussians.append(geometry.Gaussian.fit(space.snapshot.vectors(mine)))
    return geometry.GaussianTransport(*gaussians)


def transport(
    space: EmbeddingSpace, query: Any, from_label: str, to_label: str, column: str, amount: float
) -> Transported:
    """Move latents of one class to another: see `EmbeddingSpace.transport`."""
    if not np.isfinite(amount):
        raise InputError(f"amount is {amount}; choose 1 for the whole way, or a fraction of it")
    latents, _ = as_queries(space, query)
    map_ = space.class_transport(from_label, to_label, column)
    return Transported(space, latents, map_(latents, amount).astype(np.float32), map_, amount)


def displace(space: EmbeddingSpace, source: str, target: str, n: int | None, seed: int) -> Displacement:
    """Match the items of two predicates: see `EmbeddingSpace.displace`."""
    check_seed(seed)
    found = [space.matching(where) for where in (source, target)]
    count = min(*map(len, found), DISPLACED if n is None else n)
    if count < 1:
        raise InputError(f"{len(found[0])} items match {source!r}, {len(found[1])} {target!r}, n is {n}; match some")
    generator = np.random.default_rng(seed)
    chosen = [np.sort(generator.choice(rows, count, replace=False)) for rows in found]
    starts, ends = (space.snapshot.vectors(rows) for rows in chosen)
    order = geometry.match(starts, ends)
    return Displacement(space, np.stack([chosen[0], chosen[1][order]], axis=1), starts, ends[order])
