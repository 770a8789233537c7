"""Searches that arrive at the same time are answered by one call: what Python spends per call is most of a search.

A search waits for no other, only for those that are there already: the event loop hands on what all connections sent
before it looks at them again. While the processes that search (`Searchers`) are busy, what arrives is collected for the
first that is free. Where there are none, the loop searches itself. A snapshot never changes, so the last answers are
kept for who asks the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from latentstore.server.answers import encoded_hits, identity
from latentstore.server.searchers import AHEAD, Searchers

if TYPE_CHECKING:
    from latentstore.server.searchers import Searcher
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

    Query: TypeAlias = Sequence[float] | Array | array[float]

WORTH = 8  # queries of one call take hardly longer than one: fewer are not kept for the next
MOST = 64  # queries of one call: a longer one would keep the others waiting
KEPT, KEPT_BYTES = 1024, 8192  # answers kept, and how long a query and its answer may be together: 8 MB
Told = Callable[[bytes | Exception], None]  # takes the encoded hits of a search, or what is wrong with it


class Batch:
    """Plain searches of one space for as many neighbours each.

    Attributes:
        space: It; held, so that its id names no other.
        k: Neighbours of each.
        queries: Vectors, unchecked: as arrays of doubles, what is none of them as it was given.
        names: What the same search is known by, of each.
        told: Who waits for each answer.
    """

    def __init__(self, space: EmbeddingSpace, k: int, kept: KeptAnswers) -> None:
        self.space, self.k, self._kept = space, k, kept
        self.queries: list[Query] = []
        self.names: list[Name | None] = []
        self.told: list[Told] = []

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def key(self) -> tuple[int, int]:
        """What searches must share to be answered together."""
        return id(self.space), self.k

    def add(self, query: Query, name: Name | None, told: Told) -> None:
        """One more."""
        self.queries.append(query)
        self.names.append(name)
        self.told.append(told)

    def split(self, most: int) -> Batch:
        """Those that wait longest, which leave it."""
        first = Batch(self.space, self.k, self._kept)
        for name in ("queries", "names", "told"):
            mine = getattr(self, name)
            setattr(first, name, mine[:most])
            del mine[:most]
        return first

    def settle(self, found: Sequence[bytes] | None = None) -> None:
        """Tell each its answer, or what is wrong with its query.

        Args:
            found: The answers; they are looked for here without.
        """
        if found is None and len(self) > 1:
            with contextlib.suppress(Exception):  # of one of them: each is asked alone below, and gets its own
                found = encoded_hits(self.space, self.queries, self.k).splitlines()
        for number, told in enumerate(self.told):
            try:
                hits = self._alone(number) if found is None else found[number]
            except Exception as error:  # passed on to who waits
                told(error)
            else:
                told(hits)
                self._kept.put(self.names[number], hits)

    def _alone(self, number: int) -> bytes:
        return encoded_hits(self.space, self.queries[number : number + 1], self.k).rstrip()


Name = tuple[str, str, int, bytes]  # space, identity of its snapshot, k, vector


class KeptAnswers:
    """The last answers to plain searches."""

    def __init__(self) -> None:
        self._known: OrderedDict[Name, bytes] = OrderedDict()

    @staticmethod
    def name(space: EmbeddingSpace, query: Query, k: int) -> Name | None:
        """What the same search is known by; None of one that is not kept."""
        if not isinstance(query, array) or len(query) * query.itemsize > KEPT_BYTES:
            return None
        return space.name, identity(space), k, query.tobytes()

    def get(self, name: Name | None) -> bytes | None:
        """What was answered."""
        found = None if name is None else self._known.get(name)
        if found is not None:
            self._known.move_to_end(name)  # type: ignore[arg-type]  # then it is a name
        return found

    def put(self, name: Name | None, hits: bytes) -> None:
        """Keep an answer, and let go of the one not asked for longest."""
        if name is None or len(name[3]) + len(hits) > KEPT_BYTES:
            return
        self._known[name] = hits
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


class Batcher:
    """Collects plain searches, and gives them to who answers them.

    Args:
        searchers: Processes that do.
    """

    def __init__(self, searchers: Searchers) -> None:
        self._searchers = searchers
        self._waiting: dict[tuple[int, int], Batch] = {}  # which more may join, in the order of arrival
        self._kept = KeptAnswers()
        self._loop: asyncio.AbstractEventLoop | None = None
        searchers.when_free(self._give)

    def search(self, space: EmbeddingSpace, query: Query, k: int, told: Told) -> None:
        """Find the k nearest items of a vector (d,), once this turn of the loop is over.

        Args:
            space: Where.
            query: Unchecked.
            k: Neighbours.
            told: Is called with the encoded hits, or with whatever `EmbeddingSpace.search` has against the query.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()  # asking for it is a call of the system
        with contextlib.suppress(TypeError, OverflowError):  # no numbers, or none that a vector can have
            query = array("d", query)
        name = KeptAnswers.name(space, query, k)
        if (known := self._kept.get(name)) is not None:
            loop.call_soon(told, known)  # not now: answers that are written together wake who reads them once
            return
        batch = self._waiting.get((id(space), k))
        if batch is None:
            batch = self._waiting[id(space), k] = Batch(space, k, self._kept)
            loop.call_soon(self._hand_on, batch)
        batch.add(query, name, told)

    def _hand_on(self, batch: Batch) -> None:
        if self._waiting.get(batch.key) is not batch:
            return
        if self._searchers.hold(batch.space):
            searcher = self._searchers.free(batch.space)
            if searcher is not None:
                self._give(searcher)
            return
        while batch:
            self._take(batch, MOST).settle()

    def _give(self, searcher: Searcher | None) -> None:
        """What waits longest for a process to it; without one, what nobody would answer any more is."""
        if searcher is None:
            for batch in list(self._waiting.values()):
                self._hand_on(batch)
            return
        while searcher.free:
            held = next((one for one in self._waiting.values() if searcher.holds(one.space)), None)
            if held is None:
                return
            searcher.ask(self._take(held, self._share()))

    def _share(self) -> int:
        """How many searches make the next batch.

        As many for each that a process may have as for the event loop, which reads and writes meanwhile: were one given
        all that wait, each would wait for the others.
        """
        known = self._searchers.asked + sum(len(one) for one in self._waiting.values())
        return min(MOST, max(WORTH, -(-known // (AHEAD * self._searchers.ready + 1))))

    def _take(self, batch: Batch, most: int) -> Batch:
        taken = batch.split(most)
        if not batch:
            del self._waiting[batch.key]
        return taken
