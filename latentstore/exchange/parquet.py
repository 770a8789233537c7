"""One Parquet file: id, metadata columns, vector; the space's description in the file's own metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, InputError
from latentstore.exchange.incoming import Source, batch_rows
from latentstore.exchange.outgoing import Exported, Outgoing, appearing
from latentstore.storage.sources import ENCODER

KEY = b"latentstore"


def write(outgoing: Outgoing, path: Path, overwrite: bool) -> Exported:
    """Stream the rows into one file."""
    with appearing(path, overwrite=overwrite) as hidden:
        write_table(outgoing, hidden, outgoing.schema())
    return Exported(path, "parquet", len(outgoing))


def write_table(outgoing: Outgoing, path: Path, schema: pa.Schema) -> None:
    """Stream the columns of a schema into a file."""
    schema = schema.with_metadata({KEY: json.dumps(outgoing.about()).encode()})
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for batch in outgoing.batches():
            writer.write_batch(batch.select(schema.names).replace_schema_metadata(schema.metadata))


def read(path: Path, id_column: str, vector_column: str) -> Source:
    """Open a file; rows are decoded group by group, so it may be larger than memory."""
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no Parquet file ({error}); pass its format, or check it") from error
    schema = file.schema_arrow
    for name in (id_column, vector_column):
        if name not in schema.names:
            raise InputError(f"{path} has no column {name!r}; name the right one ({', '.join(schema.names)})")
    kind = schema.field(vector_column).type
    about = describe((schema.metadata or {}).get(KEY), path)
    named = (schema.metadata or {}).get(ENCODER)  # by `iterate`
    if named is not None:
        about = {"encoder": named.decode()} | about
    dim = kind.list_size if pa.types.is_fixed_size_list(kind) else about.get("dim")
    return Source(path, dim, _batches(file, path, batch_rows(dim)), about, id_column, vector_column)


def _batches(file: pq.ParquetFile, path: Path, rows: int) -> Any:
    try:
        yield from file.iter_batches(rows, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ChecksumMismatch(f"{path} is damaged ({error}); export it again") from error


def describe(content: bytes | None, path: Path) -> dict[str, Any]:
    """The description that latentstore leaves with rows; empty when there is none.

    Raises:
        InputError: There is one, and it is damaged.
    """
    if content is None:
        return {}
    try:
        about = json.loads(content)
        return {
            "dim": int(about["dim"]),
            "metric": str(about["metric"]),
            "encoder": about["encoder"],
            "source": about["source"],
            "columns": [(str(name), str(kind)) for name, kind in about["columns"]],
            "sha256": about.get("sha256"),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the description in {path} is damaged ({error}); export it again") from error
