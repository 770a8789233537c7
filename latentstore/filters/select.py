"""Predicate → the rows of Parquet segments that satisfy it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

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
    """

    path: Path | str
    first_row: int
    gaps: bool = False


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


def segment_relation(file: SegmentFile, columns: Mapping[str, str], *, position: bool = False) -> str:
    """A SELECT over one segment with its absolute `row` and columns of given DuckDB types, NULL where it lacks one.

    With `position` it also has that name: which row of the file, from 0.
    """
    present = _columns(str(file.path))
    parts = [f"{'row' if file.gaps else 'file_row_number'} + {int(file.first_row)} AS row"]
    for name, kind in columns.items():
        parts.append(f"CAST({quote(name) if name in present else 'NULL'} AS {kind}) AS {quote(name)}")
    if position:
        parts.append("file_row_number AS position")
    path = str(file.path).replace("'", "''")
    option = "" if file.gaps and not position else ", file_row_number = true"
    return f"SELECT {', '.join(parts)} FROM read_parquet('{path}'{option})"  # noqa: S608


@lru_cache(maxsize=4096)
def _columns(path: str) -> frozenset[str]:
    """Names of a segment's columns; segments never change, so once per file."""
    try:
        return frozenset(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"segment {path} cannot be read ({session.first_line(error)}); run verify") from error
