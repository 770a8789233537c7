"""What a search returns: which of the nearest rows, in which order, as `Neighbours`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import InputError
from latentstore.geometry import pairwise_distances, pairwise_similarities
from latentstore.types import Array, Neighbours, ends_missing, is_finite

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.space.search import Searcher
    from latentstore.space.vector_space import VectorSpace

MAX_K = 100_000
POOL = 5  # candidates per hit that a diverse selection chooses from
Found = tuple["Int64[Array, ' c']", "Float32[Array, ' c']"]


@dataclass(slots=True)  # not frozen, which would set each field by a call
class Options:
    """How to choose among the nearest, never changed; see `VectorSpace.search`."""

    k: int = 10
    where: str | None = None
    columns: tuple[str, ...] = ()
    recall: float | None = None
    radius: float | None = None
    offset: int = 0
    group_by: str | None = None
    group_size: int = 1
    diversity: float = 0.0
    explain: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (("k", self.k, 1), ("offset", self.offset, 0), ("group_size", self.group_size, 1)):
            whole = type(value) is int or isinstance(value, np.integer)
            if not whole or not least <= value <= MAX_K:
                raise InputError(f"{name} is {value!r}; choose a whole number from {least} to {MAX_K}")
        if (self.k + self.offset) * self.group_size > MAX_K:
            raise InputError(f"k {self.k} from offset {self.offset} is beyond {MAX_K} hits; narrow the search by where")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise InputError(f"recall is {self.recall}; choose a number in (0, 1]")
        if self.radius is not None and not is_finite(self.radius):
            raise InputError(f"radius is {self.radius}; choose a finite distance")
        if not 0 <= self.diversity <= 1:
            raise InputError(f"diversity is {self.diversity}; choose a number from 0 (nearest) to 1 (most different)")
        if self.group_size > 1 and self.group_by is None:
            raise InputError(f"group_size is {self.group_size} without groups; name a column with group_by")
        if self.diversity and self.group_by:
            raise InputError("diversity and group_by both choose among the nearest; use one of them")


def search(
    space: VectorSpace, queries: Float32[Array, "m d"], single: bool, options: Options, without: Array | None = None
) -> Neighbours:
    """The nearest items of a query or a batch; see `VectorSpace.search`.

    Args:
        space: Where.
        queries: Checked, (m, d).
        single: Whether the answer is of one query, 1-D.
        options: Checked.
        without: Rows that are not to be returned.
    """
    if options.columns or options.group_by:
        space.check_columns(options.columns)
        space.check_columns([options.group_by] if options.group_by else [])
    searcher, wanted = space.searcher, options.k + options.offset
    extra = 0 if without is None else len(without)
    plain = not (extra or options.group_by or options.diversity or options.radius is not None or options.offset)
    width = wanted * (POOL if options.diversity else 1) + extra
    rows, distances, explanation = searcher.search(
        queries, min(width, MAX_K), where=options.where, recall=options.recall
    )
    most = options.k * options.group_size
    if not plain:
        if options.group_by:
            lists = [
                _grouped(searcher, query, (theirs, far), options, without)
                for query, theirs, far in zip(queries, rows, distances, strict=True)
            ]
        else:
            lists = [_selected(searcher, one, options, without) for one in zip(rows, distances, strict=True)]
        rows, distances = _padded(lists, len(queries), most)
    return _neighbours(searcher, rows, distances, most, single, options, explanation if options.explain else None)


def _neighbours(
    searcher: Searcher,
    rows: Int64[Array, "m k"],
    distances: Float32[Array, "m k"],
    k: int,
    single: bool,
    options: Options,
    explanation: Any,
) -> Neighbours:
    snapshot = searcher.snapshot
    if single:
        kept = int(np.count_nonzero(rows >= 0)) if ends_missing(rows) else k
        rows, distances = rows[0, :kept], distances[0, :kept]
        ids = snapshot.gather.ids(rows) if kept else np.empty(0, object)
        flat = rows
    elif not ends_missing(rows):
        flat = rows.ravel()
        ids = (snapshot.gather.ids(flat) if len(flat) else np.empty(0, object)).reshape(rows.shape)
    else:
        there = rows >= 0
        flat = rows[there]
        ids = np.full(rows.shape, None, object)
        if len(flat):
            ids[there] = snapshot.gather.ids(flat)
    columns = snapshot.columns(flat, list(options.columns)) if options.columns else None
    return Neighbours(ids, rows, distances, k, snapshot.metric, snapshot.version, columns, explanation)


def _kept(found: Found, options: Options, without: Array | None, metric: str) -> Found:
    """Those that exist, are wanted, and lie within the radius."""
    rows, distances = found
    keep = rows >= 0
    if without is not None:
        keep &= ~np.isin(rows, without)
    if options.radius is not None:
        with np.errstate(invalid="ignore"):  # NaN where there is none
            keep &= distances >= options.radius if metric == "ip" else distances <= options.radius
    return rows[keep], distances[keep]


def _selected(searcher: Searcher, found: Found, options: Options, without: Array | None) -> Found:
    rows, distances = _kept(found, options, without, searcher.snapshot.metric)
    if options.diversity:
        chosen = _diverse(searcher, rows, distances, options.k + options.offset, options.diversity)
        rows, distances = rows[chosen], distances[chosen]
    page = slice(options.offset, options.offset + options.k)
    return rows[page], distances[page]


def _diverse(
    searcher: Searcher, rows: Int64[Array, " c"], distances: Float32[Array, " c"], count: int, weight: float
) -> list[int]:
    """Maximal marginal relevance (J. Carbonell and J. Goldstein, SIGIR 1998), in distances: near the query, and far
    from what was chosen already."""
    metric = searcher.snapshot.metric
    vectors = searcher.snapshot.gather(rows) if len(rows) else np.empty((0, searcher.snapshot.dim), np.float32)
    apart = (
        -pairwise_similarities(vectors, vectors, "ip")
        if metric == "ip"
        else pairwise_distances(vectors, vectors, metric)
    )
    far = -distances.astype(np.float64) if metric == "ip" else distances.astype(np.float64)
    nearest, left, chosen = np.full(len(rows), np.inf), np.ones(len(rows), bool), list[int]()
    while len(chosen) < min(count, len(rows)):
        spread = nearest if chosen else np.zeros(len(rows))
        score = np.where(left, (1 - weight) * far - weight * spread, np.inf)
        best = int(score.argmin())
        chosen.append(best)
        left[best] = False
        nearest = np.minimum(nearest, apart[best])
    return chosen


def _grouped(
    searcher: Searcher, query: Float32[Array, " d"], found: Found, options: Options, without: Array | None
) -> Found:
    """The best of each value of a column, best value first; looks farther until there are enough values."""
    snapshot, wanted, column = searcher.snapshot, options.k + options.offset, str(options.group_by)
    extra = 0 if without is None else len(without)
    while True:
        width = len(found[0])
        rows, distances = _kept(found, options, without, snapshot.metric)
        values = snapshot.columns(rows, [column])[column].to_pylist()
        groups: dict[Any, list[int]] = {}
        for place, value in enumerate(values):
            members = groups.setdefault(_hashable(value), [])
            if len(members) < options.group_size:
                members.append(place)
        full = sum(len(members) == options.group_size for members in groups.values())
        beyond = options.radius is not None and len(rows) < (found[0] >= 0).sum() - extra
        exhausted = found[0].min(initial=0) < 0 or width >= MAX_K or beyond
        if full >= wanted or exhausted:
            break
        wider = min(4 * max(width, wanted * options.group_size), MAX_K)
        more = searcher.search(query[None], wider, where=options.where, recall=options.recall)
        found = more[0][0], more[1][0]
    places = [place for members in list(groups.values())[options.offset : wanted] for place in members]
    return rows[places], distances[places]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _padded(lists: Sequence[Found], m: int, width: int) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    rows, distances = np.full((m, width), -1, np.int64), np.full((m, width), np.nan, np.float32)
    for line, (found, far) in enumerate(lists):
        rows[line, : len(found)], distances[line, : len(found)] = found, far
    return rows, distances
