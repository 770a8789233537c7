"""HTTP with a bound on what comes before the body, which the parser would hold at any length.

A request that came whole is shown to `Direct` before a task is made of it; one whose head `Direct` knows, before it is
parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from latentstore.server.heads import ALWAYS, Headers, answer_headers
from latentstore.server.replying import InOnePiece, in_bytes, reply_as_json
from latentstore.server.routes import JSON

if TYPE_CHECKING:
    from latentstore.server.direct import Direct

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
        self._since, self._closing = 0.0, False  # when it began to wait for a request; whether the server ends
        self._defaults: Any = None
        self._head = b""  # of an answer, with them

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        super().connection_made(transport)
        self.flow = _BoundedFlow(transport, self.pipeline)

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection. What a request came with before its head began belongs to the one before."""
        if self._later is not None:
            self._later += data
            self.flow.pause_reading()
        elif not self._take_known(data):
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        idle, begun, self._feeding = self._idle, self._begun, True
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
        elif self._waits_for_request and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._wait()  # for the rest of a head, no longer than for its beginning

    @property
    def _waits_for_request(self) -> bool:
        return self._later is None and (self.cycle is None or self.cycle.response_complete)

    @property
    def _idle(self) -> bool:
        return self._between and self._waits_for_request

    def _take_known(self, data: bytes) -> bool:
        """Whether the next request is a search whose head was read before: only its body is then."""
        start = data.find(b"\r\n\r\n") + 4
        head = self._direct.known.get(data[:start])
        if head is None or not self._idle or self.flow.write_paused or self.transport.is_closing():
            return False
        end = start + head.length
        if len(data) < end or not self._direct.search(
            head, data[start:end], self._reply_known, partial(self._answer_known_in_task, data[:end])
        ):
            return False
        self._later = data[end:]
        if self._later:  # enough for now
            self.flow.pause_reading()
        return True

    def _reply_known(self, asked: str, body: bytes, status: int = 200, more: Headers = ALWAYS) -> None:
        later, self._later = self._later, None
        if self.transport.is_closing():
            return
        last = self._closing and not later
        if status != 200 or last:
            headers = answer_headers(JSON, len(body), asked, more)
            answer = in_bytes(self.server_state.default_headers, headers, body, status, keep=not last)
        else:  # ever the same, but for three of its parts; the date is made anew every second
            if self._defaults is not self.server_state.default_headers:
                self._defaults = self.server_state.default_headers
                self._head = in_bytes(self._defaults, ((b"content-type", JSON.encode()), *ALWAYS), b"")[:-2]
            answer = b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (
                self._head,
                len(body),
                asked.encode(),
                body,
            )
        self.transport.write(answer)
        self.server_state.total_requests += 1
        if last:
            self.transport.close()
            return
        self._since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait()
        self._go_on(later)

    def _answer_known_in_task(self, data: bytes) -> None:
        later, self._later = self._later, None
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._go_on(later)

    def _go_on(self, later: bytes | None) -> None:
        """With what came since. While whole searches wait nothing more is read, or they would be ever more."""
        if not later or not self._take_known(later):
            self.flow.resume_reading()
            if later:
                self._parse(later)
        if self._closing and self._later is None:
            super().shutdown()

    def _wait(self) -> None:
        """For a request."""
        self._since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for long: one timer for all searches whose heads are known."""
        left = self.timeout_keep_alive - (self.loop.time() - self._since)
        if self._later is not None or left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(max(left, 1), self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """The server ends: after the answers that the connection waits for, if it does."""
        self._closing = True
        if self._later is None:
            super().shutdown()

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
        head = self._direct.take(scope, cycle.body, partial(reply_as_json, cycle), ordinary) if at_once else None
        if head is None:
            ordinary()
        elif len(whole) == (end := whole.find(b"\r\n\r\n") + 4) + head.length and cycle.keep_alive:
            self._direct.keep(whole[:end], scope, head)

    def _answer_in_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, InOnePiece(cycle)))

    def _refuse(self) -> None:
        transport: asyncio.Transport | None = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            transport.close()


class _BoundedFlow(FlowControl):
    """Reads no further while whole requests wait: uvicorn does after each answer, and has ever more of them.

    Args:
        transport: The connection's.
        waiting: Requests that were read.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """When the last of them is begun."""
        if not self._waiting:
            super().resume_reading()


def _nothing() -> None:
    pass
