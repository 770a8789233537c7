"""What stands before a body: the headers of a request, and those of an answer."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Headers = tuple[tuple[bytes, bytes], ...]

NO_SNIFFING = (b"x-content-type-options", b"nosniff")
ALWAYS: Headers = (NO_SNIFFING, (b"cache-control", b"no-store"))


def text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    """The value of a header, None without it."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def answer_headers(media: str, length: int, asked: str, more: Iterable[tuple[bytes, bytes]] = ALWAYS) -> Headers:
    """Headers of an answer to the request of an id.

    Args:
        media: Type of the body.
        length: Its bytes.
        asked: The request's id.
        more: Further ones.
    """
    return (
        (b"content-type", media.encode()),
        (b"content-length", str(length).encode()),
        (b"x-request-id", asked.encode()),
        *more,
    )
