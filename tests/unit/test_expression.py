"""The latent algebra: what it means, what it refuses, and where it says so."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import ExpressionRefused, UnknownItem
from latentstore.expression import Attribute, Centroid, Item, Names, evaluate, names, parse


class Plane:
    """Names are vectors of a small space; counts the calls."""

    known = {"a": [1.0, 0, 0], "b": [0, 1.0, 0], "it's": [0, 0, 5.0], "s": [0.5, 0.5, 0.5]}  # noqa: RUF012

    def __init__(self):
        self.calls = []

    def fetch(self, keys):
        self.calls.append(tuple(keys))
        for key in keys:
            if key not in self.known:
                raise UnknownItem(key)
        return np.array([self.known[key] for key in keys], dtype=np.float32)

    items = centroids = attributes = fetch


A, B, Q, S = (np.array(v) for v in Plane.known.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a'", A),
        ("  'a'\n", A),
        ("'it''s'", Q),
        ("centroid('a')", A),
        ("centroid ( 'it''s' )", Q),
        ("s", S),
        ("attribute('s')", S),
        ("'a' + 1.5 * s", A + 1.5 * S),
        ("'a'+s*1.5", A + 1.5 * S),
        ("'a' - 'b' - s", A - B - S),
        ("'a' - ('b' - s)", A - (B - S)),
        ("('a' + 'b') / 2", (A + B) / 2),
        ("-'a'", -A),
        ("--'a'", A),
        ("+'a'", A),
        ("-2 * -s", 2 * S),
        ("'a' * -1", -A),
        ("2 * (1 + 1/2 - 3) * 'a'", -3 * A),
        ("1e-3 * s", 1e-3 * S),
        (".5 * s + 2. * s", 2.5 * S),
        ("2 * 3 * 'a' / 4 / 5", 0.3 * A),
        ("1 - 2 + 0 * (1) + 1 - 0.5 + 0.5 - 1 + 1 - 1 + 1", None),
        ("'a' + s - s", A),
        ("0 * 'a' + 'b'", B),
        ("(((('a'))))", A),
        ("centroid('a') - centroid('b')", A - B),
    ],
)
def test_meaning(text, expected):
    if expected is None:
        with pytest.raises(ExpressionRefused, match="a number, not a latent"):
            parse(text)
        return
    found = evaluate(parse(text), Plane())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_points_and_directions():
    for text, weight in [
        ("'king' - 'man' + 'woman'", 1),
        ("('a' + 'b' + centroid('c')) / 3", 1),
        ("'a' + 3 * smiling", 1),
        ("'a' - 'b'", 0),
        ("smiling", 0),
        ("'a' + 'b'", 2),
    ]:
        assert parse(text).point_weight == pytest.approx(weight, abs=1e-15)


def test_each_name_is_fetched_once_and_all_at_once():
    plane = Plane()
    expression = parse("'a' + 2*'b' - 'a'/4 + s - centroid('b') - attribute('s')/2")
    assert names(expression) == Names(items=("a", "b"), labels=("b",), attributes=("s",))
    assert expression.terms == ((Item("a"), 0.75), (Item("b"), 2), (Attribute("s"), 0.5), (Centroid("b"), -1))
    np.testing.assert_allclose(evaluate(expression, plane), 0.75 * A + B + 0.5 * S)
    assert plane.calls == [("a", "b"), ("b",), ("s",)]


def test_undoing_is_exact_and_order_is_free():
    assert evaluate(parse("'it''s' + 0.1*s - 0.1*s"), Plane()).tolist() == [0, 0, 5]
    left, right = parse("'a' + 0.1*s - 0.3*'b'"), parse("-0.3*'b' + 'a' + 0.1*s")
    assert dict(left.terms) == dict(right.terms)


def test_what_cancels_must_still_exist():
    with pytest.raises(UnknownItem):
        evaluate(parse("'a' + 'typo' - 'typo'"), Plane())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.5*formal+'test/17'", "1.5 * formal + 'test/17'"),
        ("-(('a'+'b')/2)", "-0.5 * 'a' - 0.5 * 'b'"),
        ("attribute('5_o_Clock_Shadow') * 2", "2 * attribute('5_o_Clock_Shadow')"),
        ("attribute('smiling')", "smiling"),
        ("attribute('centroid')", "attribute('centroid')"),
        ("centroid('it''s')", "centroid('it''s')"),
        ("'a' - 'a'", "0 * 'a'"),
    ],
)
def test_canonical_form(text, written):
    assert str(parse(text)) == written
    assert parse(written) == parse(text)


@pytest.mark.parametrize(
    ("text", "character", "words"),
    [
        ("", 1, "ends where a value is needed"),
        ("   ", 4, "ends where a value is needed"),
        ("'a' +", 6, "ends where a value is needed"),
        ("3", 1, "a number, not a latent"),
        ("1 + 'a'", 3, "a number cannot be added to a latent"),
        ("'a' - 1", 5, "a number cannot be added to a latent"),
        ("'a' * 'b'", 5, "two latents cannot be multiplied"),
        ("s * s", 3, "two latents cannot be multiplied"),
        ("1 / 'a'", 3, "a latent cannot be divided by"),
        ("'a' / 'b'", 5, "a latent cannot be divided by"),
        ("'a' / 0", 5, "division by zero"),
        ("'a' / (1 - 1)", 5, "division by zero"),
        ("'a' ** 2", 6, "expected a value, found '*'"),
        ("'a' 'b'", 5, "unexpected \"'b'\""),
        ("2 'a'", 3, "unexpected \"'a'\""),
        ("'a' s", 5, "unexpected 's'"),
        ("'a' (s)", 5, "unexpected '('"),
        ("('a'", 1, "this parenthesis is not closed; add ')'"),
        ("'a')", 4, "unexpected ')'"),
        ("()", 2, "expected a value, found ')'"),
        ("(*", 2, "expected a value, found '*'"),
        ("'a", 1, "this quote is not closed"),
        ("''", 1, "the quotes are empty"),
        ('"a"', 1, "put item ids in single quotes"),
        ("foo('a')", 1, "unknown function 'foo'"),
        ("centrod('a')", 1, "did you mean 'centroid'?"),
        ("centroid", 1, "write centroid('…')"),
        ("centroid()", 10, "centroid takes one quoted name"),
        ("centroid(a)", 10, "centroid takes one quoted name"),
        ("centroid('a'", 10, "centroid takes one quoted name"),
        ("centroid('a', 'b')", 10, "centroid takes one quoted name"),
        ("centroid('')", 10, "the quotes are empty"),
        ("attribute(1)", 11, "attribute takes one quoted name"),
        ("1e999 * 'a'", 1, "a number is too large"),
        ("1e300 * 1e300 * 'a'", 7, "a number is too large"),
        ("1e308*s + 1e308*s", 9, "a number is too large"),
        ("a.b", 2, "unexpected '.'"),
        ("a[0]", 2, "unexpected '['"),
        ("__import__('os')", 1, "unknown function '__import__'"),
        ("'a'; s", 4, "unexpected ';'"),
        ("'a' = s", 5, "unexpected '='"),
        ("'a' + lambda", 0, None),
        ("2s", 2, "unexpected 's'"),
        ("'a' + \x00", 7, "unexpected"),
        ("'a' +\n\n!", 8, "unexpected '!'"),
    ],
)
def test_refusals_say_what_and_where(text, character, words):
    if words is None:  # Python's keywords are plain names here
        assert names(parse(text)).attributes == ("lambda",)
        return
    with pytest.raises(ExpressionRefused) as error:
        parse(text)
    message = str(error.value)
    what, _, remedy = words.partition("; ")
    assert what in message
    assert remedy in message
    assert f"at character {character} (" in message
    assert "\n" not in message


def test_limits():
    deep = "(" * 100 + "'a'" + ")" * 100
    assert parse(deep) == parse("'a'")
    long = "+".join(["s"] * 1000)
    assert parse(long).terms == ((Attribute("s"), 1000),)
    assert parse("-" * 9_000 + "'a'") == parse("'a'")
    for text, words in [
        (f"({deep})", "more than 100 open parentheses"),
        (long + "+s", "more than 1000 items"),
        ("'" + "a" * 10_000 + "'", "10002 characters; at most 10000"),
        (17, "text, not int"),
    ]:
        with pytest.raises(ExpressionRefused, match=words):
            parse(text)
