"""A connection in which a space has no rows but those that a search found: where a `NearJoin` is answered.

The session's own connection would take ten times as long to plan the query: there the space is a view over all its
segments, and `neighbours` a function that searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from latentstore.filters.allowed import quote
from latentstore.sql.connection import connect, lock
from latentstore.sql.functions import HIT

if TYPE_CHECKING:
    import duckdb

    from latentstore.sql.functions import Functions

# Both sides of the join are shown as one table, as each costs half a millisecond; its name, and that of its column
# "row", are none that a space or a metadata column may have.
_HIT = ", ".join(f'"row".{quote(field.name)} AS {quote(field.name)}' for field in HIT)
_MACRO = f"CREATE OR REPLACE MACRO neighbours(space, query, k) AS TABLE SELECT {_HIT} FROM _near"  # noqa: S608


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
        memory: Bytes it may use.

    Attributes:
        connection: It.
    """

    def __init__(self, functions: Functions, memory: int) -> None:
        self.connection = connect(memory, threads=1)
        functions.create(self.connection)
        self._now = _Now(pa.schema([("row", HIT)]).empty_table())
        self.connection.register("_near", self._now)  # a macro may name only what there is
        self.connection.execute(_MACRO)
        self.connection.execute("PRAGMA disable_optimizer")  # it takes longer than so few rows can
        lock(self.connection, [])
        self._shown: tuple[str, tuple[tuple[str, str], ...]] | None = None

    def show(
        self, name: str, hits: pa.StructArray, rows: pa.Table, types: Mapping[str, str]
    ) -> duckdb.DuckDBPyConnection:
        """Let `neighbours` answer with hits, and a space have these rows, its columns as its view would give them.

        Args:
            name: The space's.
            hits: As `HIT`, (k,).
            rows: The hits' own, in their order, k of them.
            types: DuckDB's types of the columns.

        Returns:
            Where to ask; it shows this until it is told to show something else.
        """
        columns = tuple((column, types[column]) for column in rows.column_names)
        self._now.table = rows.append_column("row", hits)
        if (name, columns) != self._shown:
            self.connection.register("_near", self._now)
            if self._shown is not None:
                self.connection.execute(f"DROP VIEW temp.{quote(self._shown[0])}").fetchall()
                self._shown = None
            listed = ", ".join(f"CAST({quote(column)} AS {kind}) AS {quote(column)}" for column, kind in columns)
            self.connection.execute(f"CREATE TEMP VIEW {quote(name)} AS SELECT {listed} FROM _near").fetchall()  # noqa: S608
            self._shown = name, columns
        return self.connection

    def close(self) -> None:
        """Let go of everything."""
        self.connection.close()
