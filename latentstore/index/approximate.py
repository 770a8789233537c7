"""Approximate search by FAISS: compressed codes propose candidates, the caller ranks them exactly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ChecksumMismatch
from latentstore.index.exact import exact_search, rank, to_unit

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index.planner import Kind
    from latentstore.types import Array, Metric

TRAIN_PER_LIST = 64  # training vectors per inverted list: k-means gains little beyond
TUNING_QUERIES = 256
TUNING_K = 10
MARGIN = 0.005  # recall is measured on rows of the space; queries from elsewhere do a little worse


@dataclass(frozen=True)
class Operating:
    """One way to run an index, with what it was measured to give.

    Attributes:
        effort: Lists probed (ivf) or the beam width ef (hnsw).
        factor: Candidates proposed per neighbour wanted.
        recall: recall@10 on rows of the space, themselves excluded.
        microseconds: Time per query in a batch, on the machine that built the index.
    """

    effort: int
    factor: int
    recall: float
    microseconds: float


@dataclass(frozen=True)
class ApproximateIndex:
    """A trained FAISS index of n vectors, numbered 0 … n−1, and its measured operating points.

    Attributes:
        kind: ivf or hnsw.
        metric: l2, cosine (vectors are normalised on the way in) or ip.
        factory: The FAISS factory string.
        curve: Operating points, fastest first.
        target_recall: What `search` gives when no recall is asked for.
    """

    kind: Kind
    metric: Metric
    factory: str
    curve: tuple[Operating, ...]
    target_recall: float
    faiss_index: Any = field(repr=False)

    def __len__(self) -> int:
        return int(self.faiss_index.ntotal)

    @classmethod
    def build(
        cls,
        vectors: Float32[Array, "n d"],
        metric: Metric,
        kind: Kind,
        *,
        target_recall: float = 0.98,
        seed: int = 0,
    ) -> ApproximateIndex:
        """Train on a sample, add all vectors, and measure which effort reaches which recall.

        Args:
            vectors: Shape (n, d).
            metric: l2, cosine or ip.
            kind: ivf or hnsw.
            target_recall: Wanted recall@10, in (0, 1).
            seed: Chooses the training sample and the tuning queries.
        """
        import faiss

        n, dim = vectors.shape
        generator = np.random.default_rng(seed)
        factory, wanted = _factory(kind, n, dim)
        inner = faiss.index_factory(dim, factory, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
        if kind == "ivf":
            inner.cp.seed = seed
        sample = np.sort(generator.choice(n, min(n, wanted), replace=False))
        inner.train(_prepared(vectors[sample], metric))
        for start in range(0, n, 1 << 16):
            inner.add(_prepared(vectors[start : start + (1 << 16)], metric))
        untuned = cls(kind, metric, factory, (), target_recall, inner)
        curve = _measure(untuned, vectors, generator)
        return cls(kind, metric, factory, curve, target_recall, inner)

    def operating(self, recall: float | None) -> Operating | None:
        """The fastest operating point measured to reach `recall` (None: the target), or None when none does."""
        wanted = min((self.target_recall if recall is None else recall) + MARGIN, 1.0)
        return next((point for point in self.curve if point.recall >= wanted), None)

    def propose(
        self, queries: Float32[Array, "m d"], k: int, point: Operating, *, allowed: Bool[Array, " n"] | None = None
    ) -> Int64[Array, "m c"]:
        """Candidates for the k nearest of each query, to be ranked exactly: positions (m, k·factor), −1 for none.

        Args:
            queries: Shape (m, d).
            k: Neighbours wanted.
            point: How much effort to spend.
            allowed: Which vectors may be proposed, shape (n,); all when None.
        """
        import faiss

        options: dict[str, Any] = {}
        if allowed is not None:
            # FAISS keeps a bare pointer: `bits` must live until the search is over.
            bits = np.packbits(allowed, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
        # Passed with the call, never set on the index: searches from several threads must not see each other's.
        if self.kind == "ivf":
            parameters = faiss.SearchParametersIVF(nprobe=point.effort, **options)
        else:
            parameters = faiss.SearchParametersHNSW(efSearch=max(point.effort, k * point.factor), **options)
        width = min(k * point.factor, len(self))
        _, positions = self.faiss_index.search(_prepared(queries, self.metric), width, params=parameters)
        return np.asarray(positions, dtype=np.int64)

    def properties(self) -> dict[str, Any]:
        """What stands in the manifest beside the file: JSON."""
        return {
            "kind": self.kind,
            "metric": self.metric,
            "factory": self.factory,
            "target_recall": self.target_recall,
            "curve": [asdict(point) for point in self.curve],
        }

    def to_bytes(self) -> Array:
        """The FAISS serialisation, uint8."""
        import faiss

        return np.asarray(faiss.serialize_index(self.faiss_index))

    @classmethod
    def from_bytes(cls, serialised: bytes, properties: dict[str, Any]) -> ApproximateIndex:
        """Read an index back; the caller has checked the sha256 of `serialised`, for FAISS trusts its input.

        Raises:
            ChecksumMismatch: FAISS cannot read it all the same.
        """
        import faiss

        try:
            inner = faiss.deserialize_index(np.frombuffer(serialised, np.uint8))
        except RuntimeError as error:
            raise ChecksumMismatch(
                f"the index file is not one FAISS can read ({error}); build the index again"
            ) from error
        curve = tuple(Operating(**point) for point in properties["curve"])
        return cls(
            properties["kind"], properties["metric"], properties["factory"], curve, properties["target_recall"], inner
        )


def _prepared(vectors: Float32[Array, "n d"], metric: Metric) -> Float32[Array, "n d"]:
    return to_unit(vectors) if metric == "cosine" else np.ascontiguousarray(vectors)


def _factory(kind: Kind, n: int, dim: int) -> tuple[str, int]:
    """FAISS factory string and how many training vectors it wants."""
    if kind == "hnsw":
        return "HNSW16,SQ8", 100_000
    lists = 2 ** max(2, round(math.log2(math.sqrt(n))))
    # 4-bit product codes of two dimensions each scan 32 vectors at a time in registers. With few dimensions they lose
    # too much: on 70,000 × 32 Fashion-MNIST latents recall stops at .956, while 8-bit scalars reach .994 in that time.
    codes = f"PQ{dim // 2}x4fs" if dim >= 64 and dim % 2 == 0 else "SQ8"
    return f"IVF{lists},{codes}", max(TRAIN_PER_LIST * lists, 20_000)


def _measure(
    index: ApproximateIndex, vectors: Float32[Array, "n d"], generator: np.random.Generator
) -> tuple[Operating, ...]:
    """Recall and time over a grid of efforts, kept where more time buys more recall, fastest first."""
    n = len(vectors)
    k = min(TUNING_K, n - 1)
    rows = np.sort(generator.choice(n, min(TUNING_QUERIES, n), replace=False))
    queries = np.ascontiguousarray(vectors[rows])
    truth, truth_distances = exact_search(vectors, queries, k + 1, index.metric)
    # A row is not a neighbour of itself; equal distances are equally right, so recall compares distances.
    limit = truth_distances[:, -1]
    points = []
    for effort, factor in _grid(index):
        point = Operating(effort, factor, 0.0, 0.0)
        started = perf_counter()
        candidates = index.propose(queries, k + 1, point)
        found, distances = rank(lambda p: vectors[p], queries, candidates, k + 1, index.metric)
        elapsed = perf_counter() - started
        near = distances >= limit[:, None] if index.metric == "ip" else distances <= limit[:, None]
        hits = (near & (found != rows[:, None])).sum(axis=1)
        there = (truth != rows[:, None]).sum(axis=1)
        recall = float(np.minimum(hits / there, 1).mean())
        points.append(Operating(effort, factor, round(recall, 4), round(1e6 * elapsed / len(rows), 2)))
    best, kept = -1.0, []
    for point in sorted(points, key=lambda p: p.microseconds):
        if point.recall > best:
            best = point.recall
            kept.append(point)
    return tuple(kept)


def _grid(index: ApproximateIndex) -> list[tuple[int, int]]:
    if index.kind == "hnsw":
        return [(ef, factor) for ef in (16, 32, 64, 128, 256, 512) for factor in (1, 2, 4)]
    lists = index.faiss_index.nlist
    efforts = [e for e in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if e <= lists]
    return [(effort, factor) for effort in efforts for factor in (1, 2, 4, 10, 20)]
