"""Reading, encoding and writing at the same time, shard by shard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.datasets import Dataset

Threads = Callable[[], AbstractContextManager[tuple[ThreadPoolExecutor, int]]]  # and how many they are

PIECE_ITEMS = 2048  # read and encoded at a time, at most: a batch of the encoder …
PIECE_BYTES = 1 << 25  # … but small beside the memory


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
    threads: Threads,
) -> None:
    """Encode shards one after the other.

    Every core reads and encodes pieces while a thread writes the last finished shard. At most a shard and four pieces a
    core are in memory, and the latents of three shards.

    Args:
        dataset: Where items are read; from several threads.
        shards: Positions, one array per shard.
        encode: Items to latents; called in several threads.
        write: Makes one finished shard durable; called in a thread, one call at a time, in order.
        progress: Called with the number of items encoded so far.
        threads: That read and encode: `latentstore.encoders.one_thread_each`, or `one_thread`.
    """
    pieces = _pieces(shards, _piece_items(dataset.item_shape))

    def code(positions: Int64[Array, " m"]) -> Coded:
        return encode(dataset.read(positions))

    done, parts = 0, list[Coded]()
    writing: Future[None] | None = None
    with threads() as (pool, cores), ThreadPoolExecutor(1, "write-behind") as writer:
        begun = deque[tuple[int, int, Future[Coded]]]()
        while True:
            for number, positions in islice(pieces, 2 * cores - len(begun)):
                begun.append((number, len(positions), pool.submit(code, positions)))
            if not begun:
                break
            number, count, coding = begun.popleft()
            parts.append(coding.result())
            done += count
            progress(done)
            if not begun or begun[0][0] != number:
                if writing is not None:
                    writing.result()
                writing = writer.submit(write, shards[number], _joined(parts))
                parts = []
        if writing is not None:
            writing.result()


@contextmanager
def one_thread() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A thread that reads ahead, which is all that ready vectors need; torch would take seconds to import."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        yield pool, 1


def _piece_items(item_shape: tuple[int, ...]) -> int:
    return int(min(PIECE_ITEMS, max(1, PIECE_BYTES // int(np.prod(item_shape)))))


def _pieces(shards: Sequence[Int64[Array, " m"]], most: int) -> Iterator[tuple[int, Int64[Array, " k"]]]:
    for number, positions in enumerate(shards):
        for piece in np.array_split(positions, -(-len(positions) // most)):  # alike, so that all cores end together
            yield number, piece


def _joined(parts: Sequence[Coded]) -> Coded:
    if len(parts) == 1:
        return parts[0]
    variances = [part.variance for part in parts if part.variance is not None]
    return Coded(np.concatenate([p.latents for p in parts]), np.concatenate(variances) if variances else None)
