"""Search structures over vectors: the only home of faiss.

Positions, not rows: everything here speaks of the i-th vector it was given. Which rows those are, which are alive and
which match a filter is the space's business, passed in as masks.
"""

from latentstore.index.approximate import ApproximateIndex
from latentstore.index.exact import blocks, exact_search, prepared, scan, scan_block, scan_once
from latentstore.index.mask import Mask
from latentstore.index.planner import GATHER_FLOATS, Plan, choose_kind, plan_search
from latentstore.index.ranking import InArray, rank
from latentstore.index.threads import one_thread
from latentstore.index.tuning import TUNING_K, Held, Operating

__all__ = [
    "GATHER_FLOATS",
    "TUNING_K",
    "ApproximateIndex",
    "Held",
    "InArray",
    "Mask",
    "Operating",
    "Plan",
    "blocks",
    "choose_kind",
    "exact_search",
    "one_thread",
    "plan_search",
    "prepared",
    "rank",
    "scan",
    "scan_block",
    "scan_once",
]
