"""`latent` and `neighbours`: the latent algebra and the index, from SQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError, LatentStoreError, UnknownSpace, suggest
from latentstore.sql.gather import FEW
from latentstore.storage.gather import groups
from latentstore.types import check_vectors

if TYPE_CHECKING:
    import duckdb
    from jaxtyping import Float32, Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.storage import Snapshot
    from latentstore.types import Array

MAX_K = 10_000  # neighbours of one query
MAX_HITS = 20_000_000  # of one call, which is at most 2048 queries

HIT = pa.struct({"id": pa.string(), "distance": pa.float32(), "similarity": pa.float32()})
_HITS = "STRUCT(id VARCHAR, distance FLOAT, similarity FLOAT)[]"
# A vector comes as a list of floats, everything else as text; `typeof` is known before the query runs.
_MACRO = """
CREATE MACRO neighbours(space, query, k) AS TABLE SELECT unnest(
    CASE WHEN typeof(query) = 'VARCHAR' THEN neighbours_of_text(space, CAST(query AS VARCHAR), k)
    ELSE neighbours_of_vector(space, CAST(query AS FLOAT[]), k) END, recursive := true)
"""


@dataclass(frozen=True)
class _Found:
    """A search and what it found."""

    name: str
    vectors: Float32[Array, "m d"]
    k: int
    rows: Int64[Array, "m k"]
    distances: Float32[Array, "m k"]


class Functions:
    """The functions of one session.

    Attributes:
        failure: What a function raised last, which DuckDB passes on as text only.
        known: Names of all spaces there are, for the message about an unknown one.
    """

    def __init__(self, spaces: Mapping[str, EmbeddingSpace]) -> None:
        self.failure: LatentStoreError | None = None
        self.known: Iterable[str] = spaces
        self._found: _Found | None = None
        self._spaces = spaces

    def create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give a connection, not yet locked, the functions."""
        for name, function, parameters, answer in (
            ("latent", self._latent, ["VARCHAR", "VARCHAR"], "FLOAT[]"),
            ("neighbours_of_text", self._of_texts, ["VARCHAR", "VARCHAR", "BIGINT"], _HITS),
            ("neighbours_of_vector", self._of_vectors, ["VARCHAR", "FLOAT[]", "BIGINT"], _HITS),
        ):
            self.add(connection, name, function, parameters, answer)
        connection.execute(_MACRO)

    def add(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        function: Callable[..., pa.Array],
        parameters: list[str],
        answer: str,
    ) -> None:
        """Give a connection one function of two or three whole columns; what it raises is kept."""

        def kept(*columns: pa.Array | pa.ChunkedArray) -> pa.Array:
            try:
                return function(*(c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns))
            except LatentStoreError as error:
                self.failure = error
                raise

        # DuckDB counts the parameters, and reads annotations where there are any.
        counted = (lambda a, b: kept(a, b)) if len(parameters) == 2 else (lambda a, b, c: kept(a, b, c))
        connection.create_function(name, counted, parameters, answer, type="arrow")

    def space(self, name: str) -> EmbeddingSpace:
        """A space by name; UnknownSpace says which there are."""
        if name not in self._spaces:
            raise UnknownSpace(f"no space {name!r}; {suggest(name, self.known)}")
        return self._spaces[name]

    def hits(self, name: str, query: str | list[float], k: int) -> tuple[Int64[Array, " k"], pa.StructArray]:
        """The neighbours of one query: their rows, and what `neighbours` answers."""
        space = self.space(name)
        given = _vector(space, query) if isinstance(query, str) else np.array(query, np.float64)
        vector = check_vectors(given, space.dim, space.metric, what="query vectors")
        return self.hits_of_all(name, vector.reshape(-1, space.dim), k)[1:]

    def hits_of_all(
        self, name: str, vectors: Float32[Array, "m d"], k: int
    ) -> tuple[Int64[Array, " m"], Int64[Array, " h"], pa.StructArray]:
        """The neighbours of each query, one after the other: how many, their rows, and what `neighbours` answers."""
        space = self.space(name)
        asked = check_vectors(vectors, space.dim, space.metric, what="query vectors")
        rows, distances = self._search(name, asked, k)
        found = rows >= 0
        return found.sum(axis=1), rows[found], _hits(space, rows[found], distances[found])

    def forget(self) -> None:
        """Let go of the last hits, and of the last failure."""
        self._found = self.failure = None

    def _search(
        self, name: str, vectors: Float32[Array, "m d"], k: int
    ) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
        known = self._found
        if known is not None and (known.name, known.k) == (name, k) and np.array_equal(known.vectors, vectors):
            return known.rows, known.distances
        rows, distances, _ = self.space(name).searcher.search(vectors, k)
        if len(vectors) == 1:  # DuckDB calls with constant arguments twice: once to plan
            self._found = _Found(name, vectors, k, rows, distances)
        return rows, distances

    def _latent(self, names: pa.Array, texts: pa.Array) -> pa.Array:
        pairs = list(zip(names.to_pylist(), texts.to_pylist(), strict=True))
        known = [pair for pair in dict.fromkeys(pairs) if None not in pair]
        vectors = {pair: self.space(pair[0]).latent(pair[1]).vector for pair in known}
        return pa.array([vectors.get(pair) for pair in pairs], pa.list_(pa.float32()))

    def _of_texts(self, names: pa.Array, texts: pa.Array, counts: pa.Array) -> pa.Array:
        listed = texts.to_pylist()

        def read(space: EmbeddingSpace, asked: Array) -> Float32[Array, "m d"]:
            return np.stack([_vector(space, listed[i]) for i in asked])

        return self._neighbours(names, counts, np.array([text is not None for text in listed], bool), read)

    def _of_vectors(self, names: pa.Array, lists: pa.Array, counts: pa.Array) -> pa.Array:
        there = np.array(lists.is_valid())
        values = np.asarray(lists.values.fill_null(float("nan")), np.float32)
        offsets = np.asarray(lists.offsets)

        def read(space: EmbeddingSpace, asked: Array) -> Float32[Array, "m d"]:
            starts, stops = offsets[asked], offsets[asked + 1]
            if not (stops - starts == space.dim).all():
                width = int((stops - starts)[stops - starts != space.dim][0])
                raise InputError(f"neighbours got a vector of {width} numbers; space {space.name!r} needs {space.dim}")
            first, last = int(starts[0]), int(stops[-1])
            if last - first == len(asked) * space.dim:  # one after the other, as nearly always
                return values[first:last].reshape(-1, space.dim)
            return values[starts[:, None] + np.arange(space.dim)]

        return self._neighbours(names, counts, there, read)

    def _neighbours(
        self,
        names: pa.Array,
        counts: pa.Array,
        there: Array,
        read: Callable[[EmbeddingSpace, Array], Float32[Array, "m d"]],
    ) -> pa.Array:
        """Hits of each query, one batch search per space and k; none where an argument is NULL."""
        spaces, wanted = names.dictionary_encode(), counts.dictionary_encode()  # there are few of each
        of_space, of_count = (one.indices.fill_null(-1).to_numpy() for one in (spaces, wanted))
        asked = [
            (place, number, name, k)
            for place, name in enumerate(spaces.dictionary.to_pylist())
            for number, k in enumerate(wanted.dictionary.to_pylist())
        ]
        parts: list[pa.StructArray] = []
        first, length = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
        total = 0
        for place, number, name, k in asked:
            mine = np.flatnonzero((of_space == place) & (of_count == number))
            if len(mine) and not 1 <= k <= MAX_K:
                raise InputError(f"neighbours got k = {k}; choose 1 to {MAX_K}")
            mine = mine[there[mine]]
            if not len(mine):
                continue
            if len(mine) * k > MAX_HITS:
                raise InputError(f"neighbours of {len(mine)} queries with k = {k} are too many; choose a smaller k")
            length[mine], rows, hits = self.hits_of_all(name, read(self.space(name), mine), k)
            first[mine] = total + np.cumsum(length[mine]) - length[mine]
            total += len(rows)
            parts.append(hits)
        return _listed(pa.concat_arrays([pa.array([], HIT), *parts]), first, length)


