"""A locked-down DuckDB session over fixed snapshots, which answers one query after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from latentstore.errors import LatentStoreError, QueryRefused, StorageError, suggest
from latentstore.sql.connection import connect, lock
from latentstore.sql.functions import Functions
from latentstore.sql.hits import HitsOnly
from latentstore.sql.lateral import LateralJoin, lateral_join
from latentstore.sql.near import NearJoin, near_join
from latentstore.sql.statement import message, one_select
from latentstore.sql.views import create_views

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace
    from latentstore.sql.gather import RowGroups
    from latentstore.sql.limits import Limits

BATCH_ROWS = 65_536
_OUT_OF_MEMORY = re.compile(r"^Out of Memory Error|bad_alloc|\bMemoryError|[Ff]ailed to allocate|malloc of size")


class Session:
    """One connection, for one query at a time.

    Before it sees a query, access to files is cut down to the segments of its spaces, extensions and Python variables
    are out of reach, and its settings are locked. A query runs in a read-only transaction that is rolled back, so that
    the next one finds nothing of it.

    Args:
        spaces: By name; they must not move to another version.
        beside: Which of the tables beside each space exist.
        limits: What each query may use.
        groups: Decoded metadata that other sessions use, too.

    Attributes:
        usable: False once a query was stopped: the session is then closed, not used again.
    """

    def __init__(
        self, spaces: Mapping[str, EmbeddingSpace], beside: Iterable[str], limits: Limits, groups: RowGroups
    ) -> None:
        self.usable = True
        self._limits = limits
        self._spaces = spaces
        self._groups = groups
        self._functions = Functions(spaces)
        self._types: dict[str, dict[str, str]] = {}
        # DuckDB does not look for signals while a query runs, so the calling thread has to stay in Python.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sql")
        self._connection = self._running = connect(limits.memory)
        self._hits_only: HitsOnly | None = None
        try:
            for name, space in spaces.items():
                self._types[name] = create_views(self._connection, name, space, beside, self._functions)
            self._functions.create(self._connection)
            segments = [segment for space in spaces.values() for segment in space.snapshot.segments]
            files = [path for one in segments for path in (one.checked_path, one.patch_path) if path is not None]
            lock(self._connection, map(str, files))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of everything; waits for a query that could not be interrupted."""
        self._thread.shutdown()
        self._connection.close()
        if self._hits_only is not None:
            self._hits_only.close()

    def run(self, statement: duckdb.Statement, parameters: Mapping[str, Any], known: Iterable[str]) -> pa.Table:
        """Answer one SELECT.

        Args:
            statement: From `one_select`.
            parameters: A value for each of its parameters.
            known: Names of all spaces there are, for the message about an unknown one.

        Raises:
            QueryRefused: It fails, or needs more than it may use.
            StorageError: A segment cannot be read.
            LatentStoreError: What `latent` or `neighbours` raised for its arguments.
        """
        self._functions.forget()
        self._functions.known = known
        join = None
        if "neighbours" in statement.query:
            join = near_join(statement.query, parameters) or lateral_join(statement.query, parameters)
        answer = self._thread.submit(self._answer, statement, dict(parameters), join)
        try:
            return answer.result(self._limits.seconds)
        except TimeoutError as error:
            self._stop()
            raise QueryRefused(self._limits.over_time()) from error
        except MemoryError as error:  # Arrow's, too
            self.usable = False
            raise QueryRefused(self._limits.over_memory()) from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._functions.failure or self._refusal(error, known) from error
        except LatentStoreError:
            raise
        except BaseException:  # Ctrl-C
            self._stop()
            raise

    def _stop(self) -> None:
        self.usable = False
        self._running.interrupt()

    def _answer(
        self, statement: duckdb.Statement, parameters: dict[str, Any], join: NearJoin | LateralJoin | None
    ) -> pa.Table:
        if join is None:
            return self._read(self._connection, statement, parameters)
        if self._hits_only is None:
            self._hits_only = HitsOnly(self._functions, self._spaces, self._types, self._groups, self._limits.memory)
        connection = self._hits_only.show(join) if self._hits_only.takes(join) else None
        if connection is None:
            return self._read(self._connection, statement, parameters)
        if isinstance(join, LateralJoin):
            return self._batches(connection, one_select(join.text, parameters), parameters)
        # A vector takes longer to bind than the query to run.
        left = {name: None if name in join.spent else value for name, value in parameters.items()}
        return self._batches(connection, statement, left)

    def _read(
        self, connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: dict[str, Any]
    ) -> pa.Table:
        """The result of a query that may hold anything."""
        connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()  # a SELECT may hide an INSERT in a WITH
        try:
            return self._batches(connection, statement, parameters)
        finally:
            connection.execute("ROLLBACK").fetchall()

    def _batches(
        self, connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: dict[str, Any]
    ) -> pa.Table:
        """The result, read batch by batch so that it is never larger than it may be."""
        self._running = connection
        if not self.usable:  # the time was over before there was anything to interrupt
            raise QueryRefused(self._limits.over_time())
        reader = connection.sql(statement, params=parameters).to_arrow_reader(BATCH_ROWS)
        batches, size = [], 0
        try:
            for batch in reader:
                size += batch.nbytes
                if size > self._limits.result:
                    raise QueryRefused(self._limits.over_result())
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
        finally:
            reader = None  # an error's traceback would keep the result open

    def _refusal(self, error: Exception, known: Iterable[str]) -> LatentStoreError:
        """Our error for one of DuckDB's, which a reader of batches passes on as text."""
        text = message(error)
        if isinstance(error, duckdb.PermissionException) or text.startswith("Permission Error"):
            return QueryRefused(f"the query reaches outside the store: {text}; a store answers from its spaces only")
        if isinstance(error, duckdb.OutOfMemoryException) or _OUT_OF_MEMORY.search(text):
            self.usable = False
            return QueryRefused(self._limits.over_memory())
        if isinstance(error, duckdb.IOException) or text.startswith("IO Error"):
            return StorageError(f"a segment cannot be read: {text}; run verify")
        if isinstance(error, duckdb.FatalException | duckdb.InternalException) or text.startswith(
            ("FATAL", "INTERNAL")
        ):
            self.usable = False
        unknown = re.search(r"Table with name (\S+) does not exist", text)
        if unknown:
            return QueryRefused(f"no space or table {unknown[1]!r}; {suggest(unknown[1], known)}")
        return QueryRefused(f"the query fails: {text}")
