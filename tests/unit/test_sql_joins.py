"""Joins that are answered from the hits alone give what DuckDB's own joins give."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import InputError, LatentStoreError
from latentstore.sql import Engine, Limits
from latentstore.sql.hits import HitsOnly
from latentstore.sql.lateral import MAX_QUERIES, lateral_join
from latentstore.sql.near import near_join

X = np.random.default_rng(8).normal(size=(60, 4)).astype(np.float32)
IDS = [f"train/{i}" for i in range(60)]
DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """`fashion` has two segments, of which the first has no `price`, two dead rows, and one whose label was changed."""
    store = ls.open(tmp_path_factory.mktemp("joins") / "a.store")
    space = store.create_space("fashion", dim=4)
    columns = pa.table({"label": ["Bag", "Coat", None] * 20, "when": [DAY] * 60, "Tags": [["a", None], None, []] * 20})
    space.add(IDS[:30], X[:30], columns[:30])
    space.add(IDS[30:], X[30:], columns[30:].append_column("price", pa.array(np.arange(30) / 2)))
    space.delete(["train/7", "train/40"])
    space.update(["train/1"], pa.table({"label": ["Boot"]}))
    for metric in ("cosine", "ip"):
        store.create_space(f"by_{metric}", dim=4, metric=metric).add(IDS, X, {"label": ["x"] * 60})
    store.create_space("empty", dim=4)
    store.create_space("wide", dim=5).add(["w"], np.ones((1, 5), np.float32))
    return store


NEAR = [
    "SELECT n.*, f.* FROM neighbours('fashion', $q, 5) n JOIN fashion f USING (id)",
    "SELECT f.label, vector FROM neighbours('fashion', $q, 50) n JOIN fashion f ON f.id = n.id WHERE price > 3",
    "SELECT f, n.id FROM neighbours('fashion', $q, 60) AS n LEFT JOIN fashion AS f ON n.id = f.id",
    "SELECT label, count(*) AS c FROM fashion JOIN neighbours('fashion', '''train/3''', 9) n USING (id) GROUP BY label",
]
NOT_NEAR = [
    "SELECT #1, #4, #5 FROM neighbours('fashion', $q, 5) n JOIN fashion f USING (id)",
    "SELECT main.fashion.label FROM neighbours('fashion', $q, 5) n JOIN fashion ON n.id = fashion.id",
    "SELECT f.id FROM neighbours('fashion', $q, 5) n RIGHT JOIN fashion f USING (id)",
    "SELECT f.id FROM fashion f LEFT JOIN neighbours('fashion', $q, 5) n USING (id)",
    "SELECT f.id FROM neighbours('fashion', $q, 5) n JOIN fashion f ON n.id <> f.id",
    "SELECT f.id, (SELECT count(*) FROM fashion) AS n FROM neighbours('fashion', $q, 5) n JOIN fashion f USING (id)",
    "SELECT f.id FROM neighbours('fashion', $q, 5) n JOIN by_ip f USING (id)",
]
LATERAL = [
    "SELECT q.id, n.id AS near, distance FROM fashion q, neighbours('fashion', q.vector, 3) n",
    "SELECT Q.id, n.id AS near, n.similarity FROM by_cosine q, neighbours('by_ip', vector, $k) n ORDER BY 1, 2",
    "SELECT fashion.label, near.ID FROM Fashion CROSS JOIN LATERAL neighbours('by_ip', fashion.vector, 2) near",
    "SELECT q.label, avg(distance) AS d FROM by_ip q JOIN neighbours('fashion', q.vector, 4) n ON true GROUP BY 1",
    "SELECT q.id, q.label, n.id AS near, m.label AS other, m.price, m.\"when\", tags, length('ü𝄞') AS l "
    "FROM by_ip q, neighbours('fashion', q.vector, 7) n JOIN fashion m ON m.id = n.id",
    "SELECT q.label, m.label, n.distance + 1 FROM fashion q, neighbours('fashion', q.vector, 2) n, fashion m "
    "WHERE n.id = m.id",
    "SELECT q.label, m.label, $k FROM by_cosine q JOIN neighbours('fashion', q.vector, $k) n ON true "
    "JOIN fashion m ON (m.id = n.id)",
    "SELECT q.label, m.label FROM by_cosine q, neighbours('fashion', q.vector, 2) n JOIN fashion m USING (id)",
    "SELECT count(*) AS c FROM by_ip q, neighbours('fashion', q.vector, 100) n",
    "SELECT q.id, n.id, m.id, q.label, m.label FROM by_ip q, neighbours('fashion', q.vector, 2) n, fashion m "
    "WHERE m.id = n.id",
    "SELECT DISTINCT ON (q.label) q.label, n.id FROM fashion q, neighbours('fashion', q.vector, 1) n "
    "ORDER BY q.label, n.id",
    'SELECT "É".id, n.id AS near FROM by_ip "É", neighbours(\'fashion\', "É".vector, 2) n',
    "SELECT q.id, row_number() OVER (PARTITION BY q.id ORDER BY n.distance) AS r FROM fashion q, "
    "neighbours('by_ip', q.vector, 3) n QUALIFY r > 1",
]
NOT_LATERAL = [
    "SELECT q.id, n.id AS near, m.label, $k FROM (SELECT * FROM by_ip WHERE id < $t ORDER BY id LIMIT 20) q, "
    "neighbours('fashion', q.vector, $k) n JOIN fashion m ON m.id = n.id",
    "SELECT q.name, q.big, d, s, n.distance FROM (SELECT id AS name, 1::HUGEINT << 90 AS big, DATE '2026-01-02' AS d, "
    "{'a': label} AS s, Vector FROM fashion ORDER BY id LIMIT 9) AS q, neighbours('by_ip', vector, 3) n",
    "SELECT sum(n.distance) AS s FROM (SELECT vector FROM fashion ORDER BY id LIMIT 5) q, "
    "neighbours('fashion', q.vector, 3) n",
    "SELECT q.id, n.id AS near FROM (SELECT id, [1::FLOAT, 2, 3, 4] AS vector FROM fashion ORDER BY id LIMIT 3) q, "
    "neighbours('fashion', q.vector, 2) n",
    "WITH few AS (SELECT * FROM by_ip ORDER BY id LIMIT 8) "
    "SELECT q.id, n.id AS near FROM Few AS q, neighbours('fashion', q.vector, 2) n",
    "WITH q AS MATERIALIZED (SELECT id, vector FROM by_ip ORDER BY id LIMIT 5) "
    "SELECT q.id, m.label FROM q, neighbours('fashion', q.vector, $k) n JOIN fashion m ON m.id = n.id",
    "SELECT q.id, n.id AS near FROM (SELECT id, CASE WHEN id > 'train/2' THEN vector END AS vector FROM fashion "
    "ORDER BY id LIMIT 30) q, neighbours('fashion', q.vector, 2) n",
    "SELECT #1, #2 FROM by_ip q, neighbours('fashion', q.vector, 2) n",
    "SELECT #4, #5 FROM by_ip q, neighbours('fashion', q.vector, 2) n JOIN fashion m ON m.id = n.id",
    "SELECT main.by_ip.id FROM by_ip, neighbours('fashion', by_ip.vector, 2) n",
    "WITH by_ip AS (SELECT id, vector FROM fashion ORDER BY id LIMIT 5) "
    "SELECT q.id FROM main.by_ip q, neighbours('fashion', q.vector, 2) n",
    "SELECT q.id, n.id FROM by_ip \"é\", by_ip q, neighbours('fashion', q.vector, 2) n",
    f"SELECT {'abs(' * 90}n.distance{')' * 90} AS d FROM by_ip q, neighbours('fashion', q.vector, 2) n",
    "SELECT q.id FROM by_ip q, neighbours('fashion', q.vector, 3) n WHERE q.id < 'train/3'",
    "SELECT q.id FROM by_ip q, neighbours('fashion', q.vector, 3) n ORDER BY q.id, n.id LIMIT 7",
    "SELECT q.*, n.id AS near FROM by_ip q, neighbours('fashion', q.vector, 3) n",
    "SELECT q, n.id FROM by_ip q, neighbours('fashion', q.vector, 3) n",
    "SELECT q.vector, n.id FROM by_ip q, neighbours('fashion', q.vector, 3) n",
    "SELECT q.id FROM by_ip q, neighbours('fashion', list_transform(q.vector, lambda x: x + 1), 3) n",
    "SELECT q.id, n.id FROM by_ip q, neighbours('fashion', q.vector, 3) WITH ORDINALITY n",
    "SELECT q.id, n.b FROM by_ip q, neighbours('fashion', q.vector, 3) n(a, b)",
    "SELECT q.id, n.id FROM by_ip q LEFT JOIN neighbours('fashion', q.vector, 3) n ON true",
    "SELECT q.id, m.label FROM by_ip q, neighbours('fashion', q.vector, 3) n JOIN fashion m ON m.id = q.id",
    "SELECT q.id, m.label FROM by_ip q, neighbours('fashion', q.vector, 3) n JOIN by_cosine m ON m.id = n.id",
    "SELECT q.id, m.label FROM by_ip q, neighbours('fashion', q.vector, 3) n LEFT JOIN fashion m ON m.id = n.id",
    "SELECT q.id, m.label FROM by_ip q, fashion m, neighbours('fashion', q.vector, 3) n WHERE m.id = n.id",
    "SELECT q.id, (SELECT max(price) FROM fashion) AS p FROM by_ip q, neighbours('fashion', q.vector, 3) n",
    "WITH by_ip AS (SELECT 'x' AS id, [1.0, 2, 3, 4] AS vector) "
    "SELECT q.id, n.id AS near FROM by_ip q, neighbours('fashion', q.vector, 3) n",
    "SELECT q.id, n.id FROM by_ip q TABLESAMPLE 50%, neighbours('fashion', q.vector, 3) n WHERE false OR true",
]


def given(query):
    return {
        name: value
        for name, value in {"q": [0.1, 0.2, 0.3, 0.4], "k": 5, "t": "train/3"}.items()
        if f"${name}" in query
    }


def both_ways(store, query, monkeypatch):
    """The same query, answered by the short way and, with it barred, by DuckDB's own join."""
    short = Engine(store.files, store.space).run(query, given(query))
    for name in ("near_join", "lateral_join"):
        monkeypatch.setattr(f"latentstore.sql.session.{name}", lambda *_: None)
    return short, Engine(store.files, store.space).run(query, given(query))


