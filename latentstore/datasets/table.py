"""A table on disk: one column of images or ready vectors, one of ids, the rest metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from latentstore.datasets.base import (
    JSON,
    check_choice,
    check_limit,
    check_positions,
    hash_arrays,
    refuse_empty,
)
from latentstore.datasets.chunks import Chunks
from latentstore.datasets.images import (
    Header,
    ImageForm,
    agree,
    check_channels,
    check_size,
    decode,
    in_threads,
    read_header,
)
from latentstore.datasets.table_columns import as_matrix, check_vectors, item_column, read_ids
from latentstore.errors import ConfigInvalid, InputError
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped, UInt8

Cell: TypeAlias = Any  # bytes, a path, or {"bytes": …, "path": …}


@dataclass(frozen=True, eq=False)
class VectorTable:
    """A table whose items are ready vectors. See `Dataset` for the attributes."""

    source: dict[str, JSON]
    ids: Shaped[Array, " n"]
    metadata: pa.Table
    item_shape: tuple[int, ...]
    chunks: Chunks = field(repr=False)
    column: str
    name: str = "table"

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> Float32[Array, "m d"]:
        """The vectors of these rows."""
        rows = check_positions(positions, len(self))
        vectors = np.empty((len(rows), *self.item_shape), np.float32)
        for places, values in self.chunks.take(self.column, rows):
            vectors[places] = as_matrix(values, self.item_shape[0])
        return vectors

    def content_hashes(self) -> list[str]:
        """xxh3_128 of each vector as float32."""
        d = self.item_shape[0]
        parts = (as_matrix(part, d) for _, part in self.chunks.column(self.column))
        hashes = (digest for part in parts for digest in hash_arrays(part))
        return [digest for digest, _ in zip(hashes, self.ids, strict=False)]


@dataclass(frozen=True, eq=False)
class ImageTable:
    """A table whose items are encoded images, decoded when they are read. See `Dataset` for the attributes.

    Attributes:
        skipped: (id, reason) of each image left out under on_error="skip".
    """

    source: dict[str, JSON]
    ids: Shaped[Array, " n"]
    metadata: pa.Table
    form: ImageForm
    chunks: Chunks = field(repr=False)
    column: str
    rows: Int64[Array, " n"] = field(repr=False)
    hashes: list[str] = field(repr=False)
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    name: str = "table"

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w, c)."""
        return self.form.shape

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> UInt8[Array, "m h w c"]:
        """Decode the images of these rows, in threads.

        Raises:
            InputError: An image is broken; the message names its row and id.
        """
        chosen = check_positions(positions, len(self))
        items = np.empty((len(chosen), *self.form.shape), np.uint8)
        for places, cells in self.chunks.take(self.column, self.rows[chosen]):

            def put(work: tuple[int, Cell]) -> None:
                place, cell = work
                name = _image_name(self.chunks.path, int(self.rows[chosen[place]]), self.ids[chosen[place]])
                items[place] = decode(_encoded(cell, self.chunks.path, name), self.form, name)

            in_threads(put, zip(places.tolist(), cells.to_pylist(), strict=True))
        return items

    def content_hashes(self) -> list[str]:
        """xxh3_128 of each encoded image and the form; nothing is decoded."""
        return [*self.hashes]


