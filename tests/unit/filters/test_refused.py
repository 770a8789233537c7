"""Filters: a long list of what is refused, and why."""

from __future__ import annotations

import pyarrow as pa
import pytest

from latentstore.errors import FilterRefused
from latentstore.filters import parse, parse_where, select_rows
from tests.unit.filters.typed_rows import TYPES

REFUSED = {
    # more than one predicate
    "1 = 1; DROP TABLE items": "second statement",
    "1 = 1; SELECT 2": "does not parse|more than a predicate",
    "1 = 1;": "does not parse",
    "1 = 1 UNION SELECT 1": "does not parse|more than a predicate",
    "1 = 1 UNION ALL SELECT 1 WHERE 2 = 2": "does not parse|more than a predicate",
    "1 = 1 EXCEPT SELECT 1": "does not parse|more than a predicate",
    "1 = 1 ORDER BY label": "does not parse|more than a predicate",
    "1 = 1 LIMIT 1": "does not parse|more than a predicate",
    "1 = 1 GROUP BY label": "does not parse|more than a predicate",
    "1 = 1 GROUP BY ALL HAVING true": "does not parse|more than a predicate",
    "1 = 1 QUALIFY true": "does not parse|more than a predicate",
    "1 = 1 WINDOW w AS ()": "does not parse|more than a predicate",
    "1 = 1 USING SAMPLE 10%": "does not parse|more than a predicate",
    "sold) OR (sold": "does not parse",
    "sold) UNION SELECT (1": "does not parse",
    "sold -- ) \n) or (sold": "does not parse",
    "label = 'Bag": "does not parse",
    "label = 'Bag' /*": "does not parse",
    "label =": "does not parse",
    "label = = 1": "does not parse",
    "WHERE label = 'Bag'": "does not parse",
    "": "where is empty",
    "  \n ": "where is empty",
    "-- nothing": "does not parse",
    # other than scalars of the row
    "year in (SELECT 1)": "a subquery",
    "year = (SELECT max(year) FROM items)": "a subquery",
    "exists (SELECT 1)": "a subquery",
    "'x' = any(tags)": "a subquery",
    "count(*) > 1": "'count_star' .*aggregate",
    "max(year) = 2000": "'max'",
    "sum(year) OVER () > 1": "a window function",
    "row_number() OVER () < 5": "a window function",
    "unnest(tags) = 'x'": "'unnest'",
    "list_filter(scores, lambda s: s > 1) = []": "'list_filter'",
    "list_transform(scores, s -> s + 1) = []": "'list_transform'",
    "label -> '$.a' = 'b'": "a lambda or ->",
    "* = 1": r"where uses \*|does not parse",
    "COLUMNS('y.*') = 1": r"where uses \*",
    "label = ?": "a parameter",
    "label = $1": "a parameter",
    "#1 = 1": "a positional reference",
    "CASE WHEN sold THEN true ELSE false END": "CASE",
    "label COLLATE nocase = 'bag'": "COLLATE",
    "label = DEFAULT": "DEFAULT",
    "{'a': 1}.a = 1": "'struct_pack'",
    "map {1: 2}[1] = 2": "'map'",
    "(year, tiny) = (2000, 1)": "'row'",
    "scores[1:2] = [1, 2]": "array slice",
    # functions that read what is not the row, or cost without bound
    "read_text('/etc/passwd') = 'x'": "'read_text'",
    "getenv('HOME') = 'x'": "'getenv'",
    "current_setting('memory_limit') = 'x'": "'current_setting'",
    "version() = 'x'": "'version'",
    "current_date > made": "unknown column 'current_date'",
    "now() > seen": "'now'",
    "random() < 0.5": "'random'",
    "nextval('s') = 1": "'nextval'",
    "repeat(label, 1000000000) = 'x'": "'repeat'",
    "replace(label, 'a', 'aaaa') = 'x'": "'replace'",
    "lpad(label, 1000000000, 'x') = 'x'": "'lpad'",
    "range(1000000000) = []": "'range'",
    "main.lower(label) = 'bag'": "with a schema",
    "label.lower() = 'bag'": "with a schema",
    "lower(DISTINCT label) = 'bag'": "with a schema, DISTINCT",
    "lower(label) FILTER (WHERE true) = 'bag'": "with a schema, DISTINCT, FILTER",
    "lower(string := label) = 'bag'": "named arguments",
    "year & 1 = 1": "'&'",
    "label::json = '1'": "a cast to json",
    "label::items = '1'": "a cast to items",
    "label::STRUCT(a INT) = '1'": "a cast to STRUCT",
    # columns
    "lable = 'Bag'": "unknown column 'lable' at character 1; did you mean 'label'",
    "sold and pryce > 1": "unknown column 'pryce' at character 10",
    "label = 'é' and pryce > 1": "unknown column 'pryce' at character 17",
    "items.label = 'Bag'": "the qualified name items.label",
    "vector = [1, 2]": "the vector at character 1; search by it",
    "row = 1": "unknown column 'row'",
    "rowid = 1": "unknown column 'rowid'",
    "file_row_number = 1": "unknown column 'file_row_number'",
    'label = "Bag"': "unknown column 'Bag'",
    # types
    "label": "is a VARCHAR, not true or false",
    "year + 1": "is a INTEGER|is a BIGINT",
    "'Bag'": "is a VARCHAR",
    "1": "is a INTEGER",
    "null": 'is a "NULL"',
    "tags > 1": "does not fit the columns' types",
    "lower(tags) = 'x'": "does not fit the columns' types",
    "lower(label, label) = 'x'": "does not fit the columns' types",
    "seen = 'yesterday'": "fails on the data|does not fit",
    "label::int = 1": "fails on the data: .*; use try_cast",
    "label > 1": "fails on the data|does not fit",
    "1::tinyint + 1000::tinyint = 1": "fails on the data|does not fit",
    "regexp_matches(label, '(')": "fails on the data|does not fit",
    # size
    "(" * 5_000 + "sold" + ")" * 5_000: "nested more than 200",
    "not " * 5_000 + "sold": "nested more than 200",
    "1" + " + 1" * 5_000 + " = 1": "nested more than 200",
    "year" + "::int" * 5_000 + " = 1": "nested more than 200",
    "sold" + " is null" * 5_000: "nested more than 200",
    "label = '" + "x" * 200_000 + "'": "at most 200000",
    "label = '\ud800'": "does not parse|does not fit",
    "label = 'a\x00b' or": "does not parse",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_refused(text, whole):
    with pytest.raises(FilterRefused, match=REFUSED[text]) as error:
        select_rows(parse_where(text, TYPES), whole)
    assert "\n" not in str(error.value)


def test_other_types_are_refused():
    with pytest.raises(FilterRefused, match="where is int, not text"):
        parse_where(3, TYPES)
    with pytest.raises(FilterRefused, match="column 's' of type struct"):
        parse_where("s is null", {"s": pa.struct([("a", pa.int32())])})


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("price > 1", "price + 1"),
        ("len(tags) > 1", "len(tags) + 1"),
        ("price > 1", "tags > 1"),
    ],
)
def test_a_good_predicate_vouches_for_no_other_but_in_its_numbers(good, bad):
    def forget():
        parse._fitting.clear()
        parse._parse.cache_clear()

    forget()
    with pytest.raises(FilterRefused) as alone:
        parse_where(bad, TYPES)
    parse_where(good, TYPES)
    with pytest.raises(FilterRefused) as after:
        parse_where(bad, TYPES)
    assert str(after.value) == str(alone.value)
