"""One query on one locked-down DuckDB session."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb

from latentstore.errors import LatentStoreError, QueryRefused, StorageError, suggest
from latentstore.sql.functions import create_functions
from latentstore.sql.views import create_views

if TYPE_CHECKING:
    import pyarrow as pa

    from latentstore.space import EmbeddingSpace

MAX_LENGTH = 1_000_000  # characters

_Config = dict[str, str | bool | int | float | list[str]]


def run_sql(
    query: str, spaces: Mapping[str, EmbeddingSpace], *, timeout: float = 60.0, memory_limit: str = "2GB"
) -> pa.Table:
    """Run one SELECT.

    Args:
        query: SQL in DuckDB's dialect.
        spaces: The spaces by name; only those that the text mentions are looked up (all, when it mentions none).
        timeout: Seconds until the query is interrupted.
        memory_limit: Of DuckDB, with unit.

    Returns:
        The result.

    Raises:
        QueryRefused: Not exactly one SELECT, an error in it, or more than it may use; the message is DuckDB's.
        StorageError: A segment cannot be read.
        LatentStoreError: What `latent` or `neighbours` raised for its arguments.
    """
    statement = _one_select(query)
    failures: list[LatentStoreError] = []
    connection = _connect(memory_limit)
    try:
        opened = _mentioned(query, spaces)
        for name, space in opened.items():
            create_views(connection, name, space, query)
        create_functions(connection, spaces, failures)
        segments = [segment for space in opened.values() for segment in space.snapshot.segments]
        files = [str(path) for one in segments for path in (one.checked_path, one.patch_path) if path is not None]
        _lock(connection, files)
        try:
            return _answer(connection, statement, timeout)
        except duckdb.Error as error:
            raise failures[0] if failures else _refusal(error, spaces) from error
    finally:
        connection.close()


def _one_select(query: str) -> duckdb.Statement:
    """Parse the text; anything but one SELECT is refused."""
    if not isinstance(query, str):
        raise QueryRefused(f"an SQL query is text, not {type(query).__name__}; pass one SELECT")
    if len(query) > MAX_LENGTH:
        raise QueryRefused(f"the query has {len(query)} characters; at most {MAX_LENGTH} are read")
    try:
        statements = duckdb.extract_statements(query)
    except (duckdb.Error, UnicodeError) as error:
        raise QueryRefused(f"the query does not parse: {_message(error)}") from error
    if len(statements) != 1:
        raise QueryRefused(f"the query has {len(statements)} statements; send exactly one SELECT")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefused(f"this is a {statements[0].type.name} statement; a store answers SELECT only")
    if statements[0].named_parameters:
        raise QueryRefused("the query has parameters ($1 or ?), and no values come with it; write the values")
    return statements[0]


def _mentioned(query: str, spaces: Mapping[str, EmbeddingSpace]) -> dict[str, EmbeddingSpace]:
    """Spaces whose name is a word of the text; a name cannot be used without being written."""
    words = set(re.findall(r"\w+", query.lower()))
    return {name: spaces[name] for name in [name for name in spaces if name in words] or spaces}


def _connect(memory_limit: str) -> duckdb.DuckDBPyConnection:
    config: _Config = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,  # FROM name must not find Python variables
        "memory_limit": memory_limit,
        "threads": min(4, os.cpu_count() or 1),
    }
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would be written into the answer on standard output
    connection.execute("SET temp_directory = ''")  # nothing is spilled to disk
    return connection


def _lock(connection: duckdb.DuckDBPyConnection, files: Iterable[str]) -> None:
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    connection.execute("BEGIN TRANSACTION READ ONLY")  # a SELECT may hide an INSERT in a WITH


def _answer(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, timeout: float) -> pa.Table:
    """Run the statement in a thread of its own, interrupted when its time is over or the caller is (Ctrl-C).

    DuckDB does not look for signals while a query runs, so the calling thread has to stay in Python.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="sql") as worker:
        answer = worker.submit(lambda: connection.sql(statement).to_arrow_table())
        try:
            return answer.result(timeout)
        except TimeoutError as error:
            raise QueryRefused(
                f"the query took longer than {timeout:g} s; ask for less, or raise the timeout"
            ) from error
        finally:
            connection.interrupt()  # of a query that has ended: nothing


def _refusal(error: duckdb.Error, spaces: Mapping[str, EmbeddingSpace]) -> LatentStoreError:
    message = _message(error)
    if isinstance(error, duckdb.PermissionException):
        return QueryRefused(f"the query reaches outside the store: {message}; a store answers from its spaces only")
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryRefused(f"the query needs more memory than it may use: {message}; ask for less")
    if isinstance(error, duckdb.IOException):
        return StorageError(f"a segment cannot be read: {message}; run verify")
    unknown = re.search(r"Table with name (\S+) does not exist", message)
    if unknown:
        return QueryRefused(f"no space or table {unknown[1]!r}; {suggest(unknown[1], spaces)}")
    return QueryRefused(f"the query fails: {message}")


def _message(error: Exception) -> str:
    """DuckDB's message without the excerpt of the query that follows it."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())
