from __future__ import annotations

import math

import pytest

from flows.gate import GateClosed, judge, require_open
from flows.sections import LimitSection

LIMIT = {"mse": LimitSection(max=0.01, max_rise=0.001), "knn10": LimitSection(min=0.8, max_drop=0.02)}


def rules(new: dict[str, float], old: dict[str, float] | None) -> list[tuple[str, str]]:
    return [(breach.metric, breach.rule) for breach in judge(LIMIT, new, old)]


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({"mse": 0.009, "knn10": 0.9}, None, []),
        ({"mse": 0.011, "knn10": 0.9}, None, [("mse", "max")]),
        ({"mse": 0.009, "knn10": 0.7}, None, [("knn10", "min")]),
        ({"mse": 0.009, "knn10": 0.9}, {"mse": 0.0075, "knn10": 0.9}, [("mse", "max_rise")]),
        ({"mse": 0.009, "knn10": 0.87}, {"mse": 0.009, "knn10": 0.9}, [("knn10", "max_drop")]),
        ({"mse": 0.002, "knn10": 0.99}, {"mse": 0.009, "knn10": 0.9}, []),  # better by any amount is no breach
        (
            {"mse": 0.02, "knn10": 0.7},
            {"mse": 0.009, "knn10": 0.9},
            [("mse", "max"), ("mse", "max_rise"), ("knn10", "min"), ("knn10", "max_drop")],
        ),
        ({"mse": 0.01, "knn10": 0.8}, {"mse": 0.01, "knn10": 0.8}, []),  # at the limit is within it
        ({"mse": 0.009, "knn10": 0.9}, {"mse": 0.009}, []),  # not measured then: no change to judge
        ({"mse": 0.009}, None, [("knn10", "measured")]),
        ({"mse": math.nan, "knn10": 0.9}, None, [("mse", "measured")]),  # NaN must not slip through a comparison
    ],
)
def test_rules(new: dict[str, float], old: dict[str, float] | None, expected: list[tuple[str, str]]) -> None:
    assert rules(new, old) == expected


def test_the_message_says_metric_new_old_and_limit() -> None:
    breaches = judge(LIMIT, {"mse": 0.009, "knn10": 0.87}, {"mse": 0.009, "knn10": 0.9})
    with pytest.raises(GateClosed) as caught:
        require_open(breaches, space="fashion", version=7, tag="production")
    for part in ("version 7", "'fashion'", "'production'", "knn10 is 0.87", "old 0.9", "max_drop = 0.02", "-0.03"):
        assert part in str(caught.value)
    assert caught.value.breaches == breaches
    require_open((), space="fashion", version=7, tag="production")


def test_a_misspelt_metric_is_suggested() -> None:
    (breach,) = judge({"knn_10": LimitSection(min=0.5)}, {"knn10": 0.9, "mse": 0.1}, None)
    assert "knn_10 was not measured" in str(breach)
    assert "'knn10'" in str(breach)
