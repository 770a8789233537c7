"""How fast rows come and go: medians of durable writes.

    python tests/bench/rows.py [--appends 10000] [--folder DIR] [--only ingest,append,change]

`--folder` says which disk is measured. Vectors are random, which no codec can shrink: the worst case.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles


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


def timed(action: Callable[[], object]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def say(what: str, value: float, unit: str, wanted: str = "") -> None:
    print(f"{what:<58}{value:>12,.4g} {unit:<8}{wanted}", flush=True)  # noqa: T201


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
            say(f"ingest {n:,} × {d} from {what}", n / np.median(taken), "rows/s", "≥ 60,000")
        file.unlink()

    def append(self, times: int, n: int = 100, d: int = 128) -> None:
        space = self.space(d)
        taken = []
        for i in range(times):
            rows, table, ids = vectors(n, d, i), metadata(n, i), names(n, i * n)
            taken.append(timed(lambda rows=rows, table=table, ids=ids: space.add(ids, rows, table)) * 1e3)  # type: ignore[misc]
        part = max(1, min(500, times // 10))
        say(f"append {n} × {d}: first {part}, p50", float(np.median(taken[:part])), "ms", "≤ 15")
        say(f"append {n} × {d}: last {part} of {times:,}, p50", float(np.median(taken[-part:])), "ms", "as the first")
        say(f"append {n} × {d}: all, mean with merges", float(np.mean(taken)), "ms")
        say(f"append {n} × {d}: all, worst", float(np.max(taken)), "ms")
        say("open after them", timed(lambda: SpaceFiles(space.files.folder).snapshot()) * 1e3, "ms")
        shutil.rmtree(space.files.folder)

    def change(self, n: int = 1_000_000, d: int = 128, repeats: int = 7) -> None:
        space = self.space(d)
        say(f"ingest {n:,} × {d}", n / timed(lambda: space.add(names(n), vectors(n, d), metadata(n))), "rows/s")
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
            say(f"{kind} 1 % of {n:,} by ids, p50", float(np.median(taken)), "s", "≤ 0.2")
            say(f"{kind} 1 % of {n:,} by ids, worst of {repeats}", float(np.max(taken)), "s")
        say("update of one row", timed(lambda: space.update(f"item/{left[0]}", {"price": 1.0})) * 1e3, "ms")
        say("update where price < 0.01", timed(lambda: space.update(where="price < 0.01", values={"count": 1})), "s")
        say("add_column with a default", timed(lambda: space.add_column("score", "double", 0.5)) * 1e3, "ms")
        say("count(score = 0.5 and label = 'hat')", timed(lambda: space.matching("score = 0.5 and label = 'hat'")), "s")
        say("iterate all columns", n / timed(lambda: [batch.num_rows for batch in space.iterate()]), "rows/s")
        shutil.rmtree(space.files.folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", default="ingest,append,change")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        bench = Bench(Path(folder))
        chosen = asked.only.split(",")
        if "ingest" in chosen:
            bench.ingest()
        if "append" in chosen:
            bench.append(asked.appends)
        if "change" in chosen:
            bench.change()
    say("most memory resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")


if __name__ == "__main__":
    main()
