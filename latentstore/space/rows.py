"""Rows of a space: adding, replacing, deleting, reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from latentstore.errors import Forbidden, InputError, SpaceMismatch, UnknownItem
from latentstore.storage.sources import ENCODER

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.space.row_space import RowSpace
    from latentstore.storage import Manifest, Snapshot
    from latentstore.storage.rows import OnExisting
    from latentstore.types import Array


@dataclass(frozen=True)
class Given:
    """Rows as a caller passed them: ids with vectors, or a source of both; see `RowSpace.add`."""

    ids: Any
    vectors: Any
    metadata: Any
    encoder: str | None
    id_column: str
    vector_column: str


def write(space: RowSpace, given: Given, *, replace: bool) -> Manifest:
    """Append rows in one commit; rows whose id exists are replaced or refused."""
    check_writable(space)
    check_encoder(space, given.encoder)
    on_existing: OnExisting = "replace" if replace else "refuse"
    if given.vectors is not None:
        return space.files.add(
            given.ids, given.vectors, given.metadata, on_existing=on_existing, made_for=space.fingerprint
        )
    if given.metadata is not None:
        raise InputError("metadata came without vectors; pass ids, vectors and metadata, or one table with all columns")
    if isinstance(given.ids, list | tuple):
        raise InputError(f"{len(given.ids)} ids came without vectors; pass vectors of shape (n, {space.dim})")
    return space.files.add_source(
        given.ids,
        on_existing=on_existing,
        id_column=given.id_column,
        vector_column=given.vector_column,
        made_for=space.fingerprint,
    )


def update(space: RowSpace, ids: str | Sequence[str] | None, values: Any, where: str | None) -> Manifest:
    """Change metadata by id or by predicate."""
    check_writable(space)
    if (ids is None) == (where is None):
        raise InputError("update needs either ids=[…] or where='…', not both and not neither")
    if values is None:
        raise InputError("update needs values, as in update(ids, {'label': 'boot'})")
    if where is not None:
        return space.files.update((), values, rows=_asked(space, where))
    return space.files.update([ids] if isinstance(ids, str) else list(ids or ()), values)


def delete(space: RowSpace, ids: Iterable[str] | None, where: str | None) -> Manifest:
    """Delete by id or by predicate."""
    check_writable(space)
    if (ids is None) == (where is None):
        raise InputError("delete needs either ids=[…] or where='…', not both and not neither")
    if where is not None:
        return space.files.delete(rows=_asked(space, where))
    return space.files.delete([ids] if isinstance(ids, str) else list(ids or ()))


def _asked(space: RowSpace, where: str) -> Callable[[Snapshot], Int64[Array, " r"]]:
    """What chooses the rows that satisfy a predicate, in the version that a commit is based on."""
    from latentstore.space.filtering import matching_rows

    def choose(base: Snapshot) -> Int64[Array, " r"]:
        # A merge that goes along with the commit moves rows between segments; their numbers stay.
        return space.matching(where) if base.version == space.version else matching_rows(base, where)

    return choose


def iterate(
    space: RowSpace, columns: Sequence[str] | None, where: str | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Live rows batch by batch; see `RowSpace.iterate`."""
    if isinstance(batch_rows, bool) or not isinstance(batch_rows, int) or batch_rows < 1:
        raise InputError(f"batch_rows is {batch_rows!r}; choose a whole number from 1")
    snapshot = space.snapshot
    names = ["id", *space.columns, "vector"] if columns is None else list(columns)
    space.check_columns([name for name in names if name not in ("id", "row", "vector")])
    chosen = None if where is None else space.matching(where)
    about = {ENCODER: snapshot.encoder.encode()} if snapshot.encoder else None
    return (batch.replace_schema_metadata(about) for batch in snapshot.scan(names, batch_rows, rows=chosen))


def get(space: RowSpace, ids: str | Sequence[str], columns: Sequence[str] | None) -> pa.Table:
    """Rows in the order of `ids`: id, the columns, and the vector."""
    wanted = [ids] if isinstance(ids, str) else list(ids)
    chosen = list(space.columns) if columns is None else list(columns)
    space.check_columns(chosen)
    rows = rows_of(space, wanted)
    table = pa.table({"id": pa.array(wanted, pa.string())})
    fetched = space.snapshot.columns(rows, chosen)
    for name in chosen:
        table = table.append_column(name, fetched[name])
    vectors = pa.array(space.snapshot.vectors(rows).ravel(), pa.float32())
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(vectors, space.dim))


def rows_of(space: RowSpace, ids: Sequence[str]) -> Int64[Array, " n"]:
    """Row numbers of ids.

    Raises:
        UnknownItem: An id is not in the snapshot.
    """
    for one in ids:
        if not isinstance(one, str):
            raise InputError(f"id {one!r} is a {type(one).__name__}; ids are strings")
    rows = space.snapshot.find(ids)
    missing = [one for one, row in zip(ids, rows, strict=True) if row < 0]
    if missing:
        raise _unknown_items(space, missing)
    return rows


def check_writable(space: RowSpace) -> None:
    """Refuse to write through a space that is pinned to a version, or of a store that is only read.

    Here, so that nothing is fitted for minutes before the storage refuses it.
    """
    if space.files.mode == "r":
        raise Forbidden(f"{space.files.folder} is open with mode='r'; open it with mode='rw' to write")
    if space.at is not None:
        raise Forbidden(
            f"space {space.name!r} is opened at {space.at!r}, and versions never change; open it without at=… to write"
        )


def check_encoder(space: RowSpace, encoder: str | None) -> None:
    """Refuse latents of another encoder."""
    if encoder is not None and encoder != space.fingerprint:
        raise SpaceMismatch(
            f"these latents come from encoder {encoder}, the space {space.name!r} holds latents of "
            f"{space.fingerprint or 'no encoder'}; embed them with that encoder, or create another space"
        )


def _unknown_items(space: RowSpace, missing: Sequence[str]) -> UnknownItem:
    """The error for ids that the snapshot does not have."""
    named = ", ".join(repr(i) for i in missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    sample = space.snapshot.ids(space.snapshot.live_rows()[:3])
    hint = f"its ids look like {', '.join(repr(i) for i in sample)}" if len(sample) else "it is empty"
    return UnknownItem(f"no item {named} in space {space.name!r} (version {space.version}); {hint}")
