"""Vacuum: delete versions that are too old, then the files that no version needs.

Safe to be killed at any step: the floor is raised before a manifest goes, and a file goes only when no manifest is left
that names it. Readers that have mapped a file keep it until they let go (POSIX unlink).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from latentstore.errors import ConfigInvalid, UnknownVersion
from latentstore.storage import files, staging, tags
from latentstore.storage.layout import DATA_FOLDERS, SpaceLayout
from latentstore.storage.log import Log

_BATCH = 64  # files removed under one hold of the lock


@dataclass(frozen=True)
class VacuumReport:
    """What a vacuum removed, or would remove.

    Attributes:
        versions: Their manifests went.
        files: Names of data files, relative to the space.
        bytes: Disk space of both.
        dry_run: Nothing was removed.
    """

    versions: tuple[int, ...]
    files: tuple[str, ...]
    bytes: int
    dry_run: bool


def run(log: Log, retention: timedelta, grace: timedelta, *, dry_run: bool) -> VacuumReport:
    """Vacuum a space.

    Args:
        log: Of the space.
        retention: Versions older than this go, unless tagged or the newest.
        grace: Files younger than this stay even if no version names them: a writer may be about to. Longer than any
            write takes.
        dry_run: Only say what would go.
    """
    if retention < timedelta(0) or grace < timedelta(0):
        raise ConfigInvalid(f"retention {retention} and grace {grace} must not be negative")
    now = time.time()
    with files.storing(log.layout.folder, "what is left goes with the next vacuum"):
        if not dry_run:
            staging.forget_committed(log.layout, log)
        # Files are listed before the references are read: what is written meanwhile is not on the list.
        old = [path for path in _data_files(log.layout) if _older(path, now, grace)]
        versions, freed = _drop_versions(log, now - retention.total_seconds(), dry_run=dry_run)
        newest = log.newest() or 0
        needed = _needed(log, set(versions))
        garbage = [path for path in old if log.layout.name(path) not in needed]
        sizes = {path: _size(path) for path in garbage}
        removed = garbage if dry_run else list(_remove(log, garbage, newest))
        freed += sum(sizes[path] for path in removed)
    return VacuumReport(tuple(versions), tuple(log.layout.name(path) for path in removed), freed, dry_run)


def _drop_versions(log: Log, horizon: float, *, dry_run: bool) -> tuple[list[int], int]:
    layout = log.layout
    if dry_run:
        chosen = _droppable(log, horizon)
        return chosen, sum(_size(layout.manifest(version)) for version in chosen)
    with files.locked(layout.lock):  # no tag moves and no stalled writer links meanwhile
        chosen = _droppable(log, horizon)
        if not chosen:
            files.sync_folder(layout.manifests)  # an earlier vacuum may have been stopped before it did
            return [], 0
        newest = log.newest()
        assert newest is not None
        # From here on a gap below the newest is expected; whoever looked before will see that the floor rose.
        files.replace(layout.floor, str(newest).encode())
        freed = sum(_size(layout.manifest(version)) for version in chosen)
        for version in chosen:
            layout.manifest(version).unlink(missing_ok=True)
        # Durable before any file of theirs goes: after power loss no version may name a file that is gone.
        files.sync_folder(layout.manifests)
    return chosen, freed


def _remove(log: Log, garbage: list[Path], newest: int) -> Iterator[Path]:
    """Remove files that no version up to `newest` needs, unless a later one does; says which are gone.

    A writer slower than the grace may be about to name some. It looks for its files under the shared lock before it
    links its manifest (`Log.publish`), so under the exclusive one either its version is seen here, or it will see that
    they are gone.
    """
    for start in range(0, len(garbage), _BATCH):
        with files.locked(log.layout.lock):  # held for a few files at a time: commits wait for it
            latest, named = log.newest() or 0, set()
            for version in range(newest + 1, latest + 1):
                with suppress(UnknownVersion):
                    named |= {file.name for file in log.read(version).files()}
            for path in garbage[start : start + _BATCH]:
                if log.layout.name(path) not in named:
                    path.unlink(missing_ok=True)
                    yield path


def _droppable(log: Log, horizon: float) -> list[int]:
    kept = {log.newest(), *tags.listed(log.layout).values()}
    path = log.layout.manifest
    return [version for version in log.listed() if version not in kept and path(version).stat().st_mtime <= horizon]


def _needed(log: Log, dropped: set[int]) -> set[str]:
    """Names of all files that something needs: first what is staged, then what versions name."""
    layout = log.layout
    needed: set[str] = set()
    for key in staging.keys(layout):
        for _, one in staging.listed(layout, key):
            needed.update(layout.name(path) for path in (one.paths() if one else []))
    for version in log.listed():
        if version not in dropped:
            with suppress(UnknownVersion):  # another vacuum dropped it since it was listed
                needed.update(file.name for file in log.read(version).files())
    return needed


def _data_files(layout: SpaceLayout) -> Iterator[Path]:
    for kind in DATA_FOLDERS:
        yield from (layout.folder / kind).glob("*")
    for folder in (layout.manifests, layout.tags, layout.staging):
        yield from folder.rglob(f"{files.TEMPORARY}*")


def _older(path: Path, now: float, grace: timedelta) -> bool:
    try:
        return now - path.stat().st_mtime >= grace.total_seconds()
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
