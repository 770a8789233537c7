"""Filters: DuckDB on the pasted text and pyarrow as oracles for what is accepted."""

from __future__ import annotations

import datetime as dt

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from latentstore.filters import SegmentFile, parse_where, select_rows
from latentstore.filters.resident import LEAST_ROWS
from tests.unit.filters.typed_rows import METADATA, RNG, TYPES, N

ACCEPTED = '''
label = 'Bag'
label = 'it''s'
label = '"; DROP TABLE x; --'
LABEL = 'Bag'
"label" <> 'Bag'
label != 'Bag' and note == 'bag'
label < note
label in ('Bag', 'Sneaker')
label not in ('Bag', 'Sneaker')
label in ('Bag', null)
label not in ('Bag', null)
label is null
label is not null and not (note is null)
label like 'B%' or label ilike 'b%'
label not like '%a%'
label like '100\\%' escape '\\'
label like 'a\\_b' escape '\\'
label similar to 'B.g'
label ~ 'B.*'
label glob 'B*'
label ^@ 'An'
lower(label) = 'bag'
upper(note) in ('BAG', 'É')
length(label) > 3
len(label) between 1 and 3
trim(label) || '!' = 'Bag!'
starts_with(label, 'An') or ends_with(label, 'boot')
prefix(label, 'An') or suffix(label, 'boot')
contains(label, 'oo')
'oo' in label
regexp_matches(label, '^[A-Z]')
substring(label, 1, 2) = 'An' or left(label, 1) = 'B' or right(label, 1) = '%'
label is distinct from note
label is not distinct from note
coalesce(label, note, 'none') = 'none'
ifnull(label, 'none') = 'none'
nullif(label, 'Bag') is null
price = 0.1
price = 1.5 or price = 2.50
price < 0.3
price >= 4.9
price between 1 and 2
price not between 1 and 2
weight > 1e-1
weight < -.5
abs(weight) < 0.1
round(weight) = 1
round(weight, 1) = 0.5
floor(weight) = -1 or ceil(weight) = 2 or trunc(weight) = 0
sqrt(abs(weight)) > 1 and ln(abs(weight)) > 0.1 and exp(weight) > 1
weight + price > 3 and weight * 2 < 1 and price / 2 > 1 and weight - price < 0
greatest(price, weight) > 4 or least(price, weight) < -2
isnan(weight)
year = 2000
year = 2000.0
year = '2000'
year > 2_010
year % 4 = 0 and year // 100 = 20
year ** 2 > 4000000
mod(year, 10) = 3
-year < -2020
year in (1999, 2000, 2001)
year = 1e3 * 2
tiny = -5
tiny < 300
tiny = 99999999999999999999
count - 3 > 2::int
big > 4611686018427387000
big = 1e400
sold
not sold
sold = true
sold is true
sold is not true
sold is not false
sold and label = 'Bag' or not sold
sold::int = 1
made = '2021-01-01'
made > date '2021-01-01'
made + interval 1 year > '2022-06-01'
made between '2020-06-01' and '2020-07-01'
year(made) = 2021 and month(made) = 2 and day(made) < 10
extract(quarter from made) = 2
date_part('dow', seen) = 1
date_trunc('month', seen) = timestamp '2020-05-01 00:00:00'
seen > '2021-01-01'
seen >= timestamp '2021-01-01 12:00:00' and seen < '2021-02-01 00:00:00'
seen::date = '2020-03-04'
hour(seen) = 13
seen - interval '30 days' < '2020-02-01'
date_diff('day', seen, timestamp '2021-01-01') between 0 and 10
seen > made
zoned > '2021-01-01'
zoned < timestamptz '2020-02-01 00:00:00+02'
cost = 12.34
cost > 50
cost * 2 < 10.5
list_contains(tags, 'x')
'x' in tags
len(tags) = 2
len(tags) = 0
tags = ['x', 'y']
tags[1] = 'x'
list_has_any(tags, ['y', 'z'])
list_has_all(tags, ['y', 'z'])
tags @> ['x'] or tags && ['z']
list_position(tags, 'y') = 2
tags is null
4 in scores and scores[2] > 3
list_max(scores) = 8
list_sum(scores) > 20
cast(year as varchar) like '199%'
try_cast(label as integer) is null
year::decimal(10, 2) = 2000.00
id = 'train/17'
id in ('train/1', 'train/2', 'nope')
id like 'train/1%'
"odd ""name""" = 1
"select" = 2
true
false
1 = 1
label = 'Bag' -- a comment does nothing
label = 'Bag' /* nor here */ and sold
label =
  'Bag'
((((label = 'Bag'))))
label = $$Bag$$
E'Bag' = label
label = 'é'
'''.strip().split("\n")
joined = ACCEPTED.index("label =")
ACCEPTED[joined : joined + 2] = ["label =\n  'Bag'"]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_runs_means_what_was_written(text, table, whole):
    oracle = duckdb.connect()
    oracle.execute("SET TimeZone = 'UTC'")
    oracle.register("items", table)
    expected = oracle.execute(f"SELECT row FROM items WHERE {text}\n ORDER BY row").fetchnumpy()["row"] + 1000
    predicate = parse_where(text, TYPES)
    found = select_rows(predicate, whole)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    assert "Bag" not in predicate.sql, "constants are bound, not pasted"


