"""What a latent expression is: a weighted sum of items, centroids and attribute vectors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


@dataclass(frozen=True)
class Item:
    """A stored item, by id."""

    id: str


@dataclass(frozen=True)
class Centroid:
    """The mean latent of a label."""

    label: str


@dataclass(frozen=True)
class Attribute:
    """An attribute vector, by name."""

    name: str


Atom: TypeAlias = Item | Centroid | Attribute


@dataclass(frozen=True)
class Expression:
    """A weighted sum.

    Attributes:
        terms: Each atom once, in the order of first mention, with its weight (0 where it cancels).
    """

    terms: tuple[tuple[Atom, float], ...]

    @property
    def point_weight(self) -> float:
        """Sum of the weights of items and centroids: 1 is a point, 0 a direction."""
        return math.fsum(weight for atom, weight in self.terms if not isinstance(atom, Attribute))

    def __str__(self) -> str:
        """`format` of it."""
        return format(self)


@dataclass(frozen=True)
class Names:
    """What an expression mentions: item ids, labels, attribute names, each in order of first mention."""

    items: tuple[str, ...]
    labels: tuple[str, ...]
    attributes: tuple[str, ...]


class Resolver(Protocol):
    """Fetches vectors for names, raising UnknownItem, UnknownLabel or UnknownAttribute."""

    def items(self, ids: Sequence[str], /) -> Float[Array, "n d"]:
        """Latents of items."""

    def centroids(self, labels: Sequence[str], /) -> Float[Array, "n d"]:
        """Mean latents of labels."""

    def attributes(self, names: Sequence[str], /) -> Float[Array, "n d"]:
        """Directions of attributes."""


def names(expression: Expression) -> Names:
    """What has to be fetched to evaluate an expression."""
    atoms = [atom for atom, _ in expression.terms]
    return Names(
        items=tuple(a.id for a in atoms if isinstance(a, Item)),
        labels=tuple(a.label for a in atoms if isinstance(a, Centroid)),
        attributes=tuple(a.name for a in atoms if isinstance(a, Attribute)),
    )


def evaluate(expression: Expression, resolver: Resolver) -> Float32[Array, " d"]:
    """Add up an expression's vectors.

    Args:
        expression: From `parse`.
        resolver: Fetches the vectors; called at most once per kind of name.

    Returns:
        Shape (d,), float32; added in float64.
    """
    mentioned = names(expression)
    total: Array | None = None
    for fetch, kind, keys in (
        (resolver.items, Item, mentioned.items),
        (resolver.centroids, Centroid, mentioned.labels),
        (resolver.attributes, Attribute, mentioned.attributes),
    ):
        if keys:
            weights = np.array([weight for atom, weight in expression.terms if isinstance(atom, kind)])
            part = weights @ np.asarray(fetch(keys), dtype=np.float64)
            total = part if total is None else total + part
    assert total is not None, "an expression has at least one term"
    with np.errstate(over="ignore"):  # the caller's check_vectors names what does not fit float32
        return np.asarray(total, dtype=np.float32)


def format(expression: Expression) -> str:  # noqa: A001
    """Write an expression in its shortest plain form; `parse` reads it back to an equal one."""
    text = ""
    for atom, weight in expression.terms:
        negative = math.copysign(1.0, weight) < 0
        text += (" - " if negative else " + ") if text else ("-" if negative else "")
        text += _atom_text(atom) if abs(weight) == 1 else f"{repr(abs(weight)).removesuffix('.0')} * {_atom_text(atom)}"
    return text


def _atom_text(atom: Atom) -> str:
    match atom:
        case Item(key):
            return _quote(key)
        case Centroid(label):
            return f"centroid({_quote(label)})"
        case Attribute(name):
            return name if _WORD.fullmatch(name) and name not in FUNCTIONS else f"attribute({_quote(name)})"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_WORD = re.compile(r"[^\W\d]\w*")
FUNCTIONS: dict[str, Callable[[str], Atom]] = {"centroid": Centroid, "attribute": Attribute}
