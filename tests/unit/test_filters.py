"""Filters: DuckDB on the pasted text and pyarrow as oracles for what is accepted; a long list of what is not."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from latentstore.errors import FilterRefused, StorageError
from latentstore.filters import SegmentFile, parse, parse_where, resident, select_rows
from latentstore.filters.resident import LEAST_ROWS

N = 3_000
RNG = np.random.default_rng(7)
WORDS = ["Bag", "bag", "Ankle boot", "Sneaker", "it's", "100%", "a_b", "", "é", '"; DROP TABLE x; --']


def some_null(values, kind):
    return pa.array([None if RNG.random() < 0.15 else v for v in values], kind)


START = dt.datetime(2020, 1, 1)
METADATA = {
    "label": some_null([WORDS[i] for i in RNG.integers(len(WORDS), size=N)], pa.string()),
    "note": some_null([WORDS[i] for i in RNG.integers(len(WORDS), size=N)], pa.string()),
    "price": some_null((RNG.integers(0, 50, size=N) / 10).tolist(), pa.float32()),
    "weight": some_null(RNG.normal(size=N).tolist(), pa.float64()),
    "year": some_null(RNG.integers(1990, 2030, size=N).tolist(), pa.int32()),
    "tiny": some_null(RNG.integers(-5, 5, size=N).tolist(), pa.int8()),
    "big": some_null(RNG.integers(0, 2**62, size=N).tolist(), pa.int64()),
    "count": some_null(RNG.integers(0, 9, size=N).tolist(), pa.uint16()),
    "sold": some_null((RNG.random(N) < 0.5).tolist(), pa.bool_()),
    "made": some_null([START.date() + dt.timedelta(days=int(d)) for d in RNG.integers(900, size=N)], pa.date32()),
    "seen": some_null([START + dt.timedelta(hours=int(h)) for h in RNG.integers(20_000, size=N)], pa.timestamp("us")),
    "zoned": some_null(
        [START + dt.timedelta(hours=int(h)) for h in RNG.integers(20_000, size=N)], pa.timestamp("us", tz="UTC")
    ),
    "cost": some_null([Decimal(int(c)).scaleb(-2) for c in RNG.integers(9_999, size=N)], pa.decimal128(9, 2)),
    "tags": some_null([RNG.choice(["x", "y", "z"], RNG.integers(3)).tolist() for _ in range(N)], pa.list_(pa.string())),
    "scores": some_null([RNG.integers(9, size=3).tolist() for _ in range(N)], pa.list_(pa.int64())),
    'odd "name"': some_null(RNG.integers(3, size=N).tolist(), pa.int64()),
    "select": some_null(RNG.integers(3, size=N).tolist(), pa.int64()),
}
TYPES = {name: column.type for name, column in METADATA.items()}


@pytest.fixture(scope="module")
def table():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(RNG.normal(size=N * 2).astype("f4")), 2)
    return pa.table({"row": np.arange(N), "id": [f"train/{i}" for i in range(N)], "vector": vectors, **METADATA})


@pytest.fixture(scope="module", params=["read from the file", "kept in memory"])
def whole(table, tmp_path_factory, request):
    path = tmp_path_factory.mktemp("whole") / "it's whole.parquet"
    pq.write_table(table, path, row_group_size=500)
    return [SegmentFile(path, first_row=1000, rows=LEAST_ROWS if request.param == "kept in memory" else N)]


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


def test_threads_have_their_own_cursors(whole):
    expected = {y: len(select_rows(parse_where(f"year = {y}", TYPES), whole)) for y in range(1990, 2000)}
    wrong = []

    def work():
        wrong.extend(y for y in expected if len(select_rows(parse_where(f"year = {y}", TYPES), whole)) != expected[y])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(expected.values()) > 0


def test_a_damaged_segment_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere\.parquet.*run verify"):
        select_rows(parse_where("true", {}), [SegmentFile(tmp_path / "nowhere.parquet", 0)])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StorageError, match=r"torn\.parquet.*run verify"):
        select_rows(parse_where("true", {}), [SegmentFile(tmp_path / "torn.parquet", 0)])


@pytest.fixture
def large(tmp_path):
    """A file of 50,000 rows, columns a to f."""
    table = pa.table({"row": np.arange(50_000), **{name: RNG.random(50_000) for name in "abcdef"}})
    pq.write_table(table, tmp_path / "large.parquet")
    return SegmentFile(tmp_path / "large.parquet", 0, rows=50_000), table


def test_columns_in_memory_are_bounded(large, monkeypatch):
    file, table = large
    monkeypatch.setattr(resident, "KEPT_BYTES", 2_000_000)  # four columns, with what DuckDB adds
    kept, types = resident.resident(), dict.fromkeys("abcdef", pa.float64())
    for name in "abcdefabc":
        rows = select_rows(parse_where(f"{name} < 0.1", types), [file])
        assert np.array_equal(rows, np.flatnonzero(table[name].to_numpy() < 0.1))
        assert sum(one.size for one in kept._tables.values()) <= 2_000_000
    assert len([key for key in kept._tables if key[0] == str(file.path)]) < 6
    monkeypatch.setattr(resident, "KEPT_BYTES", 1000)
    together = select_rows(parse_where("a < 0.1 and b > 0.9", types), [file])
    assert np.array_equal(together, np.flatnonzero((table["a"].to_numpy() < 0.1) & (table["b"].to_numpy() > 0.9)))
    assert (str(file.path), frozenset("ab")) in kept._too_large


def test_columns_in_memory_serve_threads_while_others_are_evicted(large, monkeypatch):
    file, table = large
    monkeypatch.setattr(resident, "KEPT_BYTES", 1_000_000)
    wrong = []

    def work(seed):
        names = np.random.default_rng(seed).choice([*"abcdef"], 60)
        for number, name in enumerate(names):
            below = 0.1 + number / 1000
            rows = select_rows(parse_where(f"{name} < {below}", dict.fromkeys("abcdef", pa.float64())), [file])
            if not np.array_equal(rows, np.flatnonzero(table[name].to_numpy() < below)):
                wrong.append((name, below))

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


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


def test_numbers_of_any_size_fit(table, whole):
    values = table["big"].to_pylist()
    for number in (3, 2**20, 2**40, 2**62, -(2**62), 1.5, 10**25):
        expected = [row for row, value in enumerate(values) if value is not None and value > number]
        found = select_rows(parse_where(f"big > {number}", TYPES), whole) - 1000
        assert found.tolist() == expected
