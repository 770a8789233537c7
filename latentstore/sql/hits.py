"""A connection in which a space has no rows but those that a search found: where `NearJoin` and `LateralJoin` run.

The session's own connection would take ten times as long to plan such a query: there a space is a view over all its
segments, and `neighbours` a function that searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.filters.allowed import quote
from latentstore.sql.connection import connect, lock
from latentstore.sql.functions import HIT, ids_of
from latentstore.sql.lateral import LEFT, MAX_HITS, MAX_QUERIES, RIGHT, LateralJoin
from latentstore.sql.near import NearJoin
from latentstore.sql.views import vectors_of

if TYPE_CHECKING:
    import duckdb
    from jaxtyping import Float32, Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.sql.functions import Functions
    from latentstore.sql.gather import RowGroups
    from latentstore.storage import Snapshot
    from latentstore.types import Array

# All sides of a join are shown as one table, as each costs half a millisecond; its name is none that a space may have.
# Its columns are "row", a hit, and each side's own, with the number of the side before their names.
_HIT = ", ".join(f'"row".{quote(field.name)} AS {quote(field.name)}' for field in HIT)
_MACRO = f"CREATE OR REPLACE MACRO neighbours(space, query, k) AS TABLE SELECT {_HIT} FROM _near"  # noqa: S608

Typed = tuple[pa.Table, Mapping[str, str]]  # and DuckDB's types of its columns
_Shown = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # each side's name, and its columns and their types


class _Now:
    """A table that may be exchanged: to register another takes as long as a third of a query.

    Attributes:
        table: What is read; always of the same columns.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's protocol for what can be read as a stream of batches."""
        return self.table.__arrow_c_stream__(requested_schema)


