"""Predicate → the rows of Parquet segments that satisfy it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import FilterRefused, StorageError
from latentstore.filters import session
from latentstore.filters.allowed import quote
from latentstore.filters.parse import Predicate
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64


@dataclass(frozen=True)
class SegmentFile:
    """One immutable Parquet segment.

    Attributes:
        path: The file; has columns `row` (relative), `id`, `vector` and metadata.
        first_row: Absolute row of relative row 0.
        gaps: The relative rows are not 0, 1, 2, … (a merged segment). Without gaps they need not be read, which
            takes two thirds off the time of a simple filter.
        patch: A file of the same columns (but id and vector) whose rows stand in place of the segment's, or None.
        names: What a column is called in the files, where that is not its name.
        defaults: JSON of the values of columns that the files lack: text, {"hex": …} for binary, lists of those.
    """

    path: Path | str
    first_row: int
    gaps: bool = False
    patch: Path | str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def select_rows(predicate: Predicate, files: Sequence[SegmentFile]) -> Int64[Array, " m"]:
    """Find the rows for which a predicate is true.

    Args:
        predicate: From `parse_where`.
        files: Segments. One that lacks a column has NULL there.

    Returns:
        Absolute row numbers, ascending, shape (m,). Dead rows are not known here and are among them.

    Raises:
        FilterRefused: A value of the data does not fit the predicate (a cast that fails).
        StorageError: A segment cannot be read.
    """
    if not files:
        return np.empty(0, dtype=np.int64)
    columns = dict(predicate.columns)
    relation = " UNION ALL ".join(segment_relation(file, columns) for file in files)
    query = f"SELECT row FROM ({relation}) WHERE {predicate.sql}"  # noqa: S608 - written from the allow-list
    try:
        rows = session.reader().execute(query, list(predicate.parameters)).fetchnumpy()["row"]
    except (duckdb.IOException, duckdb.InternalException) as error:
        raise StorageError(f"a segment cannot be read ({session.first_line(error)}); run verify") from error
    except duckdb.Error as error:
        raise FilterRefused(
            f"where fails on the data: {session.first_line(error)}; use try_cast or another test"
        ) from error
    found = np.asarray(rows, dtype=np.int64)
    return found if bool((found[1:] > found[:-1]).all()) else np.sort(found)


def segment_relation(file: SegmentFile, columns: Mapping[str, str]) -> str:
    """A SELECT over one segment with its absolute `row` and columns of given DuckDB types.

    A column that it lacks is its default, or NULL. Metadata in a patch stands in place of the segment's.
    """
    option = "" if file.gaps else ", file_row_number = true"
    source, row = f"read_parquet({_text(file.path)}{option})", "row" if file.gaps else "file_row_number"
    own = f"SELECT {_selected(file, file.path, columns, row)} FROM {source}"  # noqa: S608
    if file.patch is None:
        return own
    patch = f"read_parquet({_text(file.patch)})"
    kept = f"{own} WHERE {row} NOT IN (SELECT row FROM {patch})"  # noqa: S608
    beside = [name for name in ("id", "vector") if name in columns]
    if not beside:
        return f"{kept} UNION ALL SELECT {_selected(file, file.patch, columns, 'row')} FROM {patch}"  # noqa: S608
    # The patch holds metadata only: id and vector come from the segment.
    fixed = f"SELECT {row} AS row, {', '.join(beside)} FROM {source}"  # noqa: S608
    listed = _selected(file, file.patch, columns, "row", beside)
    return f"{kept} UNION ALL SELECT {listed} FROM {patch} JOIN ({fixed}) USING (row)"  # noqa: S608


def _selected(
    file: SegmentFile, path: Path | str, columns: Mapping[str, str], row: str, joined: Sequence[str] = ()
) -> str:
    """The select list over one of a segment's files."""
    present = _columns(str(path)).union(joined)
    parts = [f"{row} + {int(file.first_row)} AS row"]
    for name, kind in columns.items():
        stored = file.names.get(name, name)
        value = quote(stored) if stored in present else _constant(file.defaults.get(name))
        parts.append(f"CAST({value} AS {kind}) AS {quote(name)}")
    return ", ".join(parts)


def _constant(told: Any) -> str:
    """A default as SQL; texts as hex digits, which cannot end a literal."""
    if told is None:
        return "NULL"
    if isinstance(told, list):
        return f"[{', '.join(map(_constant, told))}]"
    if isinstance(told, dict):
        return f"unhex('{bytes.fromhex(told['hex']).hex()}')"
    return f"decode(unhex('{told.encode().hex()}'))"


def _text(path: Path | str) -> str:
    """A path as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"


@lru_cache(maxsize=4096)
def _columns(path: str) -> frozenset[str]:
    """Names of a segment's columns; segments never change, so once per file."""
    try:
        return frozenset(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"segment {path} cannot be read ({session.first_line(error)}); run verify") from error
