"""What SQL adds to a search: `neighbours` joined to metadata, and a lateral join of a thousand queries.

One command, some minutes: python -m tests.bench.sql [--workload synthetic] [--rows 1000000] [--rounds 30]

In one process, alternately: the bare search; one query through `neighbours` joined to its space's metadata, in this
process and in the sandbox; 1000 queries in a lateral join (joined to their hits' metadata, too) beside one batch search
of the same vectors. Every query is another one. Prints medians and ratios.
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

import latentstore as ls
from tests.bench.workloads import SIZES, Workload, load

ONE = "SELECT n.id, n.distance, m.label, m.price FROM neighbours('rows', $q, 10) n JOIN rows m USING (id)"
MANY = "SELECT q.id, n.id AS near, n.distance FROM queries q, neighbours('rows', q.vector, 10) n"
LABELLED = (
    "SELECT q.id, n.distance, m.label, m.price FROM queries q, neighbours('rows', q.vector, 10) n "
    "JOIN rows m ON m.id = n.id"
)


def make(folder: Path, workload: Workload) -> ls.LatentStore:
    """A space of the workload with an index, and one of a thousand of its queries."""
    store = ls.open(folder)
    dim = workload.queries.shape[1]
    space, queries = (store.create_space(name, dim=dim, metric=workload.metric) for name in ("rows", "queries"))
    n = len(workload.vectors)
    for first in range(0, n, 250_000):
        part = slice(first, first + 250_000)
        ids = [f"item/{i}" for i in range(n)[part]]
        space.add(ids, workload.vectors[part], workload.metadata[:n][part])
    queries.add([f"q/{i}" for i in range(1000)], workload.queries[:1000])
    space.build_index(target_recall=workload.target)
    return store


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=SIZES, default="synthetic")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--store", type=Path, help="made there, or used if it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.store or Path(scratch) / "bench.store"
        store = ls.open(folder, "r") if folder.exists() else make(folder, load(given.workload, given.rows, 0))
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
                    "lateral, with metadata here": lambda: store.sql(LABELLED, sandbox=False),
                }
            for name, act in acts.items():
                taken = timed(act)
                if round_number >= 0:
                    times.setdefault(name, []).append(taken)
        for name, values in times.items():
            base = statistics.median(
                times["search" if "join" in name else "batch of 1000" if "lateral" in name else name]
            )
            middle = statistics.median(values)
            sys.stdout.write(
                f"{name:28} median {middle:8.2f} ms  least {min(values):8.2f}  ratio {middle / base:6.2f}\n"
            )


if __name__ == "__main__":
    main()
