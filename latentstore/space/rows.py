"""Rows of a space: adding, replacing, deleting, reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from latentstore.errors import Forbidden, InputError, SpaceMismatch, UnknownItem

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.space.vector_space import VectorSpace
    from latentstore.storage import Manifest
    from latentstore.types import Array


def write(
    space: VectorSpace,
    ids: Sequence[str],
    vectors: Any,
    metadata: pa.Table | None,
    *,
    replace: bool,
    encoder: str | None,
) -> Manifest:
    """Append rows in one commit; rows whose id exists are replaced or refused."""
    check_writable(space)
    check_encoder(space, encoder)
    return space.files.add(ids, vectors, metadata, on_existing="replace" if replace else "refuse")


def delete(space: VectorSpace, ids: Iterable[str] | None, where: str | None) -> Manifest | None:
    """Delete by id or by predicate; None when nothing matched."""
    check_writable(space)
    if (ids is None) == (where is None):
        raise InputError("delete needs either ids=[…] or where='…', not both and not neither")
    if where is not None:
        chosen = space.snapshot.ids(space.matching(where)).tolist()
    else:
        chosen = [ids] if isinstance(ids, str) else list(ids or ())
    return space.files.delete(ids=chosen) if chosen else None


def get(space: VectorSpace, ids: str | Sequence[str], columns: Sequence[str] | None) -> pa.Table:
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


def rows_of(space: VectorSpace, ids: Sequence[str]) -> Int64[Array, " n"]:
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


def check_writable(space: VectorSpace) -> None:
    """Refuse to write through a space that is pinned to a version."""
    if space.at is not None:
        raise Forbidden(
            f"space {space.name!r} is opened at {space.at!r}, and versions never change; open it without at=… to write"
        )


def check_encoder(space: VectorSpace, encoder: str | None) -> None:
    """Refuse latents of another encoder."""
    if encoder is not None and encoder != space.fingerprint:
        raise SpaceMismatch(
            f"these latents come from encoder {encoder}, the space {space.name!r} holds latents of "
            f"{space.fingerprint or 'no encoder'}; embed them with that encoder, or create another space"
        )


def _unknown_items(space: VectorSpace, missing: Sequence[str]) -> UnknownItem:
    """The error for ids that the snapshot does not have."""
    named = ", ".join(repr(i) for i in missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    sample = space.snapshot.ids(space.snapshot.live_rows()[:3])
    hint = f"its ids look like {', '.join(repr(i) for i in sample)}" if len(sample) else "it is empty"
    return UnknownItem(f"no item {named} in space {space.name!r} (version {space.version}); {hint}")
