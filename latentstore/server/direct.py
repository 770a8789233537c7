"""Plain searches answered without a task of their own, which takes as long as the rest of the request.

A request that came whole, is allowed and asks for the nearest of one vector waits in the batch as a callback. Any
other, whatever is wrong with it included, is answered by the application the ordinary way, from its beginning.

A client sends the same head with every search but for the length of the body. What was found in a head is kept under
its bytes, so that the next request with the same head needs no parser: only its body is read, and its key checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import msgspec

from latentstore.server import limits, refusals
from latentstore.server.handlers import queries
from latentstore.server.heads import ALWAYS, Headers, Scope, text
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
HEADS_KEPT, LONGEST = 1024, 1024  # heads, and bytes of one: 1 MB
# Of no two requests, or of one that is not over with its body.
_NEVER_KEPT = frozenset((b"x-request-id", b"transfer-encoding", b"expect", b"upgrade"))


class Reply(Protocol):
    """Sends an answer."""

    def __call__(self, asked: str, body: bytes, status: int = 200, more: Headers = ALWAYS) -> None:
        """Once; `asked` is the request's id, `more` are further headers."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of an allowed request says.

    Attributes:
        route: Template of the path.
        space: Which is searched.
        right: That the key has to give.
        authorization, asked: Headers: the key, and the request's id.
        scope: Method and path, for the log.
        length: Bytes of the body.
    """

    route: str
    space: str
    right: str
    authorization: str | None
    asked: str | None
    scope: Scope
    length: int


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

    Attributes:
        known: Heads that were kept, by their bytes.
    """

    def __init__(self, service: Service, guard: Guard, router: Router) -> None:
        self.known: dict[bytes, Head] = {}
        self._service, self._guard, self._router, self._most = service, guard, router, service.limits.body
        self._numbers = itertools.count()
        self._open: dict[int, tuple[float, Told]] = {}  # since when each waits, and whom to tell

    def take(self, scope: Scope, body: bytes | bytearray, reply: Reply, otherwise: Callable[[], None]) -> Head | None:
        """The head of a plain search that is allowed; then `reply` or `otherwise` is called later.

        Args:
            scope: ASGI's.
            body: All of it.
            reply: Sends the answer.
            otherwise: Has the request answered the ordinary way, which says what is wrong with it.
        """
        try:
            head = self._read(scope, len(body))
        except Exception:  # which the ordinary way meets again, and answers
            return None
        return head if head is not None and self.search(head, body, reply, otherwise) else None

    def _read(self, scope: Scope, length: int) -> Head | None:
        found = self._router.find(scope["method"], scope["raw_path"])
        if not isinstance(found, tuple) or found[0].handler is not queries.search or scope["query_string"]:
            return None
        (route, path), headers = found, dict(scope["headers"])
        if headers.get(b"content-type") != _MEDIA or _ARROW in headers.get(b"accept", b"") or length > self._most:
            return None
        self._guard.check_headers(scope["headers"], headers)
        key, asked = text(headers, b"authorization"), text(headers, b"x-request-id")
        logged = {"method": scope["method"], "path": scope["path"]}
        return Head(route.path, path["space"], route.right, key, asked, logged, length)

    def keep(self, raw: bytes, scope: Scope, head: Head) -> None:
        """Know a head again by its bytes, all of them, where the next request may have the same."""
        if len(raw) > LONGEST or any(name in _NEVER_KEPT for name, _ in scope["headers"]):
            return
        if len(self.known) >= HEADS_KEPT:
            del self.known[next(iter(self.known))]
        self.known[raw] = head

    def search(self, head: Head, body: bytes | bytearray, reply: Reply, otherwise: Callable[[], None]) -> bool:
        """Whether a body is a plain search that the key allows; then one of both is called later, as by `take`."""
        began = perf_counter()
        try:
            key = self._guard.check_key(head.authorization, head.right)
            space, asked = self._service.spaces.get(head.space), _decode(body)
            if not 0 < asked.k <= self._service.limits.k or not queries.is_short(space):
                return False
        except Exception:  # which the ordinary way meets again, and answers
            return False

        number = next(self._numbers)

        def told(found: bytes | Exception) -> None:  # by number: a cycle would wait for the collector
            if self._open.pop(number, None) is None:
                return  # it was refused meanwhile
            name, status, seconds = request_id(head.asked), 200, perf_counter() - began
            if not isinstance(found, Exception):
                reply(name, found)
            elif isinstance(found, Refusal):
                status = found.status
                reply(name, _encode(refusals.body_of(found)), status, (*ALWAYS, *found.headers))
            else:
                otherwise()
                return
            self._service.metrics.observe(head.route, status, seconds)
            log_request(head.scope, name, status, key, seconds)

        self._open[number] = began, told
        self._service.batcher.search(space, asked.query, asked.k, told)
        return True

    def refuse_late(self, before: float) -> None:
        """Tell those that wait since before then that it takes too long."""
        for told in [told for began, told in self._open.values() if began < before]:
            told(limits.too_slow(self._service.limits.seconds))
