"""SQL over a real store: answers against NumPy and Arrow, and a long list of what must not pass."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import InputError, QueryRefused, UnknownItem, UnknownLabel, UnknownSpace
from latentstore.sql import run_sql

D = 4
RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, D)).astype(np.float32)
IDS = [f"train/{i}" for i in range(60)]
LABELS = ["Bag", "Coat", None] * 20
DEAD = {"train/3", "train/40"}
LIVE = [i for i in range(60) if IDS[i] not in DEAD]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two segments, of which the first has no `price`; two dead rows; a second, cosine space and an ip one."""
    store = ls.open(tmp_path_factory.mktemp("sql") / "it's a store")
    space = store.create_space("fashion", dim=D)
    space.add(IDS[:30], X[:30], pa.table({"label": pa.array(LABELS[:30], pa.string())}))
    prices = pa.array(np.arange(30, 60) / 2)
    space.add(IDS[30:], X[30:], pa.table({"label": pa.array(LABELS[30:], pa.string()), "price": prices}))
    space.delete(sorted(DEAD))
    space.fit_centroids("label")
    space.fit_attribute("baggy", positive="label = 'Bag'", negative="label = 'Coat'")
    space.tag("production")
    store.create_space("empty", dim=2)
    for metric in ("cosine", "ip"):
        other = store.create_space(f"by_{metric}", dim=D, metric=metric)
        other.add(IDS, X)
    return store


def one(table):
    ((value,),) = (row.values() for row in table.to_pylist())
    return value


def test_rows_are_the_live_rows(store):
    table = store.sql("SELECT * FROM fashion ORDER BY id")
    assert table.column_names == ["id", "label", "price", "vector"]
    order = sorted(LIVE, key=lambda i: IDS[i])
    assert table["id"].to_pylist() == [IDS[i] for i in order]
    assert table["label"].to_pylist() == [LABELS[i] for i in order]
    assert table["price"].to_pylist() == [i / 2 if i >= 30 else None for i in order]
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), X[order])
    assert one(store.sql("SELECT typeof(vector) FROM fashion LIMIT 1")) == "FLOAT[4]"


def test_grouping(store):
    found = store.sql("SELECT label, count(*) AS n FROM fashion GROUP BY label ORDER BY label NULLS LAST").to_pylist()
    labels = [LABELS[i] for i in LIVE]
    assert found == [{"label": x, "n": labels.count(x)} for x in ("Bag", "Coat", None)]


def test_what_stands_beside_a_space(store):
    space = store.space("fashion")
    centroids = store.sql("SELECT label, count, vector FROM fashion.centroids ORDER BY label")
    assert centroids["label"].to_pylist() == ["Bag", "Coat"]
    mean = X[[i for i in LIVE if LABELS[i] == "Bag"]].mean(0)
    np.testing.assert_allclose(centroids["vector"][0].as_py(), mean, rtol=1e-5)
    assert store.sql("FROM fashion.attributes")["name"].to_pylist() == ["baggy"]
    versions = store.sql("SELECT version, rows, tags FROM fashion.versions ORDER BY version").to_pylist()
    assert [v["version"] for v in versions] == [m.version for m in space.versions()]
    assert versions[-1] == {"version": space.version, "rows": 58, "tags": ["production"]}
    assert store.sql("FROM fashion.maps").num_rows == 0
    assert one(store.sql("SELECT count(*) FROM empty")) == 0
    assert store.sql("FROM empty.centroids").num_rows == 0


def test_a_map_is_a_table(store):
    space = store.space("by_ip")
    space.fit_map("pca")
    found = store.sql("SELECT m.map, m.x, m.z, s.id FROM by_ip.maps m JOIN by_ip s USING (id)")
    assert found.num_rows == 60
    expected = dict(zip(*(space.map("pca")[name].to_pylist() for name in ("id", "x")), strict=True))
    assert dict(zip(found["id"].to_pylist(), found["x"].to_pylist(), strict=True)) == expected
    assert set(found["map"].to_pylist()) == {"pca"}
    assert found["z"].null_count == 60


def test_latent(store):
    found = one(store.sql("SELECT latent('fashion', '''train/0'' - 2 * ''train/1''')"))
    np.testing.assert_allclose(found, X[0] - 2 * X[1], rtol=1e-6)
    each = store.sql("SELECT id, latent('fashion', '''' || id || '''') = vector AS same FROM fashion")
    assert set(each["same"].to_pylist()) == {True}
    assert each.num_rows == 58


