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
from latentstore.sql.gather import FEW
from latentstore.sql.lateral import LEFT, MAX_HITS, MAX_QUERIES, RIGHT, LateralJoin
from latentstore.sql.near import NearJoin
from latentstore.sql.views import vectors_of

if TYPE_CHECKING:
    import duckdb
    from jaxtyping import Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.sql.functions import Functions
    from latentstore.sql.gather import RowGroups
    from latentstore.storage import Snapshot
    from latentstore.types import Array

MEMORY_SHARE = 8  # of a query's memory that one side of a lateral join may take
# All sides of a join are shown as one table, as each costs half a millisecond; its name is none that a space may have.
# Its columns are "row", a hit, and each side's own, with the number of the side before their names.
_HIT = ", ".join(f'"row".{quote(field.name)} AS {quote(field.name)}' for field in HIT)
_MACRO = f"CREATE OR REPLACE MACRO neighbours(space, query, k) AS TABLE SELECT {_HIT} FROM _near"  # noqa: S608

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
        self._most = memory // MEMORY_SHARE
        self._connection = connect(memory, threads=1)
        functions.create(self._connection)
        self._now = _Now(pa.schema([("row", HIT)]).empty_table())
        self._connection.register("_near", self._now)  # a macro may name only what there is
        self._connection.execute(_MACRO)
        self._connection.execute("PRAGMA disable_optimizer")  # it takes longer than so few rows can
        lock(self._connection, [])
        self._shown: _Shown = ()

    def takes(self, join: NearJoin | LateralJoin) -> bool:
        """Whether the spaces are there, with columns that can be shown, and a lateral join's queries are few."""
        space = self._spaces.get(join.space)
        if space is None or not _showable(space, join.columns):
            return False
        if isinstance(join, NearJoin):
            return True
        queries = self._spaces.get(join.queries)
        if queries is None or queries.dim != space.dim or not _showable(queries, join.columns):
            return False
        return 0 < len(queries) <= min(MAX_QUERIES, MAX_HITS // join.k)

    def show(self, join: NearJoin | LateralJoin) -> duckdb.DuckDBPyConnection | None:
        """Search.

        Returns:
            Where to ask: there `neighbours` answers with the hits, and the spaces have the rows of the join, their
            columns as their views would give them; until something else is shown. None where the rows of a lateral
            join, repeated for each hit, would take much of the memory.
        """
        found = self._spaces[join.space].snapshot
        if isinstance(join, NearJoin):
            rows, hits = self._functions.hits(join.space, join.query, join.k)
            return self._exchanged(
                hits, {join.space: (join.space, self._rows(found, join.columns, rows, hits.field("id")))}
            )
        queries = self._spaces[join.queries].snapshot
        asked = queries.live_rows()
        left = self._rows(queries, join.columns, asked, ids_of(queries, asked))
        if left.nbytes * join.k > self._most:
            return None
        counts, rows, hits = self._functions.hits_of_all(join.space, queries.vectors(asked), join.k)
        if join.joined and len(rows) > FEW:
            some = rows[:: len(rows) // FEW]
            if self._rows(found, join.columns, some, ids_of(found, some)).nbytes * len(rows) > self._most * len(some):
                return None
        sides = {LEFT: (join.queries, left.take(pa.array(np.repeat(np.arange(len(asked)), counts))))}
        if join.joined:
            sides[RIGHT] = join.space, self._rows(found, join.columns, rows, hits.field("id"))
        return self._exchanged(hits, sides)

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

    def _exchanged(self, hits: pa.StructArray, sides: Mapping[str, tuple[str, pa.Table]]) -> duckdb.DuckDBPyConnection:
        """Show hits, and under each name rows of a space, as many as hits and in their order."""
        columns, shown = {"row": hits}, []
        for number, (name, (space, rows)) in enumerate(sides.items()):
            columns |= {f"{number}{column}": rows[column] for column in rows.column_names}
            shown.append((name, tuple((column, self._types[space][column]) for column in rows.column_names)))
        self._now.table = pa.table(columns)
        if tuple(shown) != self._shown:
            self._connection.register("_near", self._now)
            for name, _ in self._shown:
                self._connection.execute(f"DROP VIEW temp.{quote(name)}").fetchall()
            self._shown = ()
            for number, (name, types) in enumerate(shown):
                listed = ", ".join(_cast(f"{number}{column}", column, kind) for column, kind in types)
                self._connection.execute(f"CREATE TEMP VIEW {quote(name)} AS SELECT {listed} FROM _near").fetchall()  # noqa: S608
                self._shown = (*self._shown, shown[number])
        return self._connection

    def close(self) -> None:
        """Let go of everything."""
        self._connection.close()


def _showable(space: EmbeddingSpace, wanted: frozenset[str] | None) -> bool:
    """Whether DuckDB reads the wanted columns from Arrow as it does from Parquet."""
    kinds = (kind for name, kind in space.snapshot.column_types.items() if wanted is None or name.lower() in wanted)
    return not any(pa.types.is_duration(kind) or pa.types.is_decimal256(kind) for kind in kinds)


def _cast(column: str, name: str, kind: str) -> str:
    return f"CAST({quote(column)} AS {kind}) AS {quote(name)}"
