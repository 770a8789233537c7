"""Columns of large segments, decoded in memory: reading them from Parquet is most of what a filter takes.

A column is loaded by the first filter that uses it; the next filter, whatever it asks of that column, takes a fifth of
the time. Segments never change, so nothing here goes stale.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from threading import Lock

from latentstore.filters import session
from latentstore.filters.allowed import quote, text

KEPT_BYTES = 256 << 20
LEAST_ROWS = 20_000  # of a segment; fewer are read from the file in as little time


@dataclass(eq=False)
class _Table:
    """A table of DuckDB's, in the order of the file's rows.

    Attributes:
        name: Its name.
        size: Bytes.
        users: Queries that run over it.
    """

    name: str
    size: int = 0
    users: int = 0


class Resident:
    """The tables of this process; safe from several threads."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, frozenset[str]], _Table] = OrderedDict()
        self._left: list[_Table] = []  # no longer wanted; dropped once nobody uses them
        self._too_large: set[tuple[str, frozenset[str]]] = set()
        self._lock, self._loading = Lock(), Lock()
        self._numbers = count()

    @contextmanager
    def tables(self, wanted: Mapping[str, frozenset[str]]) -> Iterator[dict[str, str]]:
        """Tables by file, of files (path → columns) that have room; they stay while the context is open."""
        held = {path: self._held(path, columns) for path, columns in wanted.items()}
        try:
            yield {path: table.name for path, table in held.items() if table is not None}
        finally:
            with self._lock:
                for table in held.values():
                    if table is not None:
                        table.users -= 1

    def _held(self, path: str, columns: frozenset[str]) -> _Table | None:
        found = self._known(path, columns)
        if found is None and (path, columns) not in self._too_large:
            with self._loading:
                found = self._known(path, columns) or self._load(path, columns)
        return found

    def _known(self, path: str, columns: frozenset[str]) -> _Table | None:
        with self._lock:
            for key, table in self._tables.items():
                if key[0] == path and columns <= key[1]:
                    self._tables.move_to_end(key)
                    table.users += 1
                    return table
        return None

    def _load(self, path: str, columns: frozenset[str]) -> _Table | None:
        cursor = session.reader()
        with self._lock:
            unused, self._left = _split(self._left)
        for table in unused:
            cursor.execute(f"DROP TABLE {table.name}")
        made = _Table(f"segment_{next(self._numbers)}", users=1)
        size = _size_of_tables()
        listed = ", ".join(map(quote, sorted(columns)))
        cursor.execute(f"CREATE TABLE {made.name} AS SELECT {listed} FROM read_parquet({text(path)})")  # noqa: S608
        made.size = _size_of_tables() - size
        with self._lock:
            if made.size > KEPT_BYTES:
                self._too_large.add((path, columns))
                self._left.append(made)
                made.users = 0
                return None
            self._tables[path, columns] = made
            while sum(table.size for table in self._tables.values()) > KEPT_BYTES:
                self._left.append(self._tables.popitem(last=False)[1])
        return made


def _split(tables: Sequence[_Table]) -> tuple[list[_Table], list[_Table]]:
    """Those that nobody uses, and the others."""
    return [table for table in tables if not table.users], [table for table in tables if table.users]


def _size_of_tables() -> int:
    query = "SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'"
    (size,) = session.reader().execute(query).fetchone() or (0,)
    return int(size)


def resident() -> Resident:
    """This process's; a forked child must not use its parent's database."""
    return _resident(os.getpid())


@lru_cache(maxsize=1)
def _resident(_process: int) -> Resident:
    return Resident()