@pytest.mark.parametrize("query", ["'''train/7'''", f"{X[7].tolist()}", "latent('fashion', '''train/7''')"])
def test_neighbours(store, query):
    found = store.sql(f"SELECT * FROM neighbours('fashion', {query}, 5)").to_pylist()
    distances = np.linalg.norm(X[LIVE] - X[7], axis=1)
    order = np.argsort(distances)[:5]
    assert [hit["id"] for hit in found] == [IDS[LIVE[i]] for i in order]
    np.testing.assert_allclose([hit["distance"] for hit in found], distances[order], atol=1e-6)
    assert {hit["similarity"] for hit in found} == {None}


def test_neighbours_of_many_in_a_lateral_join(store):
    found = store.sql("SELECT f.id AS of, n.id FROM fashion f, neighbours('fashion', f.vector, 3) n").to_pylist()
    assert len(found) == 3 * 58
    hits: dict[str, set[str]] = {}
    for row in found:
        hits.setdefault(row["of"], set()).add(row["id"])
    for i in LIVE:
        nearest = np.argsort(np.linalg.norm(X[LIVE] - X[i], axis=1))[:3]
        assert hits[IDS[i]] == {IDS[LIVE[j]] for j in nearest}


def test_distance_and_similarity_are_not_one_name(store):
    for metric, oracle in (("cosine", X @ X[0] / np.linalg.norm(X, axis=1) / np.linalg.norm(X[0])), ("ip", X @ X[0])):
        (hit,) = store.sql(f"FROM neighbours('by_{metric}', '''train/0''', 1)").to_pylist()
        np.testing.assert_allclose(hit["similarity"], oracle.max(), rtol=1e-5)
        assert (hit["distance"] is None) == (metric == "ip")


LEGITIMATE = """
SELECT 1
FROM fashion LIMIT 3
WITH bags AS (SELECT * FROM fashion WHERE label = 'Bag') SELECT count(*) FROM bags
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 9) SELECT sum(a) FROM t
SELECT id, row_number() OVER (PARTITION BY label ORDER BY id) FROM fashion
SELECT f.id, g.id FROM fashion f JOIN by_ip g USING (id) ORDER BY array_distance(f.vector, g.vector) LIMIT 5
SELECT a.id, array_cosine_similarity(a.vector, b.vector) FROM fashion a, fashion b WHERE b.id = 'train/0'
DESCRIBE fashion
SUMMARIZE SELECT label, price FROM fashion
SHOW TABLES
SHOW ALL TABLES
VALUES (1), (2)
SELECT fashion.label FROM fashion WHERE fashion.id IN (SELECT id FROM by_cosine) -- a comment
SELECT * FROM fashion ASOF JOIN by_ip ON fashion.id >= by_ip.id
SELECT unnest(range(10))
SELECT label, list(id), median(price), quantile_cont(price, 0.9) FROM fashion GROUP BY ALL ORDER BY ALL
FROM Fashion SELECT max(price);
SELECT 1 AS a, 2 AS a
""".strip().split("\n")


@pytest.mark.parametrize("query", LEGITIMATE)
def test_legitimate_queries_pass(store, query):
    assert store.sql(query).num_columns > 0


