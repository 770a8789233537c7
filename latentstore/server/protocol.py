"""HTTP with a bound on what comes before the body, which the parser would hold at any length; answers in one piece.

A request that came whole is shown to `Direct` before a task is made of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

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

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection. What a request came with before its head began belongs to the one before."""
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
            self._answer(*ready)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; as after a task, the last request must not hold its connection."""
        super().connection_lost(exc)
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.on_response = _nothing

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside, self._received, self._begun = True, 0, self._begun + 1
        super().on_message_begin()

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

    def _answer(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Without a task if the whole request is there and can be answered so."""
        scope: Any = cycle.scope
        ordinary = partial(self._answer_in_task, cycle, app)
        # Nothing waits for who does not read: one answer at most is held for a connection whose buffer is full.
        at_once = not (cycle.more_body or cycle.flow.write_paused or self.transport.is_closing()) and app is self.app
        if not at_once or not self._direct.take(scope, cycle.body, partial(_reply, cycle), ordinary):
            ordinary()

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


def _reply(cycle: RequestResponseCycle, headers: Iterable[tuple[bytes, bytes]], body: bytes, status: int = 200) -> None:
    """Send an answer, unless the caller went away."""
    if cycle.transport.is_closing():
        cycle.disconnected = True  # which uvicorn tells only the last request of a connection
    if cycle.disconnected:
        return
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        if b"\n" in value or b"\r" in value:
            raise RuntimeError(f"header {name!r} would hold a line break")
        parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.transport.write(b"".join(parts))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    if len(cycle.body) > SMALL:
        cycle.body = bytearray()  # an idle connection keeps its last request
    cycle.on_response()


def _nothing() -> None:
    pass
