"""Changes of metadata: pure functions from a snapshot to the manifest of the next version; no vector is written.

An updated row keeps its number, so an index, whose positions are row numbers, stays whole; so do maps. What changed
stands in a *patch* beside the segment: a Parquet file with the metadata of the changed rows (all columns, by relative
row), which readers lay over the segment's own. Each update of a segment writes its patch again, whole, as deletes do;
merging a segment folds the patch in. Columns are added, renamed and dropped in the manifest alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import InputError, NotFound, ShapeMismatch, suggest
from latentstore.storage import arrow, defaults
from latentstore.storage.columns import check_new_name, fit_columns, parse_type, storable
from latentstore.storage.manifest import FileRecord, Manifest, SegmentRecord
from latentstore.storage.parquet_writer import ROW_GROUP
from latentstore.storage.segments import Segment
from latentstore.storage.sink import Sink
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.writing import Scratch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64


def updated(snapshot: Snapshot, rows: Int64[Array, " m"], values: Any, scratch: Scratch) -> Manifest:
    """The manifest after metadata of live rows changed.

    Args:
        snapshot: Before.
        rows: Absolute rows, each once.
        values: As `fit_values`.
        scratch: Where patches are written.

    Raises:
        InputError: As `fit_values`.
    """
    base = snapshot.manifest
    table = fit_values(values, len(rows), snapshot.column_types)
    if not len(rows) or not table.column_names:
        return base
    given = {field.name: field.type for field in table.schema if not pa.types.is_null(field.type)}
    types = snapshot.column_types | given
    numbers, positions = snapshot.locate(rows)
    assert (numbers >= 0).all(), "rows to update are live"
    records = []
    for number, segment in enumerate(snapshot.segments):
        chosen = np.flatnonzero(numbers == number)
        if not len(chosen):
            records.append(segment.record)
            continue
        chosen = chosen[np.argsort(positions[chosen])]
        changed = table if np.array_equal(chosen, np.arange(len(table))) else table.take(arrow.numbers(chosen))
        records.append(_patched(segment, positions[chosen], changed, types, scratch))
    return replace(
        base,
        columns=tuple((name, str(given.get(name, parse_type(kind)))) for name, kind in base.columns),
        segments=tuple(records),
        rows_version=base.version + 1,
        metadata_version=base.version + 1,
    )


def _patched(
    segment: Segment,
    positions: Int64[Array, " k"],
    changed: pa.Table,
    types: Mapping[str, pa.DataType],
    scratch: Scratch,
) -> SegmentRecord:
    """The segment's record with new metadata at positions, which ascend."""
    everything = np.union1d(segment.patched_positions, positions)
    kept = [name for name, kind in types.items() if not pa.types.is_null(kind)]
    table = segment.columns(everything, kept, types)
    order = np.arange(len(everything))
    order[np.searchsorted(everything, positions)] = len(everything) + np.arange(len(positions))
    columns = []
    for name in kept:
        column = table[name]
        if name in changed.column_names:
            column = pa.chunked_array([*column.chunks, *changed[name].cast(types[name]).chunks], types[name])
            column = column.take(arrow.numbers(order))
        columns.append(column)
    names = [segment.record.names.get(name, name) for name in kept]
    rows = arrow.numbers(segment.relative_of(everything))
    patch = _write(scratch, pa.table([rows, *columns], names=["row", *names]))
    return replace(segment.record, patch=patch, patched=len(everything))


def _write(scratch: Scratch, table: pa.Table) -> FileRecord:
    """Write a patch, durable but for its folder."""
    with Sink(scratch.new("segments", ".patch")) as sink:
        pq.write_table(table, sink, row_group_size=ROW_GROUP, compression="zstd", compression_level=1)
        sink.sync()
        size, sha256 = sink.finish()
    return FileRecord(scratch.layout.name(sink.path), size, sha256)


