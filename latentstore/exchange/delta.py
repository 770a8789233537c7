"""A Delta table (delta-rs), for those who outgrow one machine. Needs the extra `delta`.

Delta has fewer types than Arrow: what it lacks is stored as the nearest wider type, and cast back on the way in by the
description in the table's own metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from latentstore.errors import ChecksumMismatch, InputError, NotSupported
from latentstore.exchange.incoming import Source, batch_rows
from latentstore.exchange.outgoing import Exported, Outgoing, appearing
from latentstore.exchange.parquet import describe
from latentstore.storage.columns import parse_type


def write(outgoing: Outgoing, path: Path, overwrite: bool) -> Exported:
    """Write the rows as version 0 of a new table."""
    delta = _deltalake()
    stored = pa.schema([(field.name, _stored(field.type)) for field in outgoing.schema()])
    kept = [field.name for field in stored if not pa.types.is_null(field.type)]  # a column of nulls has no type there
    stored = pa.schema([stored.field(name) for name in kept])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in outgoing.batches():
            try:
                arrays = [batch.column(name).cast(stored.field(name).type) for name in kept]
            except pa.ArrowException as error:
                raise InputError(f"a value does not fit a Delta table ({error}); leave that column out") from error
            yield pa.RecordBatch.from_arrays(arrays, schema=stored)

    with appearing(path, overwrite=overwrite) as hidden:
        reader = pa.RecordBatchReader.from_batches(stored, batches())
        delta.write_deltalake(str(hidden), reader, description=json.dumps(outgoing.about()))
    return Exported(path, "delta", len(outgoing))


def read(path: Path, id_column: str, vector_column: str) -> Source:
    """Open a table at its newest version."""
    delta = _deltalake()
    try:
        table = delta.DeltaTable(str(path))
        about = _about(table, path)
        dataset = table.to_pyarrow_dataset()
    except delta.exceptions.DeltaError as error:
        raise InputError(f"{path} is no Delta table that can be read ({error}); check the path") from error
    types = {name: parse_type(kind) for name, kind in about.get("columns", [])}

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in _read(dataset, path, batch_rows(about.get("dim"))):
            names = [*batch.schema.names, *(name for name in types if name not in batch.schema.names)]
            arrays = [_back(batch, name, types) for name in names]
            yield pa.RecordBatch.from_arrays(arrays, names=names)

    return Source(path, about.get("dim"), batches(), about, id_column, vector_column)


def _read(dataset: Any, path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    try:
        yield from dataset.to_batches(batch_size=rows, batch_readahead=2, fragment_readahead=1)
    except (pa.ArrowException, OSError) as error:
        raise ChecksumMismatch(f"{path} is damaged ({error}); write the table again") from error


def _about(table: Any, path: Path) -> dict[str, Any]:
    told = table.metadata().description or ""
    return describe(told.encode(), path) if told.startswith('{"format": 1, "space"') else {}


def _back(batch: pa.RecordBatch, name: str, types: dict[str, pa.DataType]) -> pa.Array:
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, types[name])
    column = batch.column(name)
    wanted = types.get(name, column.type)
    if pa.types.is_duration(wanted) or pa.types.is_time(wanted):
        bits = 32 if pa.types.is_time32(wanted) else 64
        return column.cast(pa.int32() if bits == 32 else pa.int64()).cast(wanted)
    return column if column.type == wanted else column.cast(wanted)


def _stored(kind: pa.DataType) -> pa.DataType:
    """The type a Delta table has for an Arrow type."""
    is_ = pa.types
    if is_.is_list(kind) or is_.is_fixed_size_list(kind):
        return pa.list_(_stored(kind.value_type))
    wider = {"uint8": pa.int16(), "uint16": pa.int32(), "uint32": pa.int64(), "uint64": pa.decimal128(20, 0)}
    if str(kind) in wider:
        return wider[str(kind)]
    if is_.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if is_.is_time32(kind):
        return pa.int32()
    if is_.is_time64(kind) or is_.is_duration(kind):
        return pa.int64()
    return kind


def _deltalake() -> Any:
    try:
        import deltalake
        import deltalake.exceptions
    except ImportError as error:
        raise NotSupported("Delta tables need the package deltalake; install latentstore[delta]") from error
    return deltalake
