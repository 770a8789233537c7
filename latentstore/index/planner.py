"""Which search structure to build, and which way to answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from latentstore.errors import ConfigInvalid, suggest

Kind = Literal["flat", "ivf", "hnsw"]
KINDS = ("auto", *get_args(Kind))

# Below this many floats (n·d) a scan of all vectors takes under a millisecond, and no index pays.
FLAT_FLOATS = 500_000
# Up to so many floats, gathering the matching rows and comparing them exactly takes 1–2 ms, and is exact. Beyond, an
# ivf that skips what does not match is quicker.
GATHER_FLOATS = 4_000_000


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
    """How a search is answered, and why: "exact" looks at all rows, "gather" at all that match, "index" asks FAISS."""

    strategy: Literal["exact", "gather", "index"]
    reason: str


def plan_search(
    *, live: int, matching: int | None, indexed: int, dim: int, kind: Kind | None, reachable: bool, recall: float | None
) -> Plan:
    """Choose between looking at every (matching) row and asking the index.

    Args:
        live: Rows of the snapshot that are not deleted.
        matching: Rows that the filter leaves, None without one.
        indexed: Live rows that the index covers.
        dim: Width d.
        kind: Of the index, None when there is none.
        reachable: Whether the index was measured to reach the wanted recall.
        recall: Wanted recall@k; 1.0 asks for the exact answer, None for what the index was tuned to.
    """
    everything: Literal["exact", "gather"] = "exact" if matching is None else "gather"
    if not indexed or kind is None:
        return Plan(everything, "no index")
    if recall is not None and recall >= 1:
        return Plan(everything, "recall 1.0 asked for")
    if not reachable:
        return Plan(everything, f"no setting of the index reaches recall {recall or 'it was built for'}")
    if matching is not None:
        if matching * dim <= GATHER_FLOATS:
            return Plan("gather", f"only {matching} of {live} rows match")
        if kind == "hnsw":  # its beam gets lost among vectors that do not match (facts: recall .47 at 1 %)
            return Plan("gather", "an hnsw index does not hold its recall under a filter")
    return Plan("index", f"{indexed} of {live} rows are indexed")
