"""Searches that arrive at the same time are answered by one call: what Python spends per call is most of a search.

A search waits for those that are there already, not for others: the event loop hands on what all connections sent
before it looks at them again. While the processes that search (`Searchers`) have enough, what arrives is collected for
the first that can take more. Where there are none, the loop searches itself. A snapshot never changes, so the last
answers are kept for who asks the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias

from latentstore.server.answers import encoded_hits, identity
from latentstore.server.searchers import AHEAD, Searchers

if TYPE_CHECKING:
    from jaxtyping import Bool

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

    Query: TypeAlias = Sequence[float] | Array | array[float]
    Asked: TypeAlias = tuple[Query, "Name | None", "Told"]

WORTH = 8  # queries of one call take hardly longer than one: fewer are not kept for the next
MOST = 64  # queries of one call: a longer one would keep the others waiting
KEPT, KEPT_BYTES = 1024, 8192  # answers kept, and how long a query and its answer may be together: 8 MB
Told = Callable[[bytes | Exception], None]  # takes the encoded hits of a search, or what is wrong with it

log = logging.getLogger("latentstore.server")


class Batch:
    """Plain searches of one space for as many neighbours each.

    Attributes:
        space: It; held, so that its id names no other.
        k: Neighbours of each.
        asked: Of each the vector, unchecked; what the same search is known by; and who waits for the answer.
    """

    def __init__(self, space: EmbeddingSpace, k: int, kept: KeptAnswers, asked: Iterable[Asked] = ()) -> None:
        self.space, self.k, self._kept, self.asked = space, k, kept, list(asked)

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def queries(self) -> list[Any]:
        """The vectors."""
        return [query for query, _, _ in self.asked]

    def split(self, most: int) -> Batch:
        """Those that wait longest, which leave it."""
        first, self.asked = self.asked[:most], self.asked[most:]
        return Batch(self.space, self.k, self._kept, first)

    def leave_out(self, which: Bool[Array, " m"]) -> Batch:
        """Some, which leave it."""
        out = Batch(self.space, self.k, self._kept, compress(self.asked, which))
        self.asked = list(compress(self.asked, ~which))
        return out

    def settle(self, found: Sequence[bytes] | None = None) -> None:
        """Tell each its answer, or what is wrong with its query.

        Args:
            found: The answers; they are looked for here without.
        """
        if found is None and len(self) > 1:
            with contextlib.suppress(Exception):  # of one of them: each is asked alone below, and gets its own
                found = encoded_hits(self.space, self.queries, self.k).splitlines()
        for number, (query, name, told) in enumerate(self.asked):
            answer: bytes | Exception
            try:
                answer = encoded_hits(self.space, [query], self.k).rstrip() if found is None else found[number]
            except Exception as error:  # passed on to who waits
                answer = error
            else:
                self._kept.put(name, answer)
            try:
                told(answer)
            except Exception:  # the others wait for theirs
                log.exception("an answer cannot be given")


Name = tuple[tuple[str, str], int, bytes]  # space and identity of its snapshot, k, vector


class KeptAnswers:
    """The last answers to plain searches."""

    def __init__(self) -> None:
        self._known: OrderedDict[Name, bytes] = OrderedDict()
        self._last: tuple[Any, tuple[str, str]] = None, ("", "")  # the last snapshot, and what it is known by

    def name(self, space: EmbeddingSpace, query: array[float], k: int) -> Name | None:
        """What the same search is known by; None of one that is not kept."""
        if len(query) * query.itemsize > KEPT_BYTES:
            return None
        snapshot, known = self._last
        if snapshot is not space.snapshot:
            known = space.name, identity(space)
            self._last = space.snapshot, known
        return known, k, query.tobytes()

    def get(self, name: Name | None) -> bytes | None:
        """What was answered."""
        found = None if name is None else self._known.get(name)
        if found is not None:
            self._known.move_to_end(name)  # type: ignore[arg-type]  # then it is a name
        return found

    def put(self, name: Name | None, hits: bytes) -> None:
        """Keep an answer, and let go of the one not asked for longest."""
        if name is None or len(name[2]) + len(hits) > KEPT_BYTES:
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
        self._waiting: dict[tuple[int, int], Batch] = {}  # by space and k; the first is the next
        self._kept = KeptAnswers()
        self._loop: asyncio.AbstractEventLoop | None = None
        searchers.when_free(self._hand_on)

    def search(self, space: EmbeddingSpace, query: Query, k: int, told: Told) -> None:
        """Find the k nearest items of a vector (d,), once this turn of the loop is over.

        Args:
            space: Where.
            query: Unchecked.
            k: Neighbours.
            told: Is called with the encoded hits, or with whatever `EmbeddingSpace.search` has against the query.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()  # asking for it is a call of the system
        try:
            query = array("f", query)
        except (TypeError, OverflowError):  # no numbers, or none that a vector can have
            name = None
        else:
            name = self._kept.name(space, query, k)
        if (known := self._kept.get(name)) is not None:
            loop.call_soon(told, known)  # not now: answers that are written together wake who reads them once
            return
        if not (isinstance(query, array) and len(query) == space.dim and any(query)):
            # It may be refused, which must not spoil the batch of others.
            loop.call_soon(Batch(space, k, self._kept, [(query, name, told)]).settle)
            return
        key = id(space), k
        batch = self._waiting.get(key)
        if batch is None:  # else none of the processes can take more
            batch = self._waiting[key] = Batch(space, k, self._kept)
            loop.call_soon(self._hand_on)
        batch.asked.append((query, name, told))

    def _hand_on(self) -> None:
        """Give what waits to the processes that can take more; what none of them holds is answered here."""
        for key, batch in list(self._waiting.items()):
            while batch and not self._searchers.hold(batch.space):
                self._take(key, MOST).settle()
        while True:
            able = ((key, self._searchers.free(batch.space)) for key, batch in self._waiting.items())
            chosen = next(((key, searcher) for key, searcher in able if searcher is not None), None)
            if chosen is None:
                return
            key, searcher = chosen
            searcher.ask(self._take(key, self._share()))

    def _share(self) -> int:
        """How many searches make the next batch.

        As many for each that a process may have as for the event loop, which reads and writes meanwhile: were one given
        all that wait, each would wait for the others. Of few, as many for each process.
        """
        known, processes = self._searchers.asked + sum(map(len, self._waiting.values())), self._searchers.ready or 1
        return min(MOST, max(-(-known // (AHEAD * processes + 1)), min(WORTH, -(-known // processes))))

    def _take(self, key: tuple[int, int], most: int) -> Batch:
        """The first of those that wait; the others have their turn after what else waits."""
        batch = self._waiting.pop(key)
        taken = batch.split(most)
        if batch:
            self._waiting[key] = batch
        return taken
