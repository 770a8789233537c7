"""Points of a space and their algebra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import expression as algebra
from latentstore.errors import InputError, NotSupported, SpaceMismatch, UnknownAttribute, UnknownLabel, suggest
from latentstore.expression import Atom, Attribute, Expression
from latentstore.space.settling import AMOUNT, settle
from latentstore.space.shown import notebook
from latentstore.space.surroundings import LatentReport, reports
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array, Neighbours


@dataclass(frozen=True, eq=False)
class Latent:
    """One latent of a space, or a direction in it, that can be added to others, decoded and searched.

    Sums, differences and multiples of latents written as expressions stay expressions: their weights are added up
    as fractions before any vector is, so the order of a chain makes no difference, and what is added and taken away
    again cancels exactly.

    Attributes:
        space: Where it lives.
        vector: Shape (d,), float32.
        expression: How it was written; None when it was given as numbers.
        weights: Those of the expression before they are rounded to floats; None means that none was.
    """

    space: EmbeddingSpace
    vector: Float32[Array, " d"]
    expression: Expression | None = None
    weights: Mapping[Atom, Fraction] | None = None

    def __add__(self, other: Latent) -> Latent:
        return _combine(self, Fraction(1), other, Fraction(1))

    def __sub__(self, other: Latent) -> Latent:
        return _combine(self, Fraction(1), other, Fraction(-1))

    def __mul__(self, factor: float) -> Latent:
        return _combine(self, _exactly(factor), None, Fraction(0))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Latent:
        if not divisor:
            raise InputError("a latent cannot be divided by 0; choose another number")
        return _combine(self, 1 / _exactly(divisor), None, Fraction(0))

    def __neg__(self) -> Latent:
        return self * -1.0

    def __str__(self) -> str:
        return str(self.expression) if self.expression else f"latent of shape {self.vector.shape}"

    def _repr_html_(self) -> str:
        """For notebooks: what the decoder draws here, and how real it is."""
        try:
            around = str(self.report())
        except NotSupported:  # an empty space has nothing around it
            around = ""
        return notebook(self.space, self.vector[None], [around], str(self))

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

    def settle(self, amount: float = AMOUNT) -> Latent:
        """Part of the way from here to the mean of the ten nearest items: back to the data, where an edit left it.

        Raises:
            InputError: An amount outside [0, 1].
            NotSupported: Too few items.
        """
        return Latent(self.space, settle(self.space, self.vector[None], amount)[0])

    def steps(self) -> list[tuple[str, Latent]]:
        """The chain that leads here: what is added, and the latent it leads to; the last is this one.

        It begins with all items and centroids, and goes on with one attribute after the other, as they are written.
        """
        if self.expression is None:
            return [(str(self), self)]
        points = tuple((atom, weight) for atom, weight in self.expression.terms if not isinstance(atom, Attribute))
        moves = [(atom, weight) for atom, weight in self.expression.terms if isinstance(atom, Attribute)]
        chain = [Expression(points)] if points else []
        for move in moves:
            chain.append(Expression((*(chain[-1].terms if chain else ()), move)))
        said = [str(chain[0]), *(_signed(Expression((move,))) for move in (moves if points else moves[1:]))]
        return [(words, from_expression(self.space, one)) for words, one in zip(said, chain, strict=True)]

    def report(self) -> LatentReport:
        """Where it is among real items: realism, the nearest one, its label, and a sentence.

        Raises:
            NotSupported: The space has no items.
        """
        return reports(self.space, self.vector[None])[0]


def _signed(expression: Expression) -> str:
    text = str(expression)
    return f"- {text[1:]}" if text.startswith("-") else f"+ {text}"


def _exactly(number: float) -> Fraction:
    try:
        return Fraction(float(number))
    except (ValueError, OverflowError) as error:
        raise InputError(f"a latent cannot be multiplied by {number}; choose a finite number") from error


def _combine(a: Latent, weight: Fraction, b: Latent | None, other: Fraction) -> Latent:
    if b is not None and not isinstance(b, Latent):
        raise InputError(f"{b!r} is not a latent; only latents of one space are added")
    if b is not None and b.space.identity != a.space.identity:
        raise SpaceMismatch(
            f"latents of {a.space.name!r} and {b.space.name!r} do not mix: they come from other encoders"
        )
    if a.expression and (b is None or b.expression):
        sums = {atom: weight * w for atom, w in _weights(a).items()}
        for atom, w in _weights(b).items() if b else ():
            sums[atom] = sums.get(atom, Fraction(0)) + other * w
        try:
            rounded = Expression(tuple((atom, float(w)) for atom, w in sums.items()))
        except OverflowError as error:
            raise InputError("a weight of the sum is too large; keep weights below 1e308") from error
        return replace(from_expression(a.space, rounded), weights=sums)
    total = float(weight) * a.vector.astype(np.float64) + (float(other) * b.vector.astype(np.float64) if b else 0.0)
    return Latent(a.space, check_vectors(total, a.space.dim, what="the sum"))


def _weights(latent: Latent) -> Mapping[Atom, Fraction]:
    if latent.weights is not None:
        return latent.weights
    assert latent.expression is not None
    return {atom: Fraction(weight) for atom, weight in latent.expression.terms}


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
        rows = self._space.rows_of(ids)  # refuses what is not there; a space without rows has nothing to gather from
        return self._space.snapshot.gather(rows)

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