def open_table(
    *,
    path: str,
    id: str = "id",  # noqa: A002 -- the option's name in TOML
    image: str | None = None,
    vector: str | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    on_error: str = "raise",
    limit: int | None = None,
) -> VectorTable | ImageTable:
    """Open a table of images or of ready vectors.

    The item column is read where it is needed and never in memory as a whole, so a Parquet file of many row groups may
    be larger than memory.

    Args:
        path: .parquet, .arrow, .ipc, .feather or .csv, or a folder of .parquet files that are one table.
        id: Column of the ids, text or whole numbers; "" numbers the rows.
        image: Column of the images: encoded bytes, struct {bytes, path} as Hugging Face writes, or paths relative to
            the table.
        vector: Column of vectors: lists of numbers. With neither, the one column that can be it is taken.
        size: As in `image_folder`.
        channels: As in `image_folder`.
        on_error: "raise", or "skip" to leave out broken images, listed in `skipped`; this decodes each when opening.
        limit: At most this many, from the first row.

    Raises:
        ConfigInvalid: An impossible option; no such file or column, or several columns that could be the item.
        InputError: No rows, a null or duplicate id, a null item, a broken image; the row is named.
        ShapeMismatch: Vectors of different lengths, or images of different sizes and no `size`.
        NotFinite: A vector with NaN, infinity or a null.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    wanted_size, wanted_channels = check_size(size), check_channels(channels)
    place = Path(path).absolute()
    if not place.exists():
        raise ConfigInvalid(f"option path={path!r}: there is no such table; give a file or a folder of .parquet files")
    chunks = Chunks(place)
    refuse_empty(len(chunks), f"table {place}")
    column, is_vector = item_column(chunks.schema, image, vector, place)
    n = min(len(chunks), check_limit(limit) or len(chunks))
    ids = read_ids(chunks, id, n)
    rest = [name for name in chunks.schema.names if name not in (column, id)]
    metadata = chunks.columns(rest).slice(0, n) if rest else pa.table({"row": np.arange(n)})
    source: dict[str, JSON] = {"name": "table", "path": str(place), "id": id, "limit": limit}
    if is_vector:
        if wanted_size is not None or wanted_channels is not None:
            raise ConfigInvalid(f"column {column!r} holds vectors; the options size and channels are for images")
        width = check_vectors(chunks, column, n)
        return VectorTable(source | {"vector": column}, ids, metadata, (width,), chunks, column)
    headers, skipped, raw = _scan(chunks, column, ids, skip=on_error == "skip")
    rows = np.array([*headers], np.int64)
    refuse_empty(len(rows), f"table {place}, apart from {len(skipped)} images that cannot be read,")
    form = agree([*headers.values()], [_image_name(place, row, ids[row]) for row in rows], wanted_size, wanted_channels)
    return ImageTable(
        source=source
        | {
            "image": column,
            "size": None if wanted_size is None else [*wanted_size],
            "channels": channels,
            "on_error": on_error,
        },
        ids=ids[rows],
        metadata=metadata.take(pa.array(rows)),
        form=form,
        chunks=chunks,
        column=column,
        rows=rows,
        hashes=[form.hash(bytes.fromhex(raw[row])) for row in rows.tolist()],
        skipped=tuple(skipped),
    )


def _scan(
    chunks: Chunks, column: str, ids: Shaped[Array, " n"], *, skip: bool
) -> tuple[dict[int, Header], list[tuple[str, str]], dict[int, str]]:
    """One pass over the encoded images: header and hash by row, and (id, reason) of those left out."""
    headers: dict[int, Header] = {}
    hashes: dict[int, str] = {}
    skipped: list[tuple[str, str]] = []

    def look(work: tuple[int, Cell]) -> tuple[int, Header, str] | tuple[int, InputError, str]:
        row, cell = work
        name = _image_name(chunks.path, row, ids[row])
        try:
            encoded = _encoded(cell, chunks.path, name)
            header = read_header(encoded, name)
            if skip:
                decode(encoded, ImageForm((header.height, header.width), 1 if header.grey else 3), name)
        except InputError as error:
            if not skip:
                raise
            return row, error, ""
        return row, header, xxh3_128_hexdigest(encoded)

    for first, part in chunks.column(column):
        cells = part.slice(0, max(len(ids) - first, 0))
        for row, found, digest in in_threads(look, enumerate(cells.to_pylist(), start=first)):
            if isinstance(found, Header):
                headers[row], hashes[row] = found, digest
            else:
                skipped.append((ids[row], str(found)))
    return headers, skipped, hashes


def _encoded(cell: Cell, table: Path, name: str) -> bytes:
    """The bytes of an image cell; a path is read below the table's folder and nowhere else."""
    inner = cell.get("bytes") or cell.get("path") if isinstance(cell, dict) else cell
    if inner is None or len(inner) == 0:
        raise InputError(f'{name} is null; remove the row or fill it, or use on_error="skip"')
    if isinstance(inner, bytes):
        return inner
    relative = PurePosixPath(inner)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(
            f"{name} has the path {inner!r}, which leaves the table's folder; give paths relative to {table.parent}"
        )
    folder = table if table.is_dir() else table.parent
    try:
        return (folder / relative).read_bytes()
    except OSError as error:
        raise InputError(
            f'{name}: {folder / relative} cannot be read ({error.strerror}); or use on_error="skip"'
        ) from error


def _image_name(table: Path, row: int, name: str) -> str:
    return f"{table} row {row} (id {name!r})"
