"""Which search structure to build, and which way to answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from latentstore.errors import ConfigInvalid, suggest

Kind = Literal["flat", "ivf", "hnsw"]
KINDS = ("auto", *get_args(Kind))

# Below this many floats (n·d) a scan of all vectors takes under a millisecond, and no index pays.
FLAT_FLOATS = 500_000
# Gathering the matching rows and comparing them exactly beats an index with a filter below this share (facts: 1 % of
# 60k rows takes .064 ms, and the recall of a filtered HNSW or PQ index collapses).
GATHER_SHARE = 0.05
GATHER_ROWS = 2_000


def choose_kind(kind: str, n: int, dim: int) -> Kind:
    """Resolve "auto" by size; refuse what does not exist.

    Raises:
        ConfigInvalid: `kind` is not one of auto, flat, ivf, hnsw.
    """
    if kind == "auto":
        return "flat" if n * dim < FLAT_FLOATS else "ivf"
    for known in get_args(Kind):
        if kind == known:
            return cast("Kind", known)
    raise ConfigInvalid(f"unknown index kind {kind!r}; {suggest(kind, KINDS)}")


@dataclass(frozen=True)
class Plan:
    """How a search is answered, and why."""

    strategy: Literal["exact", "index"]
    reason: str


def plan_search(*, live: int, matching: int, indexed: int, recall: float | None) -> Plan:
    """Choose between looking at every matching row and asking the index.

    Args:
        live: Rows of the snapshot that are not deleted.
        matching: Rows that the filter leaves, = live without one.
        indexed: Live rows that the index covers.
        recall: Wanted recall@k; 1.0 asks for the exact answer, None for what the index was tuned to.
    """
    if not indexed:
        return Plan("exact", "no index")
    if recall is not None and recall >= 1:
        return Plan("exact", "recall 1.0 asked for")
    if matching <= max(GATHER_ROWS, GATHER_SHARE * live):
        return Plan("exact", f"only {matching} of {live} rows match")
    return Plan("index", f"{indexed} of {live} rows are indexed")
