"""A folder for those who compute: vectors.npy or index.faiss, ids.json in the same order, metadata.parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, InputError, ShapeMismatch
from latentstore.exchange.incoming import Source
from latentstore.exchange.outgoing import Exported, Outgoing, appearing
from latentstore.exchange.parquet import describe, write_table
from latentstore.index import interchange
from latentstore.storage.files import sha256_of

_READ = 1024  # rows of a batch


def write_numpy(outgoing: Outgoing, path: Path, overwrite: bool) -> Exported:
    """vectors.npy, float32 (n, d), beside ids.json and metadata.parquet."""
    with appearing(path, overwrite=overwrite) as hidden:
        hidden.mkdir()
        with (hidden / "vectors.npy").open("xb") as file:
            shape = (len(outgoing), outgoing.snapshot.dim)
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in outgoing.chunks():
                file.write(outgoing.snapshot.vectors(rows).astype("<f4", copy=False).data)
        _write_beside(outgoing, hidden, {})
    return Exported(path, "numpy", len(outgoing))


def write_faiss(outgoing: Outgoing, path: Path, overwrite: bool) -> Exported:
    """index.faiss, a flat index whose numbers are places in ids.json. Holds all vectors in memory once."""
    snapshot = outgoing.snapshot
    with appearing(path, overwrite=overwrite) as hidden:
        hidden.mkdir()
        blocks = (snapshot.vectors(rows) for rows in outgoing.chunks())
        interchange.write_flat(hidden / "index.faiss", blocks, snapshot.dim, snapshot.metric)
        _write_beside(outgoing, hidden, {"sha256": sha256_of(hidden / "index.faiss")})
    note = "vectors are scaled to length 1: the inner product is their cosine" if snapshot.metric == "cosine" else ""
    return Exported(path, "faiss", len(outgoing), note)


def _write_beside(outgoing: Outgoing, folder: Path, more: dict[str, Any]) -> None:
    with (folder / "ids.json").open("x", encoding="utf-8") as file:
        between = "[\n"
        for rows in outgoing.chunks():
            for one in outgoing.snapshot.ids(rows):
                file.write(between + json.dumps(one))
                between = ",\n"
        file.write("\n]\n" if len(outgoing) else "[]\n")
    if outgoing.columns:
        schema = pa.schema([field for field in outgoing.schema() if field.name in outgoing.columns])
        write_table(outgoing, folder / "metadata.parquet", schema)
    (folder / "space.json").write_text(json.dumps(outgoing.about() | more, indent=1) + "\n")


def read_numpy(path: Path) -> Source:
    """Open such a folder; vectors stay on disk."""
    try:
        vectors = np.load(path / "vectors.npy", mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path / 'vectors.npy'} is no array that can be read ({error}); save it again") from error
    if vectors.ndim != 2:
        raise ShapeMismatch(f"{path / 'vectors.npy'} has shape {vectors.shape}; save it as (n, d)")
    about = _about(path)
    batches = _batches(path, len(vectors), lambda start, stop: np.asarray(vectors[start:stop]))
    return Source(path, vectors.shape[1], batches, about)


def read_faiss(path: Path) -> Source:
    """Open such a folder; the index file must be the one its description names, for FAISS trusts what it reads."""
    about, index = _about(path), path / "index.faiss"
    if not about.get("sha256"):
        raise InputError(
            f"{path} has no space.json with the sha256 of index.faiss, and FAISS trusts what it reads; read the "
            "vectors with faiss where you trust the file, and import them as NumPy"
        )
    if not index.is_file() or hashlib.sha256(index.read_bytes()).hexdigest() != about["sha256"]:
        raise ChecksumMismatch(f"{index} is not the file that {path / 'space.json'} describes; export it again")
    opened = interchange.read_flat(index)
    return Source(path, opened.dim, _batches(path, opened.count, opened.vectors), about)


def _about(path: Path) -> dict[str, Any]:
    told = path / "space.json"
    return describe(told.read_bytes() if told.is_file() else None, told)


def _batches(path: Path, count: int, vectors: Callable[[int, int], Any]) -> Iterator[pa.RecordBatch]:
    try:
        ids = json.loads((path / "ids.json").read_bytes())
    except (ValueError, OSError) as error:
        raise InputError(f"{path / 'ids.json'} cannot be read as a list of texts ({error}); write it again") from error
    if not isinstance(ids, list) or len(ids) != count or not all(isinstance(one, str) for one in ids):
        raise ShapeMismatch(f"{path / 'ids.json'} is no list of {count} texts, one per vector; write it again")
    metadata = path / "metadata.parquet"
    start = 0
    for columns in _metadata(metadata, count) if metadata.exists() else _nothing(count):
        stop = start + columns.num_rows
        block = np.ascontiguousarray(vectors(start, stop))
        if block.dtype.kind not in "fiu":
            raise InputError(f"vectors in {path} have dtype {block.dtype}; save real numbers")
        flat = pa.array(block.ravel())
        arrays = [pa.array(ids[start:stop], pa.string()), pa.FixedSizeListArray.from_arrays(flat, block.shape[1])]
        named = columns.drop_columns([""]) if "" in columns.schema.names else columns
        yield pa.RecordBatch.from_arrays([*arrays, *named.columns], ["id", "vector", *named.schema.names])
        start = stop


def _nothing(count: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, count, _READ):
        yield pa.record_batch({"": pa.nulls(min(_READ, count - start))})


def _metadata(path: Path, count: int) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        if file.metadata.num_rows != count:
            raise ShapeMismatch(f"{path} has {file.metadata.num_rows} rows for {count} vectors; write it again")
        yield from file.iter_batches(_READ, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ChecksumMismatch(f"{path} is damaged ({error}); export it again") from error
