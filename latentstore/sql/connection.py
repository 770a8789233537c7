"""DuckDB connections that reach nothing outside."""

from __future__ import annotations

import os
from collections.abc import Iterable

import duckdb

_Config = dict[str, str | bool | int | float | list[str]]


def default_threads() -> int:
    """How many threads a query runs on."""
    return min(4, os.cpu_count() or 1)


def connect(memory: int, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory, not locked yet."""
    config: _Config = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,  # FROM name must not find Python variables
        "memory_limit": f"{memory}B",
        "threads": threads or default_threads(),
    }
    connection = duckdb.connect(config=config)
    for setting in (
        "TimeZone = 'UTC'",
        "enable_progress_bar = false",  # it would be written into the answer on standard output
        "parquet_metadata_cache = true",  # segments never change
        "temp_directory = ''",  # nothing is spilled to disk
    ):
        connection.execute(f"SET {setting}")
    return connection


def lock(connection: duckdb.DuckDBPyConnection, files: Iterable[str]) -> None:
    """Leave it nothing but these files, for good."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
