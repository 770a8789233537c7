"""How well one number separates two classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotFinite
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float


def auc(positive: Float[Array, " p"], negative: Float[Array, " q"]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.

    Args:
        positive: Scores of the positives, shape (p,).
        negative: Scores of the negatives, shape (q,).

    Returns:
        In [0, 1]; 0.5 is chance. Exact: pairs are counted as integers.

    Raises:
        InputError: No positives or no negatives.
        NotFinite: A score is NaN.

    Source: J. Hanley, B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982).
    """
    positive, negative = np.asarray(positive), np.sort(np.asarray(negative))
    if not (positive.size and negative.size):
        raise InputError(f"{positive.size} positives and {negative.size} negatives; AUC needs at least one of each")
    if np.isnan(positive).any() or np.isnan(negative).any():
        raise NotFinite("scores contain NaN; drop those items")
    below = np.searchsorted(negative, positive, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(negative, positive, side="right").sum(dtype=np.int64)
    return float(int(below + not_above) / (2 * positive.size * negative.size))
