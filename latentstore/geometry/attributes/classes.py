"""The two classes that an attribute is fitted to, in strata within which everything else is equal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotFinite, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float64, Int64

HELD_OUT = 0.2  # share of each class that scores are measured on


@dataclass(frozen=True, eq=False)
class Classes:
    """Latents with and without a property.

    A class mean here is the mean over strata, stratum s weighing n⁺ₛ n⁻ₛ / (n⁺ₛ + n⁻ₛ) in both classes: so both have
    the same mix of strata, and of those estimates that do, this one varies least where the noise is the same everywhere
    (W. G. Cochran, 1954; N. Mantel and W. Haenszel, 1959). With one stratum it is the plain mean.

    Attributes:
        positive: Latents with it, shape (p, d), ordered by stratum.
        negative: Latents without it, shape (q, d), ordered by stratum.
        counts: Items by stratum and class (positive first), int64, shape (s, 2).
        clauses: How the user chose the classes, for messages.
    """

    positive: Float[Array, "p d"]
    negative: Float[Array, "q d"]
    counts: Int64[Array, "s 2"]
    clauses: tuple[str, str] = ("positive", "negative")

    @classmethod
    def of(
        cls,
        positive: Float[Array, "p d"],
        negative: Float[Array, "q d"],
        *,
        strata: tuple[Sequence[object], Sequence[object]] | None = None,
        clauses: tuple[str, str] = ("positive", "negative"),
    ) -> Classes:
        """Check the classes and put them in order.

        Args:
            positive: Shape (p, d).
            negative: Shape (q, d).
            strata: The stratum of each positive and of each negative item; one for all by default.
            clauses: As the attribute.

        Raises:
            InputError: A class is empty, or no stratum has items of both.
            ShapeMismatch: The classes differ in width, or not one stratum per item.
        """
        for latents, clause in ((positive, clauses[0]), (negative, clauses[1])):
            if len(latents) == 0:
                raise InputError(
                    f"an attribute needs both classes, but {len(positive)} items are positive and {len(negative)} "
                    f"are negative; {clause!r} matches none: change that clause"
                )
        if np.ndim(positive) != 2 or np.ndim(negative) != 2 or positive.shape[1] != negative.shape[1]:
            raise ShapeMismatch(
                f"classes have shapes {np.shape(positive)} and {np.shape(negative)}; pass (p, d), (q, d)"
            )
        if strata is None:
            return cls(positive, negative, np.array([[len(positive), len(negative)]]), clauses)
        if (len(strata[0]), len(strata[1])) != (len(positive), len(negative)):
            raise ShapeMismatch(
                f"{len(strata[0])} and {len(strata[1])} strata for {len(positive)} positive and {len(negative)} "
                "negative items; pass one each"
            )
        numbers: dict[object, int] = {}
        codes = [np.array([numbers.setdefault(one, len(numbers)) for one in side], np.int64) for side in strata]
        counts = np.stack([np.bincount(side, minlength=len(numbers)) for side in codes], axis=1)
        if not counts.all(axis=1).any():
            raise InputError(
                f"no group of items that are equal in the balanced columns has both {clauses[0]!r} and {clauses[1]!r} "
                f"among its {len(numbers)} groups; balance fewer columns, or ones of fewer values"
            )
        # Groups with one class only say nothing of the difference: they are left out.
        both = np.asarray(counts.all(axis=1))
        ordered = [
            latents[order[both[side[order]]]]
            for latents, side in zip((positive, negative), codes, strict=True)
            for order in [np.argsort(side, kind="stable")]
        ]
        return cls(ordered[0], ordered[1], counts[both], clauses)

    @property
    def weights(self) -> Float64[Array, " s"]:
        """Share of each stratum in both means; sum 1."""
        weights = self.counts.prod(axis=1) / self.counts.sum(axis=1)
        return np.asarray(weights / weights.sum())

    @cached_property
    def means(self) -> tuple[Float64[Array, " d"], Float64[Array, " d"]]:
        """The mean of the positives and of the negatives, (d,) each.

        Raises:
            NotFinite: NaN or infinity among the latents.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            found = [
                sum(
                    weight * part.mean(axis=0, dtype=np.float64)
                    for weight, part in zip(self.weights, self.parts(side), strict=True)
                )
                for side in (0, 1)
            ]
        if not np.isfinite(found).all():
            raise NotFinite("latents contain NaN or infinity; drop those items")
        return np.asarray(found[0]), np.asarray(found[1])

    def parts(self, side: int) -> list[Array]:
        """Latents of one class (0 positive, 1 negative) by stratum."""
        return np.split((self.positive, self.negative)[side], np.cumsum(self.counts[:-1, side]))

    def split(self, generator: np.random.Generator) -> tuple[Classes | None, tuple[list[Array], list[Array]]]:
        """A random fifth of each class apart from the rest: at least one item, unless there is only one.

        Returns:
            The rest, None where it has no stratum of both classes; and the positives and negatives held out, by
            stratum.
        """
        kept, held, counts = [], [], np.zeros_like(self.counts)
        for side, latents in enumerate((self.positive, self.negative)):
            n = len(latents)
            out = max(1, round(HELD_OUT * n)) if n > 1 else 0
            order = generator.permutation(n)
            chosen, rest = np.sort(order[:out]), np.sort(order[out:])
            ends = np.cumsum(self.counts[:, side])
            counts[:, side] = np.diff(np.searchsorted(rest, ends), prepend=0)
            kept.append(latents[rest])
            held.append(np.split(latents[chosen], np.searchsorted(chosen, ends[:-1])))
        both = counts.all(axis=1)
        if not both.any():
            return None, (held[0], held[1])
        used = [latents[np.repeat(both, counts[:, side])] for side, latents in enumerate(kept)]
        return Classes(used[0], used[1], counts[both], self.clauses), (held[0], held[1])

    def scaled(self, normal: Float64[Array, " d"]) -> tuple[Float64[Array, " d"], float, float]:
        """Unit normal, midpoint of the class means along it, gap between them (> 0).

        Raises:
            NotFinite: NaN or infinity among the latents.
            InputError: The means coincide along the normal.
        """
        length = float(np.linalg.norm(normal))
        unit = normal / length if length else normal
        high, low = (float(mean @ unit) for mean in self.means)
        if high - low <= 1e-9 * max(abs(high), abs(low)):
            raise InputError(
                f"{self.clauses[0]!r} and {self.clauses[1]!r} have the same mean latent, so there is no direction "
                "between them; choose clauses that match different items"
            )
        return unit, (high + low) / 2, high - low
