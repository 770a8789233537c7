"""How much of the bare encoder's speed `embed` keeps, with everything it writes made durable.

One command, some minutes:

    python tests/bench/embed_throughput.py [--kind autoencoder] [--architecture conv] [--items 70000] [--rounds 5]

In one process, alternately: the torch module called once with all items as one float tensor ("module"),
`Encoder.encode` of all items as one array, which it cuts so that activations stay in the cache ("encode"), and `embed`
of the same items into a new space (reading, hashing, comparing, encoding, Parquet, fsync, commit; the dataset is open,
as the array is). Prints images per second of each and what embed keeps of the other two (medians over rounds), by wall
time and by CPU time of the process.
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
import torch

from flows.config import parse_config
from flows.embed import embed_items
from flows.train import train_encoder
from flows.workspace import Workspace
from latentstore.encoders.items import to_tensor


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="autoencoder")
    parser.add_argument("--architecture", choices=("mlp", "conv"), help="what the kind takes by itself, by default")
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--items", type=int, default=70_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {"module": [], "encode": [], "embed": []}
    with tempfile.TemporaryDirectory() as folder:
        options = {} if given.kind == "pca" else {"epochs": 1}
        options |= {"architecture": given.architecture} if given.architecture else {}
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
        name = "posterior" if given.kind == "vae" else "encode"
        encode, module = getattr(encoder, name), getattr(encoder.model, name)
        tensor = to_tensor(items, torch.device("cpu")).contiguous()
        encode(items[:4096])
        for number in range(given.rounds):
            with torch.inference_mode():
                times["module"].append(timed(lambda: module(tensor)))
            times["encode"].append(timed(lambda: encode(items)))
            with Workspace(parse_config({**document, "space": f"bench_{number}"})) as work:
                work.dataset, work.store._encoders[str(fingerprint)] = dataset, encoder
                times["embed"].append(timed(lambda work=work: embed_items(work)))
                assert len(work.made_space) == len(items)
                made = work.made_space.files.folder
            shutil.rmtree(made)  # else each round is dearer: memory that was never used before holds its files
    for number, what in enumerate(("wall", "CPU")):
        seconds = {way: [one[number] for one in rounds] for way, rounds in times.items()}
        rates = ", ".join(f"{way} {len(items) / statistics.median(one):,.0f}/s" for way, one in seconds.items())
        kept = {
            way: statistics.median(x / y for x, y in zip(seconds[way], seconds["embed"], strict=True))
            for way in ("module", "encode")
        }
        ratios = ", ".join(f"{ratio:.3f} of {way}" for way, ratio in kept.items())
        sys.stdout.write(f"{given.kind} {what}: {rates}; embed keeps {ratios}\n")


if __name__ == "__main__":
    main()
