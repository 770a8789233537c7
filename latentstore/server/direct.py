"""Plain searches answered without a task of their own, which takes as long as the rest of the request.

A request that came whole, is allowed and asks for the nearest of one vector waits in the batch as a callback. Any
other, whatever is wrong with it included, is answered by the application the ordinary way, from its beginning.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import msgspec

from latentstore.server import limits, refusals
from latentstore.server.handlers import queries
from latentstore.server.heads import ALWAYS, Headers, Scope, answer_headers, text
from latentstore.server.logs import log_request, request_id
from latentstore.server.refusals import Refusal
from latentstore.server.routes import ARROW, JSON
from latentstore.server.wire.queries import K

if TYPE_CHECKING:
    from latentstore.server.batching import Told
    from latentstore.server.calls import Service
    from latentstore.server.guard import Guard
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
        self._numbers = itertools.count()
        self._open: dict[int, tuple[float, Told]] = {}  # since when each waits, and whom to tell

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
            if not 0 < asked.k <= self._service.limits.k or not queries.is_short(space):
                return False
        except Exception:  # which the ordinary way meets again, and answers
            return False

        number = next(self._numbers)

        def told(found: bytes | Exception) -> None:  # by number: a cycle would wait for the collector
            if self._open.pop(number, None) is None:
                return  # it was refused meanwhile
            if isinstance(found, Refusal):
                content, status, more = _encode(refusals.body_of(found)), found.status, (*ALWAYS, *found.headers)
            elif isinstance(found, Exception):
                otherwise()
                return
            else:
                content, status, more = found, 200, ALWAYS
            name = request_id(text(headers, b"x-request-id"))
            reply(answer_headers(JSON, len(content), name, more), content, status)
            seconds = perf_counter() - began
            self._service.metrics.observe(route.path, status, seconds)
            log_request(scope, name, status, key, seconds)

        self._open[number] = began, told
        self._service.batcher.search(space, asked.query, asked.k, told)
        return True

    def refuse_late(self, before: float) -> None:
        """Tell those that wait since before then that it takes too long."""
        for told in [told for began, told in self._open.values() if began < before]:
            told(limits.too_slow(self._service.limits.seconds))
