"""SQL in this process: snapshots and sessions that were used before stay open for the next query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from latentstore.sql.gather import RowGroups
from latentstore.sql.limits import Limits
from latentstore.sql.session import Session
from latentstore.sql.statement import mentioned, one_select, plain_values
from latentstore.sql.views import BESIDE

if TYPE_CHECKING:
    import pyarrow as pa

    from latentstore.space import EmbeddingSpace
    from latentstore.storage import StoreFiles

IDLE = 8  # sessions kept; opening one takes 30–50 ms

# A query that names no space may be about all of them.
_ABOUT_TABLES = re.compile(r"\b(show|describe|desc|information_schema|pg_\w+|sqlite_\w+|duckdb_\w+)\b", re.IGNORECASE)

_Key = tuple[tuple[tuple[str, int], ...], tuple[str, ...]]  # (space, version) of each space, and the tables beside them


class Engine:
    """Answers queries about the newest snapshots, or those asked for; safe from several threads.

    Args:
        files: The store.
        open_space: Opens a space by name and version.
        limits: What each query may use.

    Attributes:
        stopped: Whether the last query had to be stopped.
    """

    def __init__(
        self, files: StoreFiles, open_space: Callable[[str, int], EmbeddingSpace], limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.stopped = False
        self._files = files
        self._open_space = open_space
        self._spaces: dict[str, EmbeddingSpace] = {}
        self._searched: WeakSet[EmbeddingSpace] = WeakSet()
        self._groups = RowGroups(self.limits.memory // 8)
        self._idle: list[tuple[_Key, Session]] = []
        self._lock = Lock()

    def run(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        versions: Mapping[str, int] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> pa.Table:
        """Run one SELECT.

        Args:
            query: SQL in DuckDB's dialect.
            parameters: A value for each `$name` in it.
            versions: Of spaces that are not read at their newest.
            ready: Called when what the query needs is open and it is about to run.

        Raises:
            QueryRefused: Not exactly one SELECT, an error in it, or more than it may use.
            StorageError: A segment cannot be read.
            LatentStoreError: What `latent` or `neighbours` raised for its arguments.
        """
        given = plain_values(parameters or {})
        statement = one_select(query, given)
        names = self._files.spaces()
        used = mentioned(query, names)
        beside = tuple(mentioned(query, BESIDE))
        if not used and _ABOUT_TABLES.search(query):
            used, beside = names, tuple(BESIDE)
        with self._lock:
            spaces = {name: self._opened(name, (versions or {}).get(name)) for name in used}
        if "neighbours" in query.lower():
            for space in spaces.values():
                self._warm(space)
        key: _Key = (tuple((name, space.version) for name, space in spaces.items()), beside)
        session = self._taken(key) or Session(spaces, beside, self.limits, self._groups)
        ready()
        try:
            return session.run(statement, given, names)
        finally:
            self.stopped = not session.usable
            self._given_back(key, session)

    def close(self) -> None:
        """Close the idle sessions and forget the snapshots."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._spaces.clear()
        for _, session in idle:
            session.close()

    def _warm(self, space: EmbeddingSpace) -> None:
        """Search once: the index counts as the store's memory, not as that of the first query that asks it."""
        if len(space) and space not in self._searched:
            space.searcher.search(np.ones((1, space.dim), np.float32), 1)
            self._searched.add(space)

    def _opened(self, name: str, version: int | None) -> EmbeddingSpace:
        """A snapshot, the newest by default. A space object is never moved on, as a running query may be using it."""
        space = self._spaces.get(name)
        if version is None:
            version = (self._files.space(name) if space is None else space.files).newest_version()
        if space is None or space.version != version:
            space = self._spaces[name] = self._open_space(name, version)
        return space

    def _taken(self, key: _Key) -> Session | None:
        with self._lock:
            for place, (known, session) in enumerate(self._idle):
                if known == key:
                    del self._idle[place]
                    return session
        return None

    def _given_back(self, key: _Key, session: Session) -> None:
        """Keep the session for the next query, unless it was stopped or shows what can change without a new version."""
        versions, beside = key
        closing = []
        with self._lock:
            current = all(self._spaces.get(name) and self._spaces[name].version == at for name, at in versions)
            if session.usable and current and not {"versions", "evaluations"} & {*beside}:
                self._idle.append((key, session))
            else:
                closing.append(session)
            stale = [
                one
                for one in self._idle
                if any(name in self._spaces and self._spaces[name].version != at for name, at in one[0][0])
            ]
            kept = [one for one in self._idle if one not in stale]
            closing += [one for _, one in stale + kept[: max(0, len(kept) - IDLE)]]
            self._idle = kept[-IDLE:]
        for one in closing:
            one.close()
