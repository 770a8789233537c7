"""Which column of a table is the item, which the id, and whether they can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.datasets.base import object_array, refuse_duplicates
from latentstore.datasets.chunks import Chunks
from latentstore.errors import ConfigInvalid, InputError, NotFinite, ShapeMismatch, suggest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped


def item_column(schema: pa.Schema, image: str | None, vector: str | None, path: Path) -> tuple[str, bool]:
    """The column of the items, and whether they are vectors."""
    if image is not None and vector is not None:
        raise ConfigInvalid(f"both image={image!r} and vector={vector!r} are given; an item is one of them")
    for option, name, fits in (("image", image, _may_be_image), ("vector", vector, _may_be_vector)):
        if name is None:
            continue
        if name not in schema.names:
            raise ConfigInvalid(f"{path} has no column {name!r} ({option}); {suggest(name, schema.names)}")
        if not fits(schema.field(name).type):
            kinds = {"image": "bytes, struct {bytes, path} or paths", "vector": "lists of numbers"}[option]
            raise ConfigInvalid(f"column {name!r} of {path} is {schema.field(name).type}, not {kinds}; name another")
        return name, option == "vector"
    vectors = [f.name for f in schema if _may_be_vector(f.type)]
    # Text may be anything, so a column of paths is taken by its name only.
    images = [f.name for f in schema if _may_be_image(f.type) and (not _is_text(f.type) or f.name in ("image", "file"))]
    if len(vectors) + len(images) != 1:
        found = f"several ({', '.join(images + vectors)})" if vectors or images else "none"
        raise ConfigInvalid(
            f"{path} has {found} of its columns that could be the item; name it by the option image=… or vector=…; "
            f"columns: {', '.join(schema.names)}"
        )
    return (images + vectors)[0], bool(vectors)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _may_be_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind) or _is_text(kind)


def _may_be_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def read_ids(chunks: Chunks, column: str, n: int) -> Shaped[Array, " n"]:
    """The ids of the first n rows: text or whole numbers, none null, none twice; "" numbers the rows."""
    if column == "":
        return object_array(str(row) for row in range(n))
    if column not in chunks.schema.names:
        raise ConfigInvalid(
            f"{chunks.path} has no column {column!r} for the ids; "
            f'{suggest(column, chunks.schema.names)} Or id="" numbers rows'
        )
    kind = chunks.schema.field(column).type
    if not (_is_text(kind) or pa.types.is_integer(kind)):
        raise ConfigInvalid(f"column {column!r} of {chunks.path} is {kind}; ids are text or whole numbers")
    values = chunks.columns([column])[column].slice(0, n)
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise InputError(f"{chunks.path} row {row} has no {column}; give each row an id")
    ids = object_array(str(value) for value in values.to_pylist())
    refuse_duplicates(ids, f"table {chunks.path}")
    return ids


def check_vectors(chunks: Chunks, column: str, n: int) -> int:
    """One pass over the vectors of the first n rows: none null, all of one length, all finite. Returns the length."""
    width = -1
    for first, part in chunks.column(column):
        if first >= n:
            break
        values = part.slice(0, n - first)
        if values.null_count:
            raise InputError(
                f"{chunks.path} row {first + _first_null(values)} has no {column}; remove the row or fill it"
            )
        lengths = np.diff(values.offsets) if hasattr(values, "offsets") else np.full(len(values), values.type.list_size)
        if width < 0:
            width = int(lengths[0])
        if (lengths != width).any():
            row = int(np.flatnonzero(lengths != width)[0])
            raise ShapeMismatch(
                f"{chunks.path} row {first + row} has a {column} of length {lengths[row]}, "
                f"row 0 one of {width}; all must be equal"
            )
        if width == 0:
            raise ShapeMismatch(f"{chunks.path} has vectors of length 0 in {column}; give at least one number")
        broken = ~np.isfinite(as_matrix(values, width)).all(axis=1)
        if broken.any():
            row = first + int(np.flatnonzero(broken)[0])
            raise NotFinite(f"{chunks.path} row {row} has NaN, infinity or null in its {column}; repair it")
    return width


def _first_null(values: pa.Array) -> int:
    return int(values.is_null().to_pylist().index(True))


def as_matrix(values: pa.Array, width: int) -> Float32[Array, "m d"]:
    """List values as float32; nulls inside become NaN."""
    numbers = values.flatten().to_numpy(zero_copy_only=False)
    assert len(numbers) == len(values) * width  # checked when the table was opened
    with np.errstate(over="ignore"):
        return np.asarray(numbers).astype(np.float32).reshape(len(values), width)
