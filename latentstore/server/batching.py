"""Searches that arrive at the same time are answered by one call: what Python spends per call is most of a search.

The event loop hands on what all connections sent before it looks at them again; a search waits for no other, only for
those that are there already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latentstore.types import Neighbours

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

MOST = 64  # queries of one call: a longer one would keep the others waiting
Answer = tuple[list[Any], list[Any]]  # ids and distances


class Batcher:
    """Collects plain searches of one turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], _Batch] = {}

    def search(self, space: EmbeddingSpace, query: Sequence[float] | Array, k: int) -> asyncio.Future[Answer]:
        """Ids and distances of the k nearest items of a vector (d,), once this turn of the loop is over.

        Raises:
            ShapeMismatch, NotFinite, InputError: Whatever `EmbeddingSpace.search` has against the query.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        batch = self._waiting.get((id(space), k))
        if batch is None or len(batch.queries) == MOST:
            batch = self._waiting[id(space), k] = _Batch(space, k)
            loop.call_soon(self._answer, (id(space), k), batch)
        batch.queries.append(query)
        batch.answers.append(answer)
        return answer

    def _answer(self, key: tuple[int, int], batch: _Batch) -> None:
        if self._waiting.get(key) is batch:
            del self._waiting[key]
        batch.settle()


class _Batch:
    """Queries of one space and one k; it holds the space, so that its id names no other."""

    def __init__(self, space: EmbeddingSpace, k: int) -> None:
        self._space, self._k = space, k
        self.queries: list[Sequence[float] | Array] = []
        self.answers: list[asyncio.Future[Answer]] = []

    def settle(self) -> None:
        """Give each its answer, or what is wrong with its query; whoever went away is left out."""
        found: list[Answer] | None = None
        if len(self.queries) > 1:
            with contextlib.suppress(Exception):  # of one of them: each is asked alone below, and gets its own
                found = lists_of(self._space.search(self.queries, self._k))
        for number, answer in enumerate(self.answers):
            if answer.done():
                continue
            try:
                answer.set_result(self._alone(number) if found is None else found[number])
            except Exception as error:  # passed on to who waits
                answer.set_exception(error)

    def _alone(self, number: int) -> Answer:
        one = self._space.search(self.queries[number], self._k)
        return one.ids.tolist(), one.distances.tolist()


def lists_of(found: Neighbours) -> list[Answer]:
    """Ids and distances of each query of a batch, without the places where none matched."""
    ids, distances = found.ids.tolist(), found.distances.tolist()
    short = found.shortfall
    if isinstance(short, int) or not short.any():
        return list(zip(ids, distances, strict=True))
    kept = (found.k - short).tolist()
    return [(i[:n], d[:n]) for i, d, n in zip(ids, distances, kept, strict=True)]
