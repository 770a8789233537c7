"""One system on one workload, in its own process: `reads` (ingest to cold open) or `writes` (appends to deletes).

Started by `python -m tests.bench`. After each phase the results so far are written out, so that a system which hangs
still shows what it did and where it stopped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import workloads
from tests.bench.adapters import Place, System, make
from tests.bench.adapters.base import Filter, Rows, Setting
from tests.bench.clock import Durable, disk_bytes, median, memory, milliseconds
from tests.bench.workloads import FILTERS, TUNING, K


class Run:
    """A system, a workload, and the results so far.

    Attributes:
        task: system, workload, place and data (folders), out (file), seconds (budget of one timing loop), appends.
        results: What has been measured; `phase` is what is being done.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.out = Path(task["out"])
        self.results: dict[str, Any] = json.loads(self.out.read_text()) if self.out.exists() else {}
        self.data, self.limits = workloads.saved(task["workload"], Path(task["data"]))
        n, dim = self.data.vectors.shape
        self.place = Place(Path(task["place"]), dim, self.data.metric, n)
        self.place.folder.mkdir(parents=True, exist_ok=True)
        self.system: System = make(task["system"], self.place)
        self.durable = Durable(self.place.folder)

    def note(self, phase: str, **found: Any) -> None:
        """Keep results and say what comes next."""
        self.results |= {**found, "phase": phase}
        partly = self.out.with_suffix(".part")
        partly.write_text(json.dumps(self.results, indent=1))
        partly.replace(self.out)

    def timed(self, act: Any) -> float:
        """Seconds until an act is done and durable."""
        started = time.perf_counter()
        act()
        if not self.system.durable:
            self.durable.sync()
        return time.perf_counter() - started

    # Reads

    def reads(self) -> None:
        """Ingest, build, tune, search, filter, open cold."""
        self.note("ingest", version=self.system.version())
        self.system.create()
        rows = self.data.rows()
        rows = Rows(rows.numbers, np.array(rows.vectors), rows.metadata)  # in memory, as a caller has them
        seconds = self.timed(lambda: self.system.add(rows))
        self.note("build", ingest_s=seconds, ingest_rows_s=len(rows.numbers) / seconds)
        del rows
        started = time.perf_counter()
        described = self.system.build()
        self.durable.sync()
        self.note("search", build_s=time.perf_counter() - started, index=described)
        setting = self.tune()
        self.search(setting)
        self.filters(setting)
        self.note("cold open", disk_mb=disk_bytes(self.place.folder) / 1e6, memory=memory())
        self.system.close()
        self.cold(setting)
        self.note("read")

    def tune(self) -> Setting:
        """The first setting that reaches the target on the tuning queries; the best one where none does."""
        queries, limit = self.data.queries[:TUNING], self.limits["everything"][:TUNING]
        curve: list[dict[str, Any]] = []
        for setting in self.system.settings(self.data.target):
            answers = self.answers(queries, setting)
            recall = self.data.recall(queries, answers, limit)
            times = milliseconds(self._singles(queries, setting), self.task["seconds"] / 3)
            curve.append({"setting": setting, "recall": recall, "single_ms": median(times)})
            if recall >= self.data.target + 0.02:
                break
        good = [point for point in curve if point["recall"] >= self.data.target + 0.002]
        best = min(good, key=lambda p: p["single_ms"]) if good else max(curve, key=lambda p: p["recall"])
        self.note("search", curve=curve, setting=best["setting"])
        return dict(best["setting"])

    def answers(self, queries: np.ndarray, setting: Setting, where: Filter | None = None) -> np.ndarray:
        """Item numbers (m, K) of a batch."""
        return self.system.numbers(self.system.search(queries, K, setting, where), queries.size // self.place.dim, K)

    def _singles(self, queries: np.ndarray, setting: Setting, where: Filter | None = None) -> list[Any]:
        return [partial(self.system.search, query, K, setting, where) for query in queries]

    def search(self, setting: Setting) -> None:
        """Single p50, batch throughput and recall on queries that the setting was not chosen on."""
        queries, limit = self.data.queries[TUNING:], self.limits["everything"][TUNING:]
        seconds = self.task["seconds"]
        used = time.process_time()
        times = milliseconds(self._singles(queries, setting), seconds)
        used = 1e3 * (time.process_time() - used) / len(times)  # what other programs do does not lengthen it
        # A block that a slow system can do: what it would do in the budget, at most all queries.
        block = queries[: int(np.clip(1e3 * seconds / median(times), 10, len(queries)))]
        batches = milliseconds([partial(self.system.search, block, K, setting)] * 5, seconds)
        recall = self.data.recall(block, self.answers(block, setting), limit[: len(block)])
        rate = 1e3 * len(block) / median(batches)
        p95 = float(np.quantile(times, 0.95))
        self.note("filters", single_ms=median(times), single_p95_ms=p95, single_cpu_ms=used)
        self.note("filters", batch_s=rate, recall=recall, batch=len(block))

    def filters(self, setting: Setting) -> None:
        """For each filter: recall, rows returned, p50 when it was used before and when it is seen the first time."""
        found: dict[str, Any] = {}
        queries = self.data.queries[TUNING:]
        for name, filter_of in FILTERS.items():
            where = filter_of(0)
            limit = self.limits[name][TUNING:]
            first = milliseconds(self._singles(queries[:1], setting, where), 0)
            used = milliseconds(self._singles(queries[:200], setting, where), self.task["seconds"] / 2)
            few = queries[: int(np.clip(len(used), 20, 100))]
            answers = np.concatenate([self.answers(query, setting, where) for query in few])
            recall = self.data.recall(few, answers, limit[: len(few)], where)
            fresh = [partial(self.system.search, queries[t], K, setting, filter_of(t)) for t in range(1, 60)]
            unseen = milliseconds(fresh, self.task["seconds"] / 2)
            found[name] = {
                "recall": recall,
                "returned": float((answers >= 0).sum(axis=1).mean()),
                "used_ms": median(used),
                "unseen_ms": median(unseen),
                "first_ms": first[0],
            }
            self.note("filters", filters=found)

    def cold(self, setting: Setting) -> None:
        """New processes that open and answer: seconds from their start, and what they then hold in memory."""
        asked = self.place.folder.with_suffix(".queries.npy")
        np.save(asked, self.data.queries[:100])
        p = self.place
        task = {"system": self.task["system"], "folder": str(p.folder), "dim": p.dim, "metric": p.metric}
        task |= {"rows": p.rows, "setting": setting, "queries": str(asked)}
        total, inside, last = [], [], {}
        for _ in range(self.task["colds"]):
            before = time.time()
            command = [sys.executable, "-m", "tests.bench.cold", json.dumps(task)]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(f"a new process could not open it: {ran.stderr.strip().splitlines()[-1]}")
            last = json.loads(ran.stdout.strip().splitlines()[-1])
            total.append(last["answered"] - before)
            inside.append(last["answered"] - last["imported"])
        self.note(
            "cold open",
            cold_s=median(total),
            cold_inside_s=median(inside),
            reader_memory=last["memory"],
            last_cold=last,
        )

    # Writes

    def writes(self) -> None:
        """Small appends, upserts and deletes of 1 %, and whether reads then see them."""
        self.note("appends")
        self.system.open()
        self.durable.sync()  # what is there already is not the appends' business
        rows = 100
        acts = [partial(self._append, number * rows, rows) for number in range(self.task["appends"])]
        times = milliseconds(acts, self.task["append_seconds"])
        edge = max(3, len(times) // 10)
        self.note(
            "upserts", appends=len(times), append_first_ms=median(times[:edge]), append_last_ms=median(times[-edge:])
        )
        n = len(self.data.vectors)
        chosen = np.random.default_rng(2).permutation(n)[: 2 * (n // 100)]
        replaced, deleted = np.split(chosen, 2)
        later = self.data.later(0, len(replaced), replaced)
        # Between two of them: many appends have stored each of them often, and equal rows would hide the new one.
        later = replace(later, vectors=(later.vectors + np.roll(later.vectors, 1, axis=0)) / 2)
        self.note("deletes", upsert_s=self.timed(lambda: self.system.upsert(later)))
        self.note("after writes", delete_s=self.timed(lambda: self.system.delete(deleted)))
        setting = self.results["setting"]
        new, gone = later.vectors[:50], np.array(self.data.vectors[np.sort(deleted[:50])])
        seen = (self.answers(new, setting) == replaced[:50, None]).any(axis=1).mean()
        ghosts = int(np.isin(self.answers(gone, setting), deleted).sum())
        after = milliseconds(self._singles(self.data.queries[TUNING:], setting), self.task["seconds"])
        self.note("done", new_found=float(seen), deleted_returned=ghosts, after_writes_ms=median(after))
        self.system.close()

    def _append(self, start: int, count: int) -> None:
        self.timed(partial(self.system.add, self.data.later(start, count)))


def main() -> None:
    """Arguments: reads or writes, then the task as JSON."""
    run = Run(json.loads(sys.argv[2]))
    getattr(run, sys.argv[1])()


if __name__ == "__main__":
    main()
