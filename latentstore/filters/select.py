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
from latentstore.filters.allowed import quote, text
from latentstore.filters.parse import Predicate
from latentstore.filters.resident import LEAST_ROWS, resident
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
        rows: How many there are; columns of a large segment are kept in memory.
        defaults: JSON of the values of columns that the files lack: text, {"hex": …} for binary, lists of those.
    """

    path: Path | str
    first_row: int
    gaps: bool = False
    patch: Path | str | None = None
    rows: int = 0
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
    large = {str(file.path): _stored(file, columns) for file in files if file.rows >= LEAST_ROWS}
    try:
        with resident().tables({path: names for path, names in large.items() if names}) as tables:
            relation = " UNION ALL ".join(segment_relation(f, columns, table=tables.get(str(f.path))) for f in files)
            query = f"SELECT row FROM ({relation}) WHERE {predicate.sql}"  # noqa: S608 - written from the allow-list
            rows = session.reader().execute(query, list(predicate.parameters)).fetchnumpy()["row"]
    except (duckdb.IOException, duckdb.InternalException) as error:
        raise StorageError(f"a segment cannot be read ({session.first_line(error)}); run verify") from error
    except duckdb.Error as error:
        raise FilterRefused(
            f"where fails on the data: {session.first_line(error)}; use try_cast or another test"
        ) from error
    found = np.asarray(rows, dtype=np.int64)
    return found if bool((found[1:] > found[:-1]).all()) else np.sort(found)


def _stored(file: SegmentFile, columns: Mapping[str, str]) -> frozenset[str]:
    """What has to be read of the segment's file for these columns; nothing when it has none of them."""
    names = frozenset(file.names.get(name, name) for name in columns) & _columns(str(file.path))
    return names | {"row"} if names and file.gaps else names


def segment_relation(
    file: SegmentFile, columns: Mapping[str, str], *, position: bool = False, table: str | None = None
) -> str:
    """A SELECT over one segment with its absolute `row` and columns of given DuckDB types.

    A column that it lacks is its default, or NULL. Metadata in a patch stands in place of the segment's. With
    `position` it also has that name: which row of the segment's file, from 0. `table` names a table that holds what is
    needed of the file.
    """
    option = "" if file.gaps and not position else ", file_row_number = true"
    source, row = f"read_parquet({text(file.path)}{option})", "row" if file.gaps else "file_row_number"
    place = ", file_row_number AS position" if position else ""
    own = f"SELECT {_selected(file, file.path, columns, row)}{place} FROM {source}"  # noqa: S608
    if table is not None:
        row = "row" if file.gaps else "rowid"
        own = f"SELECT {_selected(file, file.path, columns, row)} FROM {table}"  # noqa: S608
    if file.patch is None:
        return own
    patch = f"read_parquet({text(file.patch)})"
    kept = f"{own} WHERE {row} NOT IN (SELECT row FROM {patch})"  # noqa: S608
    beside = [name for name in ("id", "vector") if name in columns]
    if not beside and not position:
        return f"{kept} UNION ALL SELECT {_selected(file, file.patch, columns, 'row')} FROM {patch}"  # noqa: S608
    # The patch holds metadata only: id, vector and position come from the segment.
    number = "row" if file.gaps else "file_row_number"
    fixed = f"SELECT {', '.join([f'{number} AS row', *beside])}{place} FROM {source}"  # noqa: S608
    listed = _selected(file, file.patch, columns, "row", beside) + (", position" if position else "")
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


@lru_cache(maxsize=4096)
def _columns(path: str) -> frozenset[str]:
    """Names of a segment's columns; segments never change, so once per file."""
    try:
        return frozenset(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"segment {path} cannot be read ({session.first_line(error)}); run verify") from error
