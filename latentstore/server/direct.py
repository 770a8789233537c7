"""Plain searches answered without a task of their own, which takes as long as the rest of the request.

A request that came whole, is allowed and asks for the nearest of one vector waits in the batch as a callback. Any
other, whatever is wrong with it included, is answered by the application the ordinary way, from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import msgspec

from latentstore.server import limits, refusals
from latentstore.server.handlers import queries
from latentstore.server.heads import ALWAYS, Headers, Scope, answer_headers, text
from latentstore.server.logs import log_request, request_id
from latentstore.server.routes import ARROW, JSON
from latentstore.server.wire.queries import K

if TYPE_CHECKING:
    from latentstore.server.calls import Service
    from latentstore.server.guard import Guard
    from latentstore.server.refusals import Refusal
    from latentstore.server.routes import Router

_MEDIA, _ARROW = JSON.encode(), ARROW.encode()


class Reply(Protocol):
    """Sends an answer."""

    def __call__(self, headers: Headers, body: bytes, status: int = 200) -> None:
        """Once."""
        ...


class Plain(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What of `SearchAsked` is a plain search."""

    query: list[float]
    k: int = K


_decode, _encode = msgspec.json.Decoder(Plain).decode, msgspec.json.Encoder().encode


class Direct:
    """Answers plain searches.

    Args:
        service: What all requests share.
        guard: Who may ask.
        router: Routes.
    """

    def __init__(self, service: Service, guard: Guard, router: Router) -> None:
        self._service, self._guard, self._router, self._most = service, guard, router, service.limits.body
        self._open: set[_Open] = set()

    def take(self, scope: Scope, body: bytes | bytearray, reply: Reply, otherwise: Callable[[], None]) -> bool:
        """Whether it is one, and allowed: then one of both is called later.

        Args:
            scope: ASGI's.
            body: All of it.
            reply: Sends the answer.
            otherwise: Has the request answered the ordinary way, which says what is wrong with it.
        """
        began = perf_counter()
        try:
            found = self._router.find(scope["method"], scope["raw_path"])
            if not isinstance(found, tuple) or found[0].handler is not queries.search or scope["query_string"]:
                return False
            (route, path), headers = found, dict(scope["headers"])
            if headers.get(b"content-type") != _MEDIA or _ARROW in headers.get(b"accept", b""):
                return False
            self._guard.check_headers(scope["headers"], headers)
            key = self._guard.check_key(text(headers, b"authorization"), route.right)
            if len(body) > self._most:
                return False
            space, asked = self._service.spaces.get(path["space"]), _decode(body)
            within = 0 < asked.k <= self._service.limits.k and len(asked.query) == space.dim
            if not within or not queries.is_short(space):
                return False
        except Exception:  # which the ordinary way meets again, and answers
            return False
        one = _Open(self, scope, route.path, request_id(text(headers, b"x-request-id")), key, began, reply, otherwise)
        self._open.add(one)
        self._service.batcher.search(space, asked.query, asked.k, one.told)
        return True

    def refuse_late(self, before: float) -> None:
        """Tell those that wait since before then that it takes too long."""
        slow = limits.too_slow(self._service.limits.seconds)
        for one in [one for one in self._open if one.began < before]:
            one.refuse(slow)

    def end(self, one: _Open) -> bool:
        """Whether it still waited, which it does no longer."""
        if one in self._open:
            self._open.remove(one)
            return True
        return False

    def count(self, one: _Open, status: int) -> None:
        """Note that it was answered."""
        seconds = perf_counter() - one.began
        self._service.metrics.observe(one.path, status, seconds)
        log_request(one.scope, one.asked, status, one.key, seconds)


class _Open:
    """A search that waits for its answer."""

    __slots__ = ("_direct", "_otherwise", "_reply", "asked", "began", "key", "path", "scope")

    def __init__(
        self,
        direct: Direct,
        scope: Scope,
        path: str,
        asked: str,
        key: str,
        began: float,
        reply: Reply,
        otherwise: Callable[[], None],
    ) -> None:
        self.scope, self.path, self.asked, self.key, self.began = scope, path, asked, key, began
        self._direct, self._reply, self._otherwise = direct, reply, otherwise

    def told(self, found: bytes | Exception) -> None:
        """The hits are there, or what is wrong with the query."""
        if not self._direct.end(self):
            return  # it was refused meanwhile
        if isinstance(found, Exception):
            self._otherwise()
        else:
            self._answer(found)

    def refuse(self, why: Refusal) -> None:
        """There will be no hits."""
        if self._direct.end(self):
            self._answer(_encode(refusals.body_of(why)), why.status, (*ALWAYS, *why.headers))

    def _answer(self, body: bytes, status: int = 200, more: Headers = ALWAYS) -> None:
        self._reply(answer_headers(JSON, len(body), self.asked, more), body, status)
        self._direct.count(self, status)
