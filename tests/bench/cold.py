"""A new process that opens a system and answers one query; started by `measure`, speaks JSON on its last line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Arguments: the task as JSON (system, folder, dim, metric, rows, setting, queries)."""
    task = json.loads(sys.argv[1])
    queries = np.load(task["queries"])
    started = time.time()

    from tests.bench.adapters import Place, make
    from tests.bench.clock import memory

    system = make(task["system"], Place(Path(task["folder"]), task["dim"], task["metric"], task["rows"]))
    imported = time.time()
    system.open()
    opened = time.time()
    system.search(queries[0], 10, task["setting"])
    answered = time.time()
    first = memory()
    for query in queries:
        system.search(query, 10, task["setting"])
    times = {"started": started, "imported": imported, "opened": opened, "answered": answered}
    sys.stdout.write("\n" + json.dumps({**times, "memory_first": first, "memory": memory()}) + "\n")
    sys.stdout.flush()
    system.close()


if __name__ == "__main__":
    main()
