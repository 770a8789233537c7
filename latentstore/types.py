"""The few types every room shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from latentstore import markup
from latentstore.errors import ConfigInvalid, InputError, NotFinite, NotSupported, ShapeMismatch

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FLOAT32 = np.dtype(np.float32)
Array: TypeAlias = np.ndarray[Any, Any]  # shapes and dtypes are stated by jaxtyping: Float32[Array, "n d"]
ItemId: TypeAlias = str

Metric = Literal["l2", "cosine", "ip"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def check_metric(metric: str) -> Metric:
    """Return `metric` if it is one of l2, cosine, ip; else raise `ConfigInvalid`."""
    for known in METRICS:
        if metric == known:
            return known
    raise ConfigInvalid(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")


def whole_number(text: str) -> int | None:
    """The number below 10¹⁸ that ASCII digits write; None for anything else ("²" is a digit, too, but no number)."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def is_finite(number: float) -> bool:
    """Whether a float has it: no NaN, no infinity, no whole number of hundreds of digits."""
    try:
        return isfinite(number)
    except OverflowError:
        return False


def brief(number: int) -> str:
    """A whole number for a message, however long; Python writes no more than 4,300 digits."""
    text = str(number) if number.bit_length() < 10_000 else hex(number)
    return text if len(text) <= 24 else f"{text[:12]}… ({number.bit_length()} bits)"


def without_nan(values: Iterable[Any]) -> list[Any]:
    """The same values, None for NaN: what is no number is unknown."""
    return [None if one != one else one for one in values]


