from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError, NotFinite
from latentstore.geometry import auc


@pytest.mark.parametrize("levels", [3, 1_000_000])
def test_auc_is_the_share_of_pairs_in_order(levels):
    rng = np.random.default_rng(levels)
    p, q = rng.integers(levels, size=57) + levels // 9, rng.integers(levels, size=43)
    pairs = np.mean([(x > y) + 0.5 * (x == y) for x in p for y in q])
    assert auc(p, q) == pytest.approx(pairs, abs=1e-15)
    assert auc(q, p) == pytest.approx(1 - pairs, abs=1e-15)


def test_extremes():
    assert auc([2, 3], [0, 1]) == 1.0
    assert auc([0, 1], [2, 3]) == 0.0
    assert auc([1, 1], [1]) == 0.5


def test_refusals():
    with pytest.raises(InputError, match="0 positives and 1 negatives"):
        auc([], [1])
    with pytest.raises(NotFinite):
        auc([np.nan], [1])
