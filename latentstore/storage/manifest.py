"""The manifest: one immutable version of a space, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from latentstore.errors import FormatTooNew, ManifestInvalid
from latentstore.storage.layout import FORMAT
from latentstore.types import Metric, check_metric

Json: TypeAlias = Any  # what json.loads returns
ArtefactKind = Literal["index", "concepts", "maps"]
_SEAL = "seal"  # the field of a sealed object


@dataclass(frozen=True)
class FileRecord:
    """One immutable file: name relative to the space's folder, size in bytes, sha256 as hex."""

    name: str
    size: int
    sha256: str

    @classmethod
    def from_json(cls, value: Json) -> FileRecord:
        """Raises KeyError, TypeError or ValueError when a field is missing or of another type."""
        return cls(_text(value, "name"), _number(value, "size"), _text(value, "sha256"))


@dataclass(frozen=True)
class SegmentRecord:
    """One immutable segment and which of its rows are dead.

    Attributes:
        uuid: Names the segment's files.
        first_row: Absolute row = first_row + relative row. The only thing a rebase changes.
        count: Rows in the files, dead ones included.
        span: Last relative row + 1; equals `count` when rows have no gaps.
        files: "parquet", "f32", "ids" and "sums" (which segments written before it was thought of lack).
        deletes: Sorted positions of the dead rows, or None.
        dead: How many.
        patch: Rows whose metadata changed since the segment was written, or None: see `patches`.
        patched: How many.
        names: What a metadata column is called in this segment's files, where that is not its name.
        defaults: Values of metadata columns that this segment's files lack, as `defaults` writes them.
    """

    uuid: str
    first_row: int
    count: int
    span: int
    files: dict[str, FileRecord]
    deletes: FileRecord | None = None
    dead: int = 0
    patch: FileRecord | None = None
    patched: int = 0
    names: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Json] = field(default_factory=dict)

    @property
    def live(self) -> int:
        """Rows that are not dead."""
        return self.count - self.dead

    @property
    def altered(self) -> bool:
        """Whether its metadata is not just what its Parquet file says."""
        return bool(self.patch or self.names or self.defaults)

    def beside(self) -> tuple[FileRecord, ...]:
        """The files that say what changed since the segment was written."""
        return tuple(file for file in (self.deletes, self.patch) if file is not None)

    @property
    def end_row(self) -> int:
        """One more than the last absolute row."""
        return self.first_row + self.span

    @classmethod
    def from_json(cls, value: Json) -> SegmentRecord:
        """Raises KeyError, TypeError or ValueError when a field is missing or of another type."""
        kinds = ("parquet", "f32", "ids", *(("sums",) if "sums" in value["files"] else ()))
        files = {kind: FileRecord.from_json(value["files"][kind]) for kind in kinds}
        deletes, patch = value["deletes"], value.get("patch")
        return cls(
            _text(value, "uuid"),
            _number(value, "first_row"),
            _number(value, "count"),
            _number(value, "span"),
            files,
            None if deletes is None else FileRecord.from_json(deletes),
            _number(value, "dead"),
            None if patch is None else FileRecord.from_json(patch),
            int(value.get("patched", 0)),
            {str(name): str(stored) for name, stored in value.get("names", {}).items()},
            dict(value.get("defaults", {})),
        )


@dataclass(frozen=True)
class ArtefactRecord:
    """Something computed from the rows, and always rebuildable.

    Attributes:
        name: Unique within its kind.
        kind: What it is, in the words of the room that wrote it.
        version: The version it was computed from.
        files: By role.
        properties: JSON of the room that wrote it.
    """

    name: str
    kind: str
    version: int
    files: dict[str, FileRecord]
    properties: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Json) -> ArtefactRecord:
        """Raises KeyError, TypeError or ValueError when a field is missing or of another type."""
        files = {str(role): FileRecord.from_json(file) for role, file in value["files"].items()}
        return cls(
            _text(value, "name"), _text(value, "kind"), _number(value, "version"), files, dict(value["properties"])
        )


