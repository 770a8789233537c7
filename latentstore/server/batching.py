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
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latentstore.server.answers import encoded_hits, identity
from latentstore.server.searchers import Searchers

if TYPE_CHECKING:
    from latentstore.server.searchers import Searcher
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

MOST = 64  # queries of one call: a longer one would keep the others waiting
KEPT, KEPT_BYTES = 1024, 8192  # answers kept, and how long a query and its answer may be together: 8 MB


class Batch:
    """Plain searches of one space for as many neighbours each.

    Attributes:
        space: It; held, so that its id names no other.
        k: Neighbours of each.
        queries: Vectors, unchecked.
        names: What the same search is known by, of each.
        answers: The encoded hits of each, to come.
    """

    def __init__(self, space: EmbeddingSpace, k: int, kept: KeptAnswers) -> None:
        self.space, self.k, self._kept = space, k, kept
        self.queries: list[Sequence[float] | Array] = []
        self.names: list[Name | None] = []
        self.answers: list[asyncio.Future[bytes]] = []

    @property
    def key(self) -> tuple[int, int]:
        """What searches must share to be answered together."""
        return id(self.space), self.k

    def settle(self, found: Sequence[bytes] | None = None) -> None:
        """Give each its answer, or what is wrong with its query; whoever went away is left out.

        Args:
            found: The answers; they are looked for here without.
        """
        if found is None and len(self.queries) > 1:
            with contextlib.suppress(Exception):  # of one of them: each is asked alone below, and gets its own
                found = encoded_hits(self.space, self.queries, self.k).splitlines()
        for number, answer in enumerate(self.answers):
            if answer.done():
                continue
            try:
                hits = self._alone(number) if found is None else found[number]
            except Exception as error:  # passed on to who waits
                answer.set_exception(error)
            else:
                answer.set_result(hits)
                self._kept.put(self.names[number], hits)

    def _alone(self, number: int) -> bytes:
        return encoded_hits(self.space, self.queries[number : number + 1], self.k).rstrip()


Name = tuple[str, str, int, bytes]  # space, identity of its snapshot, k, vector


class KeptAnswers:
    """The last answers to plain searches."""

    def __init__(self) -> None:
        self._known: OrderedDict[Name, bytes] = OrderedDict()

    @staticmethod
    def name(space: EmbeddingSpace, query: Sequence[float] | Array, k: int) -> Name | None:
        """What the same search is known by; None of one that is not kept."""
        if 8 * len(query) > KEPT_BYTES:
            return None
        try:
            return space.name, identity(space), k, array("d", query).tobytes()
        except (TypeError, OverflowError):  # no numbers, or none that a vector can have
            return None

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
        self._open: dict[tuple[int, int], Batch] = {}  # which more may join
        self._waiting: deque[Batch] = deque()  # for a process, in the order of arrival
        self._kept = KeptAnswers()
        self._loop: asyncio.AbstractEventLoop | None = None
        searchers.when_free(self._give)

    def search(self, space: EmbeddingSpace, query: Sequence[float] | Array, k: int) -> asyncio.Future[bytes]:
        """The encoded hits among the k nearest items of a vector (d,), once this turn of the loop is over.

        Raises:
            ShapeMismatch, NotFinite, InputError: Whatever `EmbeddingSpace.search` has against the query.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()  # asking for it is a call of the system
        answer: asyncio.Future[bytes] = loop.create_future()
        name = KeptAnswers.name(space, query, k)
        if (known := self._kept.get(name)) is not None:
            answer.set_result(known)
            return answer
        batch = self._open.get((id(space), k))
        if batch is None or len(batch.queries) == MOST:
            batch = self._open[id(space), k] = Batch(space, k, self._kept)
            loop.call_soon(self._hand_on, batch)
        batch.queries.append(query)
        batch.names.append(name)
        batch.answers.append(answer)
        return answer

    def _hand_on(self, batch: Batch) -> None:
        if not self._searchers.hold(batch.space):
            self._close(batch)
            batch.settle()
            return
        self._waiting.append(batch)
        searcher = self._searchers.free(batch.space)
        if searcher is not None:
            self._give(searcher)

    def _give(self, searcher: Searcher | None) -> None:
        """The batch that waits longest for a process to it; without one, what nobody would answer any more is."""
        if searcher is None:
            waiting, self._waiting = self._waiting, deque()
            for batch in waiting:
                self._hand_on(batch)
            return
        for batch in self._waiting:
            if searcher.holds(batch.space):
                self._waiting.remove(batch)
                self._close(batch)
                searcher.ask(batch)
                return

    def _close(self, batch: Batch) -> None:
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
