"""Random predicates over random tables with nulls, against three-valued logic written out in Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentstore.filters import SegmentFile, parse_where, select_rows

COLUMNS = {"label": pa.string(), "price": pa.float64(), "year": pa.int32(), "sold": pa.bool_()}
VALUES = {
    "label": st.sampled_from(["Bag", "it's", "", "x%", '"', "é"]),
    "price": st.sampled_from([-1.5, 0.0, 0.1, 2.0, 1e6]),
    "year": st.integers(-3, 3),
    "sold": st.booleans(),
}


def literal(value):
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()


def lift(operator):
    """A comparison that is None (unknown) when a side is."""
    return lambda left, right: None if left is None or right is None else operator(left, right)


COMPARE = {
    "=": lift(lambda a, b: a == b),
    "<>": lift(lambda a, b: a != b),
    "<": lift(lambda a, b: a < b),
    ">=": lift(lambda a, b: a >= b),
    "is distinct from": lambda a, b: a != b,
}


@st.composite
def predicates(draw, depth=3):
    """A text and the function of a row that it stands for (True, False or None)."""
    kind = draw(st.sampled_from(["compare", "in", "null"] + ["and", "or", "not"] * (depth > 0)))
    if kind in ("and", "or"):
        (one, f), (two, g) = draw(predicates(depth=depth - 1)), draw(predicates(depth=depth - 1))
        decisive = kind == "or"

        def combined(row):
            values = (f(row), g(row))
            return decisive if decisive in values else None if None in values else not decisive

        return f"({one}) {kind} ({two})", combined
    if kind == "not":
        text, f = draw(predicates(depth=depth - 1))
        return f"not ({text})", lambda row: None if f(row) is None else not f(row)
    name = draw(st.sampled_from(list(COLUMNS)))
    if kind == "null":
        return f"{name} is null", lambda row: row[name] is None
    if kind == "in":
        values = draw(st.lists(VALUES[name], min_size=1, max_size=3))
        listed = ", ".join(map(literal, values))
        return f"{name} in ({listed})", lambda row: None if row[name] is None else row[name] in values
    sign, value = draw(st.sampled_from(list(COMPARE))), draw(VALUES[name])
    if draw(st.booleans()):
        return f"{name} {sign} {literal(value)}", lambda row: COMPARE[sign](row[name], value)
    return f"{literal(value)} {sign} {name}", lambda row: COMPARE[sign](value, row[name])


rows = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("filters")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(rows, min_size=1, max_size=3), predicates(), st.data())
def test_selected_rows_are_those_where_the_predicate_is_true(folder, segments, predicate, data):
    text, holds = predicate
    files, expected, first = [], [], 0
    for records in segments:
        table = pa.Table.from_pylist(records, schema=pa.schema(COLUMNS))
        absent = data.draw(st.sets(st.sampled_from(list(COLUMNS)), max_size=2))
        relative = np.cumsum(data.draw(st.lists(st.integers(1, 2), min_size=len(records), max_size=len(records))))
        table = table.drop_columns(list(absent)).append_column("row", pa.array(relative, pa.int64()))
        path = folder / f"{len(list(folder.iterdir()))}.parquet"
        pq.write_table(table, path)
        files.append(SegmentFile(path, first, gaps=True))
        seen = [{name: None if name in absent else value for name, value in row.items()} for row in records]
        expected += [first + int(r) for r, row in zip(relative, seen, strict=True) if holds(row) is True]
        first += 100
    assert select_rows(parse_where(text, COLUMNS), files).tolist() == expected
