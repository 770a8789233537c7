"""HTTP with a bound on what comes before the body, which the parser would hold at any length; answers in one piece.

A request that came whole is shown to `Direct` before a task is made of it; one whose head `Direct` knows, before it is
parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from latentstore.server.heads import ALWAYS, Headers, answer_headers
from latentstore.server.routes import JSON

if TYPE_CHECKING:
    from latentstore.server.direct import Direct

SMALL = 4096
HEAD = 64 << 10  # bytes of a request line and its headers


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers are larger than `HEAD`.

    Args:
        direct: Answers what needs no task.
        options: As `HttpToolsProtocol`.
    """

    def __init__(self, *, direct: Direct, **options: Any) -> None:
        super().__init__(**options)
        self._inside, self._received, self._begun = False, 0, 0
        self._direct = direct
        self._feeding = False
        self._ready: tuple[RequestResponseCycle, Any] | None = None  # to be answered, once the bytes at hand are read
        self._between = True  # two requests, for all the parser knows
        self._later: bytes | None = None  # what came since a search whose head is known, which waits for its answer
        self._answered, self._closing = 0.0, False  # when the last one was; after this one the connection ends
        self._defaults: Any = None
        self._head = b""  # of its answer

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection. What a request came with before its head began belongs to the one before."""
        if self._later is not None:
            self._later += data
            self.flow.pause_reading()
            return
        idle = self._between and (self.cycle is None or self.cycle.response_complete)
        if idle and self._take_known(data):
            return
        begun, self._feeding = self._begun, True
        try:
            super().data_received(data)
        finally:
            self._feeding = False
        if self._inside and self._begun == begun:
            self._received += len(data)
            if self._received > HEAD:
                self._refuse()
        if self._ready is not None:
            ready, self._ready = self._ready, None
            self._answer(*ready, data if idle and self._begun == begun + 1 and self._between else b"")

    def _take_known(self, data: bytes) -> bool:
        """Whether the next request is a search whose head was read before: only its body is then."""
        start = data.find(b"\r\n\r\n") + 4
        head = self._direct.known.get(data[:start])
        if head is None or self.flow.write_paused or self.transport.is_closing():
            return False
        end = start + head.length
        if len(data) < end or not self._direct.search(
            head, data[start:end], self._reply_known, partial(self._answer_known_ordinarily, data[:end])
        ):
            return False
        self._later = data[end:]
        return True

    def _reply_known(self, asked: str, body: bytes, status: int = 200, more: Headers = ALWAYS) -> None:
        later, self._later = self._later, None
        if self.transport.is_closing():
            return
        if status != 200 or self._closing:
            headers = answer_headers(JSON, len(body), asked, more)
            answer = _in_bytes(self.server_state.default_headers, headers, body, status, keep=not self._closing)
        else:  # ever the same, but for three of its parts; the date is made anew every second
            if self._defaults is not self.server_state.default_headers:
                self._defaults = self.server_state.default_headers
                self._head = _in_bytes(self._defaults, ((b"content-type", JSON.encode()), *ALWAYS), b"")[:-2]
            answer = b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (
                self._head,
                len(body),
                asked.encode(),
                body,
            )
        self.transport.write(answer)
        self.server_state.total_requests += 1
        if self._closing:
            self.transport.close()
            return
        self._answered = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()
        if later:
            self.flow.resume_reading()
            self.data_received(later)

    def _answer_known_ordinarily(self, data: bytes) -> None:
        later, self._later = self._later, None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        HttpToolsProtocol.data_received(self, data)
        if later:
            self.data_received(later)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for long: one timer for all searches whose heads are known."""
        left = self.timeout_keep_alive - (self.loop.time() - self._answered)
        if self._later is not None or left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(max(left, 1), self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """The server ends: after the answer that the connection waits for, if it does."""
        if self._later is None:
            super().shutdown()
        else:
            self._closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; as after a task, the last request must not hold its connection."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.on_response = _nothing

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside, self._received, self._begun, self._between = True, 0, self._begun + 1, False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Its body is there."""
        self._between = True
        super().on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header is there."""
        if len(name) + len(value) > HEAD or len(self.headers) > 256:
            raise ValueError("too many or too large headers")  # which the parser hands on as a malformed request
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._inside = False
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._feeding:
            self._ready = cycle, app  # its body may be among the bytes at hand
        else:
            self._answer_in_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, app: Any, whole: bytes = b"") -> None:
        """Without a task if the whole request is there and can be answered so; `whole` if nothing else is."""
        scope: Any = cycle.scope
        ordinary = partial(self._answer_in_task, cycle, app)
        # Nothing waits for who does not read: one answer at most is held for a connection whose buffer is full.
        at_once = not (cycle.more_body or cycle.flow.write_paused or self.transport.is_closing()) and app is self.app
        head = self._direct.take(scope, cycle.body, partial(_reply_with, cycle), ordinary) if at_once else None
        if head is None:
            ordinary()
        elif len(whole) == (end := whole.find(b"\r\n\r\n") + 4) + head.length and cycle.keep_alive:
            self._direct.keep(whole[:end], scope, head)

    def _answer_in_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, _InOnePiece(cycle)))

    def _refuse(self) -> None:
        transport: asyncio.Transport | None = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            transport.close()


class _InOnePiece:
    """Sends an answer whose body comes at once together with its head: a call of the system less.

    Args:
        cycle: uvicorn's, of one request.
    """

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: Any = None

    async def __call__(self, message: Any) -> None:
        """See ASGI's `send`."""
        cycle = self._cycle
        if message["type"] == "http.response.start":
            self._head = message
            return
        head, self._head = self._head, None
        if head is None or message.get("more_body") or cycle.scope["method"] == "HEAD":
            if head is not None:
                await cycle.send(head)
            await cycle.send(message)
            return
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        _reply(cycle, head["headers"], message["body"], head["status"])


def _reply_with(
    cycle: RequestResponseCycle, asked: str, body: bytes, status: int = 200, more: Headers = ALWAYS
) -> None:
    _reply(cycle, answer_headers(JSON, len(body), asked, more), body, status)


def _reply(cycle: RequestResponseCycle, headers: Iterable[tuple[bytes, bytes]], body: bytes, status: int) -> None:
    """Send an answer, unless the caller went away."""
    if cycle.transport.is_closing():
        cycle.disconnected = True  # which uvicorn tells only the last request of a connection
    if cycle.disconnected:
        return
    answer = _in_bytes(cycle.default_headers, headers, body, status, keep=cycle.keep_alive)
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.transport.write(answer)
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    if len(cycle.body) > SMALL:
        cycle.body = bytearray()  # an idle connection keeps its last request
    cycle.on_response()


def _in_bytes(
    defaults: Iterable[tuple[bytes, bytes]],
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    status: int = 200,
    *,
    keep: bool = True,
) -> bytes:
    """An answer; `keep` the connection."""
    parts = [STATUS_LINE[status]]
    for name, value in (*defaults, *headers):
        if b"\n" in value or b"\r" in value:
            raise RuntimeError(f"header {name!r} would hold a line break")
        parts += (name, b": ", value, b"\r\n")
    if not keep:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    return b"".join(parts)


def _nothing() -> None:
    pass