def _listed(hits: pa.StructArray, first: Int64[Array, " n"], length: Int64[Array, " n"]) -> pa.ListArray:
    """Lists of the given stretches of the hits."""
    ends = np.cumsum(length)
    if (first != ends - length).any():
        hits = hits.take(pa.array(np.repeat(first - (ends - length), length) + np.arange(int(length.sum()))))
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends).astype(np.int32)), hits)


def _hits(space: EmbeddingSpace, rows: Int64[Array, " m"], distances: Float32[Array, " m"]) -> pa.StructArray:
    given, nothing = pa.array(distances, pa.float32()), pa.nulls(len(rows), pa.float32())
    distance = nothing if space.metric == "ip" else given
    similarity = {"l2": lambda: nothing, "ip": lambda: given, "cosine": lambda: pa.array(1 - distances, pa.float32())}
    return pa.StructArray.from_arrays(
        [ids_of(space.snapshot, rows), distance, similarity[space.metric]()], fields=list(HIT)
    )


def ids_of(snapshot: Snapshot, rows: Int64[Array, " m"]) -> pa.StringArray:
    """Ids of live rows, in their order; of many, never as Python objects."""
    numbers, positions = snapshot.gather.place(rows) if len(rows) else (rows, rows)
    if len(rows) <= FEW:
        each = zip(numbers.tolist(), positions.tolist(), strict=True)
        return pa.array([snapshot.segments[number].ids[position].as_py() for number, position in each], pa.string())
    order, parts = [], []
    for number, chosen in groups(numbers):
        order.append(chosen)
        parts.append(snapshot.segments[number].ids.take(pa.array(positions[chosen])).cast(pa.string()))
    if len(parts) == 1:
        return parts[0]
    back = np.empty(len(rows), np.int64)
    back[np.concatenate(order)] = np.arange(len(rows))
    return pa.concat_arrays(parts).take(pa.array(back))


def _vector(space: EmbeddingSpace, text: str) -> Any:
    """The vector of an expression, or of a list written as text (no expression starts with a bracket)."""
    if not text.lstrip().startswith("["):
        return space.latent(text).vector
    try:
        return space.latent(np.array(json.loads(text), dtype=np.float64)).vector
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"neighbours cannot read the vector {text[:40]}… ({error}); pass {space.dim} numbers"
        ) from error
