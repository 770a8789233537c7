"""How searches from two threads scale: queries per second of one thread, of two, and their ratio.

One command, half a minute: python tests/bench/threads.py [--rows 100000] [--dim 128] [--seconds 3]

Single queries, as a server answers them: through the index, exactly, and gathered under a filter used before. FAISS and
NumPy run on one thread each, so that the only gain is that of our threads. On k free cores 2 threads reach a ratio of
min(2, k) where nothing holds the global interpreter lock; what is missing is Python between the calls into C.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles


def rate(act: Callable[[int], object], threads: int, seconds: float) -> float:
    """Calls per second of all threads together."""
    stop = time.perf_counter() + seconds
    done = [0] * threads

    def work(number: int) -> None:
        faiss.omp_set_num_threads(1)  # of this thread
        while time.perf_counter() < stop:
            act(done[number] + 7919 * number)
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((options.rows, options.dim)).astype(np.float32)
    queries = rng.standard_normal((1000, options.dim)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        space = VectorSpace(SpaceFiles.create(Path(folder) / "s", space="s", dim=options.dim, metric="l2"))
        space.add([str(i) for i in range(options.rows)], vectors, {"part": np.arange(options.rows) % 100})
        space.build_index("ivf", target_recall=0.9)
        ways: dict[str, Callable[[int], object]] = {
            "index": lambda i: space.search(queries[i % 1000], 10),
            "exact": lambda i: space.search(queries[i % 1000], 10, recall=1.0),
            "filtered": lambda i: space.search(queries[i % 1000], 10, where="part = 7"),
        }
        for name, act in ways.items():
            rate(act, 1, options.seconds / 3)  # warms caches
            one, two = rate(act, 1, options.seconds), rate(act, 2, options.seconds)
            sys.stdout.write(f"{name}: 1 thread {one:,.0f}/s, 2 threads {two:,.0f}/s, ratio {two / one:.2f}\n")


if __name__ == "__main__":
    main()
