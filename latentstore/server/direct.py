"""Plain searches answered without a task of their own, which takes as long as the rest of the request.

A request that came whole, is allowed and asks for the nearest of one vector waits in the batch as a callback. Any
other, whatever is wrong with it included, is answered by the application the ordinary way, from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from latentstore.server.handlers import queries
from latentstore.server.heads import Headers, Scope, answer_headers, text
from latentstore.server.logs import log_request, request_id
from latentstore.server.routes import ARROW, JSON, Route

if TYPE_CHECKING:
    from latentstore.server.calls import Service
    from latentstore.server.guard import Guard
    from latentstore.server.routes import Router

Reply = Callable[[Headers, bytes], None]
_MEDIA, _ARROW = JSON.encode(), ARROW.encode()


class Plain(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What of `SearchAsked` is a plain search."""

    query: list[float]
    k: int = 10


_decode = msgspec.json.Decoder(Plain).decode


class Direct:
    """Answers plain searches.

    Args:
        service: What all requests share.
        guard: Who may ask.
        router: Routes.
    """

    def __init__(self, service: Service, guard: Guard, router: Router) -> None:
        self._service, self._guard, self._router, self._most = service, guard, router, service.limits.body

    def take(self, scope: Scope, body: bytes | bytearray, reply: Reply, otherwise: Callable[[], None]) -> bool:
        """Whether it is one, and allowed: then `reply` or `otherwise` is called, before this returns or later.

        Args:
            scope: ASGI's.
            body: All of it.
            reply: Takes the answer's headers and body.
            otherwise: Has the request answered the ordinary way, which says what is wrong with it.
        """
        began = perf_counter()
        found = self._router.find(scope["method"], scope["raw_path"])
        if not isinstance(found, tuple) or found[0].handler is not queries.search or scope["query_string"]:
            return False
        (route, path), headers = found, dict(scope["headers"])
        if headers.get(b"content-type") != _MEDIA or _ARROW in headers.get(b"accept", b"") or len(body) > self._most:
            return False
        try:
            key = self._guard.check(scope["headers"], headers, route.right)
            space, asked = self._service.spaces.get(path["space"]), _decode(body)
            if asked.k > self._service.limits.k or not queries.is_short(space):
                return False
        except Exception:  # which the ordinary way meets again, and answers
            return False
        self._service.batcher.search(
            space, asked.query, asked.k, partial(self._answered, scope, headers, route, key, began, reply, otherwise)
        )
        return True

    def _answered(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        route: Route,
        key: str,
        began: float,
        reply: Reply,
        otherwise: Callable[[], None],
        found: bytes | Exception,
    ) -> None:
        if isinstance(found, Exception):
            otherwise()
            return
        asked = request_id(text(headers, b"x-request-id"))
        reply(answer_headers(JSON, len(found), asked), found)
        seconds = perf_counter() - began
        self._service.metrics.observe(route.path, 200, seconds)
        log_request(scope, asked, 200, key, seconds)
