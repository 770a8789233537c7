"""The idx format of MNIST and its kin: a magic number, the sizes, the numbers, big-endian; often gzipped.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", the file format section.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ChecksumMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import UInt8


def read_idx(path: Path, *, sha256: str | None = None) -> UInt8[Array, ...]:
    """Read an idx file of unsigned bytes.

    Args:
        path: The file; decompressed when its name ends in .gz.
        sha256: Hex digest that the decompressed file must have.

    Returns:
        uint8, the shape that the header states. Read-only.

    Raises:
        ChecksumMismatch: Truncated or corrupt, not an idx file of bytes, or another digest.
    """
    remedy = f"the file is damaged: replace {path} with a fresh copy"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
                raise ChecksumMismatch(f"{path} does not begin as an idx file of bytes does; {remedy}")
            sizes = file.read(4 * magic[3])
            shape = struct.unpack(f">{magic[3]}I", sizes)
            # Deflate shrinks by 1032 at most; a header that announces more would only allocate memory.
            values = file.read(min(math.prod(shape), 1032 * path.stat().st_size))
            surplus = file.read(1)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise ChecksumMismatch(f"{path} is truncated or corrupt ({error}); {remedy}") from error
    if len(values) != math.prod(shape) or surplus:
        found = "more" if surplus else f"{len(values)}"
        raise ChecksumMismatch(f"{path} announces {shape} bytes and holds {found}; {remedy}")
    if sha256 is not None:
        digest = hashlib.sha256(magic + sizes)
        digest.update(values)
        if digest.hexdigest() != sha256:
            raise ChecksumMismatch(f"{path} has sha256 {digest.hexdigest()} decompressed, expected {sha256}; {remedy}")
    return np.frombuffer(values, np.uint8).reshape(shape)
