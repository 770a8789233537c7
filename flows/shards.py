"""Reading, encoding and writing at the same time, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.datasets import Dataset

READ_BYTES = 1 << 25  # of one read: large enough to keep the encoder busy, small beside the memory


@dataclass(frozen=True, eq=False)
class Coded:
    """What an encoder says about m items.

    Attributes:
        latents: float32 (m, d).
        variance: Of the posterior, float32 (m, d); None unless the encoder is a vae.
    """

    latents: Float32[Array, "m d"]
    variance: Float32[Array, "m d"] | None = None


def encode_shards(
    dataset: Dataset,
    shards: Sequence[Int64[Array, " m"]],
    encode: Callable[[Array], Coded],
    write: Callable[[Int64[Array, " m"], Coded], None],
    progress: Callable[[int], None],
) -> None:
    """Encode shards one after the other.

    While one piece is encoded, a thread reads the next and another writes the last finished shard, so that the encoder,
    which is the slow part, never waits. At most two pieces and two shards of latents are in memory.

    Args:
        dataset: Where items are read.
        shards: Positions, one array per shard.
        encode: Items to latents.
        write: Makes one finished shard durable; called in a thread, one call at a time, in order.
        progress: Called with the number of items encoded so far.
    """
    pieces = list(_pieces(shards, _piece_items(dataset.item_shape)))
    if not pieces:
        return
    done, parts = 0, list[Coded]()
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, "read-ahead") as reader, ThreadPoolExecutor(1, "write-behind") as writer:
        ahead = reader.submit(dataset.read, pieces[0][1])
        for number, (shard, positions) in enumerate(pieces):
            items = ahead.result()
            if number + 1 < len(pieces):
                ahead = reader.submit(dataset.read, pieces[number + 1][1])
            parts.append(encode(items))
            done += len(positions)
            progress(done)
            if number + 1 == len(pieces) or pieces[number + 1][0] != shard:
                if writing is not None:
                    writing.result()
                writing = writer.submit(write, shards[shard], _joined(parts))
                parts = []
        assert writing is not None
        writing.result()


def _piece_items(item_shape: tuple[int, ...]) -> int:
    return int(max(1, READ_BYTES // int(np.prod(item_shape))))


def _pieces(shards: Sequence[Int64[Array, " m"]], most: int) -> Iterator[tuple[int, Int64[Array, " k"]]]:
    for number, positions in enumerate(shards):
        for start in range(0, len(positions), most):
            yield number, positions[start : start + most]


def _joined(parts: Sequence[Coded]) -> Coded:
    if len(parts) == 1:
        return parts[0]
    variances = [part.variance for part in parts if part.variance is not None]
    return Coded(np.concatenate([p.latents for p in parts]), np.concatenate(variances) if variances else None)
