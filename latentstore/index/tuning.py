"""Which codes an index is made of, and what its efforts are measured to give, on vectors of the space itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from latentstore.index.exact import blocks, scan
from latentstore.index.ranking import InArray, rank
from latentstore.index.reach import NEIGHBOURS, Reach, measured_reach

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index.approximate import ApproximateIndex
    from latentstore.index.exact import Block
    from latentstore.index.planner import Kind
    from latentstore.index.ranking import Vectors
    from latentstore.types import Array, Metric

TRAIN_PER_LIST = 64  # training vectors per inverted list: k-means gains little beyond
# Of fewer, chance chooses: 256 an effort of 36 lists in one index, of 28 in another of the same rows. They are enough
# to see where to look.
TUNING_QUERIES, GRID_QUERIES = 1024, 256
REACH_QUERIES = 64  # of those; each tells of hundreds of neighbours, whose search takes longest
TUNING_K = 10
# Recall is measured on rows of the space; queries from elsewhere do worse. On GloVe they miss a fifth more of their
# neighbours (.949 for .957), so that a fifth of the errors allowed is kept in reserve.
RESERVE = 0.2
SURE = 8  # operating points at most that are measured by all queries
NEARLY = 0.01  # recall that few queries may be off by
ROUNDING = 1e-6
SETTLED = 0.0005  # recall that more effort has to bring
HIGHEST = 0.998  # recall from which on more effort is not tried


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


def factories(kind: Kind, n: int, dim: int) -> list[str]:
    """FAISS factory strings to try, fastest first; the last one reaches any recall."""
    if kind == "hnsw":
        return ["HNSW16,SQ8"]
    lists = 2 ** max(2, round(math.log2(math.sqrt(n))))
    # 4-bit product codes scan 32 vectors at a time in registers, 8 to 15 times faster than scalar ones at equal recall.
    # Of 784 dimensions 4 to a code are enough, of 128 it takes 2. Of fewer one each: a search reads more codes, but a
    # fifth of the candidates suffices for the same recall (GloVe, 50: 86 µs a query in a batch, beside 130).
    one = 4 if dim >= 256 else 2 if dim >= 96 else 1
    return [*([f"IVF{lists},PQ{dim // one}x4fs"] if dim % one == 0 else []), f"IVF{lists},SQ8"]


def training_rows(factory: str, n: int, seed: int) -> Int64[Array, " s"]:
    """A sample to train on, ascending."""
    lists = int(factory.split(",")[0].removeprefix("IVF")) if factory.startswith("IVF") else 0
    wanted = max(TRAIN_PER_LIST * lists, 20_000) if lists else 100_000
    chosen = np.random.default_rng(seed).choice(n, min(n, wanted), replace=False)
    return np.asarray(np.sort(chosen))


@dataclass(frozen=True)
class Held:
    """The vectors that an index holds, wherever they lie.

    Attributes:
        stored: Gives them by position.
        blocks: All live ones, with their positions.
        alive: Which positions count, bool (n,); what dead ones cost is measured too.
    """

    stored: Vectors
    blocks: Callable[[], Iterable[Block]]
    alive: Bool[Array, " n"]

    @classmethod
    def of(cls, vectors: Float32[Array, "n d"]) -> Held:
        """Those of an array, all alive."""
        numbers = np.arange(len(vectors))
        return cls(InArray(vectors), lambda: blocks(vectors, numbers, None), np.ones(len(vectors), bool))


def measure(
    index: ApproximateIndex, held: Held, seed: int, efforts: Sequence[tuple[int, int]] | None = None
) -> tuple[tuple[Operating, ...], Reach | None]:
    """Recall and time over a grid of efforts, fastest first, kept where more time buys more recall; and the reach.

    Args:
        index: What is measured.
        held: What it holds.
        seed: Chooses the queries.
        efforts: Of operating points, and their factors, of which those of the grid are all kept; all of it when None.
    """
    known = np.flatnonzero(held.alive)
    rows = np.sort(np.random.default_rng([seed, 1]).choice(known, min(TUNING_QUERIES, len(known)), replace=False))
    queries = held.stored(rows)

    def nearest(queries: Float32[Array, "m d"], k: int) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
        return rank(held.stored, queries, scan(held.blocks(), queries, k, index.metric), k, index.metric)

    near, far = (min(k, len(known) - 1) + 1 for k in (TUNING_K, max(NEIGHBOURS)))
    asked = _Asked.of(rows, queries, *nearest(queries, near), index.metric)
    tried = [one for one in _grid(index) if efforts is None or one in efforts]  # what was found between is found anew
    curve = _curve(index, held, asked, tried)
    if efforts is None:  # else each was worth it once, and may be again when there are more vectors
        curve = _rising(curve)
    if index.kind != "ivf":
        return curve, None
    queries = asked.fewer(REACH_QUERIES).queries
    return curve, measured_reach(index, queries, nearest(queries, far)[0])


@dataclass(frozen=True)
class _Asked:
    """Rows of the space as queries, and which neighbours they have.

    Attributes:
        rows: Of each query, (m,).
        queries: Shape (m, d).
        limit: Distance of the farthest neighbour, (m,). Equal distances are equally right, so recall compares these.
        there: How many neighbours there are besides the row itself, (m,).
    """

    rows: Int64[Array, " m"]
    queries: Float32[Array, "m d"]
    limit: Float32[Array, " m"]
    there: Int64[Array, " m"]

    @classmethod
    def of(
        cls,
        rows: Int64[Array, " m"],
        queries: Float32[Array, "m d"],
        truth: Int64[Array, "m t"],
        distances: Float32[Array, "m t"],
        metric: Metric,
    ) -> _Asked:
        """Of their nearest, themselves among them."""
        farthest = distances[:, -1]
        # The same distance computed in another order of additions differs in the last digit.
        limit = farthest + (-ROUNDING if metric == "ip" else ROUNDING) * np.abs(farthest)
        return cls(rows, queries, limit, (truth != rows[:, None]).sum(axis=1))

    def fewer(self, wanted: int) -> _Asked:
        """About so many of them."""
        step = max(1, len(self.rows) // wanted)
        return _Asked(self.rows[::step], self.queries[::step], self.limit[::step], self.there[::step])


def _measured(index: ApproximateIndex, held: Held, asked: _Asked, effort: int, factor: int) -> Operating:
    k = min(TUNING_K + 1, len(index))
    started = perf_counter()
    candidates, _, _ = index.propose(asked.queries, k, Operating(effort, factor, 0.0, 0.0))
    candidates[~held.alive[candidates]] = -1
    found, distances = rank(held.stored, asked.queries, candidates, k, index.metric)
    elapsed = perf_counter() - started
    limit = asked.limit[:, None]
    near = distances >= limit if index.metric == "ip" else distances <= limit
    hits = (near & (found != asked.rows[:, None])).sum(axis=1)
    recall = float(np.minimum(hits / asked.there, 1).mean())
    return Operating(effort, factor, round(recall, 4), round(1e6 * elapsed / len(asked.rows), 2))


def _curve(
    index: ApproximateIndex, held: Held, asked: _Asked, efforts: Sequence[tuple[int, int]]
) -> tuple[Operating, ...]:
    """All points by few queries; by all of them what every search will take, and what lies between that and too
    little."""
    points, few = dict[tuple[int, int], Operating](), asked.fewer(GRID_QUERIES)
    wanted = wanted_recall(index.target_recall)
    highest = max(HIGHEST, wanted)
    for effort, factor in efforts:
        if any(p.effort <= effort and p.factor <= factor and p.recall > highest for p in points.values()):
            continue  # more of both takes longer and has nothing to win
        before = [p for p in points.values() if p.factor == factor][-2:]
        if len(before) == 2 and _settled(*before):
            continue  # more lists hold no more of them; more candidates may
        points[effort, factor] = _measured(index, held, few, effort, factor)
    sure = set(points) if len(few.rows) == len(asked.rows) else set[tuple[int, int]]()
    for _ in range(SURE):
        following = _next(_by_time([*points.values()]), wanted, sure)
        if following is None:
            break
        points[following] = _measured(index, held, asked, *following)
        sure.add(following)
    return _by_time([*points.values()])


def wanted_recall(asked: float) -> float:
    """What has to be measured for so much to be given to queries from elsewhere."""
    return asked + RESERVE * (1 - asked)


def _next(points: Sequence[Operating], wanted: float, sure: Container[tuple[int, int]]) -> tuple[int, int] | None:
    """What to measure by all queries next; None when the effort is found.

    That is the one that every search would take; the greatest that does not reach as far; what lies between. Where none
    reaches as far, those that nearly do: few queries may be wrong.
    """
    chosen = next((point for point in points if point.recall >= wanted), None)
    if chosen is None:
        nearly = [p for p in points if p.recall >= wanted - NEARLY and (p.effort, p.factor) not in sure]
        best = max(nearly, key=lambda point: point.recall, default=None)
        return None if best is None else (best.effort, best.factor)
    effort, factor = chosen.effort, chosen.factor
    if (effort, factor) not in sure:
        return effort, factor
    less = [p.effort for p in points if p.factor == factor and p.effort < effort and p.recall < wanted]
    if not less:
        return None
    if (max(less), factor) not in sure:
        return max(less), factor
    middle = (max(less) + effort) // 2
    return (middle, factor) if middle > max(less) else None


def _by_time(points: Sequence[Operating]) -> tuple[Operating, ...]:
    """The fastest first."""
    timed = (_least_time(point, points) for point in points)
    return tuple(sorted(timed, key=lambda point: (point.microseconds, point.effort)))


def _rising(points: Sequence[Operating]) -> tuple[Operating, ...]:
    """Those that buy more recall for more time."""
    best, kept = -1.0, []
    for point in points:
        if point.recall > best:
            best = point.recall
            kept.append(point)
    return tuple(kept)


def _least_time(point: Operating, points: Sequence[Operating]) -> Operating:
    """The point with the least time of any that do at least as much: what the clock says against that is the work of
    others on the machine, and would throw a good point away for ever."""
    more = (p.microseconds for p in points if p.effort >= point.effort and p.factor >= point.factor)
    return replace(point, microseconds=min(more))


def _settled(before: Operating, after: Operating) -> bool:
    """Whether more effort did not raise the recall."""
    return after.recall - before.recall < SETTLED


def _grid(index: ApproximateIndex) -> list[tuple[int, int]]:
    if index.kind == "hnsw":
        return [(ef, factor) for ef in (16, 32, 64, 128, 256, 512) for factor in (1, 2, 4)]
    efforts = [e for e in (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512) if e <= index.lists]
    return [(effort, factor) for effort in efforts for factor in (1, 2, 4, 10, 20)]
