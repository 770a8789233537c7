"""Where the data lies: how real a latent looks, and drawing new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, NotSupported, UnknownLabel, suggest

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

NEIGHBOUR = 10  # realism compares distances to the 10th neighbour: one odd item nearby does not make a place real
REFERENCE = 2000  # real items measured for comparison: the score's standard error is ≤ .5/√2000 = .011
MIXTURE_ROWS = 20_000  # rows a mixture is fitted to: k-means and EM in seconds
COMPONENTS = 20
METHODS = ("gmm", "prior")


@dataclass(frozen=True, eq=False)
class Samples:
    """Latents drawn from a space.

    Attributes:
        space: Where they live.
        latents: Shape (n, d), float32.
        method: "gmm" or "prior".
    """

    space: EmbeddingSpace
    latents: Float32[Array, "n d"]
    method: str

    def __len__(self) -> int:
        return len(self.latents)

    def decode(self) -> Float32[Array, "n ..."]:
        """The items that the decoder draws: float32 in [0, 1], shape (n, h, w, c)."""
        return self.space.decode(self.latents)

    def realism(self) -> Float64[Array, " n"]:
        """How near each is to real data, in [0, 1]."""
        return self.space.realism(self.latents)


def realism_scale(space: EmbeddingSpace) -> geometry.RealismScale:
    """Measure a fixed sample of the space's own items; see `geometry.RealismScale`.

    Raises:
        NotSupported: Too few items to have neighbours.
    """
    rows = space.snapshot.live_rows()
    if len(rows) <= NEIGHBOUR:
        raise NotSupported(
            f"realism compares with a {NEIGHBOUR}th neighbour, and the space has {len(rows)} items; add more"
        )
    chosen = np.sort(np.random.default_rng(0).choice(rows, min(REFERENCE, len(rows)), replace=False))
    found, distances, _ = space.searcher.search(space.snapshot.vectors(chosen), NEIGHBOUR + 1)
    return geometry.RealismScale.from_distances(
        _of_others(chosen[:, None] == found, _as_distances(space, distances)), k=NEIGHBOUR, metric=space.metric
    )


def realism(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> Float64[Array, " n"]:
    """Score latents (n, d) on the space's scale. A latent equal to a stored one does not count as its own neighbour."""
    _, distances, _ = space.searcher.search(latents, NEIGHBOUR + 1)
    measured = _as_distances(space, distances)
    itself = np.zeros(measured.shape, bool)
    itself[:, 0] = measured[:, 0] == 0
    return space.realism_scale.score(_of_others(itself, measured))


def _of_others(itself: Array, distances: Array) -> Array:
    """Distance to the NEIGHBOUR-th neighbour that is not the item itself, from NEIGHBOUR + 1 found."""
    return np.where(itself.any(axis=1), distances[:, NEIGHBOUR], distances[:, NEIGHBOUR - 1])


def _as_distances(space: EmbeddingSpace, found: Array) -> Array:
    """Under ip, larger is nearer; negated it orders like a distance."""
    return -found if space.metric == "ip" else found


def sample(
    space: EmbeddingSpace,
    n: int,
    *,
    method: str | None = None,
    label: str | None = None,
    column: str = "label",
    seed: int = 0,
) -> Samples:
    """Draw latents where the data lies.

    Args:
        space: The space.
        n: How many.
        method: "gmm": a mixture of Gaussians fitted to the latents; "prior": N(0, I), which a VAE was trained
            towards. None: gmm.
        label: Only like items with this value.
        column: The column `label` is a value of.
        seed: Same seed, same snapshot: same samples.

    Raises:
        ConfigInvalid: Unknown method or column.
        NotSupported: "prior" without a VAE, or with a label.
        UnknownLabel: No item has the label.
        InputError: n < 1, or too few items.
    """
    if n < 1:
        raise InputError(f"n is {n}; ask for at least one sample")
    method = method or "gmm"
    if method not in METHODS:
        raise ConfigInvalid(f"unknown sampling method {method!r}; {suggest(method, METHODS)}")
    generator = np.random.default_rng(seed)
    if method == "prior":
        if label is not None:
            raise NotSupported(f"the prior knows no labels; to sample {label!r} use method='gmm'")
        if space.encoder is None or space.encoder.spec["kind"] != "vae":
            raise NotSupported(f"space {space.name!r} has no prior, for its encoder is no VAE; use method='gmm'")
        return Samples(space, generator.standard_normal((n, space.dim), dtype=np.float32), method)
    return Samples(space, space.mixture(column, label).draw(n, generator), method)


def fit_mixture(space: EmbeddingSpace, column: str, label: str | None) -> geometry.Mixture:
    """A mixture of Gaussians over all latents, or those of one label; always the same for the same snapshot."""
    rows = space.snapshot.live_rows() if label is None else _rows_of_label(space, column, label)
    generator = np.random.default_rng(0)
    if len(rows) > MIXTURE_ROWS:
        rows = np.sort(generator.choice(rows, MIXTURE_ROWS, replace=False))
    # A full covariance has d(d+1)/2 numbers; with fewer than some 10·d items a component would memorise them.
    components = max(1, min(COMPONENTS, len(rows) // (10 * space.dim)))
    return geometry.fit_mixture(space.snapshot.vectors(rows), components, seed=0)


def _rows_of_label(space: EmbeddingSpace, column: str, label: str) -> Int64[Array, " r"]:
    space.check_columns([column])
    rows = space.snapshot.live_rows()
    values = [None if x is None else str(x) for x in space.snapshot.columns(rows, [column])[column].to_pylist()]
    chosen = rows[np.array([value == label for value in values], bool)]
    if not len(chosen):
        known = {value for value in values if value is not None}
        raise UnknownLabel(f"no item of space {space.name!r} has {column} = {label!r}; {suggest(label, known)}")
    return np.asarray(chosen)
