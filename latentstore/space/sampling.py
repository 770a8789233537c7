"""Drawing new latents, and looking at what was drawn: how real, how new, and like which item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, NotSupported, suggest
from latentstore.space import density
from latentstore.space.shown import notebook
from latentstore.space.surroundings import Surroundings, surroundings
from latentstore.types import brief, check_seed

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

METHODS = ("gmm", "flow", "prior")
MOST = 1_000_000  # samples drawn at once
COPY = 0.005  # novelty up to which a sample is called a copy: nearer to an item than nearly all items are to any


@dataclass(frozen=True)
class SamplesReport:
    """Numbers about samples, one entry each.

    Attributes:
        realism: Share of real items at least as far out, in [0, 1]; None in a space of too few items to say.
        nearest: Id of the nearest stored item.
        distances: To it, in the space's metric.
        novelty: Share of real items that are nearer to another one than the sample is to its nearest item, in [0, 1]:
            0 is a copy, .5 is as far from all items as the median item is from all others.
        labels: Label of the nearest item; None in a space without the column `label`.
        copies: Positions of the samples with novelty ≤ .005: the generator may know those items by heart.
    """

    realism: tuple[float, ...] | None
    nearest: tuple[str, ...]
    distances: tuple[float, ...]
    novelty: tuple[float, ...]
    labels: tuple[str | None, ...] | None
    copies: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """Latents drawn from a space.

    Attributes:
        space: Where they live.
        latents: Shape (n, d), float32.
        method: "gmm", "flow" or "prior".
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

    def nearest(self) -> Shaped[Array, " n"]:
        """Id of the stored item that is nearest to each, dtype object."""
        return self._around.nearest

    def _repr_html_(self) -> str:
        """For notebooks: the samples, with the realism of each and its nearest item."""
        report = self.report
        real = [""] * len(self) if report.realism is None else [f"{one:.2f}" for one in report.realism]
        captions = [f"{one}\n{near}" for one, near in zip(real, report.nearest, strict=True)]
        return notebook(self.space, self.latents, captions, f"{len(self)} samples by {self.method}: realism, nearest")

    @cached_property
    def report(self) -> SamplesReport:
        """Realism, nearest item and novelty of each."""
        around = self._around
        novelty = density.novelty(self.space, self.latents)
        return SamplesReport(
            realism=None if around.realism is None else tuple(around.realism.tolist()),
            nearest=tuple(map(str, around.nearest)),
            distances=tuple(around.distances.tolist()),
            novelty=tuple(novelty.tolist()),
            labels=None if around.labels is None else tuple(around.labels.tolist()),
            copies=tuple(np.flatnonzero(novelty <= COPY).tolist()),
        )

    @cached_property
    def _around(self) -> Surroundings:
        return surroundings(self.space, self.latents)


def sample(
    space: EmbeddingSpace,
    n: int,
    *,
    method: str | None = None,
    label: str | None = None,
    column: str = "label",
    truncation: float = 1.0,
    seed: int = 0,
) -> Samples:
    """Draw latents where the data lies.

    Args:
        space: The space.
        n: How many.
        method: "gmm": the mixture of Gaussians that `fit_mixture` stored, or one that is fitted now (seconds for
            60,000 items); "flow": the flow that `fit_flow` stored; "prior": N(0, I), which a VAE was trained towards.
            None: gmm.
        label: Only like items with this value.
        column: The column `label` is a value of.
        truncation: What noise is multiplied by: the way from a component's mean (gmm), the noise that the flow carries
            away, or all of it (prior). 1 draws all the variety that was learned; .5 half the way from what is typical,
            0 nothing but that. Less is more realistic and less varied.
        seed: Same seed, same snapshot: same samples.

    Raises:
        ConfigInvalid: Unknown method or column.
        NotSupported: "prior" without a VAE, or with a label; "flow" before `fit_flow`, or with another column.
        UnknownLabel: No item has the label.
        InputError: n out of range, too few items, or a truncation that is none.
    """
    whole = isinstance(n, int | np.integer) and not isinstance(n, bool)
    if not whole or not 1 <= n <= MOST:
        raise InputError(f"n is {brief(int(n)) if whole else repr(n)}; ask for 1 to {MOST:,} samples")
    check_seed(seed)
    geometry.check_truncation(truncation)
    method = method or "gmm"
    if method not in METHODS:
        raise ConfigInvalid(f"unknown sampling method {method!r}; {suggest(method, METHODS)}")
    generator = np.random.default_rng(seed)
    if method == "flow":
        flow = space.flow
        if label is not None and column != flow.spec["column"]:
            raise NotSupported(
                f"the flow of space {space.name!r} knows labels of {flow.spec['column']!r}, not {column!r}; run "
                f"fit_flow(column={column!r}), or use method='gmm'"
            )
        drawn = flow.draw(n, generator, label=label, truncation=truncation)
    elif method == "prior":
        if label is not None:
            raise NotSupported(f"the prior knows no labels; to sample {label!r} use method='gmm'")
        if space.encoder is None or space.encoder.spec["kind"] != "vae":
            raise NotSupported(f"space {space.name!r} has no prior, for its encoder is no VAE; use method='gmm'")
        drawn = np.float32(truncation) * generator.standard_normal((n, space.dim), dtype=np.float32)
    else:
        drawn = space.mixture(column, label).draw(n, generator, truncation=truncation)
    return Samples(space, drawn, method)
