"""`latent` and `neighbours`: the latent algebra and the index, from SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError, LatentStoreError, UnknownSpace, suggest

if TYPE_CHECKING:
    import duckdb

    from latentstore.space import EmbeddingSpace

MAX_K = 10_000  # neighbours of one query

_HIT = pa.struct({"id": pa.string(), "distance": pa.float32(), "similarity": pa.float32()})


def create_functions(
    connection: duckdb.DuckDBPyConnection, spaces: Mapping[str, EmbeddingSpace], failures: list[LatentStoreError]
) -> None:
    """Give a connection the functions.

    Args:
        connection: Not yet locked.
        spaces: The spaces that may be named.
        failures: Receives what a function raises, which DuckDB passes on as text only.
    """

    @contextmanager
    def kept() -> Iterator[None]:
        try:
            yield
        except LatentStoreError as error:
            failures.append(error)
            raise

    def latent(names: pa.Array, texts: pa.Array) -> pa.Array:
        with kept():
            pairs = list(zip(names.to_pylist(), texts.to_pylist(), strict=True))
            vectors = {pair: _find(spaces, pair[0]).latent(pair[1]).vector for pair in dict.fromkeys(pairs)}
            return pa.array([vectors[pair] for pair in pairs], pa.list_(pa.float32()))

    def neighbours(names: pa.Array, queries: pa.Array, counts: pa.Array) -> pa.Array:
        with kept():
            return _neighbours(spaces, names.to_pylist(), queries.to_pylist(), counts.to_pylist())

    connection.create_function("latent", latent, ["VARCHAR", "VARCHAR"], "FLOAT[]", type="arrow")
    hits = "STRUCT(id VARCHAR, distance FLOAT, similarity FLOAT)[]"
    connection.create_function("neighbours_of", neighbours, ["VARCHAR", "VARCHAR", "BIGINT"], hits, type="arrow")
    # A vector arrives as its text, which DuckDB writes so that it reads back exactly; no expression starts with [.
    connection.execute(
        "CREATE MACRO neighbours(space, query, k) AS TABLE "
        "SELECT unnest(neighbours_of(space, CAST(query AS VARCHAR), k), recursive := true)"
    )


def _find(spaces: Mapping[str, EmbeddingSpace], name: str) -> EmbeddingSpace:
    if name not in spaces:
        raise UnknownSpace(f"no space {name!r}; {suggest(name, spaces)}")
    return spaces[name]


def _neighbours(
    spaces: Mapping[str, EmbeddingSpace], names: list[str], queries: list[str], counts: list[int]
) -> pa.Array:
    """Hits of each query, one batch search per space and k."""
    found: list[list[dict[str, Any]]] = [[] for _ in names]
    asked = list(zip(names, counts, strict=True))
    for name, k in dict.fromkeys(asked):
        if not 1 <= k <= MAX_K:
            raise InputError(f"neighbours got k = {k}; choose 1 to {MAX_K}")
        space = _find(spaces, name)
        mine = [i for i, one in enumerate(asked) if one == (name, k)]
        hits = space.search([_query(space, queries[i]) for i in mine], k=k)
        distances = None if space.metric == "ip" else hits.distances.tolist()
        similarities = None if space.metric == "l2" else hits.similarities.tolist()
        for order, i in enumerate(mine):
            found[i] = [
                {
                    "id": one,
                    "distance": distances and distances[order][rank],
                    "similarity": similarities and similarities[order][rank],
                }
                for rank, one in enumerate(hits.ids[order])
                if one is not None
            ]
    return pa.array(found, pa.list_(_HIT))


def _query(space: EmbeddingSpace, text: str) -> Any:
    """An expression, or a vector written as a list."""
    if not text.lstrip().startswith("["):
        return space.latent(text)
    try:
        return space.latent(np.array(json.loads(text), dtype=np.float32))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"neighbours cannot read the vector {text[:40]}… ({error}); pass {space.dim} numbers"
        ) from error
