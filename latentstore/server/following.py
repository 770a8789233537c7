"""Which snapshot of each space is served: that of a tag, swapped in whole when the tag moves.

A request takes the space once and keeps it to its end, so that it answers from one snapshot whatever happens meanwhile.
A new snapshot's index is opened before it is swapped in: nobody waits for it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from threading import Event, Lock, Thread

from latentstore.errors import LatentStoreError, UnknownSpace, suggest
from latentstore.space import EmbeddingSpace
from latentstore.store import LatentStore

POLL = 0.5  # seconds between two looks at the tags
OLD_KEPT = 4  # versions opened because a request asked for them

log = logging.getLogger("latentstore.server")


@dataclass(frozen=True)
class Served:
    """A space as it is served.

    Attributes:
        space: At one version, for good.
        followed: The tag or version that was asked for; None follows the newest.
        since: When it was swapped in, seconds since the epoch.
    """

    space: EmbeddingSpace
    followed: int | str | None
    since: float = field(default_factory=time.time)


class Following:
    """The spaces of a store as they are served; safe from several threads.

    Args:
        store: Opened to read.
        at: A tag or version number; a space without that tag is served at its newest version.
    """

    def __init__(self, store: LatentStore, at: int | str = "production") -> None:
        self.store, self._at = store, at
        self._served: dict[str, Served] = {}
        self._old: OrderedDict[tuple[str, int], EmbeddingSpace] = OrderedDict()
        self._lock, self._stop = Lock(), Event()
        self._watcher: Thread | None = None
        self.look()

    def get(self, name: str) -> EmbeddingSpace:
        """The space as it is served now.

        Raises:
            UnknownSpace: No such space.
        """
        served = self._served.get(name)
        if served is None:
            raise UnknownSpace(f"no space {name!r} is served; {suggest(name, self._served)}")
        return served.space

    def at(self, name: str, version: int | str | None) -> EmbeddingSpace:
        """The space at a version or tag; as it is served without one."""
        current = self.get(name)
        if version is None:
            return current
        number = current.files.resolve(version)
        if number == current.version:
            return current
        with self._lock:
            if (name, number) in self._old:
                self._old.move_to_end((name, number))
                return self._old[name, number]
        opened = current.opened_at(number)
        with self._lock:
            self._old[name, number] = opened
            while len(self._old) > OLD_KEPT:
                self._old.popitem(last=False)
        return opened

    @property
    def served(self) -> dict[str, Served]:
        """All spaces by name, as they are served now."""
        return self._served

    def look(self) -> None:
        """Swap in what was published since; a space that cannot be opened is served as it was."""
        found: dict[str, Served] = {}
        for name in self.store.spaces:
            before = self._served.get(name)
            try:
                found[name] = self._newest(name, before)
            except LatentStoreError as error:
                log.error("a snapshot cannot be served", extra={"space": name, "error": str(error)})
                if before is not None:
                    found[name] = before
        self._served = found

    def watch(self) -> None:
        """Look again and again, in a thread, until `close`."""
        self._watcher = Thread(target=self._look_on, name="latentstore-following", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def _newest(self, name: str, before: Served | None) -> Served:
        files = before.space.files if before else self.store.files.space(name)
        followed: int | str | None = self._at
        if isinstance(self._at, str) and self._at not in files.tags():
            followed = None
        version = files.newest_version() if followed is None else files.resolve(followed)
        if before is not None and before.space.version == version:
            return before if before.followed == followed else replace(before, followed=followed)
        opened = before.space.opened_at(version) if before else self.store.space(name, at=version)
        _ = opened.searcher.index, opened.searcher.unindexed
        log.info("a snapshot is served", extra={"space": name, "version": version})
        return Served(opened, followed)

    def _look_on(self) -> None:
        while not self._stop.wait(POLL):
            try:
                self.look()
            except LatentStoreError as error:
                log.error("the store cannot be read", extra={"error": str(error)})
