"""The DuckDB connections behind filters: one process-wide database each, a cursor per thread."""

from __future__ import annotations

import os
import threading
from functools import lru_cache

import duckdb

MEMORY_LIMIT = "2GB"
MAX_DEPTH = 200  # of a predicate; also keeps Python's JSON reader far from its recursion limit

_cursors = threading.local()


def parser() -> duckdb.DuckDBPyConnection:
    """This thread's cursor for text that users wrote: nothing outside memory can be reached from it."""
    return _cursor(outside=False)


def reader() -> duckdb.DuckDBPyConnection:
    """This thread's cursor for predicates that `parse` wrote, which can read files.

    `allowed_paths` cannot grow once external access is off, and a connection per set of files would cost 50 ms; what
    runs here is built from the allow-list with every constant and path bound, so that no text reaches it.
    """
    return _cursor(outside=True)


def _cursor(*, outside: bool) -> duckdb.DuckDBPyConnection:
    key = f"{os.getpid()}-{outside}"  # a forked child must not use its parent's database
    cursor: duckdb.DuckDBPyConnection | None = getattr(_cursors, key, None)
    if cursor is None:
        cursor = _database(outside, os.getpid()).cursor()
        setattr(_cursors, key, cursor)
    return cursor


@lru_cache(maxsize=2)
def _database(outside: bool, _process: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": MEMORY_LIMIT,
            "threads": min(4, os.cpu_count() or 1),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")  # a timestamp without zone is UTC, wherever the process runs
    connection.execute("SET parquet_metadata_cache = true")  # segments never change
    connection.execute(f"SET max_expression_depth = {MAX_DEPTH}")
    connection.execute("SET temp_directory = ''")
    if not outside:
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def first_line(error: Exception) -> str:
    """What a library's error says, without the listing that follows."""
    return str(error).partition("\n")[0]
