"""How much of the bare encoder's speed `embed` keeps, with everything it writes made durable.

One command, some minutes: python tests/bench/embed_throughput.py [--kind autoencoder] [--items 70000] [--rounds 5]

In one process, alternately: the bare encoder over all items as one array in memory, and `embed` of the same items
into a new space (reading, hashing, comparing, encoding, Parquet, fsync, commit; the dataset is open, as the array is).
Prints images per second of each and their ratio (medians over rounds), by wall time and by CPU time of the process.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flows.config import parse_config
from flows.embed import embed_items
from flows.train import train_encoder
from flows.workspace import Workspace


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="autoencoder")
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--items", type=int, default=70_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    bare: list[tuple[float, float]] = []
    flow: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        options = {} if given.kind == "pca" else {"epochs": 1}
        document = {
            "store": str(Path(folder) / "a.store"),
            "space": "bench",
            "dataset": {"name": "fashion_mnist", "limit": given.items},
            "encoder": {"kind": given.kind, "dim": given.dim, **options},
        }
        with Workspace(parse_config(document)) as first:
            fingerprint = train_encoder(first).fingerprint
            encoder, dataset = first.store.encoder(str(fingerprint)), first.dataset
        items = dataset.read(np.arange(len(dataset)))
        encode = encoder.posterior if given.kind == "vae" else encoder.encode
        encode(items[:4096])
        for number in range(given.rounds):
            bare.append(timed(lambda: encode(items)))
            with Workspace(parse_config({**document, "space": f"bench_{number}"})) as work:
                work.dataset, work.store._encoders[str(fingerprint)] = dataset, encoder
                flow.append(timed(lambda work=work: embed_items(work)))
                assert len(work.made_space) == len(items)
                made = work.made_space.files.folder
            shutil.rmtree(made)  # else each round is dearer: memory that was never used before holds its files
    n = len(items)
    for what, index in (("wall", 0), ("CPU", 1)):
        a, b = (statistics.median(one[index] for one in times) for times in (bare, flow))
        ratio = statistics.median(x[index] / y[index] for x, y in zip(bare, flow, strict=True))
        rates = f"bare {n / a:,.0f} images/s, embed {n / b:,.0f} images/s, ratio {ratio:.3f}"
        sys.stdout.write(f"{given.kind} {what}: {rates}\n")


if __name__ == "__main__":
    main()
