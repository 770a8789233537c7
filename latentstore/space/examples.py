"""A query from examples of what is wanted and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import InputError, NotFinite
from latentstore.index import prepared
from latentstore.types import Array, check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.space.vector_space import VectorSpace


def examples(
    space: VectorSpace, positive: Sequence[Any], negative: Sequence[Any]
) -> tuple[Float32[Array, " d"], Int64[Array, " e"]]:
    """The mean p of the positive ones moved away from the mean n of the negative ones, p + (p − n); J. J. Rocchio's
    relevance feedback (1971) with equal weights. Under cosine lengths do not count.

    Returns:
        The query (d,), and the rows of those examples that are items.

    Raises:
        InputError: No positive example.
        UnknownItem: An id that is not there.
        NotFinite: The examples cancel out and leave no direction.
    """
    if isinstance(positive, str) or isinstance(negative, str):
        raise InputError("positive and negative are lists of ids or vectors; put a single id in brackets")
    if not len(positive):
        raise InputError("negative examples say only what is not wanted; pass at least one positive example")
    wanted, rows = _vectors(space, positive)
    query = wanted.mean(axis=0)
    if len(negative):
        unwanted, theirs = _vectors(space, negative)
        query, rows = 2 * query - unwanted.mean(axis=0), np.concatenate([rows, theirs])
    if space.metric == "cosine" and not query.any():
        raise NotFinite("the positive and negative examples cancel out: no direction is left; use other examples")
    return query.astype(np.float32), rows


def _vectors(space: VectorSpace, given: Sequence[Any]) -> tuple[Float32[Array, "e d"], Int64[Array, " i"]]:
    rows = space.rows_of([one for one in given if isinstance(one, str)])
    stored = iter(space.snapshot.vectors(rows))
    vectors = [next(stored) if isinstance(one, str) else np.asarray(one) for one in given]
    checked = [check_vectors(one, space.dim, space.metric, what="examples").reshape(space.dim) for one in vectors]
    return prepared(np.stack(checked), space.metric), rows
