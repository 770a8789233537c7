"""FAISS index files that other programs read: flat, so that they hold the vectors themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ChecksumMismatch, NotSupported, StorageError
from latentstore.index.exact import to_unit

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.types import Array, Metric


@dataclass(frozen=True)
class FlatFile:
    """An opened flat index of `count` vectors of width `dim`."""

    count: int
    dim: int
    faiss_index: Any

    def vectors(self, start: int, stop: int) -> Float32[Array, "m d"]:
        """Vectors from one number up to another."""
        return np.asarray(self.faiss_index.reconstruct_n(start, stop - start))


def write_flat(path: Path, blocks: Iterable[Float32[Array, "m d"]], dim: int, metric: Metric) -> None:
    """Write vectors as IndexFlatL2, or IndexFlatIP under ip and cosine; under cosine they are scaled to length 1.

    Raises:
        StorageError: FAISS cannot write the file.
    """
    import faiss

    index = faiss.IndexFlatL2(dim) if metric == "l2" else faiss.IndexFlatIP(dim)
    for block in blocks:
        index.add(to_unit(block) if metric == "cosine" else np.ascontiguousarray(block))
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise StorageError(f"cannot write {path} ({str(error)[:200]}); check the space on its disk") from error


def read_flat(path: Path) -> FlatFile:
    """Read such a file; the caller has checked its sha256, for FAISS trusts its input.

    Raises:
        ChecksumMismatch: FAISS cannot read it.
        NotSupported: An index that holds codes, not vectors.
    """
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise ChecksumMismatch(f"{path} is not a file FAISS can read ({str(error)[:200]}); export it again") from error
    if not isinstance(index, faiss.IndexFlat):
        raise NotSupported(f"{path} is a {type(index).__name__}, which holds no exact vectors; export a flat index")
    return FlatFile(int(index.ntotal), int(index.d), index)