def fit_values(values: Any, rows: int, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """New metadata of `rows` rows, in the types of the columns.

    Args:
        values: A table of one row per row; or a mapping from column to a list, array or column of that many values, or
            to one value for all rows (a list as that one value: `pyarrow.scalar([…])`).
        rows: How many.
        columns: Columns the space has.

    Raises:
        ShapeMismatch: Another number of values.
        InputError: An unknown column, or a value that does not fit its type.
    """
    if isinstance(values, Mapping):
        values = {name: _spread(name, value, rows) for name, value in values.items()}
    table = fit_columns(values, rows, columns)
    for name in table.column_names:
        if name not in columns:
            raise InputError(f"there is no column {name!r} to update; {suggest(name, columns)}, or add_column it first")
    return table


def _spread(name: str, value: Any, rows: int) -> pa.Array | pa.ChunkedArray:
    try:
        if isinstance(value, pa.Array | pa.ChunkedArray):
            column = value
        elif not isinstance(value, pa.Scalar) and (isinstance(value, list | tuple) or np.ndim(value) > 0):
            column = pa.array(value)
        else:
            one = value if isinstance(value, pa.Scalar) else pa.array([value])[0]
            return pa.repeat(one, rows) if one.is_valid else pa.nulls(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"column {name!r} cannot be set to {value!r} ({error}); pass one value or one per row"
        ) from error
    if len(column) != rows:
        raise ShapeMismatch(
            f"column {name!r} has {len(column)} values for {rows} rows; pass one per row, or one for all "
            "(a list as one value: pyarrow.scalar([…]))"
        )
    return column


def with_column(base: Manifest, name: str, kind: pa.DataType | str | None, default: Any) -> Manifest:
    """The manifest with one more column.

    Args:
        base: Before.
        name: Its name.
        kind: Its type, as Arrow type or as Arrow names it ("int64", "string", "timestamp[us, tz=UTC]"); None to take
            that of the default.
        default: Value of the rows that are there and of those added without the column; None for null.

    Raises:
        AlreadyExists: The name is taken.
        InputError: A name or type no column can have, or a default that does not fit.
    """
    check_new_name(name, dict(base.columns))
    wanted = storable(_type(name, kind, default), name)
    told = defaults.to_json(name, default, wanted)
    records = base.segments
    after = {one: value for one, value in base.defaults.items() if one != name}
    if told is not None:
        records = tuple(replace(one, defaults=one.defaults | {name: told}) for one in records)
        after[name] = told
    return _altered(base, (*base.columns, (name, str(wanted))), records, after)


def _type(name: str, kind: pa.DataType | str | None, default: Any) -> pa.DataType:
    if isinstance(kind, pa.DataType):
        return kind
    try:
        if kind is None:
            found = default.type if isinstance(default, pa.Scalar) else pa.array([default]).type
            if not pa.types.is_null(found):
                return found
            raise InputError(f"column {name!r} needs a type or a default; pass type='string', for example")
        try:
            return parse_type(kind)
        except ValueError:
            return pa.type_for_alias(kind)
    except (pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"column {name!r} cannot have type {kind!r}; use a name such as 'int64', 'double', 'string', 'bool', "
            "'timestamp[us]' or a pyarrow type"
        ) from error


def without_column(base: Manifest, name: str) -> Manifest:
    """The manifest without a column; what files say of it stays there unread, until they are merged.

    Raises:
        NotFound: No such column.
    """
    _check_known(base, name)
    columns = tuple((one, kind) for one, kind in base.columns if one != name)
    records = tuple(replace(one, names=_buried(one, name), defaults=_omit(one.defaults, name)) for one in base.segments)
    return _altered(base, columns, records, _omit(base.defaults, name))


def with_renamed(base: Manifest, name: str, new: str) -> Manifest:
    """The manifest with a column under another name.

    Raises:
        NotFound: No such column.
        AlreadyExists: The new name is taken.
        InputError: A name no column can have.
    """
    _check_known(base, name)
    check_new_name(new, {one: kind for one, kind in base.columns if one != name})
    columns = tuple((new if one == name else one, kind) for one, kind in base.columns)
    records = []
    for record in base.segments:
        names = _buried(record, name) | {new: record.names.get(name, name)}
        records.append(replace(record, names=names, defaults=_moved(record.defaults, name, new)))
    return _altered(base, columns, tuple(records), _moved(base.defaults, name, new))


def _altered(
    base: Manifest,
    columns: tuple[tuple[str, str], ...],
    segments: tuple[SegmentRecord, ...],
    after: dict[str, Any],
) -> Manifest:
    version = base.version + 1
    return replace(
        base, columns=columns, segments=segments, defaults=after, rows_version=version, metadata_version=version
    )


def _buried(record: SegmentRecord, name: str) -> dict[str, str]:
    """The names of a segment in which `name` stands for nothing its files have.

    Every segment gets an entry, whether its files have the column or not, so that a merge that ran meanwhile sees that
    its inputs are not what it read.
    """
    return record.names | {name: f"{name}~{uuid4().hex}"}


def _omit(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {one: value for one, value in values.items() if one != name}


def _moved(values: dict[str, Any], name: str, new: str) -> dict[str, Any]:
    return {new if one == name else one: value for one, value in values.items()}


def _check_known(base: Manifest, name: str) -> None:
    names = [one for one, _ in base.columns]
    if name not in names:
        raise NotFound(f"space {base.space!r} has no column {name!r}; {suggest(name, names)}")
