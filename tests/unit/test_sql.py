"""SQL over a real store: answers against NumPy and Arrow, and a long list of what must not pass."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import InputError, QueryRefused, UnknownItem, UnknownLabel, UnknownSpace
from latentstore.sql import Limits
from tests.unit.sql_queries import LEGITIMATE

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


@pytest.mark.parametrize("query", LEGITIMATE)
def test_legitimate_queries_pass(store, query):
    assert store.sql(query).num_columns > 0


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
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
    for sandbox in (True, False):
        with pytest.raises(QueryRefused, match=r"longer than 0\.3 s; ask for less"):
            store.sql(endless, sandbox=sandbox, limits=Limits(seconds=0.3))


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


def test_neighbours_joined_show_what_was_updated(tmp_path):
    """Metadata changed beside the files, and columns renamed or with a default, on every way a join is answered."""
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("plain", dim=2)
    space.add(["a", "b", "c"], [[0, 0], [1, 0], [5, 5]], pa.table({"label": ["x", "y", "z"]}))
    space.update(["b"], {"label": ["new"]})
    space.add_column("seen", "int64", 7)
    join = "SELECT id, label, seen FROM neighbours('plain', [0.9, 0]::FLOAT[], 2) JOIN plain USING (id) ORDER BY id"
    for sandbox in (True, False):
        for query in (join, join.replace("JOIN plain", "LEFT JOIN (SELECT * FROM plain)")):
            assert store.sql(query, sandbox=sandbox).to_pydict() == {
                "id": ["a", "b"], "label": ["x", "new"], "seen": [7, 7],
            }  # fmt: skip
        vectors = store.sql("SELECT vector FROM plain WHERE label = 'new'", sandbox=sandbox)["vector"].to_pylist()
        assert vectors == [[1, 0]]
