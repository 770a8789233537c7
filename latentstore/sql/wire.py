"""What passes between a process and those beside it: frames of JSON, and bytes (results as Arrow IPC); never pickle."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import pyarrow as pa

from latentstore import errors
from latentstore.errors import LatentStoreError, StorageError

MAX_HEAD = 64 << 20  # bytes of one frame of JSON; a query has a million characters at most, but parameters besides
SIZES = struct.Struct("<QQ")
SHORT = 1 << 16  # bytes of a body that is sooner copied than sent and received by calls of its own


class Closed(Exception):
    """The other end is gone."""


def send(link: socket.socket, head: dict[str, Any], body: pa.Buffer | bytes = b"") -> None:
    """Send one frame: JSON, and bytes after it."""
    text = json.dumps(head).encode()
    start = SIZES.pack(len(text), len(body)) + text
    try:
        if len(body) > SHORT:
            link.sendall(start)
            link.sendall(memoryview(body))
        else:  # in one piece, which wakes the other end once
            link.sendall(start + bytes(body))
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def receive(link: socket.socket, deadline: float | None, most: int = 0) -> tuple[dict[str, Any], bytearray]:
    """Receive one frame.

    Args:
        link: From it.
        deadline: On the monotonic clock; None waits as long as the socket does.
        most: Bytes that the body may have.

    Raises:
        Closed: The other end is gone.
        TimeoutError: Nothing whole arrived in time.
        ValueError: More than it may be.
    """
    head_size, body_size = SIZES.unpack(_exactly(link, SIZES.size, deadline))
    if head_size > MAX_HEAD or body_size > most:
        raise ValueError(f"a frame of {head_size} + {body_size} bytes; at most {MAX_HEAD} + {most} are read")
    if body_size > SHORT:
        return json.loads(_exactly(link, head_size, deadline)), _exactly(link, body_size, deadline)
    content = _exactly(link, head_size + body_size, deadline)
    return json.loads(content[:head_size]), content[head_size:]


def _exactly(link: socket.socket, size: int, deadline: float | None) -> bytearray:
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
        try:
            count = link.recv_into(view[got:])
        except ConnectionResetError as error:
            raise Closed from error
        if not count:
            raise Closed
        got += count
    return content


def write_table(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def read_table(content: bytearray) -> pa.Table:
    """The inverse, checked: whoever wrote it is not trusted."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"the sandbox sent what is no Arrow table ({error}); run the query again") from error
    return table


def error_as_json(error: LatentStoreError) -> dict[str, str]:
    """One of our errors as JSON."""
    return {"type": type(error).__name__, "message": str(error)}


def error_from_json(given: dict[str, str]) -> LatentStoreError:
    """The error that `error_as_json` wrote."""
    kind = getattr(errors, given["type"], None)
    if isinstance(kind, type) and issubclass(kind, LatentStoreError) and "__init__" not in vars(kind):
        return kind(given["message"])
    return LatentStoreError(given["message"])
