"""Segments that are finished and durable, but that no version names yet.

With a key they outlive the process, so that a long job can go on where it was killed: a small JSON file under
`staging/<key>/` names each of them. Without one they are part of an ordinary write.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from latentstore.errors import ManifestInvalid, UnknownVersion
from latentstore.storage import files
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import Json, SegmentRecord, parse_json, seal
from latentstore.storage.segments import Segment


@dataclass(frozen=True, eq=False)
class StagedSegment:
    """A finished segment on disk.

    Attributes:
        layout: Of the space it belongs to.
        record: Its files; None when it has no rows.
        dim: Width d of its vectors.
        columns: Its metadata columns: name and Arrow type as text.
        encoder: Fingerprint its vectors come from, where the caller said so.
        key: Of the job that staged it, or None.
        properties: JSON of that job, for example which shard this is.
    """

    layout: SpaceLayout
    record: SegmentRecord | None
    dim: int
    columns: tuple[tuple[str, str], ...] = ()
    encoder: str | None = None
    key: str | None = None
    properties: dict[str, Json] = field(default_factory=dict)

    @cached_property
    def segment(self) -> Segment | None:
        """The files, mapped."""
        return None if self.record is None else Segment(self.layout, self.record, self.dim, 0)

    def __len__(self) -> int:
        return 0 if self.record is None else self.record.count

    def ids(self) -> list[str]:
        """The ids in it, in row order."""
        return [] if self.segment is None else self.segment.ids.to_pylist()

    def paths(self) -> list[Path]:
        """Its files."""
        return [] if self.record is None else [self.layout.file(one.name) for one in self.record.files.values()]

    def whole(self) -> bool:
        """Whether every file has the size and sha256 it was finished with."""
        for one in [] if self.record is None else self.record.files.values():
            path = self.layout.file(one.name)
            with files.reading(path):
                if not path.exists() or path.stat().st_size != one.size or files.sha256_of(path) != one.sha256:
                    return False
        return True

    def renew(self) -> None:
        """Touch the files: vacuum spares what is young."""
        for path in self.paths():
            os.utime(path)

    def to_bytes(self) -> bytes:
        """The JSON kept in the staging folder."""
        assert self.record is not None
        value: dict[str, Any] = {
            "segment": asdict(self.record),
            "dim": self.dim,
            "columns": self.columns,
            "encoder": self.encoder,
            "properties": self.properties,
        }
        return seal(value)

    @classmethod
    def from_file(cls, layout: SpaceLayout, key: str, path: Path) -> StagedSegment:
        """Read what `to_bytes` wrote.

        Raises:
            ManifestInvalid: The file is damaged.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise files.unreadable(path, error) from error
        value = parse_json(content, path)
        try:
            record = SegmentRecord.from_json(value["segment"])
            columns = tuple((str(name), str(kind)) for name, kind in value["columns"])
            return cls(layout, record, int(value["dim"]), columns, value["encoder"], key, dict(value["properties"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestInvalid(f"{path} is damaged ({error}); clear the staging key {key!r}") from error


def keep(staged: StagedSegment) -> None:
    """Make a staged segment findable by its key, durably."""
    assert staged.key is not None and staged.record is not None
    folder = staged.layout.staged(staged.key)
    files.make_folder(folder)
    path = folder / f"{staged.record.uuid}.json"
    try:
        files.create_exclusive(path, staged.to_bytes())
    except BaseException:
        files.discard([path])  # the caller removes what it names
        raise


def listed(layout: SpaceLayout, key: str) -> Iterator[tuple[Path, StagedSegment | None]]:
    """Every entry under a key, None where the entry itself is damaged; oldest first."""
    found = []
    for path in layout.staged(key).glob("*.json"):
        with suppress(FileNotFoundError):  # committed and forgotten since it was listed
            found.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(found):
        try:
            yield path, StagedSegment.from_file(layout, key, path)
        except ManifestInvalid:
            yield path, None
        except FileNotFoundError:
            continue


def whole(layout: SpaceLayout, key: str, *, drop_damaged: bool) -> list[StagedSegment]:
    """The staged segments of a key whose files are whole; damaged ones are dropped."""
    good = []
    for path, staged in listed(layout, key):
        if staged is not None and staged.whole():
            good.append(staged)
        elif drop_damaged:
            files.discard([path, *(staged.paths() if staged else [])])
    return good


def keys(layout: SpaceLayout) -> list[str]:
    """Keys under which something is staged."""
    try:
        return sorted(path.name for path in layout.staging.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def uncommitted(staged: Sequence[StagedSegment], log: Log) -> list[StagedSegment]:
    """Leave out what a version names already: the job was killed between its commit and forgetting the key."""
    waiting = {one.record.uuid for one in staged if one.record is not None}
    for version in reversed(log.listed() if waiting else []):
        with suppress(UnknownVersion):  # vacuumed since it was listed
            waiting -= {segment.uuid for segment in log.read(version).segments}
    return [one for one in staged if one.record is not None and one.record.uuid in waiting]


def forget_committed(layout: SpaceLayout, log: Log) -> None:
    """Remove the entries of segments that a version names, which a killed job left behind."""
    staged = [one for key in keys(layout) for _, one in listed(layout, key) if one is not None]
    waiting = uncommitted(staged, log)
    for one in staged:
        if one not in waiting:
            forget(one)


def forget(staged: StagedSegment) -> None:
    """Remove the entry of a segment that is committed; its files are the version's now."""
    if staged.key is not None and staged.record is not None:
        folder = staged.layout.staged(staged.key)
        files.discard([folder / f"{staged.record.uuid}.json"])
        with suppress(OSError):  # others are still staged
            folder.rmdir()


def clear(layout: SpaceLayout, key: str) -> None:
    """Forget a key, its entries whole or damaged."""
    shutil.rmtree(layout.staged(key), ignore_errors=True)
