"""A few vectors and ids from anywhere in a snapshot, at the price of one NumPy index.

A search ends with some dozens of candidates spread over all segments; a loop over the segments would cost more than
the search. Every segment's vectors are mapped, so all of them lie in one address space: a vector is d floats from some
offset on, counted from the lowest mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.storage import arrow
from latentstore.storage.segments import Segment
from latentstore.storage.sums import BLOCK
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

FEW = 100  # ids that are quicker read one by one than by Arrow's kernels
_FLOAT = np.dtype("<f4").itemsize


class Gather:
    """Vectors and ids of rows that the snapshot has, dead or alive.

    Args:
        segments: In row order; at least one.
        dim: Width d.
    """

    def __init__(self, segments: Sequence[Segment], dim: int) -> None:
        self._segments = segments  # holds the mappings
        self._dim = dim
        self._ids: list[pa.LargeStringArray] | None = None  # opened by the first who asks
        self._first_rows = np.array([segment.first_row for segment in segments], np.int64)
        self._gaps = np.array([segment.record.span != segment.record.count for segment in segments])
        addresses = np.array([segment.mapped.__array_interface__["data"][0] for segment in segments], np.int64)
        lowest = int(addresses.argmin())
        self._starts = (addresses - addresses[lowest]) // _FLOAT
        ends = self._starts + np.array([segment.record.count for segment in segments]) * dim
        # Windows of d floats from every offset on. Only offsets within a segment are ever asked for.
        self._windows = np.lib.stride_tricks.as_strided(
            segments[lowest].mapped, (int(ends.max()) - dim + 1, dim), (_FLOAT, _FLOAT), writeable=False
        )
        # One array over all segments, so that a search pays for one look: a loop over segments would cost too much.
        self._width = dim * _FLOAT
        counts = np.array([-(-segment.record.count * self._width // BLOCK) for segment in segments], np.int64)
        self._first_bytes = (np.cumsum(counts) - counts) * BLOCK
        good = [segment.checked_blocks for segment in segments]
        self._good = np.concatenate(
            [np.ones(n, np.bool_) if one is None else one for one, n in zip(good, counts, strict=True)]
        )
        self._whole = bool(self._good.all())

    def __call__(self, rows: Int64[Array, " m"]) -> Float32[Array, "m d"]:
        """Vectors (m, d) of absolute rows, which must be in the snapshot."""
        numbers, positions = self.place(rows)
        if not self._whole:
            self._check(numbers, positions)
        gathered: Float32[Array, "m d"] = self._windows[self._starts[numbers] + positions * self._dim]
        return gathered

    def _check(self, numbers: Int64[Array, " m"], positions: Int64[Array, " m"]) -> None:
        """Check the blocks that hold these rows, unless they were checked."""
        offsets = self._first_bytes[numbers] + positions * self._width
        first = offsets // BLOCK
        last = first if BLOCK % self._width == 0 else (offsets + (self._width - 1)) // BLOCK
        ends = (first,) if last is first else (first, last)
        if self._width <= BLOCK and all(np.count_nonzero(self._good[end]) == len(end) for end in ends):
            return
        for number in np.unique(numbers):
            self._segments[number].vectors_for(positions[numbers == number])
        self._good[first] = self._good[last] = True
        self._whole = bool(self._good.all())

    def pieces(self, rows: Int64[Array, "m c"]) -> Iterator[tuple[Float32[Array, "n d"], Int64[Array, "m c"]]]:
        """Each segment's vectors and the positions of rows in it; −1 for rows of other segments, and for −1."""
        if len(self._first_rows) == 1 and not self._gaps[0]:
            positions = np.where(rows < 0, -1, rows - self._first_rows[0])
            yield self._segments[0].vectors_for(positions[rows >= 0]), positions
            return
        numbers, positions = self.place(np.where(rows < 0, self._first_rows[0], rows).ravel())
        numbers, positions = numbers.reshape(rows.shape), positions.reshape(rows.shape)
        numbers[rows < 0] = -1
        for number in np.unique(numbers[rows >= 0]):
            chosen = numbers == number
            yield self._segments[number].vectors_for(positions[chosen]), np.where(chosen, positions, -1)

    def ids(self, rows: Int64[Array, " m"]) -> Array:
        """Ids, dtype object, (m,), of absolute rows, which must be in the snapshot."""
        gathered = np.empty(len(rows), object)
        numbers, positions = self.place(rows)
        if len(rows) <= FEW:
            ids = [segment.ids for segment in self._segments] if self._ids is None else self._ids
            self._ids = ids
            for i, (number, position) in enumerate(zip(numbers.tolist(), positions.tolist(), strict=True)):
                gathered[i] = ids[number][position].as_py()
            return gathered
        for number in np.unique(numbers):
            chosen = numbers == number
            gathered[chosen] = self._segments[number].ids.take(arrow.numbers(positions[chosen])).to_pylist()
        return gathered

    def place(self, rows: Int64[Array, " m"]) -> tuple[Int64[Array, " m"], Int64[Array, " m"]]:
        """Segment number and position in it of absolute rows, which must be in the snapshot."""
        if len(self._first_rows) == 1:
            numbers = np.zeros(len(rows), np.int64)
        else:
            numbers = self._first_rows.searchsorted(rows, side="right") - 1
        positions = rows - self._first_rows[numbers]
        if self._gaps.any():
            for number in np.unique(numbers[self._gaps[numbers]]):
                chosen = numbers == number
                positions[chosen] = self._segments[number].relative_rows.searchsorted(positions[chosen])
        return numbers, positions
