"""A few vectors and ids from anywhere in a snapshot, at the price of one NumPy index.

A search ends with some dozens of candidates spread over all segments; a loop over the segments would cost more than
the search. Every segment's vectors are mapped, so all of them lie in one address space: a vector is d floats from some
offset on, counted from the lowest mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.storage import arrow
from latentstore.storage.segments import Segment
from latentstore.storage.sums import BLOCK
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

FEW = 64  # ids that are quicker read one by one than by Arrow's kernels
COPIED = 4096  # floats a segment, fewer of which are sooner copied than asked for segment by segment
KEPT = 1 << 18  # rows whose ids are kept as Python text: 20 MB
WORTH_KEEPING = 8  # once one in so many ids was asked for: to read one costs a search ten times what to keep it does
_FLOAT = np.dtype("<f4").itemsize


class Gather:
    """Vectors and ids of rows that the snapshot has, dead or alive.

    Args:
        segments: In row order; at least one.
        dim: Width d.
    """

    def __init__(self, segments: Sequence[Segment], dim: int) -> None:
        self._segments = segments  # holds the mappings
        self._dim, self._width = dim, dim * _FLOAT
        self._texts: list[arrow.Texts] | None = None  # opened by the first who asks
        self._first_rows = np.array([segment.first_row for segment in segments], np.int64)
        self._gaps = np.array([segment.record.span != segment.record.count for segment in segments])
        self._gapless = not self._gaps.any()
        # Of one segment without gaps a row's position is known at once.
        self._only = segments[0].mapped if len(segments) == 1 and self._gapless else None
        self._first_row = segments[0].first_row
        self._borders, self._mapped = self._first_rows[1:], [(one.mapped, one.first_row) for one in segments]
        addresses = np.array([segment.mapped.__array_interface__["data"][0] for segment in segments], np.int64)
        lowest = int(addresses.argmin())
        self._starts = (addresses - addresses[lowest]) // _FLOAT
        counts = np.array([segment.record.count for segment in segments], np.int64)
        self._total, self._first_kept = int(counts.sum()), np.cumsum(counts) - counts
        self._consecutive = self._gapless and bool((self._first_rows - self._first_row == self._first_kept).all())
        self._asked = 0  # ids given so far
        self._kept: Array | None = None  # all of them as text
        ends = self._starts + counts * dim
        # Windows of d floats from every offset on. Only offsets within a segment are ever asked for.
        self._windows = np.lib.stride_tricks.as_strided(
            segments[lowest].mapped, (int(ends.max()) - dim + 1, dim), (_FLOAT, _FLOAT), writeable=False
        )
        self._checked = _Checked(segments, counts, self._width)

    def __call__(self, rows: Int64[Array, " m"]) -> Float32[Array, "m d"]:
        """Vectors (m, d) of absolute rows, which must be in the snapshot."""
        gathered: Float32[Array, "m d"]
        if self._only is not None:
            positions = rows - self._first_row
            self._checked(None, positions)
            gathered = self._only.take(positions, axis=0)
        else:
            numbers, positions = self.place(rows)
            self._checked(numbers, positions)
            gathered = self._windows[self._starts[numbers] + positions * self._dim]
        return gathered

    def runs(self, rows: Int64[Array, " m"]) -> list[tuple[slice, Float32[Array, "n d"], Int64[Array, " c"]]]:
        """Ascending rows, segment by segment: which of them, the segment's vectors, and the position of each there.

        Few rows of many segments are one run, copied.
        """
        if self._only is not None:
            positions = rows - self._first_row
            self._checked(None, positions)
            return [(slice(None), self._only, positions)]
        copied, simple = len(rows) * self._dim < COPIED * len(self._segments), self._gapless and self._checked.whole
        if copied or not simple:
            numbers, positions = self.place(rows)
            self._checked(numbers, positions)
        if copied:
            gathered = self._windows[self._starts[numbers] + positions * self._dim]
            return [(slice(None), gathered, np.arange(len(rows)))]
        edges = [0, *rows.searchsorted(self._borders).tolist(), len(rows)]
        return [
            (slice(a, b), mapped, rows[a:b] - first_row if simple else positions[a:b])
            for (mapped, first_row), a, b in zip(self._mapped, edges, edges[1:], strict=False)
            if b > a
        ]

    def pieces(self, rows: Int64[Array, "m c"]) -> Iterator[tuple[Float32[Array, "n d"], Int64[Array, "m c"]]]:
        """Each segment's vectors and the positions of rows in it; −1 for rows of other segments, and for −1."""
        if self._only is not None:
            positions = np.where(rows < 0, -1, rows - self._first_row)
            yield self._segments[0].vectors_for(positions[rows >= 0]), positions
            return
        numbers, positions = self.place(np.where(rows < 0, self._first_rows[0], rows).ravel())
        numbers, positions = numbers.reshape(rows.shape), positions.reshape(rows.shape)
        numbers[rows < 0] = -1
        for number in _present(numbers[rows >= 0]):
            chosen = numbers == number
            yield self._segments[number].vectors_for(positions[chosen]), np.where(chosen, positions, -1)

    def ids(self, rows: Int64[Array, " m"]) -> Array:
        """Ids, dtype object, (m,), of absolute rows, which must be in the snapshot."""
        if self._kept is not None:
            found: Array
            if self._consecutive:
                found = self._kept[rows - self._first_row]
            else:
                numbers, positions = self.place(rows)
                found = self._kept[self._first_kept[numbers] + positions]
            return found
        self._asked += len(rows)
        if WORTH_KEEPING * self._asked > self._total and self._total <= KEPT:
            texts = [segment.ids.to_pylist() for segment in self._segments]
            kept = np.empty(self._total, object)
            kept[:] = [one for part in texts for one in part]
            self._kept = kept
        gathered = np.empty(len(rows), object)
        if len(rows) <= FEW:
            texts = self._texts = self._texts or [segment.id_at for segment in self._segments]
            if self._only is not None:
                gathered[:] = [texts[0](at).decode() for at in (rows - self._first_row).tolist()]
                return gathered
            numbers, positions = self.place(rows)
            places = zip(numbers.tolist(), positions.tolist(), strict=True)
            gathered[:] = [texts[number](at).decode() for number, at in places]
            return gathered
        numbers, positions = self.place(rows)
        for number in _present(numbers):
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
        if not self._gapless:
            for number in _present(numbers[self._gaps[numbers]]):
                chosen = numbers == number
                positions[chosen] = self._segments[number].relative_rows.searchsorted(positions[chosen])
        return numbers, positions