ATTACKS = """
SELECT 1; SELECT 2
SELECT 1; DROP VIEW fashion
DROP VIEW fashion
DELETE FROM fashion
INSERT INTO fashion SELECT * FROM fashion
UPDATE fashion SET label = 'x'
CREATE TABLE t AS SELECT 1
CREATE TEMP TABLE t (a INT)
CREATE OR REPLACE MACRO lower(x) AS 'x'
ALTER VIEW fashion RENAME TO f
TRUNCATE fashion.centroids
WITH x AS (INSERT INTO fashion.centroids SELECT * FROM fashion.centroids RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM fashion.centroids RETURNING *) SELECT * FROM x
COPY (SELECT 1) TO '{dir}/out.csv'
COPY fashion TO '{dir}/out.parquet'
COPY fashion.centroids FROM '/etc/passwd'
EXPORT DATABASE '{dir}/out'
IMPORT DATABASE '{dir}/out'
ATTACH '{dir}/other.db'
ATTACH ':memory:' AS other
DETACH memory
USE fashion
INSTALL httpfs
LOAD httpfs
FORCE INSTALL spatial FROM community
SET memory_limit = '100GB'
SET enable_external_access = true
RESET allowed_paths
PRAGMA database_list
PRAGMA enable_profiling
CALL enable_logging(storage = 'file')
CALL pragma_version()
CHECKPOINT
BEGIN
COMMIT
VACUUM
PREPARE p AS SELECT 1
EXECUTE p
EXPLAIN ANALYZE SELECT 1
PIVOT fashion ON label USING count(*)
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/proc/self/environ')
SELECT * FROM read_json('/etc/hosts')
SELECT * FROM read_parquet('{dir}/*/*/*.parquet')
SELECT * FROM '/etc/passwd'
SELECT * FROM '{dir}/other.parquet'
SELECT * FROM glob('/*')
SELECT * FROM parquet_metadata('{dir}/other.parquet')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM read_csv('https://example.org/x.csv')
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM query('COPY (SELECT 1) TO ''{dir}/out.csv''')
SELECT * FROM query('SELECT 1; DROP VIEW fashion')
SELECT * FROM json_execute_serialized_sql('x')
SELECT getenv('HOME')
SELECT * FROM enable_logging(storage = 'file')
SELECT * FROM enable_profiling(save_location = '{dir}/out.json')
SELECT * FROM write_parquet('{dir}/out.parquet')
SELECT * FROM sqlite_scan('{dir}/x.db', 't')
SELECT * FROM postgres_query('x', 'y')
SELECT * FROM secret_rows
SELECT * FROM nowhere
SELECT * FROM fashion WHERE
SELECT $1
SELECT ?
SELECT nothing FROM fashion
SELECT 'a'::INTEGER
SELECT string_agg(repeat('x', 1000000), '') FROM range(1000000)
SELECT count(DISTINCT a.range * 1000000 + b.range) FROM range(100000) a, range(100000) b
WITH RECURSIVE t AS (SELECT [1] AS a UNION ALL SELECT list_concat(a, a) FROM t) SELECT max(len(a)) FROM t
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t
SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 11
""".strip().split("\n")


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(store, attack, tmp_path):
    secret_rows = pa.table({"password": ["secret"]})
    assert secret_rows.num_rows == 1  # a Python variable that SQL must not find
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    spaces = {name: store.space(name) for name in store.spaces}
    start = time.monotonic()
    with pytest.raises(QueryRefused) as error:
        run_sql(attack.format(dir=tmp_path) if "{dir}" in attack else attack, spaces, timeout=1.0, memory_limit="200MB")
    assert time.monotonic() - start < 20
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["other.parquet"]
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before


def test_other_spaces_files_are_out_of_reach(store):
    (segment,) = store.space("by_ip").snapshot.segments
    path = str(segment.path).replace("'", "''")
    assert store.sql(f"SELECT by_ip.id FROM read_parquet('{path}'), by_ip LIMIT 1").num_rows == 1  # control: mentioned
    with pytest.raises(QueryRefused, match="reaches outside"):
        store.sql(f"SELECT 1 FROM read_parquet('{path.replace('by_ip', 'b||y_ip')}'), fashion")


def test_messages_name_the_remedy(store):
    with pytest.raises(QueryRefused, match="no space or table 'fashon'; did you mean 'fashion'"):
        store.sql("SELECT * FROM fashon")
    with pytest.raises(QueryRefused, match="2 statements; send exactly one"):
        store.sql("SELECT 1; SELECT 2")
    with pytest.raises(QueryRefused, match="a CREATE statement"):
        store.sql("CREATE TABLE t AS SELECT 1")
    with pytest.raises(QueryRefused, match=r"does not parse: .*syntax error"):
        store.sql("SELEC 1")
    with pytest.raises(QueryRefused, match="0 statements"):
        store.sql("")
    with pytest.raises(QueryRefused, match="text, not int"):
        store.sql(1)
    with pytest.raises(QueryRefused, match=r"longer than 0\.3 s; ask for less"):
        run_sql(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3", {}, timeout=0.3
        )


def test_functions_raise_their_own_errors(store):
    with pytest.raises(UnknownItem, match="train/999"):
        store.sql("SELECT latent('fashion', '''train/999''')")
    with pytest.raises(UnknownLabel, match="Hat"):
        store.sql("FROM neighbours('fashion', 'centroid(''Hat'')', 3)")
    with pytest.raises(UnknownSpace, match="did you mean 'fashion'"):
        store.sql("FROM neighbours('fashon', '''train/0''', 3)")
    with pytest.raises(InputError, match="k = 0; choose 1 to"):
        store.sql("FROM neighbours('fashion', '''train/0''', 0)")
    with pytest.raises(InputError, match="2"):
        store.sql("FROM neighbours('fashion', [1, 2], 3)")
    assert store.sql("FROM neighbours('fashion', NULL, 3)").num_rows == 0


def test_sessions_do_not_share_anything(store):
    results = []

    def work(label):
        results.append((label, one(store.sql(f"SELECT count(*) FROM fashion WHERE label = '{label}'"))))

    threads = [threading.Thread(target=work, args=(label,)) for label in ("Bag", "Coat") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = [LABELS[i] for i in LIVE]
    assert sorted(results) == sorted((x, labels.count(x)) for x in ("Bag", "Coat") * 2)
