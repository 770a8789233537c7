"""A process that searches: `python -m latentstore.server.search_process FD STORE`, started by `searchers`.

It answers batches of queries over a socket, one after the other, and ends when the other side does.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from typing import Any

import msgspec
import numpy as np

from latentstore.errors import LatentStoreError
from latentstore.index import one_thread
from latentstore.server.answers import encoded_hits, identity
from latentstore.server.logs import set_up
from latentstore.space import EmbeddingSpace
from latentstore.sql import wire
from latentstore.store import LatentStore, open_store

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
FOUND, REFUSED = _encode({"refused": False}), _encode({"refused": True})

log = logging.getLogger("latentstore.server")


def main() -> None:
    """Serve until the other side closes."""
    link, store = socket.socket(fileno=int(sys.argv[1])), open_store(sys.argv[2], mode="r")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    set_up("warning")
    one_thread()  # a batch is short, and the other cores have work
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side is gone
        _serve(link, store)


def _serve(link: socket.socket, store: LatentStore) -> None:
    spaces: dict[str, EmbeddingSpace] = {}
    with link, link.makefile("rb") as reader:
        while len(sizes := reader.read(wire.SIZES.size)) == wire.SIZES.size:
            head_size, body_size = wire.SIZES.unpack(sizes)
            asked, body = _decode(reader.read(head_size)), reader.read(body_size)
            if "spaces" in asked:
                spaces = _opened(store, asked["spaces"], spaces)
                _send(link, _encode({"holding": {name: identity(space) for name, space in spaces.items()}}))
                continue
            try:
                queries = np.frombuffer(body, np.float32).reshape(asked["queries"], -1)
                answers = encoded_hits(spaces[asked["space"]], queries, asked["k"])
            except LatentStoreError:
                _send(link, REFUSED)
            else:
                _send(link, FOUND, answers)


def _send(link: socket.socket, head: bytes, body: bytes = b"") -> None:
    link.sendall(wire.SIZES.pack(len(head), len(body)) + head + body)


def _opened(
    store: LatentStore, versions: dict[str, tuple[int, str]], known: dict[str, EmbeddingSpace]
) -> dict[str, EmbeddingSpace]:
    """The spaces at these versions, as far as they can be opened: of the others the loop says what is wrong."""
    found = {}
    for name, (version, wanted) in versions.items():
        space = known.get(name)
        try:
            if space is None or (space.version == version and identity(space) != wanted):
                space = store.space(name, at=version)
            elif space.version != version:
                space = space.opened_at(version)
            _ = space.searcher.index, space.searcher.unindexed
        except LatentStoreError as error:
            log.warning("a space is searched by the service itself", extra={"space": name, "error": str(error)})
            continue
        found[name] = space
    return found


if __name__ == "__main__":
    main()