@pytest.mark.parametrize("query", NEAR + NOT_NEAR + LATERAL + NOT_LATERAL)
def test_joins_from_the_hits_alone_answer_as_a_scan(store, query, monkeypatch):
    assert (near_join(query, given(query)) is not None) == (query in NEAR)
    assert (lateral_join(query, given(query)) is not None) == (query in LATERAL)
    found, expected = both_ways(store, query, monkeypatch)
    assert found.schema == expected.schema
    if "TABLESAMPLE" not in query:
        assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_pylist()))
        assert found.num_rows > 0


def test_the_short_way_is_taken_and_shown_anew(store, monkeypatch):
    """One session answers joins of other columns and spaces in turn, each from its own hits."""
    taken = []
    show = HitsOnly.show
    monkeypatch.setattr(HitsOnly, "show", lambda self, join: taken.append(join) or show(self, join))
    engine = Engine(store.files, store.space)
    queries = [query for query in NEAR + LATERAL if "fashion" in query]
    first = [engine.run(query, given(query)) for query in queries]
    again = [engine.run(query, given(query)) for query in reversed(queries)]
    assert len(taken) == 2 * len(queries)
    for one, other in zip(first, reversed(again), strict=True):
        assert sorted(map(repr, one.to_pylist())) == sorted(map(repr, other.to_pylist()))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT q.id, n.id FROM by_ip q, neighbours('empty', q.vector, 3) n",
        "SELECT q.id, n.id FROM empty q, neighbours('by_ip', q.vector, 3) n",
        "SELECT q.id, n.id, m.label FROM empty q, neighbours('by_ip', q.vector, 3) n JOIN by_ip m ON n.id = m.id",
    ],
)
def test_nothing_is_found_in_nothing(store, query, monkeypatch):
    found, expected = both_ways(store, query, monkeypatch)
    assert found.schema == expected.schema
    assert found.num_rows == expected.num_rows == 0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT q.id, n.id FROM wide q, neighbours('fashion', q.vector, 3) n", "a vector of 5 numbers; .* needs 4"),
        ("SELECT q.id, n.id FROM by_ip q, neighbours('fashon', q.vector, 3) n", "did you mean 'fashion'"),
        ("SELECT q.id, n.id FROM by_ip q, neighbours('fashion', q.vector, 0) n", "k = 0; choose 1 to"),
        ("SELECT q.id, n.id FROM by_ip q, neighbours('fashion', q.vector, 20000) n", "k = 20000; choose 1 to"),
        ("SELECT q.id, q.nothing FROM by_ip q, neighbours('fashion', q.vector, 3) n", "nothing"),
        (
            "SELECT q.label FROM by_ip q CROSS JOIN neighbours('fashion', q.vector, 3) n JOIN fashion m USING (id)",
            "[Aa]mbiguous",
        ),
        ("SELECT q.id, id FROM by_ip q, neighbours('fashion', q.vector, 3) n", "[Aa]mbiguous"),
    ],
)
def test_what_is_wrong_is_said_as_ever(store, query, said):
    with pytest.raises(LatentStoreError, match=said):
        store.sql(query)


