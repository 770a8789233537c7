"""The rows of a table on disk, a chunk at a time: Parquet row groups, Arrow record batches, or a CSV as one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from latentstore.errors import ConfigInvalid, InputError
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

_KEPT = 4  # chunks kept decoded: reading in order, or within a neighbourhood, decodes each once


class Chunks:
    """A table that is never whole in memory. Columns are read chunk by chunk.

    Args:
        path: .parquet, .arrow, .ipc, .feather or .csv; or a folder of .parquet files, in the order of names.

    Raises:
        ConfigInvalid: No such file, or another kind.
        InputError: The file is damaged, or a folder's files have different columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[pyarrow.parquet.ParquetFile] = []
        self._groups: list[tuple[int, int]] = []  # (file, row group) of each chunk
        self._batches: list[pa.RecordBatch] = []
        try:
            sizes = self._open()
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}); repair or replace it") from error
        self.starts: Int64[Array, " chunks+1"] = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(
            np.int64
        )
        self._kept: OrderedDict[tuple[int, str], pa.Array] = OrderedDict()

    def _open(self) -> list[int]:
        suffix = self.path.suffix.lower()
        if self.path.is_dir() or suffix == ".parquet":
            paths = sorted(self.path.glob("*.parquet")) if self.path.is_dir() else [self.path]
            if not paths:
                raise ConfigInvalid(f"folder {self.path} has no .parquet files; give a table")
            self._files = [pyarrow.parquet.ParquetFile(path) for path in paths]
            self.schema: pa.Schema = self._files[0].schema_arrow
            for path, file in zip(paths, self._files, strict=True):
                if not file.schema_arrow.equals(self.schema):
                    raise InputError(f"{path} has other columns than {paths[0]}; a folder must hold one table")
            self._groups = [(f, g) for f, file in enumerate(self._files) for g in range(file.metadata.num_row_groups)]
            return [self._files[f].metadata.row_group(g).num_rows for f, g in self._groups]
        if suffix == ".csv":
            self._batches = pyarrow.csv.read_csv(self.path).to_batches()
        elif suffix in (".arrow", ".ipc", ".feather"):
            mapped = pa.memory_map(str(self.path))
            try:
                file = pa.ipc.open_file(mapped)
                self._batches = [file.get_batch(i) for i in range(file.num_record_batches)]
            except pa.ArrowInvalid:  # the streaming form, which Hugging Face's cache uses
                mapped.seek(0)
                file = pa.ipc.open_stream(mapped)
                self._batches = list(file)
            self.schema = file.schema
            return [batch.num_rows for batch in self._batches]
        else:
            raise ConfigInvalid(f"{self.path} is not a table; give a .parquet, .arrow, .ipc, .feather or .csv file")
        self.schema = self._batches[0].schema if self._batches else pa.schema([])
        return [batch.num_rows for batch in self._batches]

    def __len__(self) -> int:
        """How many rows."""
        return int(self.starts[-1])

    def column(self, name: str) -> Iterator[tuple[int, pa.Array]]:
        """(first row, values) of each chunk of one column, in order."""
        for chunk in range(len(self.starts) - 1):
            yield int(self.starts[chunk]), self._read(chunk, name)

    def columns(self, names: list[str]) -> pa.Table:
        """Whole columns, for those small enough to be held."""
        if self._files:
            return pa.concat_tables(file.read(columns=names) for file in self._files)
        return pa.Table.from_batches(self._batches, schema=self.schema).select(names)

    def take(self, name: str, rows: Int64[Array, " m"]) -> Iterator[tuple[Int64[Array, " _"], pa.Array]]:
        """(places among `rows`, values) of one column, chunk by chunk; each chunk is read once."""
        chunks = np.searchsorted(self.starts, rows, side="right") - 1
        for chunk in np.unique(chunks):
            places = np.flatnonzero(chunks == chunk)
            yield places, self._read(int(chunk), name).take(pa.array(rows[places] - self.starts[chunk]))

    def _read(self, chunk: int, name: str) -> pa.Array:
        if not self._files:
            return self._batches[chunk].column(name)
        if (chunk, name) in self._kept:
            self._kept.move_to_end((chunk, name))
            return self._kept[chunk, name]
        file, group = self._groups[chunk]
        try:
            values = self._files[file].read_row_group(group, columns=[name])[name].combine_chunks()
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.path} row group {group} cannot be read ({error}); replace the file") from error
        self._kept[chunk, name] = values
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return values
