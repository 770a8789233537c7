"""A connection in which a space has no rows but those that a search found: where a `NearJoin` is answered.

The session's own connection would take ten times as long to plan the query: there the space is a view over all its
segments, and `neighbours` a function that searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from latentstore.filters.allowed import quote
from latentstore.sql.connection import connect, lock
from latentstore.sql.functions import HIT

if TYPE_CHECKING:
    import duckdb

    from latentstore.sql.functions import Functions

_MACRO = "CREATE OR REPLACE MACRO neighbours(space, query, k) AS TABLE SELECT * FROM near_hits"


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
        self.connection.register("near_hits", pa.schema(HIT).empty_table())  # a macro may name only what there is
        self.connection.execute(_MACRO)
        self.connection.unregister("near_hits")
        lock(self.connection, [])
        self._shown: tuple[str, tuple[tuple[str, str], ...]] | None = None

    @contextmanager
    def showing(
        self, name: str, hits: pa.Table, rows: pa.Table, types: Mapping[str, str]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Let `neighbours` answer with hits, and a space have these rows, its columns as its view would give them."""
        connection, columns = self.connection, tuple((column, types[column]) for column in rows.column_names)
        connection.register("near_hits", hits)
        connection.register("near_rows", rows)
        try:
            if (name, columns) != self._shown:
                if self._shown is not None:
                    connection.execute(f"DROP VIEW temp.{quote(self._shown[0])}").fetchall()
                    self._shown = None
                listed = ", ".join(f"CAST({quote(column)} AS {kind}) AS {quote(column)}" for column, kind in columns)
                connection.execute(f"CREATE TEMP VIEW {quote(name)} AS SELECT {listed} FROM near_rows").fetchall()  # noqa: S608
                self._shown = name, columns
            yield connection
        finally:
            connection.unregister("near_hits")
            connection.unregister("near_rows")

    def close(self) -> None:
        """Let go of everything."""
        self.connection.close()
