"""Points of a space and their algebra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import expression as algebra
from latentstore.errors import InputError, SpaceMismatch, UnknownAttribute, UnknownLabel, suggest
from latentstore.expression import Expression
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array, Neighbours


@dataclass(frozen=True, eq=False)
class Latent:
    """One latent of a space, or a direction in it, that can be added to others, decoded and searched.

    Sums, differences and multiples of latents written as expressions stay expressions: their terms are added up
    before any vector is, so what is added and taken away again cancels exactly.

    Attributes:
        space: Where it lives.
        vector: Shape (d,), float32.
        expression: How it was written; None when it was given as numbers.
    """

    space: EmbeddingSpace
    vector: Float32[Array, " d"]
    expression: Expression | None = None

    def __add__(self, other: Latent) -> Latent:
        return _combine(self, 1.0, other, 1.0)

    def __sub__(self, other: Latent) -> Latent:
        return _combine(self, 1.0, other, -1.0)

    def __mul__(self, factor: float) -> Latent:
        return _combine(self, float(factor), None, 0.0)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Latent:
        if not divisor:
            raise InputError("a latent cannot be divided by 0; choose another number")
        return self * (1 / divisor)

    def __neg__(self) -> Latent:
        return self * -1.0

    def __str__(self) -> str:
        return str(self.expression) if self.expression else f"latent of shape {self.vector.shape}"

    def decode(self) -> Float32[Array, ...]:
        """The item that the decoder draws here: float32 in [0, 1], shape (h, w, c).

        Raises:
            NotSupported: The space has no encoder.
        """
        return np.asarray(self.space.decode(self.vector[None])[0])

    def search(self, k: int = 10, **options: Any) -> Neighbours:
        """The k nearest items; options as `EmbeddingSpace.search`."""
        return self.space.search(self.vector, k, **options)

    def realism(self) -> float:
        """How near to real data: the share of real items that lie at least as far out, in [0, 1]."""
        return float(self.space.realism(self.vector[None])[0])


def _combine(a: Latent, weight: float, b: Latent | None, other: float) -> Latent:
    if b is not None and not isinstance(b, Latent):
        raise InputError(f"{b!r} is not a latent; only latents of one space are added")
    if b is not None and b.space.identity != a.space.identity:
        raise SpaceMismatch(
            f"latents of {a.space.name!r} and {b.space.name!r} do not mix: they come from other encoders"
        )
    if a.expression and (b is None or b.expression):
        sums = {atom: weight * w for atom, w in a.expression.terms}
        for atom, w in b.expression.terms if b and b.expression else ():
            sums[atom] = sums.get(atom, 0.0) + other * w
        return from_expression(a.space, Expression(tuple(sums.items())))
    total = weight * a.vector.astype(np.float64) + (other * b.vector.astype(np.float64) if b else 0.0)
    return Latent(a.space, check_vectors(total, a.space.dim, what="the sum"))


def from_expression(space: EmbeddingSpace, expression: Expression) -> Latent:
    """Evaluate an expression on the space's snapshot."""
    vector = algebra.evaluate(expression, _Names(space))
    return Latent(space, check_vectors(vector, space.dim, what=f"{expression} in numbers"), expression)


def as_latent(space: EmbeddingSpace, given: str | Latent | Expression | Array | Sequence[float]) -> Latent:
    """Make a latent from whatever names one: an expression, a latent of the same encoder, a vector (d,).

    Raises:
        ExpressionRefused, UnknownItem, UnknownLabel, UnknownAttribute: From the expression.
        SpaceMismatch: A latent of another encoder.
        ShapeMismatch, NotFinite: A vector that does not fit.
    """
    if isinstance(given, str):
        return from_expression(space, algebra.parse(given))
    if isinstance(given, Expression):
        return from_expression(space, given)
    if isinstance(given, Latent):
        if given.space.identity != space.identity:
            raise SpaceMismatch(
                f"a latent of {given.space.name!r} means nothing in {space.name!r}: they come from other encoders"
            )
        return given
    vector = check_vectors(given, space.dim, what="the vector")
    return Latent(space, vector.reshape(space.dim))


def as_queries(space: EmbeddingSpace, query: Any) -> tuple[Float32[Array, "m d"], bool]:
    """Vectors (m, d) of a query, and whether it was a single one: text, latent, vector, or a list of any of them."""
    vectors: Any
    single: bool | None
    if isinstance(query, np.ndarray):
        vectors, single = query, query.ndim == 1
    elif isinstance(query, str | Latent | Expression):
        vectors, single = as_latent(space, query).vector, True
    elif isinstance(query, Iterable) and _of_latents(query := list(query)):
        vectors, single = np.stack([as_latent(space, one).vector for one in query]), False
    else:
        vectors, single = query, None
    snapshot = space.snapshot
    checked = check_vectors(vectors, snapshot.dim, snapshot.metric, what="query vectors")
    return checked.reshape(-1, snapshot.dim), checked.ndim == 1 if single is None else single


def _of_latents(query: list[Any]) -> bool:
    return bool(query) and all(isinstance(one, str | Latent | Expression) for one in query)


class _Names:
    """Looks the names of an expression up in a space (`latentstore.expression.Resolver`)."""

    def __init__(self, space: EmbeddingSpace) -> None:
        self._space = space

    def items(self, ids: Sequence[str], /) -> Float32[Array, "n d"]:
        return self._space.snapshot.gather(self._space.rows_of(ids))

    def centroids(self, labels: Sequence[str], /) -> Float32[Array, "n d"]:
        known = self._space.concepts.centroid_vectors
        for label in labels:
            if label not in known:
                hint = suggest(label, known) if known else "fit them with space.fit_centroids(column)"
                raise UnknownLabel(f"no centroid of label {label!r} in space {self._space.name!r}; {hint}")
        return np.stack([known[label] for label in labels])

    def attributes(self, names: Sequence[str], /) -> Float32[Array, "n d"]:
        known = self._space.concepts.attribute_vectors
        for name in names:
            if name not in known:
                hint = (
                    suggest(name, known) if known else "fit one with space.fit_attribute(name, positive=…, negative=…)"
                )
                raise UnknownAttribute(
                    f"no attribute vector {name!r} in space {self._space.name!r}; {hint} (an item's id needs quotes)"
                )
        return np.stack([known[name] for name in names])
