"""latentstore and bare FAISS in one process, by turns: a ratio that a busy machine does not bend."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import workloads
from tests.bench.adapters import Place, make
from tests.bench.clock import median, milliseconds
from tests.bench.workloads import TUNING, K

ROUNDS = 20
PER_ROUND = 20


def main() -> None:
    """Arguments: the task as JSON: workload, data, out, places and settings of both."""
    task = json.loads(sys.argv[1])
    data, limits = workloads.saved(task["workload"], Path(task["data"]))
    n, dim = data.vectors.shape
    queries = data.queries[TUNING:]
    single: dict[str, list[float]] = {}
    batch: dict[str, list[float]] = {}
    systems = {}
    for name, given in task["systems"].items():
        systems[name] = make(name, Place(Path(given["place"]), dim, data.metric, n))
        systems[name].open()
        for query in queries[:50]:
            systems[name].search(query, K, given["setting"])
        single[name], batch[name] = [], []
    for turn in range(ROUNDS):
        mine = queries[np.arange(turn * PER_ROUND, (turn + 1) * PER_ROUND) % len(queries)]
        for name, system in systems.items():
            search = partial(system.search, k=K, setting=task["systems"][name]["setting"])
            single[name] += milliseconds([partial(search, query) for query in mine], 60)
            if turn < 5:
                batch[name] += milliseconds([partial(search, queries)] * 3, 0)
    found: dict[str, Any] = {}
    for name, system in systems.items():
        answers = system.numbers(system.search(queries, K, task["systems"][name]["setting"]), len(queries), K)
        recall = data.recall(queries, answers, limits["everything"][TUNING:])
        rate = 1e3 * len(queries) / median(batch[name])
        found[name] = {"single_ms": median(single[name]), "batch_s": rate, "recall": recall}
    ours, bare = found["latentstore"], found["faiss"]
    found["single_ratio"] = ours["single_ms"] / bare["single_ms"]
    found["batch_ratio"] = ours["batch_s"] / bare["batch_s"]
    Path(task["out"]).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