def check_seed(seed: Any) -> int:
    """A seed that every generator takes: a whole number from 0 to 2³² − 1.

    Raises:
        InputError: Anything else.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 1 << 32:
        raise InputError(f"seed is {seed!r}; choose a whole number from 0 to {(1 << 32) - 1}")
    return int(seed)


def check_vectors(vectors: Any, dim: int, metric: Metric = "l2", *, what: str = "vectors", first_row: int = 0) -> Array:
    """Check arrays at the door: shape, dtype, finiteness.

    Args:
        vectors: Anything NumPy can read, shape (d,) or (n, d), real numbers.
        dim: The width d of the space.
        metric: Under "cosine" a zero vector has no direction and is refused.
        what: How the message calls the array.
        first_row: How the message numbers its first row.

    Returns:
        The same numbers, float32, C-contiguous, shape as given; not copied when nothing has to change.

    Raises:
        ShapeMismatch: Another width, or not one- or two-dimensional.
        NotFinite: NaN, infinity (also from overflow of float32), or a zero vector under cosine.
        InputError: Not numbers.
    """
    if type(vectors) is np.ndarray and vectors.dtype is _FLOAT32 and vectors.shape == (dim,):
        square = float(vectors.dot(vectors))  # as below, at a third of the price: a query is most of all calls
        if isfinite(square) and (square or metric != "cosine" or not dim):
            return np.ascontiguousarray(vectors)
    try:
        given = np.asarray(vectors)
    except ValueError as error:
        raise ShapeMismatch(f"{what} have rows of different lengths; pass shape (n, {dim})") from error
    if given.dtype == object:
        given = _as_floats(given, what)
    if given.dtype.kind not in "fiub":
        raise InputError(f"{what} have dtype {given.dtype}; pass real numbers (float32)")
    if given.ndim not in (1, 2) or given.shape[-1] != dim:
        raise ShapeMismatch(f"{what} have shape {given.shape}; this space needs ({dim},) or (n, {dim})")
    if given.dtype == np.float32:
        checked = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):
            checked = np.ascontiguousarray(given, dtype=np.float32)
    rows = checked.reshape(-1, dim)
    # One pass: a row's sum of squares is finite unless an entry is not (or overflows float32 when squared,
    # which no metric could use either).
    squares = np.einsum("nd,nd->n", rows, rows)
    if not np.isfinite(squares).all():
        row = first_row + int(np.flatnonzero(~np.isfinite(squares))[0])
        raise NotFinite(f"{what} row {row} contains NaN, infinity or numbers beyond float32; remove or repair that row")
    if metric == "cosine" and rows.size and not squares.all():
        row = first_row + int(np.flatnonzero(squares == 0)[0])
        raise NotFinite(f"{what} row {row} is the zero vector, which has no direction under cosine; use l2 or drop it")
    return checked


def _as_floats(given: Array, what: str) -> Array:
    """Numbers of which one is a whole number that NumPy has no dtype for; anything else as it is."""
    if not all(isinstance(number, int | float | np.integer | np.floating) for number in given.flat):
        return given
    for number in given.flat:
        if isinstance(number, int) and not is_finite(number):
            raise NotFinite(f"{what} contain {brief(number)}, which is beyond float32; remove or repair that row")
    return given.astype(np.float64)


def ends_missing(numbers: Array) -> bool:
    """Whether any line of (m, c) numbers ends with −1, which stands for none; no reduction is made for one line."""
    return numbers.size > 0 and (numbers.item(-1) < 0 or (len(numbers) > 1 and bool((numbers[:, -1] < 0).any())))


class Stopwatch:
    """Seconds spent between laps; taking one costs as little as it can."""

    def __init__(self) -> None:
        self._laps = [("", perf_counter())]

    @classmethod
    def of(cls, seconds: Mapping[str, float]) -> Stopwatch:
        """One that has stopped: seconds by lap name, in order."""
        made = cls()
        made._laps = [("", 0.0), *zip(seconds, accumulate(seconds.values()), strict=True)]
        return made

    def lap(self, name: str) -> None:
        """End a lap and begin the next."""
        self._laps.append((name, perf_counter()))

    @property
    def seconds(self) -> dict[str, float]:
        """By lap name, in order; laps of one name add up."""
        spent: dict[str, float] = {}
        for (_, before), (name, now) in pairwise(self._laps):
            spent[name] = spent.get(name, 0.0) + now - before
        return spent


@dataclass
class Explanation:
    """How a search was answered. Numbers of vectors are per query.

    Attributes:
        strategy: "exact": all rows were compared; "gather": all that match; "index": FAISS proposed.
        reason: Why.
        live: Rows of the snapshot.
        matching: Rows that the filter left, = live without one.
        unindexed: Live rows that the index does not cover; they are compared exactly.
        watch: Took the time of the steps.
        index: FAISS factory string, "" where no index was asked.
        effort: Lists probed (ivf; the most of a batch) or beam width (hnsw).
        compared: Vectors or their codes compared with the query; of an index about, from the mean list.
        ranked: Candidates ranked by their exact distance.
    """

    strategy: str
    reason: str
    live: int
    matching: int
    unindexed: int
    watch: Stopwatch = field(repr=False)
    index: str = ""
    effort: int = 0
    compared: int = 0
    ranked: int = 0

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by step, of the whole batch."""
        return self.watch.seconds

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**{name: value for name, value in vars(self).items() if name != "watch"}, "seconds": self.seconds}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Explanation:
        """The inverse of `to_json`."""
        seconds = told["seconds"]
        return cls(watch=Stopwatch.of(seconds), **{name: one for name, one in told.items() if name != "seconds"})

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {1e3 * spent:.2f}" for name, spent in self.seconds.items() if spent >= 5e-6)
        asked = f" {self.index}, effort {self.effort};" if self.index else ""
        work = f"{self.matching} of {self.live} rows match, {self.compared} compared, {self.ranked} ranked exactly"
        return f"{self.strategy}: {self.reason};{asked} {work}; ms: {steps}"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The result of a k-nearest search: 1-D arrays for one query, (n, k) for a batch of n.

    Fewer than k rows may match. One query then has shorter arrays; in a batch the end of that row reads None, −1, NaN.

    Attributes:
        ids: Item ids, dtype object.
        rows: Row numbers, int64.
        distances: float32, ascending. L2 is Euclidean (not squared), cosine is 1 − cos.
            Under ip these are similarities, descending, and `similarities` is the name to use.
        k: Neighbours asked for.
        metric: The space's metric.
        version: The snapshot that answered.
        columns: The metadata columns asked for, one row per hit, in the order of `to_arrow`.
        explanation: How it was answered, if that was asked for.
    """

    ids: Array
    rows: Array
    distances: Array
    k: int
    metric: Metric
    version: int
    columns: pa.Table | None = field(default=None, repr=False)
    explanation: Explanation | None = field(default=None, repr=False)

    @property
    def similarities(self) -> Array:
        """Larger is nearer: the inner product under ip, the cosine under cosine.

        Raises:
            NotSupported: An l2 space has distances only.
        """
        if self.metric == "l2":
            raise NotSupported("an l2 space has distances, not similarities; use .distances")
        return self.distances if self.metric == "ip" else 1 - self.distances

    @property
    def shortfall(self) -> Array | int:
        """How many of the k neighbours do not exist: an int, or int64 of shape (n,) for a batch."""
        missing = self.k - np.asarray(self.rows >= 0).sum(axis=-1)
        return int(missing) if self.rows.ndim == 1 else np.asarray(missing)

    def __len__(self) -> int:
        """Hits of one query, or queries of a batch."""
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[ItemId, float]]:
        """(id, distance) of each hit of one query.

        Raises:
            NotSupported: A batch has several lists of hits.
        """
        if self.rows.ndim != 1:
            raise NotSupported("a batch has no single list of hits; iterate over .ids and .distances")
        return zip(self.ids.tolist(), self.distances.tolist(), strict=True)

    def to_arrow(self) -> pa.Table:
        """One row per hit: query, rank (both from 0), id, row, distance (ip: similarity), and the columns asked for."""
        import pyarrow as pa

        rows = np.atleast_2d(self.rows)
        query, rank = np.nonzero(rows >= 0)
        flat = np.flatnonzero(rows.ravel() >= 0)
        table = pa.table(
            {
                "query": query,
                "rank": rank,
                "id": pa.array(self.ids.ravel()[flat], pa.string()),
                "row": rows.ravel()[flat],
                "similarity" if self.metric == "ip" else "distance": self.distances.ravel()[flat],
            }
        )
        if self.columns is not None:
            for name in self.columns.column_names:
                table = table.append_column(name, self.columns[name])
        return table

    def _repr_html_(self) -> str:
        """For notebooks: the hits with the columns asked for."""
        found = self.to_arrow().drop_columns(["row", *(["query"] if self.rows.ndim == 1 else [])])
        rows = [[*row.values()] for row in found.slice(0, markup.MOST).to_pylist()]
        missing = int(np.sum(self.shortfall))
        about = f"{self.metric}, version {self.version}" + (f", {missing} fewer than asked for" if missing else "")
        return markup.table(found.column_names, rows, about, count=len(found))

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas DataFrame (needs the extra `pandas`)."""
        return self.to_arrow().to_pandas()
