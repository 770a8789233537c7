"""What SQL adds to a search: `neighbours` joined to metadata, and a lateral join of a thousand queries.

One command, about a minute: python tests/bench/sql.py [--rows 1000000] [--dim 128] [--rounds 30]

In one process, alternately: the bare search; one query through `neighbours` joined to its space's metadata, in this
process and in the sandbox; 1000 queries in a lateral join beside one batch search of the same vectors. Every query is
another one. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

import latentstore as ls

ONE = "SELECT n.id, n.distance, m.label, m.price FROM neighbours('rows', $q, 10) n JOIN rows m USING (id)"
MANY = "SELECT q.id, n.id AS near, n.distance FROM queries q, neighbours('rows', q.vector, 10) n"


def make(folder: Path, n: int, dim: int) -> ls.LatentStore:
    """Rows in clusters, six metadata columns, an index; and a space of 1000 queries."""
    generator = np.random.default_rng(0)
    store = ls.open(folder)
    space, queries = store.create_space("rows", dim=dim), store.create_space("queries", dim=dim)
    centres = generator.normal(size=(2000, dim)).astype(np.float32)

    def draw(m: int) -> tuple[np.ndarray, np.ndarray]:
        cluster = generator.integers(0, len(centres), m)
        return cluster, centres[cluster] + generator.normal(size=(m, dim)).astype(np.float32) * 0.6

    for first in range(0, n, 250_000):
        m = min(250_000, n - first)
        cluster, vectors = draw(m)
        metadata = {
            "label": [f"class {c % 50}" for c in cluster],
            "price": generator.random(m),
            "stock": generator.integers(0, 1000, m),
            "name": [f"thing {i}" for i in range(first, first + m)],
            "sold": generator.random(m) < 0.3,
            "year": generator.integers(1990, 2026, m),
        }
        space.add([f"item/{i}" for i in range(first, first + m)], vectors, pa.table(metadata))
    queries.add([f"q/{i}" for i in range(1000)], draw(1000)[1])
    space.build_index(target_recall=0.95)
    return store


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--store", type=Path, help="made there, or used if it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.store or Path(scratch) / "bench.store"
        store = ls.open(folder, "r") if folder.exists() else make(folder, given.rows, given.dim)
        space = store.space("rows")
        vectors = store.space("queries").to_arrow()["vector"].combine_chunks()
        batch = np.asarray(vectors.values).reshape(-1, space.dim)
        times: dict[str, list[float]] = {}
        for round_number in range(-given.rounds, given.rounds):  # the first half warms up
            q = batch[round_number % len(batch)]
            acts: dict[str, Callable[[], object]] = {
                "search": lambda q=q: space.search(q, 10),
                "join here": lambda q=q: store.sql(ONE, {"q": q}, sandbox=False),
                "join in the sandbox": lambda q=q: store.sql(ONE, {"q": q}),
            }
            if round_number % 3 == 0:
                acts |= {
                    "batch of 1000": lambda: space.search(batch, 10),
                    "lateral here": lambda: store.sql(MANY, sandbox=False),
                    "lateral in the sandbox": lambda: store.sql(MANY),
                }
            for name, act in acts.items():
                taken = timed(act)
                if round_number >= 0:
                    times.setdefault(name, []).append(taken)
        for name, values in times.items():
            base = statistics.median(
                times["search" if "join" in name else "batch of 1000" if "here" in name or "sandbox" in name else name]
            )
            middle = statistics.median(values)
            sys.stdout.write(
                f"{name:24} median {middle:8.2f} ms  least {min(values):8.2f}  ratio {middle / base:6.2f}\n"
            )


if __name__ == "__main__":
    main()
