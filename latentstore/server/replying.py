"""Answers in one piece, head and body: a call of the system less."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from latentstore.server.heads import ALWAYS, Headers, answer_headers
from latentstore.server.routes import JSON

SMALL = 4096


class InOnePiece:
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
        reply(cycle, head["headers"], message["body"], head["status"])


def reply_as_json(
    cycle: RequestResponseCycle, asked: str, body: bytes, status: int = 200, more: Headers = ALWAYS
) -> None:
    """Send an answer to the request of an id; see `direct.Reply`."""
    reply(cycle, answer_headers(JSON, len(body), asked, more), body, status)


def reply(cycle: RequestResponseCycle, headers: Iterable[tuple[bytes, bytes]], body: bytes, status: int) -> None:
    """Send an answer, unless the caller went away."""
    if cycle.transport.is_closing():
        cycle.disconnected = True  # which uvicorn tells only the last request of a connection
    if cycle.disconnected:
        return
    answer = in_bytes(cycle.default_headers, headers, body, status, keep=cycle.keep_alive)
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.transport.write(answer)
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    if len(cycle.body) > SMALL:
        cycle.body = bytearray()  # an idle connection keeps its last request
    cycle.on_response()


def in_bytes(
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