def test_what_arrow_would_show_otherwise_or_too_often_goes_the_long_way(tmp_path, monkeypatch):
    store = ls.open(tmp_path / "a.store")
    columns = {"text": ["x" * 20_000] * 200, "took": pa.array([datetime.timedelta(seconds=3)] * 200, pa.duration("s"))}
    vectors = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    store.create_space("long", dim=3).add([str(i) for i in range(200)], vectors, pa.table(columns))
    show, shown = HitsOnly.show, []
    monkeypatch.setattr(HitsOnly, "show", lambda self, join: shown.append(show(self, join)) or shown[-1])
    engine = Engine(store.files, store.space, Limits(memory=256 << 20))
    for query in (
        "SELECT max(length(q.text)) AS n FROM long q, neighbours('long', q.vector, 100) n",
        "SELECT max(length(m.text)) AS n FROM long q, neighbours('long', q.vector, 100) n JOIN long m ON m.id = n.id",
    ):
        assert engine.run(query).to_pylist() == [{"n": 20_000}]
    assert shown == [None, None]
    for query in (
        "SELECT DISTINCT q.took FROM long q, neighbours('long', q.vector, 2) n",
        "SELECT DISTINCT l.took FROM neighbours('long', '''5''', 2) n JOIN long l USING (id)",
    ):
        assert engine.run(query).num_rows == 1
    assert shown == [None, None]


def test_many_queries_are_asked_in_parts(tmp_path):
    """More than are asked at once go DuckDB's way, in calls of that many, and are answered alike."""
    store = ls.open(tmp_path / "a.store")
    vectors = np.random.default_rng(1).normal(size=(MAX_QUERIES + 5, 3)).astype(np.float32)
    ids = [str(i) for i in range(len(vectors))]
    space = store.create_space("many", dim=3)
    space.add(ids, vectors)
    found = store.sql("SELECT q.id, n.id AS near FROM many q, neighbours('many', q.vector, 1) n", sandbox=False)
    assert sorted(found["id"].to_pylist()) == sorted(ids)
    assert found["id"] == found["near"]
    with pytest.raises(InputError, match="choose 1 to"):
        store.sql("SELECT q.id FROM many q, neighbours('many', q.vector, 10001) n")
