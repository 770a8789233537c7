"""NumPy and text as Arrow arrays, not copied.

`pyarrow.array` and `to_numpy` import pandas where it is installed: 0.3 s that a process which asks one question
should not pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32

_TYPES = {"int64": pa.int64(), "uint64": pa.uint64(), "float32": pa.float32()}


def numbers(values: Array) -> pa.Array:
    """A 1-D array of int64, uint64 or float32 as an Arrow array."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_TYPES[values.dtype.name], len(values), [None, pa.py_buffer(values)])


def numpy_of(array: pa.Array) -> Array:
    """The inverse of `numbers`, for an array without nulls."""
    dtype = next(name for name, kind in _TYPES.items() if kind == array.type)
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def booleans_of(array: pa.BooleanArray) -> Array:
    """A Boolean array without nulls as bool (n,)."""
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(np.bool_)


def texts(encoded: Sequence[bytes]) -> pa.LargeStringArray:
    """UTF-8 texts as an Arrow array."""
    offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
    return pa.LargeStringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


class Texts:
    """The UTF-8 texts of an Arrow array, read one by one from its buffers."""

    def __init__(self, array: pa.LargeStringArray) -> None:
        _, offsets, content = array.buffers()
        self._offsets = memoryview(offsets).cast("q")[array.offset :]
        self._content = memoryview(content)

    def __call__(self, position: int) -> bytes:
        """The text at a position."""
        return bytes(self._content[self._offsets[position] : self._offsets[position + 1]])


def encode(ids: Sequence[str]) -> list[bytes]:
    """UTF-8 of each id.

    Raises:
        InputError: An id has no UTF-8 form (a lone surrogate).
    """
    try:
        return [one.encode() for one in ids]
    except UnicodeEncodeError as error:
        raise InputError(f"id {error.object!r} is not valid text (a lone surrogate); pass UTF-8 text") from error


def vector_type(dim: int) -> pa.DataType:
    """Fixed-size list of float32: what DuckDB and Arrow read as a vector."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), dim)


def vectors(values: Float32[Array, "n d"]) -> pa.FixedSizeListArray:
    """Vectors as an Arrow column."""
    return pa.FixedSizeListArray.from_arrays(numbers(values.reshape(-1)), type=vector_type(values.shape[1]))
