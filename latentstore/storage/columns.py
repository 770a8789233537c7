"""Metadata columns: which Arrow types they may have, and how new rows fit the columns that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from latentstore.errors import AlreadyExists, InputError, ShapeMismatch

RESERVED = ("row", "id", "vector")

_LIST = re.compile(r"list<item: (.*)>")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=([^\]]+))?\]")
_UNIT = re.compile(r"(time32|time64|duration)\[(s|ms|us|ns)\]")
_DECIMAL = re.compile(r"decimal(128|256)\((\d+), (-?\d+)\)")
_PLAIN = {
    str(kind): kind
    for kind in (
        *(pa.null(), pa.bool_(), pa.string(), pa.binary(), pa.date32()),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64()),
    )
}


def parse_type(text: str) -> pa.DataType:
    """The inverse of `str(type)` for the types a column may have; ValueError for others."""
    if text in _PLAIN:
        return _PLAIN[text]
    if match := _LIST.fullmatch(text):
        return pa.list_(pa.field("item", parse_type(match[1])))
    if match := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(match[1], tz=match[2])
    if match := _UNIT.fullmatch(text):
        return {"time32": pa.time32, "time64": pa.time64, "duration": pa.duration}[match[1]](match[2])
    if match := _DECIMAL.fullmatch(text):
        return {"128": pa.decimal128, "256": pa.decimal256}[match[1]](int(match[2]), int(match[3]))
    raise ValueError(f"no column type {text!r}")


def storable(kind: pa.DataType, name: str) -> pa.DataType:
    """The type a column of type `kind` is stored as: dictionaries decoded, large and view types as plain ones."""
    if pa.types.is_dictionary(kind):
        return storable(kind.value_type, name)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("item", storable(kind.value_type, name)))
    try:
        return parse_type(str(kind))
    except ValueError:
        raise InputError(
            f"metadata column {name!r} has type {kind}, which cannot be stored; "
            "pass numbers, text, booleans, times, binary or lists of them"
        ) from None


def fit_columns(metadata: Any, rows: int, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Check metadata at the door and give it the types of the columns that are there.

    Args:
        metadata: A table, or anything `pa.table` reads (a mapping of columns, a data frame), or None.
        rows: How many rows it must have.
        columns: Columns the space has.

    Returns:
        A table of `rows` rows: known columns in their type, new ones in a storable type.

    Raises:
        ShapeMismatch: Another number of rows.
        InputError: A reserved or repeated name, a type that cannot be stored, or one that does not fit the column.
    """
    if metadata is None:
        return pa.table({"_": pa.nulls(rows)}).select([])
    table = _table(metadata)
    if len(table.column_names) and len(table) != rows:
        raise ShapeMismatch(f"metadata has {len(table)} rows for {rows} ids; pass one row per id")
    names = table.column_names
    for name in names:
        _refuse_reserved(name)
        if names.count(name) > 1 or name.lower() in {other.lower() for other in names if other is not name}:
            # SQL compares names without case, so two such columns could not both be asked for
            raise InputError(f"metadata column {name!r} occurs twice (case does not count); rename one")
    taken = {known.lower(): known for known in columns}
    fitted = []
    for name, column in zip(names, table.columns, strict=True):
        known = taken.get(name.lower(), name)
        if known != name:
            raise InputError(f"metadata column {name!r} differs from column {known!r} only in case; use {known!r}")
        fitted.append(_fit(name, column, columns.get(name)))
    return pa.table(fitted, names=names) if names else pa.table({"_": pa.nulls(rows)}).select([])


def check_new_name(name: str, columns: Mapping[str, Any]) -> None:
    """Refuse what cannot name one more column.

    Raises:
        AlreadyExists: It is taken; case does not count.
        InputError: It is reserved or no text.
    """
    if not isinstance(name, str):
        raise InputError(f"column name {name!r} is no text; pass a str")
    _refuse_reserved(name)
    for known in columns:
        if known.lower() == name.lower():
            raise AlreadyExists(f"column {known!r} exists (case does not count); choose another name than {name!r}")


def _refuse_reserved(name: str) -> None:
    if name.lower() in RESERVED or not name:
        raise InputError(f"metadata column {name!r} is reserved ({', '.join(RESERVED)}); rename it")


def _table(metadata: Any) -> pa.Table:
    if isinstance(metadata, pa.Table):
        return metadata
    try:
        if isinstance(metadata, pa.RecordBatch):
            return pa.Table.from_batches([metadata])
        if hasattr(metadata, "iloc"):
            return pa.Table.from_pandas(metadata, preserve_index=False).replace_schema_metadata(None)
        return pa.table(metadata)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"metadata cannot be read as a table ({error}); pass a pyarrow.Table") from error


def _fit(name: str, column: pa.ChunkedArray, known: pa.DataType | None) -> pa.ChunkedArray:
    target = storable(column.type, name)
    if known is not None and not pa.types.is_null(known):
        target = known
    if str(column.type) == str(target):  # Arrow calls lists equal whose items have other names, as Parquet gives them
        return column
    if not _compatible(column.type, target):
        raise InputError(
            f"metadata column {name!r} has type {column.type}, the space stores {target}; convert it first"
        )
    try:
        return column.cast(target)
    except pa.ArrowException as error:
        raise InputError(
            f"metadata column {name!r} has type {column.type}, the space stores {target}, and not every value fits "
            f"({error}); convert it first"
        ) from error


def _family(kind: pa.DataType) -> str:
    is_ = pa.types
    if is_.is_dictionary(kind):
        return _family(kind.value_type)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return f"list of {_family(kind.value_type)}"
    if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind):
        return "number"
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return "text"
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind) or is_.is_fixed_size_binary(kind):
        return "binary"
    if is_.is_date(kind):
        return "date"
    if is_.is_timestamp(kind):
        return "timestamp with zone" if kind.tz else "timestamp"
    return str(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, dictionaries of them included."""
    return _family(kind) == "text"


def _compatible(given: pa.DataType, target: pa.DataType) -> bool:
    """Casts that keep the meaning; Arrow would also turn numbers into text, which hides mistakes."""
    family = _family(given)
    return family in ("null", "list of null") or family == _family(target)


def merge_columns(
    columns: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Add a segment's columns to a space's; a column of nulls takes the type of the first that has one.

    Raises:
        InputError: Two types for one name: another writer got there first.
    """
    merged = dict(columns)
    for name, kind in new:
        known = merged.get(name, "null")
        if known not in ("null", kind) and kind != "null":
            raise InputError(f"metadata column {name!r} has type {kind}, the space stores {known}; convert it first")
        merged[name] = kind if known == "null" else known
    return tuple(merged.items())