@dataclass(frozen=True)
class Manifest:
    """One version of a space.

    Attributes:
        format: Of this file.
        version: 1, 2, 3 …; the file's name.
        created: UTC, ISO 8601.
        space: The space's name.
        dim: Width d of the vectors.
        metric: l2, cosine or ip.
        encoder: Fingerprint, or None when vectors are brought ready.
        columns: Metadata: name and Arrow type as text, in order.
        next_row: The next row number to give; row numbers are never given twice.
        defaults: What rows have that are added without a column: by column, as `defaults` writes them.
        rows_version: The version that last changed which rows are alive, or their metadata.
        metadata_version: The version that last changed the metadata of rows that stayed.
        revived_version: The version that last replaced all rows or brought dead ones back; an index older than it
            does not know them.
        segments: Sorted by first_row; row ranges do not overlap.
        index, concepts, maps: Derived artefacts.
        source: Which dataset the items came from, or None.
        operation: What made this version.
    """

    version: int
    created: str
    space: str
    dim: int
    metric: Metric
    encoder: str | None
    columns: tuple[tuple[str, str], ...] = ()
    defaults: dict[str, Json] = field(default_factory=dict)
    next_row: int = 0
    rows_version: int = 1
    metadata_version: int = 1
    revived_version: int = 1
    segments: tuple[SegmentRecord, ...] = ()
    index: tuple[ArtefactRecord, ...] = ()
    concepts: tuple[ArtefactRecord, ...] = ()
    maps: tuple[ArtefactRecord, ...] = ()
    source: dict[str, Json] | None = None
    operation: str = ""
    format: int = FORMAT

    @property
    def live(self) -> int:
        """Rows that are not dead."""
        return sum(segment.live for segment in self.segments)

    def artefacts(self, kind: ArtefactKind) -> tuple[ArtefactRecord, ...]:
        """The artefacts of one kind."""
        return {"index": self.index, "concepts": self.concepts, "maps": self.maps}[kind]

    def files(self) -> Iterator[FileRecord]:
        """Every file this version needs."""
        for segment in self.segments:
            yield from segment.files.values()
            yield from segment.beside()
        for artefact in (*self.index, *self.concepts, *self.maps):
            yield from artefact.files.values()

    def to_bytes(self) -> bytes:
        """Compact JSON, sealed."""
        return seal(vars(self))

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Manifest:
        """Parse and check.

        Raises:
            FormatTooNew: Written by a newer release.
            ManifestInvalid: Not JSON, or a field is missing or impossible.
        """
        value = parse_json(content, path)
        check_format(value, path)
        try:
            if unknown := set(value) - {*cls.__dataclass_fields__, _SEAL}:
                raise ValueError(f"unknown fields {sorted(unknown)}")
            manifest = cls(
                version=_number(value, "version"),
                created=_text(value, "created"),
                space=_text(value, "space"),
                dim=_number(value, "dim"),
                metric=check_metric(_text(value, "metric")),
                encoder=None if value["encoder"] is None else _text(value, "encoder"),
                columns=tuple((str(name), str(kind)) for name, kind in value["columns"]),
                defaults=dict(value.get("defaults", {})),
                next_row=_number(value, "next_row"),
                rows_version=_number(value, "rows_version"),
                metadata_version=int(value.get("metadata_version", 1)),
                revived_version=_number(value, "revived_version"),
                segments=tuple(map(SegmentRecord.from_json, value["segments"])),
                index=tuple(map(ArtefactRecord.from_json, value["index"])),
                concepts=tuple(map(ArtefactRecord.from_json, value["concepts"])),
                maps=tuple(map(ArtefactRecord.from_json, value["maps"])),
                source=None if value["source"] is None else dict(value["source"]),
                operation=_text(value, "operation"),
            )
            manifest._check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ManifestInvalid(
                f"{path} is not a whole manifest ({type(error).__name__}: {error}); restore it from a backup"
            ) from error
        return manifest

    def _check(self) -> None:
        end = 0
        for segment in self.segments:
            if not end <= segment.first_row <= segment.end_row <= self.next_row:
                raise ValueError(f"segment {segment.uuid} has impossible rows")
            if not 0 <= segment.dead <= segment.count <= segment.span:
                raise ValueError(f"segment {segment.uuid} has impossible counts")
            if not 0 <= segment.patched <= segment.count or bool(segment.patched) != bool(segment.patch):
                raise ValueError(f"segment {segment.uuid} has an impossible patch")
            end = segment.end_row


def seal(value: dict[str, Json]) -> bytes:
    """A JSON object whose last field is the sha256 of all before it, so that a flipped bit is not another value.

    Records in it become objects of their fields.
    """
    # `vars` and not `asdict`, which copies every value: a tenth of the time of a small append.
    body = json.dumps(value, default=vars, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return body[:-1] + f',"{_SEAL}":"{hashlib.sha256(body[:-1]).hexdigest()}"}}'.encode()


def parse_json(content: bytes, path: Path) -> Json:
    """Parse a JSON object, its seal compared if it has one.

    Raises:
        ManifestInvalid: It is not JSON, not an object, or not what was sealed.
    """
    body, _, seal = content.rpartition(f',"{_SEAL}":'.encode())
    if body and seal != f'"{hashlib.sha256(body).hexdigest()}"}}'.encode():
        raise ManifestInvalid(
            f"{path} was changed after it was written (its {_SEAL} differs); restore it from a backup"
        )
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ManifestInvalid(f"{path} is not JSON ({error}); restore it from a backup") from error
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{path} holds a {type(value).__name__}, not an object; restore it from a backup")
    return value


def check_format(value: Json, path: Path) -> None:
    """Raise `FormatTooNew` or `ManifestInvalid` unless `value["format"]` is one this release reads."""
    found = value.get("format")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ManifestInvalid(f"{path} has format {found!r}; this is not a file of latentstore")
    if found > FORMAT:
        raise FormatTooNew(f"{path} has format {found}, this release reads up to {FORMAT}; install a newer latentstore")


def _number(value: Mapping[str, Json], key: str) -> int:
    found = value[key]
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"{key} is {found!r}")
    return found


def _text(value: Mapping[str, Json], key: str) -> str:
    found = value[key]
    if not isinstance(found, str):
        raise TypeError(f"{key} is {found!r}")
    return found
