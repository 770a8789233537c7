"""HTTP with a bound on what comes before the body: the parser itself would hold a header of any length."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 64 << 10  # bytes of a request line and its headers


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers are larger than `HEAD`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._inside, self._received, self._begun = False, 0, 0

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection. What a request came with before its head began belongs to the one before."""
        begun = self._begun
        super().data_received(data)
        if self._inside and self._begun == begun:
            self._received += len(data)
            if self._received > HEAD:
                self._refuse()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside, self._received, self._begun = True, 0, self._begun + 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header is there."""
        if len(name) + len(value) > HEAD or len(self.headers) > 256:
            raise ValueError("too many or too large headers")  # which the parser hands on as a malformed request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._inside = False
        super().on_headers_complete()

    def _refuse(self) -> None:
        transport: asyncio.Transport | None = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            transport.close()
