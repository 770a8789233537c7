"""Rows from a file into a space: in bounded memory, in one commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from latentstore.errors import InputError, SpaceMismatch, UnknownEncoder
from latentstore.storage import Manifest, SpaceFiles, StoreFiles
from latentstore.storage.columns import parse_type
from latentstore.storage.rows import KEEP
from latentstore.storage.sources import Part
from latentstore.storage.sources import Source as Rows
from latentstore.types import check_metric


def batch_rows(dim: int | None) -> int:
    """How many rows to read at a time."""
    return max(64, min(8192, (16 << 20) // (4 * (dim or 1024))))


@dataclass
class Source:
    """A file that rows are read from.

    Attributes:
        path: Where.
        dim: Width d, where the file says so.
        batches: Record batches of id, vector and metadata columns.
        about: What latentstore wrote beside them; empty for files of others.
        id_column, vector_column: How the file calls them.
    """

    path: Path
    dim: int | None
    batches: Iterator[pa.RecordBatch]
    about: dict[str, Any] = field(default_factory=dict)
    id_column: str = "id"
    vector_column: str = "vector"


def import_rows(
    files: SpaceFiles,
    source: Source,
    *,
    replace: bool = False,
    encoder: str | None = None,
    made_for: str | None = KEEP,
) -> Manifest:
    """Append a source's rows to a space as one version, all or none; what a killed import wrote is garbage for vacuum.

    Args:
        files: Of the space.
        source: From `open_source`.
        replace: Replace rows whose id exists; else they are refused.
        encoder: Fingerprint that the vectors come from, compared with the space's.
        made_for: As `SpaceFiles.add`.

    Raises:
        AlreadyExists: An id is taken.
        SpaceMismatch: Vectors of another encoder.
        InputError: A column is missing or does not fit; the message names the file and the row.
    """
    manifest = files.snapshot().manifest
    if encoder is not None and encoder != manifest.encoder:
        raise SpaceMismatch(
            f"{source.path} holds latents of encoder {encoder}, space {manifest.space!r} those of "
            f"{manifest.encoder or 'no encoder'}; import it as a space of its own"
        )
    tables = (_typed(pa.Table.from_batches([batch]), source) for batch in source.batches)
    first = next(tables, None)
    if first is None:
        return manifest
    rows = Rows(
        {str(source.path): first.schema.remove_metadata()},  # the encoder it may name was compared here
        _parts(source, chain([first], tables)),
        source.id_column,
        source.vector_column,
    )
    operation = f"import {source.path.name}"
    return files.add_source(
        rows, on_existing="replace" if replace else "refuse", operation=operation, made_for=made_for
    )


def import_space(
    store: StoreFiles, name: str, source: Source, *, metric: str | None = None, keep_encoder: bool = True
) -> None:
    """Make a new space of a source, which appears whole or not at all; see `LatentStore.import_space`.

    Args:
        store: Where the space is made.
        name: Of the space.
        source: From `open_source`.
        metric: l2, cosine or ip; None: what the source says, else l2.
        keep_encoder: False takes latents as ready vectors where the store lacks their encoder.

    Raises:
        AlreadyExists: The name is taken.
        UnknownEncoder: The latents' encoder is not in the store.
        InputError: The source does not say its width, or its rows do not fit.
    """
    about = source.about
    if source.dim is None:
        raise InputError(f"{source.path} does not say how wide its vectors are; store them as lists of a fixed size")
    encoder = about.get("encoder") if keep_encoder else None
    if encoder is not None and encoder not in store.encoders():
        raise UnknownEncoder(
            f"{source.path} holds latents of encoder {encoder}, which {store.folder} lacks; add_encoder it first, or "
            "import with keep_encoder=False as ready vectors"
        )
    chosen = check_metric(metric or about.get("metric") or "l2")
    with store.new_space(name, dim=source.dim, metric=chosen, encoder=encoder, source=about.get("source")) as files:
        import_rows(files, source, encoder=encoder)


def _parts(source: Source, tables: Iterable[pa.Table]) -> Iterator[Part]:
    start = 0
    for table in tables:
        yield Part(str(source.path), start, table)
        start += len(table)


def _typed(table: pa.Table, source: Source) -> pa.Table:
    """Metadata columns in the types they had: Parquet has no seconds, for one."""
    for name, kind in source.about.get("columns", []):
        if name in table.column_names and str(table[name].type) != kind:
            place = table.column_names.index(name)
            try:
                table = table.set_column(place, name, table[name].cast(parse_type(kind)))
            except (pa.ArrowException, ValueError) as error:
                raise InputError(f"column {name!r} of {source.path} is no {kind} ({error}); export it again") from error
    return table
