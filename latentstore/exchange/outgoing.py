"""What leaves a space, in batches of bounded memory, and the place where it appears whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from latentstore.errors import AlreadyExists, ConfigInvalid
from latentstore.storage import Snapshot
from latentstore.storage.files import TEMPORARY, make_folder, storing, sync_folder

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.types import Array

BATCH_BYTES = 32 << 20  # of vectors held at a time

Pictures = Callable[["Int64[Array, ' m']"], "Array"]  # rows → items (m, h, w, c), uint8 or float32 in [0, 1]


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: The file or folder.
        format: Its format.
        rows: How many.
        note: What a reader should know, or "".
    """

    path: Path
    format: str
    rows: int
    note: str = ""


@dataclass(frozen=True)
class Outgoing:
    """Rows of a snapshot that leave.

    Attributes:
        snapshot: Of the space.
        rows: Absolute rows, ascending, (n,).
        columns: Metadata columns, in order.
        pictures: Gives the items of rows where they are known or can be decoded.
    """

    snapshot: Snapshot
    rows: Int64[Array, " n"]
    columns: tuple[str, ...]
    pictures: Pictures | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def step(self) -> int:
        """Rows of a batch."""
        return max(1024, min(65_536, BATCH_BYTES // (4 * self.snapshot.dim)))

    def chunks(self) -> Iterator[Int64[Array, " m"]]:
        """The rows, cut for batches."""
        for start in range(0, len(self.rows), self.step):
            yield self.rows[start : start + self.step]

    def schema(self) -> pa.Schema:
        """id, the columns, vector: what `batches` gives."""
        types = self.snapshot.column_types
        fields = [pa.field("id", pa.string(), nullable=False), *((name, types[name]) for name in self.columns)]
        element = pa.field("element", pa.float32(), nullable=False)
        return pa.schema([*fields, pa.field("vector", pa.list_(element, self.snapshot.dim), nullable=False)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order."""
        names = ["id", *self.columns, "vector"]
        for rows in self.chunks():
            table = self.snapshot.columns(rows, names).cast(self.schema()).combine_chunks()
            yield from table.to_batches()

    def about(self) -> dict[str, Any]:
        """JSON that makes the rows a space again."""
        manifest = self.snapshot.manifest
        return {
            "format": 1,
            "space": manifest.space,
            "version": manifest.version,
            "dim": manifest.dim,
            "metric": manifest.metric,
            "encoder": manifest.encoder,
            "source": manifest.source,
            "rows": len(self.rows),
            "columns": [[name, str(self.snapshot.column_types[name])] for name in self.columns],
        }


@contextmanager
def appearing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a hidden path to write a file or folder at; it is made durable and gets its name when all went well.

    Raises:
        AlreadyExists: Something is at `path`, and `overwrite` is not asked for.
    """
    if path.exists() and not overwrite:
        raise AlreadyExists(f"{path} exists; name another place, or overwrite it")
    path = path.absolute()
    hidden = path.with_name(f"{TEMPORARY}{uuid4().hex}")
    with storing(path):
        make_folder(path.parent)
        try:
            yield hidden
            for one in [hidden, *hidden.rglob("*")] if hidden.is_dir() else [hidden]:
                if one.is_dir():
                    sync_folder(one)
                else:
                    _sync_file(one)
            old = path.with_name(f"{TEMPORARY}{uuid4().hex}")
            if path.is_dir():  # a folder cannot be replaced in one step
                path.rename(old)
            os.replace(hidden, path)  # noqa: PTH105 (Path.replace would do the same)
            sync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            if hidden.is_dir():
                shutil.rmtree(hidden, ignore_errors=True)
            else:
                hidden.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`appearing`, over what is there, in a folder that is there: a misspelt one is not made.

    Raises:
        ConfigInvalid: There is no such folder.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigInvalid(f"{path} cannot be written: there is no folder {path.parent}; make it, or name another")
    with appearing(path, overwrite=True) as hidden:
        yield hidden


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
