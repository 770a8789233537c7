"""Search structures over vectors: the only home of faiss.

Positions, not rows: everything here speaks of the i-th vector it was given. Which rows those are, which are alive and
which match a filter is the space's business, passed in as masks.
"""

from latentstore.index.approximate import ApproximateIndex, Operating
from latentstore.index.exact import blocks, exact_search, rank, scan
from latentstore.index.planner import Plan, choose_kind, plan_search

__all__ = [
    "ApproximateIndex",
    "Operating",
    "Plan",
    "blocks",
    "choose_kind",
    "exact_search",
    "plan_search",
    "rank",
    "scan",
]
