"""The process in which untrusted SQL runs: `python -m latentstore.sql.worker FD`, started by `sandbox`.

It answers queries about one store over a socket, one after the other, and ends when the other side does.
"""

from __future__ import annotations

import os
import queue
import signal
import site
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

import latentstore
from latentstore.errors import LatentStoreError, NotSupported
from latentstore.index import blocks, scan
from latentstore.space import EmbeddingSpace
from latentstore.sql import confine, wire
from latentstore.sql.connection import default_threads
from latentstore.sql.engine import Engine
from latentstore.sql.limits import Limits
from latentstore.storage import StoreFiles

WATCH = 5.0  # seconds between looks at whether the parent is there
GRACE = 1.0  # seconds between asking a query to stop and ending the process


def main() -> None:
    """Serve until the other side closes."""
    parent = os.getppid()
    link = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    first, _ = wire.receive(link, None)
    folder, limits = Path(first["store"]), Limits(**first["limits"])
    _warm()
    budget = confine.Budget()
    confine.forbid_writing()
    landlock = confine.forbid_files([folder, *_libraries()])
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(link, requests), daemon=True).start()
    try:
        files = StoreFiles(folder, "r")
    except LatentStoreError as error:
        wire.send(link, {"error": wire.error_as_json(error), "retire": True})
        return
    engine = Engine(files, lambda name, at: EmbeddingSpace(files.space(name), at=at, load_encoder=_no_encoder), limits)
    wire.send(link, {"landlock": landlock})
    while True:
        try:
            request = requests.get(timeout=WATCH)
        except queue.Empty:
            if os.getppid() != parent:  # a fork of the parent may hold the other end of the link open
                return
            continue
        _answer(link, engine, budget, request)


def _warm() -> None:
    """Compare many vectors: BLAS takes its buffers on first use, and would crash if that had to fit into a query."""
    vectors = np.ones((2048, 64), np.float32)
    _ = vectors[:512] @ vectors.T
    scan(blocks(vectors, np.arange(len(vectors)), None), vectors[:512], 10, "l2")


def _answer(link: socket.socket, engine: Engine, budget: confine.Budget, request: dict[str, Any]) -> None:
    limits = engine.limits
    body: pa.Buffer | bytes = b""
    head: dict[str, Any] = {}

    def ready() -> None:
        budget.start(seconds=limits.seconds + GRACE, memory=limits.memory + limits.result, threads=default_threads())
        wire.send(link, {"running": True})

    try:
        table = engine.run(request["query"], request["parameters"], request["versions"], ready)
        budget.stop()
        body = wire.write_table(table)
        head = {"rows": len(table)}
    except LatentStoreError as error:
        head = {"error": wire.error_as_json(error), "retire": engine.stopped}
    finally:
        budget.stop()
    wire.send(link, head, body)


def _listen(link: socket.socket, requests: queue.Queue[dict[str, Any]]) -> None:
    """Read requests all the time, so that the end of the other side is seen while a query runs, too."""
    try:
        while True:
            requests.put(wire.receive(link, None)[0])
    finally:
        os._exit(0)


def _libraries() -> list[Path]:
    """Where code is read from; some of it is read when it is first used."""
    folders = [sys.prefix, sys.base_prefix, *site.getsitepackages(), str(Path(latentstore.__file__).parent)]
    system = ["/usr/lib", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/sys/devices/system"]
    asked_by_duckdb = [str(confine.CGROUP), "/sys/fs/cgroup"]  # how much memory and how many processors there are
    listed = dict.fromkeys(Path(folder).resolve() for folder in (*folders, *system, *asked_by_duckdb))
    return [path for path in listed if path.exists() and path != Path("/")]


def _no_encoder(fingerprint: str) -> Any:
    raise NotSupported(f"SQL does not load encoder {fingerprint}; decode in Python")


if __name__ == "__main__":
    main()