def groups(numbers: Int64[Array, " m"]) -> Iterator[tuple[int, Array]]:
    """Where each number from 0 on occurs: (number, indices ascending); −1 is of no group."""
    if not len(numbers):
        return
    if (numbers == numbers[0]).all():
        if numbers[0] >= 0:
            yield int(numbers[0]), np.arange(len(numbers))
        return
    for number in _present(numbers[numbers >= 0]):  # segments are few: to look for each is faster than to sort
        yield number, np.flatnonzero(numbers == number)


def _present(numbers: Int64[Array, " m"]) -> list[int]:
    """Which of 0, 1, 2, … occur. NumPy's `unique` would sort, and load a module that takes longer than a search."""
    found: list[int] = np.flatnonzero(np.bincount(numbers)).tolist()
    return found


class _Checked:
    """Which vectors may be used: those whose blocks were compared with their sums.

    One array over all segments, so that a search pays for one look: a loop over segments would cost too much.

    Args:
        segments: Whose vectors.
        counts: Theirs, (s,).
        width: Bytes of a vector.

    Attributes:
        whole: Whether all of them may be.
    """

    def __init__(self, segments: Sequence[Segment], counts: Int64[Array, " s"], width: int) -> None:
        self._segments, self._width = segments, width
        blocks = -(-counts * width // BLOCK)
        self._first_blocks = np.cumsum(blocks) - blocks
        good = [segment.checked_blocks for segment in segments]
        self._good: Bool[Array, " b"] = np.concatenate(
            [np.ones(n, np.bool_) if one is None else one for one, n in zip(good, blocks.tolist(), strict=True)]
        )
        self.whole = bool(self._good.all())

    def __call__(self, numbers: Int64[Array, " m"] | None, positions: Int64[Array, " m"]) -> None:
        """Check what was not; `numbers` of segments, None when there is only one."""
        if self.whole:
            return
        starts = positions * self._width
        first, last = starts // BLOCK, (starts + (self._width - 1)) // BLOCK
        if numbers is not None:
            shift = self._first_blocks[numbers]
            first, last = first + shift, last + shift
        if self._width <= BLOCK and self._good[first].all() and self._good[last].all():
            return
        for number in [0] if numbers is None else _present(numbers):
            self._segments[number].vectors_for(positions if numbers is None else positions[numbers == number])
        self._good[first] = self._good[last] = True
        self.whole = bool(self._good.all())