class HitsOnly:
    """One such connection, for one query at a time.

    Args:
        functions: What else the query may call.
        spaces: By name.
        types: DuckDB's types of each space's columns, as its view has them.
        groups: Decoded metadata.
        memory: Bytes it may use.
    """

    def __init__(
        self,
        functions: Functions,
        spaces: Mapping[str, EmbeddingSpace],
        types: Mapping[str, Mapping[str, str]],
        groups: RowGroups,
        memory: int,
    ) -> None:
        self._functions, self._spaces, self._types, self._groups = functions, spaces, types, groups
        self._connection = connect(memory, threads=1)
        functions.create(self._connection)
        self._now = _Now(pa.schema([("row", HIT)]).empty_table())
        self._connection.register("_near", self._now)  # a macro may name only what there is
        self._connection.execute(_MACRO)
        self._connection.execute("PRAGMA disable_optimizer")  # it takes longer than so few rows can
        lock(self._connection, [])
        self._shown: _Shown = ()

    def takes(self, join: NearJoin | LateralJoin) -> bool:
        """Whether the spaces are there, and small enough for a lateral join's queries to be asked at once."""
        if join.space not in self._spaces:
            return False
        if isinstance(join, NearJoin):
            return True
        if join.queries is None:
            return True
        queries = self._spaces.get(join.queries)
        if queries is None or queries.dim != self._spaces[join.space].dim:
            return False
        return 0 < len(queries) <= min(MAX_QUERIES, MAX_HITS // join.k)

    def show(self, join: NearJoin | LateralJoin, queries: Typed | None = None) -> duckdb.DuckDBPyConnection | None:
        """Search.

        Args:
            join: What for; of those that it `takes`.
            queries: What the join's subquery gave.

        Returns:
            Where to ask: there `neighbours` answers with the hits, and the spaces have the rows of the join, their
            columns as their views would give them; until something else is shown. None where the subquery gave no
            vectors of the space, or too many.
        """
        space, types = self._spaces[join.space], self._types[join.space]
        if isinstance(join, NearJoin):
            rows, hits = self._functions.hits(join.space, join.query, join.k)
            beside = self._rows(space.snapshot, join.columns, rows, hits.field("id"))
            return self._exchanged(hits, {join.space: (beside, types)})
        vectors, left = self._asked(join) if queries is None else _given(queries, space.dim, join.columns)
        if vectors is None or not 0 < len(vectors) <= MAX_HITS // join.k:
            return None
        counts, rows, hits = self._functions.hits_of_all(join.space, vectors, join.k)
        sides = {LEFT: (left[0].take(pa.array(np.repeat(np.arange(len(vectors)), counts))), left[1])}
        if join.joined:
            sides[RIGHT] = self._rows(space.snapshot, join.columns, rows, hits.field("id")), types
        return self._exchanged(hits, sides)

    def _asked(self, join: LateralJoin) -> tuple[Float32[Array, "m d"], Typed]:
        """The vectors of a space, and its rows."""
        assert join.queries is not None, "else there is a subquery"
        snapshot = self._spaces[join.queries].snapshot
        rows = snapshot.live_rows()
        shown = self._rows(snapshot, join.columns, rows, ids_of(snapshot, rows))
        return snapshot.vectors(rows), (shown, self._types[join.queries])

    def _rows(
        self, snapshot: Snapshot, wanted: frozenset[str] | None, rows: Int64[Array, " m"], ids: pa.Array
    ) -> pa.Table:
        """Rows as the space's view would show them, of the wanted columns (in lower case; None for all)."""
        names = [name for name in snapshot.column_types if wanted is None or name.lower() in wanted]
        # Decoded row groups know nothing of what changed beside the files.
        plain = not any(s.record.patch or s.record.names or s.record.defaults for s in snapshot.segments)
        taken = self._groups.take(snapshot, rows, names) if plain else snapshot.columns(rows, names)
        columns = {"id": ids, **{name: taken[name] for name in names}}
        if wanted is None or "vector" in wanted:
            columns["vector"] = vectors_of(snapshot, rows)
        return pa.table(columns)

    def _exchanged(self, hits: pa.StructArray, sides: Mapping[str, Typed]) -> duckdb.DuckDBPyConnection:
        """Show hits, and under each name a table, with as many rows as hits and in their order."""
        columns, shown = {"row": hits}, []
        for number, (name, (rows, types)) in enumerate(sides.items()):
            columns |= {f"{number}{column}": rows[column] for column in rows.column_names}
            shown.append((name, tuple((column, types[column]) for column in rows.column_names)))
        self._now.table = pa.table(columns)
        if tuple(shown) != self._shown:
            self._connection.register("_near", self._now)
            for name, _ in self._shown:
                self._connection.execute(f"DROP VIEW temp.{quote(name)}").fetchall()
            self._shown = ()
            for number, (name, typed) in enumerate(shown):
                listed = ", ".join(_cast(f"{number}{column}", column, kind) for column, kind in typed)
                self._connection.execute(f"CREATE TEMP VIEW {quote(name)} AS SELECT {listed} FROM _near").fetchall()  # noqa: S608
                self._shown = (*self._shown, shown[number])
        return self._connection

    def close(self) -> None:
        """Let go of everything."""
        self._connection.close()


def _given(queries: Typed, dim: int, used: frozenset[str]) -> tuple[Float32[Array, "m d"] | None, Typed]:
    """The vectors of what a subquery gave, None where it has none of this width, and the columns that are used."""
    table, types = queries
    wanted = [column for column in table.column_names if column.lower() in used]
    shown = table.select(wanted or table.column_names[:1]), types
    named = [column for column in table.column_names if column.lower() == "vector"]
    if len(named) != 1 or table.schema.field(named[0]).type != pa.list_(pa.float32(), dim) or not len(table):
        return None, shown
    vectors = table[named[0]].combine_chunks()
    return None if vectors.null_count else np.asarray(vectors.flatten()).reshape(-1, dim), shown


def _cast(column: str, name: str, kind: str) -> str:
    return f"CAST({quote(column)} AS {kind}) AS {quote(name)}"
