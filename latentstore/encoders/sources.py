"""Where training batches come from: one tensor in memory when the items fit, otherwise reads by position."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from latentstore.encoders.items import as_tensor, check_items, scale, to_tensor
from latentstore.errors import InputError, ShapeMismatch

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.types import Array

READ = 4096  # items per read while filling the memory
LABEL = "label"  # the column of labels that were passed without one
SAMPLE = 4096  # items that stand for all of them in `Source.digest`


@runtime_checkable
class Readable(Protocol):
    """What `train` needs of a dataset."""

    item_shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def read(self, positions: Int64[Array, " m"]) -> Array:
        """Items at these positions, (m, *item_shape)."""
        ...


class Source:
    """Items as tensors by position.

    Args:
        items: An array (n, h, w, c), (n, h, w) or (n, d_in), or an object with `item_shape`, `__len__` and `read`.
        memory: Bytes that may be spent on holding a readable's items; None means half of the memory now free.
        device: Where batches go.
        labels: One of each item, of any type that sorts, or several by column, {column: labels}; None without.

    Attributes:
        classes: By column, the labels that occur, sorted; labels without a column's name are of column "label".
    """

    def __init__(
        self, items: Any, *, memory: int | None = None, device: torch.device | None = None, labels: Any = None
    ) -> None:
        self.device = device or torch.device("cpu")
        self._readable: Readable | None = None
        if isinstance(items, Readable):
            self.item_shape = tuple(items.item_shape)
            self._readable, self._length = items, len(items)
        else:
            array = np.asarray(items)
            if array.ndim not in (2, 3, 4):
                raise ShapeMismatch(f"items have shape {array.shape}; pass images (n, h, w, c) or vectors (n, d)")
            self.item_shape = (*array.shape[1:], 1) if array.ndim == 3 else array.shape[1:]
            self._length = len(array)
        if not self._length:
            raise InputError("there are no items to train on; pass at least 2")
        self.classes: dict[str, list[Any]] = {}
        self._classes: Tensor | None = None
        if labels is not None:
            self._number(labels)
        if self._readable is None:
            self._held: Tensor | None = as_tensor(check_items(array, self.item_shape))
        else:
            self._held = self._fill(_free_memory() // 2 if memory is None else memory)

    def __len__(self) -> int:
        return self._length

    @property
    def in_memory(self) -> bool:
        """Whether the items are held as one tensor."""
        return self._held is not None

    def batch(self, positions: Int64[Array, " m"]) -> Tensor:
        """Items as float (m, c, h, w) in [0, 1], or vectors (m, d_in)."""
        if self._held is None:
            return to_tensor(self._read(positions), self.device)
        x = self._held[torch.from_numpy(positions)].to(self.device)
        return scale(x.permute(0, 3, 1, 2) if x.ndim == 4 else x)

    def labels(self, positions: Int64[Array, " m"]) -> Tensor | None:
        """Labels as positions in `classes`, int64 (m,), or (m, columns) if they have columns; None without."""
        return None if self._classes is None else self._classes[torch.from_numpy(positions)]

    def batches(self, order: Iterable[Int64[Array, " m"]]) -> Iterator[Tensor]:
        """Batches one after the other; when they have to be read, the next is read meanwhile."""
        if self.in_memory:
            yield from map(self.batch, order)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for positions in order:
                ahead = reader.submit(self.batch, positions)
                if waiting is not None:
                    yield waiting.result()
                waiting = ahead
            if waiting is not None:
                yield waiting.result()

    def digest(self) -> str:
        """Hash of length, shape and up to 4096 items spread over all: enough to tell one dataset from another."""
        digest = sha256(f"{self._length} {self.item_shape}".encode())
        positions = np.unique(np.linspace(0, self._length - 1, min(SAMPLE, self._length)).astype(np.int64))
        for chunk in np.array_split(positions, -(-len(positions) // 256)):
            digest.update(self.batch(chunk).cpu().numpy().tobytes())
        if self._classes is not None:
            digest.update(repr(self.classes).encode() + self._classes.cpu().numpy().tobytes())
        return digest.hexdigest()[:32]

    def _number(self, labels: Any) -> None:
        columns = labels if isinstance(labels, Mapping) else {LABEL: labels}
        if not columns:
            raise InputError("labels are {}; name at least one column")
        numbers = []
        for column in sorted(columns):  # an order that survives JSON
            self.classes[column], found = _numbered(columns[column], self._length, column)
            numbers.append(torch.tensor(found, device=self.device))
        self._classes = torch.stack(numbers, 1) if isinstance(labels, Mapping) else numbers[0]

    def _read(self, positions: Int64[Array, " m"]) -> Array:
        assert self._readable is not None
        order = np.argsort(positions)  # ascending: kind to disks
        found = check_items(self._readable.read(positions[order]), self.item_shape)
        return found[np.argsort(order)]

    def _fill(self, memory: int) -> Tensor | None:
        first = self._read(np.arange(1))
        if first.nbytes * self._length > memory:
            return None
        held = np.empty((self._length, *self.item_shape), first.dtype)
        for start in range(0, self._length, READ):
            positions = np.arange(start, min(start + READ, self._length))
            held[positions] = self._read(positions)
        return torch.from_numpy(held)


def _numbered(labels: Any, n: int, column: str) -> tuple[list[Any], list[int]]:
    """The labels that occur, and which of them each item has."""
    given = np.asarray(labels).tolist()
    if len(given) != n:
        raise ShapeMismatch(f"{len(given)} labels for {n} items; pass one of each item")
    if any(one is None or one != one for one in given):
        place = next(i for i, one in enumerate(given) if one is None or one != one)
        raise InputError(f"item {place} has no {column}; leave it out, or train without labels")
    try:
        classes = sorted(set(given))
    except TypeError as error:
        raise InputError(f"column {column!r} mixes types that do not sort ({error}); make them all text") from error
    number = {one: i for i, one in enumerate(classes)}
    return classes, [number[one] for one in given]


def _free_memory() -> int:
    """Bytes of memory free now; 4 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 4 << 30
