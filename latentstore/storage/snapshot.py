"""One immutable version of a space, ready to be read. Readers never lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError, NotFound, UnknownItem, suggest
from latentstore.storage import arrow, artefacts
from latentstore.storage import columns as column_types
from latentstore.storage.gather import Gather, groups
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import ArtefactKind, ArtefactRecord, FileRecord, Manifest
from latentstore.storage.parquet_writer import ROW_GROUP
from latentstore.storage.segments import Segment
from latentstore.types import Array, Metric

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt64


FEW = 16  # ids that are quicker found one by one than by Arrow's kernels


class Snapshot:
    """The rows and artefacts of one version; files are mapped when first needed.

    Args:
        layout: The space's paths.
        manifest: The version.
        segments: In row order, as the manifest names them.
    """

    def __init__(self, layout: SpaceLayout, manifest: Manifest, segments: Sequence[Segment]) -> None:
        self.layout = layout
        self.manifest = manifest
        self.segments = tuple(segments)

    @classmethod
    def open(cls, layout: SpaceLayout, manifest: Manifest, previous: Snapshot | None = None) -> Snapshot:
        """Open a version; what it shares with `previous` is not opened again.

        Raises:
            ChecksumMismatch: A segment's file is missing or has another size.
        """
        known = {segment.record.uuid: segment for segment in previous.segments} if previous else {}
        segments = []
        for record in manifest.segments:
            segment = known.get(record.uuid)
            if segment is None or segment.record != record:
                segment = Segment(layout, record, manifest.dim, manifest.version)
                segment.check()
            segment.version = max(segment.version, manifest.version)
            segments.append(segment)
        return cls(layout, manifest, segments)

    def with_segments(self, segments: Sequence[Segment]) -> Snapshot:
        """The same rows, held by other segments (after a merge)."""
        manifest = replace(self.manifest, segments=tuple(segment.record for segment in segments))
        return Snapshot(self.layout, manifest, segments)

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def dim(self) -> int:
        """Width d of the vectors."""
        return self.manifest.dim

    @property
    def metric(self) -> Metric:
        """l2, cosine or ip."""
        return self.manifest.metric

    @property
    def encoder(self) -> str | None:
        """Fingerprint of the encoder the vectors come from, or None."""
        return self.manifest.encoder

    @cached_property
    def column_types(self) -> dict[str, pa.DataType]:
        """Metadata columns and their Arrow types, in order."""
        return {name: column_types.parse_type(kind) for name, kind in self.manifest.columns}

    def __len__(self) -> int:
        """Live rows."""
        return self.manifest.live

    def __repr__(self) -> str:
        size = f"{len(self)} rows in {len(self.segments)} segments"
        return f"<Snapshot {self.manifest.space} version {self.version}: {size}>"

    @cached_property
    def _first_rows(self) -> Int64[Array, " s"]:
        return np.array([segment.first_row for segment in self.segments], np.int64)

    def locate(self, rows: Int64[Array, " m"]) -> tuple[Int64[Array, " m"], Int64[Array, " m"]]:
        """Segment number and position in it of absolute rows, (m,) each; −1, −1 for dead or absent rows."""
        rows = _row_array(rows)
        numbers = np.searchsorted(self._first_rows, rows, side="right") - 1
        positions = np.full(len(rows), -1, np.int64)
        for number, chosen in groups(numbers):
            positions[chosen] = self.segments[number].position_of(rows[chosen])
        return np.where(positions < 0, -1, numbers), positions

    def find(self, ids: Sequence[str]) -> Int64[Array, " m"]:
        """Absolute rows of ids, (m,); −1 for ids that are not there."""
        ids = list(ids)
        if any(not isinstance(one, str) for one in ids):
            raise InputError(f"id {next(one for one in ids if not isinstance(one, str))!r} is no text; ids are str")
        encoded = arrow.encode(ids)
        hashes = hash_ids(encoded)
        if len(ids) <= FEW:
            return np.array([self._find_one(*one) for one in zip(encoded, hashes.tolist(), strict=True)], np.int64)
        return self.find_hashed(arrow.texts(encoded), hashes)

    def _find_one(self, wanted: bytes, hashed: int) -> int:
        for segment in reversed(self.segments):
            position = segment.find_one(wanted, hashed)
            if position >= 0:
                return int(segment.rows.item(position))
        return -1

    def find_hashed(self, wanted: pa.LargeStringArray, hashes: UInt64[Array, " m"]) -> Int64[Array, " m"]:
        """`find` for ids whose hashes are known."""
        rows = np.full(len(hashes), -1, np.int64)
        order = np.argsort(hashes)  # neighbouring searches touch neighbouring pages
        hashes = hashes[order]
        wanted = wanted.take(arrow.numbers(order))
        for segment in reversed(self.segments):
            positions = segment.find(wanted, hashes)
            hit = positions >= 0
            if hit.any():
                rows[order[hit]] = segment.rows[positions[hit]]
                order, hashes, wanted = order[~hit], hashes[~hit], wanted.take(arrow.numbers(np.flatnonzero(~hit)))
            if not len(order):
                break
        return rows

    def live_rows(self, first: int = 0) -> Int64[Array, " n"]:
        """All live rows from number `first` on, ascending."""
        there = [s for s in self.segments if s.record.end_row > first]
        parts = [s.rows if s.alive is None else s.rows[s.alive] for s in there]
        rows = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return rows[rows.searchsorted(first) :]

    def _located(self, rows: Int64[Array, " m"]) -> Iterator[tuple[Segment, Array, Array]]:
        numbers, positions = self.locate(rows)
        if (numbers < 0).any():
            row = int(np.asarray(rows)[numbers < 0][0])
            raise UnknownItem(f"row {row} is not in version {self.version}; it was deleted or never existed")
        for number, chosen in groups(numbers):
            yield self.segments[number], chosen, positions[chosen]

    def vectors(self, rows: Int64[Array, " m"]) -> Float32[Array, "m d"]:
        """Vectors of absolute rows, contiguous, in the order asked for.

        Raises:
            UnknownItem: A row is dead or absent.
        """
        gathered = np.empty((len(rows), self.dim), np.float32)
        for segment, chosen, positions in self._located(rows):
            if len(chosen) == len(rows):
                np.take(
                    segment.vectors_for(positions), positions, axis=0, out=gathered, mode="clip"
                )  # "raise" would buffer
            else:
                gathered[chosen] = segment.vectors_for(positions)[positions]
        return gathered

    @cached_property
    def gather(self) -> Gather:
        """Vectors and ids of rows that are known to be there, without asking; for searches."""
        return Gather(self.segments, self.dim)

    def ids(self, rows: Int64[Array, " m"]) -> Array:
        """Ids of absolute rows, dtype object, (m,).

        Raises:
            UnknownItem: A row is dead or absent.
        """
        gathered = np.empty(len(rows), object)
        for segment, chosen, positions in self._located(rows):
            gathered[chosen] = segment.ids.take(arrow.numbers(positions)).to_pylist()
        return gathered

    def columns(self, rows: Int64[Array, " m"], names: Sequence[str] | None = None) -> pa.Table:
        """Metadata of absolute rows in the order asked for; "row", "id" and "vector" may be asked for too.

        Args:
            rows: Absolute rows, (m,).
            names: Which columns; None for all metadata columns.

        Raises:
            InputError: An unknown column.
            UnknownItem: A row is dead or absent.
        """
        names = self._known(list(self.column_types) if names is None else list(names))
        parts, order = [], []
        for segment, chosen, positions in self._located(rows):
            parts.append(self._part(segment, positions, names))
            order.append(chosen)
        if not parts:
            return pa.schema([(name, self._type(name)) for name in names]).empty_table()
        table = pa.concat_tables(parts)
        if len(parts) == 1:
            return table
        return table.take(arrow.numbers(np.argsort(np.concatenate(order), kind="stable")))

    def scan(
        self,
        columns: Sequence[str] | None = None,
        batch_rows: int = 65_536,
        *,
        rows: Int64[Array, " r"] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Live rows in row order, in bounded memory.

        Args:
            columns: Which of row (absolute), id, vector and the metadata; None for all.
            batch_rows: Most rows of a batch.
            rows: Only these, live and ascending; None for all.
        """
        names = self._known(["row", "id", "vector", *self.column_types] if columns is None else list(columns))
        for segment in self.segments:
            if rows is None:
                positions = segment.live_positions()
            else:
                low, high = np.searchsorted(rows, [segment.first_row, segment.record.end_row])
                positions = segment.position_of(rows[low:high])
            step = -(-ROW_GROUP // batch_rows) * batch_rows  # a row group is decoded whole: not for each few rows of it
            for start in range(0, len(positions), step):
                part = self._part(segment, positions[start : start + step], names).combine_chunks()
                yield from part.to_batches(batch_rows)

    def artefact(self, kind: ArtefactKind, name: str | None = None) -> ArtefactRecord | None:
        """The artefact of a kind with a name, or the newest of that kind; None when there is none of the kind.

        Raises:
            NotFound: Others of the kind are there, this name is not.
        """
        known = self.manifest.artefacts(kind)
        if name is None:
            return known[-1] if known else None
        for one in known:
            if one.name == name:
                return one
        raise NotFound(f"no {kind} {name!r} in version {self.version}; {suggest(name, (one.name for one in known))}")

    def read(self, record: FileRecord) -> bytes:
        """The content of an artefact's file, its size and sha256 checked.

        Raises:
            ChecksumMismatch: It is missing or not what the manifest says.
            UnknownVersion: It is gone because the version was vacuumed.
        """
        return artefacts.read(self.layout, record, self.version)

    def checked(self, record: FileRecord) -> Path:
        """The path of an artefact's file, checked as by `read`, for what maps it."""
        return artefacts.checked(self.layout, record, self.version)

    def _known(self, names: list[str]) -> list[str]:
        for name in names:
            if name not in self.column_types and name not in column_types.RESERVED:
                raise InputError(f"unknown column {name!r}; {suggest(name, self.column_types)}")
        return names

    def _type(self, name: str) -> pa.DataType:
        own = {"row": pa.int64(), "id": pa.string(), "vector": arrow.vector_type(self.dim)}
        return own[name] if name in own else self.column_types[name]

    def _part(self, segment: Segment, positions: Int64[Array, " k"], names: list[str]) -> pa.Table:
        """Columns of one segment; row, id and vector come from the mapped files, not from Parquet."""
        own: dict[str, Callable[[], pa.Array]] = {
            "row": lambda: arrow.numbers(segment.rows[positions]),
            "id": lambda: segment.ids.take(arrow.numbers(positions)).cast(pa.string()),
            "vector": lambda: arrow.vectors(_take(segment.vectors_for(positions), positions)),
        }
        stored = [name for name in names if name not in own]
        table = segment.columns(positions, stored, self.column_types) if stored else None
        columns = [own[name]() if name in own else table[name] for name in names]  # type: ignore[index]
        return pa.table(columns, schema=pa.schema([(name, self._type(name)) for name in names]))


def _row_array(rows: Int64[Array, " m"]) -> Int64[Array, " m"]:
    found = np.asarray(rows)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise InputError(f"rows have dtype {found.dtype} and shape {found.shape}; pass integers of shape (m,)")
    return found.astype(np.int64, copy=False)


def _take(vectors: Float32[Array, "n d"], positions: Int64[Array, " k"]) -> Float32[Array, "k d"]:
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions) and (np.diff(positions) == 1).all():
        return vectors[positions[0] : positions[-1] + 1]  # mapped, not copied
    return vectors[positions]
