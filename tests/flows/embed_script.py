"""Embeds in a process of its own, one piece per line on stdin, and writes down what was encoded. Killed by the test.

usage: embed_script.py CONFIG.toml LOG [paced]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Lock

from flows.config import load_config
from flows.embed import embed_items
from flows.workspace import Workspace
from latentstore.encoders import Encoder
from latentstore.types import Array


class Written(Encoder):
    """The encoder, with a line in a file for each call: how many items."""

    log: Path
    paced = False
    turn = Lock()

    def encode(self, items: Array) -> Array:
        if self.paced:
            with self.turn:  # two threads in one readline may leave lines to the one and the other without
                sys.stdin.readline()
        with self.log.open("a") as file:
            file.write(f"{len(items)}\n")
        return super().encode(items)


def main() -> None:
    config = load_config(sys.argv[1])
    Written.log, Written.paced = Path(sys.argv[2]), len(sys.argv) > 3
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # how far it runs ahead depends on the cores
    with Workspace(config) as work:
        (fingerprint,) = work.store.encoders
        work.store._encoders[fingerprint] = Written(work.store.encoder(fingerprint).model)
        embed_items(work)


main()
