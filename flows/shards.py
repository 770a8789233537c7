"""Reading, encoding and writing at the same time, shard by shard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.datasets import Dataset

S = TypeVar("S")
T = TypeVar("T")
Threads = Callable[[], AbstractContextManager[tuple[ThreadPoolExecutor, int]]]  # and how many they are

PIECE_ITEMS = 4096  # read, encoded and written at a time, at most: smaller ones cost calls …
PIECE_BYTES = 1 << 25  # … larger ones memory


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
    write: Callable[[Int64[Array, " m"], Iterator[Coded]], None],
    progress: Callable[[int], None],
    threads: Threads,
) -> None:
    """Encode shards one after the other.

    Every core reads and encodes pieces while the caller's thread writes those that are finished. At most three pieces
    a core are in memory.

    Args:
        dataset: Where items are read; from several threads.
        shards: Positions, one array per shard.
        encode: Items to latents; called in several threads.
        write: Makes one shard durable, taking all its pieces as they come, in order.
        progress: Called with the number of items encoded so far.
        threads: That read and encode: `latentstore.encoders.one_thread_each`, or `one_thread`.
    """
    most = _piece_items(dataset.item_shape)
    with threads() as (pool, cores):
        pieces = [np.array_split(one, -(-len(one) // most)) for one in shards[:-1]]
        pieces += [_shrinking(one, most, cores) for one in shards[-1:]]
        ahead = map_ahead(pool, lambda positions: encode(dataset.read(positions)), chain(*pieces), 3 * cores)

        def counted() -> Iterator[Coded]:
            done = 0
            for one in ahead:
                done += len(one.latents)
                progress(done)
                yield one

        coded = counted()
        try:
            for shard, own in zip(shards, pieces, strict=True):
                write(shard, islice(coded, len(own)))
        finally:
            pool.shutdown(cancel_futures=True)


def _shrinking(positions: Int64[Array, " m"], most: int, cores: int) -> list[Array]:
    """Cut into pieces that get smaller, down to an eighth, so that all cores end at the same time."""
    pieces = []
    while len(positions):
        size = min(most, max(len(positions) // (2 * cores), most // 8))
        pieces.append(positions[:size])
        positions = positions[size:]
    return pieces


def map_ahead(pool: Executor, function: Callable[[S], T], values: Iterable[S], most: int) -> Iterator[T]:
    """`map` in the threads of a pool, in order, with at most so many calls begun, at once, and not yet taken."""
    values = iter(values)
    begun = deque(pool.submit(function, value) for value in islice(values, most))

    def results() -> Iterator[T]:
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(function, value) for value in islice(values, 1))
            yield result

    return results()


@contextmanager
def one_thread() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A thread that reads ahead, which is all that ready vectors need; torch would take seconds to import."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        yield pool, 1


def _piece_items(item_shape: tuple[int, ...]) -> int:
    return int(min(PIECE_ITEMS, max(1, PIECE_BYTES // int(np.prod(item_shape)))))
