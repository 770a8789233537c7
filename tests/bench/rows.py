"""How fast rows come and go: medians of durable writes.

    python -m tests.bench.rows [--appends 10000] [--folder DIR] [--only ingest,append,grow,change]

`--folder` says which disk is measured. Vectors are random, which no codec can shrink: the worst case;
those of `grow` are the benchmark's synthetic ones, for an index finds nothing in noise.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles
from tests.bench.workloads import load


def vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d), np.float32)


def metadata(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = np.array(["boot", "bag", "shirt", "coat"])
    return pa.table(
        {
            "label": pa.array(labels[rng.integers(0, 4, n)]),
            "split": pa.array(np.where(rng.random(n) < 0.9, "train", "test")),
            "price": rng.random(n),
            "count": rng.integers(0, 1000, n),
            "seen": pa.array(rng.integers(0, 2**40, n), pa.timestamp("us")),
            "good": pa.array(rng.random(n) < 0.5),
        }
    )


def names(n: int, first: int = 0) -> list[str]:
    return [f"item/{i}" for i in range(first, first + n)]


Times = list[tuple[float, float]]  # wall and CPU seconds of this process, which tell a busy machine from a slow one


def timed(action: Callable[[], object]) -> tuple[float, float]:
    start, cpu = perf_counter(), process_time()
    action()
    return perf_counter() - start, process_time() - cpu


def say(what: str, times: Times, wanted: str = "", *, rows: int = 0, take: Callable[..., float] = np.median) -> None:
    """Seconds in milliseconds, or rows per second."""
    wall, cpu = (float(take([one[i] for one in times])) for i in (0, 1))
    if rows:
        line = f"{rows / wall:>12,.0f} rows/s  ({rows / cpu:,.0f} per CPU second)"
    else:
        line = f"{wall * 1e3:>12,.2f} ms      (CPU {cpu * 1e3:,.2f})"
    print(f"{what:<58}{line:<48}{wanted}", flush=True)  # noqa: T201


class Bench:
    """A folder for spaces of the benchmark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def space(self, dim: int) -> VectorSpace:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return VectorSpace(SpaceFiles.create(folder / "s", space="s", dim=dim, metric="l2"))

    def ingest(self, n: int = 60_000, d: int = 784, repeats: int = 5) -> None:
        ids, table, given = names(n), metadata(n), vectors(n, d)
        file = self.folder / "source.parquet"
        columns = {"id": ids, "vector": pa.FixedSizeListArray.from_arrays(pa.array(given.ravel()), d)}
        pq.write_table(pa.table(columns | dict(zip(table.column_names, table.columns, strict=True))), file)
        for what, source in (("NumPy and Arrow", (ids, given, table)), ("a Parquet file", (file,))):
            taken = []
            for _ in range(repeats):
                space = self.space(d)
                taken.append(timed(lambda space=space, source=source: space.add(*source)))  # type: ignore[misc]
                shutil.rmtree(space.files.folder)
            say(f"ingest {n:,} × {d} from {what}", taken, "≥ 60,000", rows=n)
        file.unlink()

    def append(self, times: int, n: int = 100, d: int = 128) -> None:
        space = self.space(d)
        taken = []
        for i in range(times):
            rows, table, ids = vectors(n, d, i), metadata(n, i), names(n, i * n)
            taken.append(timed(lambda rows=rows, table=table, ids=ids: space.add(ids, rows, table)))  # type: ignore[misc]
        part = max(1, min(500, times // 10))
        say(f"append {n} × {d}: first {part}, p50", taken[:part], "≤ 15")
        say(f"append {n} × {d}: last {part} of {times:,}, p50", taken[-part:], "as the first")
        say(f"append {n} × {d}: all, mean with merges", taken, take=np.mean)
        say(f"append {n} × {d}: all, worst", taken, take=np.max)
        say("open after them", [timed(lambda: SpaceFiles(space.files.folder).snapshot()) for _ in range(9)])
        ids = names(n, times // 2 * n)
        say("get of 100 rows after them", [timed(lambda: space.get(ids)) for _ in range(9)])
        shutil.rmtree(space.files.folder)

    def grow(self, times: int, n: int = 100, base: int = 100_000) -> None:
        """Appends to an indexed space, and what a search takes before and after them, and in an index built anew."""
        workload = load("synthetic", base, times * n)
        held = np.concatenate([workload.vectors, workload.extra])
        space = self.space(held.shape[1])
        space.add(names(base), held[:base], metadata(base))
        space.build_index(target_recall=0.95)
        rng, queries = np.random.default_rng(0), workload.queries[:200]

        def search(when: str) -> None:
            found = [timed(lambda q=q: space.search(q, 10)) for q in queries for _ in range(5)]  # type: ignore[misc]
            truth, near = (space.search(workload.queries, 10, recall=recall).ids for recall in (1.0, None))
            right = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, near, strict=True)])
            say(f"search {when}, {len(space):,} rows, recall {right:.3f}, p50", found)

        search("at the start")
        taken = []
        for i in range(times):
            start = base + i * n
            ids, rows, table = names(n, start), held[start : start + n], metadata(n, int(rng.integers(1 << 30)))
            taken.append(timed(lambda ids=ids, rows=rows, table=table: space.add(ids, rows, table)))  # type: ignore[misc]
        part = max(1, min(500, times // 10))
        say(f"append {n} to an index: first {part}, p50", taken[:part], "≤ 15")
        say(f"append {n} to an index: last {part} of {times:,}, p50", taken[-part:], "as the first")
        say(f"append {n} to an index: all, mean with merges and training", taken, take=np.mean)
        say(f"append {n} to an index: all, worst", taken, take=np.max)
        search("after them")
        space.build_index(target_recall=0.95)
        search("in a new index")
        shutil.rmtree(space.files.folder)

    def change(self, n: int = 1_000_000, d: int = 128, repeats: int = 7) -> None:
        space = self.space(d)
        given = names(n), vectors(n, d), metadata(n)
        say(f"ingest {n:,} × {d}", [timed(lambda: space.add(*given))], rows=n)
        del given
        part = n // 100
        rng = np.random.default_rng(1)
        left = rng.permutation(n)
        kinds: dict[str, Callable[[list[str], int], object]] = {
            "delete": lambda ids, _: space.delete(ids),
            "upsert": lambda ids, i: space.upsert(ids, vectors(part, d, i), metadata(part, i)),
            "update": lambda ids, _: space.update(ids, {"label": "hat"}),
        }
        for kind, change in kinds.items():
            taken = []
            for i in range(repeats):
                chosen, left = left[:part], left[part:]
                ids = [f"item/{one}" for one in chosen]
                taken.append(timed(lambda ids=ids, i=i, change=change: change(ids, i)))  # type: ignore[misc]
            say(f"{kind} 1 % of {n:,} by ids, p50", taken, "≤ 200")
            say(f"{kind} 1 % of {n:,} by ids, worst of {repeats}", taken, take=np.max)
        one = f"item/{left[0]}"
        say("update of one row", [timed(lambda i=i: space.update(one, {"price": i})) for i in (1.0, 2.0, 3.0)])  # type: ignore[misc]
        say("update where price < 0.01", [timed(lambda: space.update(where="price < 0.01", values={"count": 1}))])
        say("add_column with a default", [timed(lambda: space.add_column("score", "double", 0.5))])
        say("filter on a default and a patch", [timed(lambda: space.matching("score = 0.5 and label = 'hat'"))])
        read = timed(lambda: [batch.num_rows for batch in space.iterate()])
        say("iterate over all columns", [read], rows=len(space))
        shutil.rmtree(space.files.folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", default="ingest,append,grow,change")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        bench = Bench(Path(folder))
        chosen = asked.only.split(",")
        if "ingest" in chosen:
            bench.ingest()
        if "append" in chosen:
            bench.append(asked.appends)
        if "grow" in chosen:
            bench.grow(asked.appends)
        if "change" in chosen:
            bench.change()
    print(f"{'most memory resident':<58}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:>12,.0f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
