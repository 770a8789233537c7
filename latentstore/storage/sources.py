"""Where rows come from, batch by batch: an Arrow table or stream, a data frame, Parquet files of any size.

Whatever offers the Arrow C stream (`__arrow_c_stream__`: pyarrow, polars, DuckDB, …) is read through it, so none of
those libraries is needed here.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import InputError, ShapeMismatch
from latentstore.storage import arrow
from latentstore.storage.columns import is_text
from latentstore.types import Array, Metric, check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

BATCH_ROWS = 32_768  # rows in memory at a time
READ_BYTES = 1 << 22  # of a column of a Parquet file, at a time
ENCODER = b"latentstore.encoder"  # key of a schema's metadata: the fingerprint of the encoder that made the vectors


@dataclass(frozen=True)
class Part:
    """Some rows of a source, as they came.

    Attributes:
        origin: What messages call their source: a file's path, or "the table".
        first: The number of the first row in it, from 0.
        table: The rows.
    """

    origin: str
    first: int
    table: pa.Table


@dataclass(frozen=True)
class Source:
    """Rows to be read once, in bounded memory.

    Attributes:
        schemas: Of each file, or the one of the stream, by what messages call it.
        parts: The rows.
        id_column, vector_column: Which columns are the id and the vector.
    """

    schemas: dict[str, pa.Schema]
    parts: Iterator[Part]
    id_column: str
    vector_column: str

    def check_columns(self) -> None:
        """Raise `InputError` unless each schema has one column of ids and one of vectors."""
        for origin, schema in self.schemas.items():
            _check_columns(origin, schema, self.id_column, self.vector_column)

    def metadata_of(self, schema: pa.Schema) -> list[pa.Field]:
        """The fields that are metadata."""
        return [field for field in schema if field.name not in (self.id_column, self.vector_column)]

    @property
    def encoders(self) -> set[str]:
        """Fingerprints of the encoders that the schemas name."""
        found = ((schema.metadata or {}).get(ENCODER) for schema in self.schemas.values())
        return {one.decode() for one in found if one is not None}

    def ids(self, part: Part) -> pa.LargeStringArray:
        """The ids of a part, checked but for repetition.

        Raises:
            InputError: One is missing or empty.
        """
        import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

        ids = _whole(part.table[self.id_column]).cast(pa.large_string())
        bad = arrow.booleans_of(pc.equal(pc.fill_null(ids, ""), ""))
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{part.origin} row {part.first + at}: the id is {ids[at].as_py()!r}; ids are non-empty text"
            )
        return ids

    def vectors(self, part: Part, dim: int, metric: Metric) -> Float32[Array, "n d"]:
        """The vectors of a part, checked.

        Raises:
            ShapeMismatch: One is missing or of another width.
            NotFinite, InputError: As `check_vectors`.
        """
        import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

        lists = _whole(part.table[self.vector_column])
        lengths = arrow.numpy_of(pc.fill_null(pc.list_value_length(lists), -1).cast(pa.int64()))
        if (lengths != dim).any():
            at = int(np.flatnonzero(lengths != dim)[0])
            found = "no vector" if lengths[at] < 0 else f"a vector of width {lengths[at]}"
            raise ShapeMismatch(f"{part.origin} row {part.first + at}: {found}; this space needs width {dim}")
        values = lists.flatten()
        if values.null_count:
            at = int(np.flatnonzero(arrow.booleans_of(pc.is_null(values)))[0]) // dim
            raise InputError(f"{part.origin} row {part.first + at}: the vector holds a null; remove or repair that row")
        numbers = arrow.numpy_of(values.cast(pa.float32(), safe=False)).reshape(-1, dim)
        return check_vectors(numbers, dim, metric, what=f"{part.origin}: vectors", first_row=part.first)

    def metadata(self, part: Part) -> pa.Table:
        """The other columns of a part."""
        return part.table.select([field.name for field in self.metadata_of(part.table.schema)])


def open_source(given: Any, id_column: str = "id", vector_column: str = "vector") -> Source:
    """Open what holds ids, vectors and metadata as columns.

    Args:
        given: A pyarrow Table, RecordBatch or RecordBatchReader; a pandas or polars DataFrame, or whatever else has
            `__arrow_c_stream__`; a Parquet file, a folder of them, or a glob, as text or path.
        id_column: Text, each once.
        vector_column: Lists of numbers, all of the space's width.

    Raises:
        InputError: It is none of these, or no file matches.
    """
    if isinstance(given, str | Path):
        paths = _files(given)
        schemas = {str(path): _schema(path) for path in paths}
        return Source(schemas, _read_files(paths), id_column, vector_column)
    reader = _reader(given)
    return Source({"the table": reader.schema}, _read_stream(reader), id_column, vector_column)


def _reader(given: Any) -> pa.RecordBatchReader:
    try:
        if hasattr(given, "iloc"):  # pandas: its own stream would make a column of the index
            table = pa.Table.from_pandas(given, preserve_index=False)
            return table.replace_schema_metadata(None).to_reader()
        if isinstance(given, pa.RecordBatch):
            return pa.Table.from_batches([given]).to_reader()
        if hasattr(given, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"a {type(given).__name__} cannot be read as Arrow ({error}); convert it first") from error
    raise InputError(
        f"rows cannot be read from a {type(given).__name__}; pass ids with vectors, an Arrow table or stream, a data "
        "frame, or the path of Parquet files"
    )


def _read_stream(reader: pa.RecordBatchReader) -> Iterator[Part]:
    first = 0
    with reader:
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield Part("the table", first, pa.Table.from_batches([part]))
                first += part.num_rows


def _files(given: str | Path) -> list[Path]:
    path = Path(given)
    if path.is_file():
        return [path]
    matching = path.rglob("*.parquet") if path.is_dir() else map(Path, glob.iglob(str(given), recursive=True))  # noqa: PTH207 - pathlib's glob takes no absolute pattern
    found = sorted(one for one in matching if one.is_file())
    if not found:
        raise InputError(f"no Parquet file matches {str(given)!r}; check the path")
    return found


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); check the file") from error


def _read_files(paths: Sequence[Path]) -> Iterator[Part]:
    for path in paths:
        first = 0
        try:
            # By the page and not ahead: a row group may be larger than memory.
            with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    yield Part(str(path), first, pa.Table.from_batches([batch]))
                    first += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read from row {first} on ({error}); check the file") from error


def _check_columns(origin: str, schema: pa.Schema, id_column: str, vector_column: str) -> None:
    for name, wanted in ((id_column, "ids"), (vector_column, "vectors")):
        if schema.names.count(name) != 1:
            have = ", ".join(map(repr, schema.names)) or "none"
            raise InputError(
                f"{origin} has no single column {name!r} for the {wanted} (columns: {have}); rename it, or say which "
                "with id_column= and vector_column="
            )
    if not is_text(schema.field(id_column).type):
        raise InputError(
            f"{origin}: ids in column {id_column!r} have type {schema.field(id_column).type}; ids are text: cast them"
        )
    kind = schema.field(vector_column).type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise InputError(f"{origin}: column {vector_column!r} has type {kind}; vectors are lists of numbers (float32)")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks)
    return found.dictionary_decode() if isinstance(found, pa.DictionaryArray) else found
