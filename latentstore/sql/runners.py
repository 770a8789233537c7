"""What runs the SQL of one store: in this process or in a sandbox, each kept with all that it has open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from latentstore.errors import UnknownVersion, suggest
from latentstore.sql.engine import Engine
from latentstore.sql.limits import Limits
from latentstore.sql.sandbox import Sandbox

if TYPE_CHECKING:
    import pyarrow as pa

    from latentstore.space import EmbeddingSpace
    from latentstore.storage import StoreFiles


class Runners:
    """At most one engine and one sandbox, so that the processes stay few; safe from several threads.

    Args:
        files: The store.
    """

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._kept: dict[bool, Engine | Sandbox] = {}  # by whether it is a sandbox
        self._lock = Lock()

    def run(
        self,
        query: str,
        parameters: Mapping[str, Any] | None,
        open_space: Callable[[str, int], EmbeddingSpace],
        *,
        at: str | Mapping[str, int | str] | None,
        sandbox: bool,
        limits: Limits | None,
    ) -> pa.Table:
        """Run one SELECT; the other arguments and the errors are those of `LatentStore.sql`.

        Args:
            open_space: Opens a space by name and version; only an engine keeps it, for it keeps the whole store, and
                a sandbox's processes end as soon as nobody has the store any more.
        """
        runner = self._runner(sandbox, limits or Limits(), open_space)
        return runner.run(query, parameters, self._versions(at))

    def _runner(
        self, sandbox: bool, limits: Limits, open_space: Callable[[str, int], EmbeddingSpace]
    ) -> Engine | Sandbox:
        """The one of this kind, replaced when the limits are others."""
        with self._lock:
            kept = self._kept.get(sandbox)
            if kept is None or kept.limits != limits:
                if kept is not None:
                    kept.close()
                kept = Sandbox(self._files.folder, limits) if sandbox else Engine(self._files, open_space, limits)
                self._kept[sandbox] = kept
            return kept

    def _versions(self, at: str | Mapping[str, int | str] | None) -> dict[str, int]:
        """Versions of the spaces that are not read at their newest: those with a tag, or those that `at` names."""
        if at is None:
            return {}
        if isinstance(at, str):
            tags = {name: self._files.space(name).tags() for name in self._files.spaces()}
            found = {name: own[at] for name, own in tags.items() if at in own}
            if not found:
                known = {tag for own in tags.values() for tag in own}
                raise UnknownVersion(f"no space has a tag {at!r}; {suggest(at, known) if known else 'none has any'}")
            return found
        return {name: self._files.space(name).resolve(version) for name, version in at.items()}
