"""Laws of the latent algebra on generated expressions, against NumPy as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latentstore.errors import ExpressionRefused
from latentstore.expression import Attribute, Centroid, Expression, Item, evaluate, format, names, parse  # noqa: A004

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
atoms = st.one_of(st.builds(Item, texts), st.builds(Centroid, texts), st.builds(Attribute, texts))
weights = st.floats(-1e6, 1e6)
expressions = st.builds(
    lambda terms: Expression(tuple(terms.items())), st.dictionaries(atoms, weights, min_size=1, max_size=8)
)


class Random:
    """A fixed pseudo-random vector for every name; `offset` moves all points, but no direction."""

    def __init__(self, offset=0.0):
        self.offset = offset

    def vector(self, kind, key):
        return np.random.default_rng([*f"{kind}{key}".encode("utf-8", "replace")]).normal(size=3)

    def items(self, ids):
        return np.array([self.vector("i", key) for key in ids]) + self.offset

    def centroids(self, labels):
        return np.array([self.vector("c", key) for key in labels]) + self.offset

    def attributes(self, names):
        return np.array([self.vector("a", key) for key in names])


@given(expressions)
def test_writing_and_reading_gives_the_same_expression(expression):
    assert parse(format(expression)) == expression


small = st.floats(-8, 8).map(lambda x: round(x, 3))
leaves = st.sampled_from(["'x'", "'y'", "centroid('x')", "smiling", "attribute('o''clock')"])


@st.composite
def written(draw, depth=4):
    """A text of type vector, with the weights NumPy would give each leaf."""
    kind = draw(st.sampled_from(["leaf"] if depth == 0 else ["leaf", "+", "-", "negate", "left", "right", "divide"]))
    if kind == "leaf":
        leaf = draw(leaves)
        return leaf, {leaf: 1.0}
    text, weights = draw(written(depth=depth - 1))
    number = draw(small)
    if kind in "+-":
        other, more = draw(written(depth=depth - 1))
        sign = 1 if kind == "+" else -1
        keys = {*weights, *more}
        return f"({text}) {kind} ({other})", {k: weights.get(k, 0) + sign * more.get(k, 0) for k in keys}
    if kind == "negate":
        return f"-({text})", {k: -w for k, w in weights.items()}
    if kind == "left":
        return f"({number})*({text})", {k: number * w for k, w in weights.items()}
    if kind == "right":
        return f"({text}) * ({number})", {k: number * w for k, w in weights.items()}
    assume(abs(number) > 0.01)
    return f"({text}) / ({number})", {k: w / number for k, w in weights.items()}


@given(written())
def test_a_text_is_the_weighted_sum_it_says(case):
    text, expected = case
    found = {format(Expression(((atom, 1.0),))): weight for atom, weight in parse(text).terms}
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(written(), written(), small)
def test_evaluation_is_linear(one, two, factor):
    space = Random()
    left = evaluate(parse(f"({one[0]}) + {factor} * ({two[0]})".replace("+ -", "- ")), space)
    right = evaluate(parse(one[0]), space) + factor * evaluate(parse(two[0]), space)
    scale = 1 + sum(map(abs, one[1].values())) + abs(factor) * sum(map(abs, two[1].values()))
    np.testing.assert_allclose(left, right, atol=1e-5 * scale)


@given(written())
def test_moving_the_origin_moves_a_result_by_its_point_weight(case):
    expression = parse(case[0])
    moved = evaluate(expression, Random(offset=2.0)) - evaluate(expression, Random()).astype(float)
    scale = 1 + sum(abs(weight) for _, weight in expression.terms)
    np.testing.assert_allclose(moved, 2 * expression.point_weight, atol=1e-5 * scale)


@given(st.lists(st.sampled_from([*"'ab(1.e+-*/ )", "centroid", "\n", "é", '"']), max_size=60).map("".join))
def test_any_text_is_read_or_refused(text):
    try:
        expression = parse(text)
    except ExpressionRefused as error:
        assert "at character" in str(error)
    else:
        assert parse(format(expression)) == expression
        assert sum(map(len, vars(names(expression)).values())) == len(expression.terms)