def test_the_texts_select_some_rows_and_not_all(whole):
    counts = np.array([len(select_rows(parse_where(text, TYPES), whole)) for text in ACCEPTED])
    assert ((counts > 0) & (counts < N)).sum() > 0.9 * len(ACCEPTED)


A = {name: pa.chunked_array([column]) for name, column in METADATA.items()}


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("label = 'Bag' and price < 2", pc.and_kleene(pc.equal(A["label"], "Bag"), pc.less(A["price"], 2))),
        ("label = 'Bag' or price < 2", pc.or_kleene(pc.equal(A["label"], "Bag"), pc.less(A["price"], 2))),
        ("not (label = 'Bag' and sold)", pc.invert(pc.and_kleene(pc.equal(A["label"], "Bag"), A["sold"]))),
        ("year between 2000 and 2005", pc.and_(pc.greater_equal(A["year"], 2000), pc.less_equal(A["year"], 2005))),
        ("label is null or sold", pc.or_kleene(pc.is_null(A["label"]), A["sold"])),
        ("year in (2000, 2001)", pc.is_in(A["year"], pa.array([2000, 2001], pa.int32()))),
        ("seen >= '2021-01-01'", pc.greater_equal(A["seen"], pa.scalar(dt.datetime(2021, 1, 1), pa.timestamp("us")))),
        ("lower(label) = 'bag'", pc.equal(pc.utf8_lower(A["label"]), "bag")),
        ("year + tiny > 2010", pc.greater(pc.add(A["year"], pc.cast(A["tiny"], pa.int32())), 2010)),
        ("len(tags) = 2", pc.equal(pc.list_value_length(A["tags"]), 2)),
        ("label like 'B%'", pc.match_like(A["label"], "B%")),
        ("made < '2021-01-01'", pc.less(A["made"], pa.scalar(dt.date(2021, 1, 1)))),
    ],
)
def test_against_pyarrow_nulls_included(text, mask, whole):
    expected = np.flatnonzero(pc.fill_null(mask, False).to_numpy()) + 1000
    assert 0 < len(expected) < N
    np.testing.assert_array_equal(select_rows(parse_where(text, TYPES), whole), expected)


@pytest.mark.parametrize("count", [N, LEAST_ROWS])
def test_segments_of_different_ages(table, tmp_path, count):
    """Three segments: one without `price`, one with gaps in its rows, one complete; order as given."""
    parts = [table.slice(0, 700).drop_columns(["price"]), table.slice(700, 900), table.slice(1600)]
    gapped = np.cumsum(RNG.integers(1, 4, size=900))
    parts[1] = parts[1].set_column(0, "row", pa.array(gapped))
    parts[2] = parts[2].set_column(0, "row", pa.array(np.arange(N - 1600)))
    files, absolute = [], []
    for i, (part, first) in enumerate(zip(parts, (10, 5_000, 100_000), strict=True)):
        pq.write_table(part, tmp_path / f"{i}.parquet", row_group_size=200)
        files.append(SegmentFile(tmp_path / f"{i}.parquet", first, gaps=i == 1, rows=count))
        absolute.append(part["row"].to_numpy() + first)
    rows = np.concatenate(absolute)
    price = np.array([np.nan if p is None else p for p in A["price"].to_pylist()])
    missing = np.isnan(price) | (np.arange(N) < 700)
    np.testing.assert_array_equal(select_rows(parse_where("price is null", TYPES), files), rows[missing])
    np.testing.assert_array_equal(select_rows(parse_where("price > 2", TYPES), files), rows[~missing & (price > 2)])
    np.testing.assert_array_equal(select_rows(parse_where("true", TYPES), files), rows)
    np.testing.assert_array_equal(select_rows(parse_where("true", TYPES), files[::-1]), rows)
    np.testing.assert_array_equal(select_rows(parse_where("nowhere is null", {"nowhere": pa.int64()}), files), rows)
    assert len(select_rows(parse_where("nowhere > 1 or nowhere <= 1", {"nowhere": pa.null()}), files)) == 0
    assert len(select_rows(parse_where("true", TYPES), [])) == 0


def test_long_flat_lists_are_fine(whole):
    ids = ", ".join(f"'train/{i}'" for i in range(0, 20_000, 10))
    np.testing.assert_array_equal(select_rows(parse_where(f"id in ({ids})", TYPES), whole), np.arange(0, N, 10) + 1000)
    chain = " or ".join(f"year = {year}" for year in range(1000, 2000))
    found, expected = (select_rows(parse_where(text, TYPES), whole) for text in (chain, "year < 2000"))
    np.testing.assert_array_equal(found, expected)


def test_numbers_beyond_every_integer_type(whole):
    huge = "1" + "0" * 60
    assert len(select_rows(parse_where(f"big > {huge}", TYPES), whole)) == 0
    known = select_rows(parse_where("big is not null", TYPES), whole)
    np.testing.assert_array_equal(select_rows(parse_where(f"big < {huge}", TYPES), whole), known)


def test_numbers_of_any_size_fit(table, whole):
    values = table["big"].to_pylist()
    for number in (3, 2**20, 2**40, 2**62, -(2**62), 1.5, 10**25):
        expected = [row for row, value in enumerate(values) if value is not None and value > number]
        found = select_rows(parse_where(f"big > {number}", TYPES), whole) - 1000
        assert found.tolist() == expected
