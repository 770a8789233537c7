"""One suite over the embedded store and over the client of the service: same calls, same results, same errors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore import errors
from latentstore.sql import Limits
from tests.http.conftest import serving


@pytest.fixture(params=["embedded", "over HTTP"])
def opened(request, template):
    """The store either way, to read."""
    if request.param == "embedded":
        yield ls.open(template, mode="r")
        return
    url = str(request.getfixturevalue("client").base_url)
    with ls.connect(url) as store:
        yield store


@pytest.fixture
def space(opened):
    return opened.space("small", at="production")


@pytest.fixture(params=["embedded", "over HTTP"])
def writable(request, store):
    """A store either way, to write to; another space is served at its newest version."""
    if request.param == "embedded":
        yield ls.open(store)
        return
    with serving(store, sql=Limits(seconds=20, memory=256 << 20)) as client, ls.connect(str(client.base_url)) as made:
        yield made


def test_what_a_space_is(opened, space, small):
    assert opened.spaces == ["plain", "similar", "small"]
    assert (space.name, space.version, space.dim, space.metric, len(space)) == ("small", small.version, 6, "l2", 1400)
    assert (space.columns, space.fingerprint) == (small.columns, small.fingerprint)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("'test/17'", {}),
        ("'test/17' + 0.5 * formal", {"k": 3, "columns": ["label", "split"]}),
        (["'test/1'", "formal"], {"k": 4, "where": "label = 'Bag'", "columns": ["label"]}),
        (np.ones(6, "f4"), {"radius": 3.0, "k": 40}),
        (np.eye(6, dtype="f4"), {"k": 2, "where": "id = 'test/1'"}),
        ([0.5, 1, 2, 3, 4, 5], {"offset": 2}),
        ("'test/1'", {"group_by": "label", "group_size": 2, "k": 3}),
        ("'test/1'", {"diversity": 0.7}),
        (None, {"positive": ["test/1", "test/2"], "negative": ["test/3"]}),
        ("'test/1'", {"recall": 1.0, "k": 100}),
    ],
)
def test_search(space, small, query, options):
    found, asked = space.search(query, **options), small.search(query, **options)
    assert found.ids.tolist() == asked.ids.tolist()
    assert found.rows.tolist() == asked.rows.tolist()
    np.testing.assert_allclose(found.distances, asked.distances, rtol=1e-6)
    assert (found.k, found.metric, found.version) == (asked.k, asked.metric, asked.version)
    assert np.array_equal(found.shortfall, asked.shortfall)
    if options.get("columns"):
        assert found.columns.equals(asked.columns)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("'test/17'", {}),
        ("'test/17'", {"where": "label = 'Bag'", "columns": ["label"]}),
        (["'test/1'", "formal"], {"k": 4, "recall": 1.0}),
    ],
)
def test_a_search_is_explained(space, small, query, options):
    found, asked = (one.search(query, **options, explain=True).explanation for one in (space, small))
    told, expected = found.to_json(), asked.to_json()
    assert [*told.pop("seconds")] == [*expected.pop("seconds")]
    assert told == expected
    assert all(spent >= 0 for spent in found.seconds.values())
    assert str(found).startswith(f"{asked.strategy}: {asked.reason}")
    assert space.search(query, **options).explanation is None


def test_points_and_paths(space, small):
    latent = space.latent("'test/17' + 2 * formal - formal")
    assert str(latent.expression) == "'test/17' + formal"
    np.testing.assert_allclose(latent.vector, small.latent("'test/17' + formal").vector, rtol=1e-6)
    np.testing.assert_array_equal(latent.decode(), small.decode(latent.vector))
    assert latent.realism() == pytest.approx(small.latent("'test/17' + formal").realism())
    path, ours = (one.interpolate("'test/1'", latent.vector, "formal", steps=7) for one in (space, small))
    np.testing.assert_array_equal(path.latents, ours.latents)
    np.testing.assert_array_equal(path.decode(), ours.decode())
    assert path.anchors == ours.anchors
    np.testing.assert_array_equal(space.sample(5, seed=3).latents, small.sample(5, seed=3).latents)
    np.testing.assert_allclose(space.place(latent.vector, "pca"), small.place(latent.vector, "pca"), rtol=1e-6)


def test_every_way_to_write_a_point(space, small):
    vector = small.latent("'test/1'").vector
    for one in (list(vector), vector.tolist(), tuple(vector), vector.astype("f8"), small.latent("'test/1'")):
        assert space.search(one, 3).ids.tolist() == small.search(vector, 3).ids.tolist()
    points = [space.latent("'test/1'"), space.latent("formal")]
    assert space.place(points, "pca").shape == (2, 2)
    assert space.place(points[0], "pca").shape == (2,)
    assert space.place(np.stack([vector, vector]), "pca").shape == (2, 2)
    moved, ours = (one.interpolate("'test/1'", "'test/2'", steps=4, method="transport") for one in (space, small))
    np.testing.assert_allclose(moved.decode(), ours.decode(), atol=0.5 / 255 + 1e-6)
    truncated, whole = (space.sample(40, seed=3, truncation=one).latents.std() for one in (0.5, 1.0))
    assert truncated < whole


def test_sql_parameters_keep_their_kind(opened):
    asked = "SELECT 7 // $x AS a, $big AS b, $none IS NULL AS c, $flag AS d"
    (row,) = opened.sql(asked, {"x": 2, "big": (1 << 53) + 1, "none": None, "flag": True}).to_pylist()
    assert row == {"a": 3, "b": (1 << 53) + 1, "c": True, "d": True}
    found = opened.sql("SELECT count(*) AS n FROM neighbours('small', '''test/1''', $k)", {"k": 3})
    assert found.to_pylist() == [{"n": 3}]


def test_tables(opened, space, small):
    assert space.get(["test/1", "train/3"]).equals(small.get(["test/1", "train/3"]))
    assert space.get("test/1", ["label"]).equals(small.get("test/1", ["label"]))
    assert space.centroids.equals(small.centroids)
    assert space.attributes.equals(small.attributes)
    assert space.map("pca").equals(small.map("pca"))
    assert space.evaluations().equals(small.evaluations())
    assert space.evaluations().num_rows == 3
    counted = opened.sql("SELECT count(*) AS n FROM small WHERE label = $l", {"l": "Bag"})
    assert counted.to_pylist() == [{"n": len(small.matching("label = 'Bag'"))}]


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (lambda store: store.space("nope"), errors.UnknownSpace, "nope"),
        (lambda store: store.space("small", at="nope"), errors.UnknownVersion, "nope"),
        (lambda store: store.space("small").search("'nope'"), errors.UnknownItem, "nope"),
        (lambda store: store.space("small").search("nope"), errors.UnknownAttribute, "nope"),

        (lambda store: store.space("small").search("centroid('Bog')"), errors.UnknownLabel, "Bog"),
        (lambda store: store.space("small").search("'test/1"), errors.ExpressionRefused, "test/1"),
        (lambda store: store.space("small").search([1.0, 2.0]), errors.ShapeMismatch, "6"),
        (lambda store: store.space("small").search("'test/1'", 0), errors.InputError, "k is 0"),
        (lambda store: store.space("small").search("'test/1'", where="label = "), errors.FilterRefused, "where"),
        (lambda store: store.space("small").search("'test/1'", columns=["x"]), errors.ConfigInvalid, "'x'"),
        (lambda store: store.space("small").interpolate("'test/1'", "formal", method="x"), errors.ConfigInvalid, "'x'"),
        (lambda store: store.space("plain").decode([[1.0, 2, 3]]), errors.NotSupported, "plain"),
        (lambda store: store.sql("DELETE FROM small"), errors.QueryRefused, "SELECT"),
        (lambda store: store.space("small").search(), errors.InputError, "search for what"),
        (lambda store: store.space("small").search([10**400, 1, 1, 1, 1, 1]), errors.NotFinite, "1000.* bits"),
        (lambda store: store.space("small").decode([10**400, 1, 1, 1, 1, 1]), errors.NotFinite, "1000.* bits"),
        (lambda store: store.space("small").place([[10**400, 1, 1, 1, 1, 1]], "pca"), errors.NotFinite, "1000.* bits"),
        (lambda store: store.sql("SELECT $x", {"x": "\ud800"}), errors.QueryRefused, "lone surrogate"),
        (lambda store: store.sql("SELECT '\ud800'"), errors.QueryRefused, "lone surrogate"),
    ],
)  # fmt: skip
def test_mistakes(opened, act, error, said):
    with pytest.raises(error, match=said) as raised:
        act(opened)
    assert type(raised.value) is error


def test_writing(writable):
    space = writable.space("plain")
    first = space.upsert(["n", "a"], [[1, 1, 0], [0, 0, 2]], {"year": [7, 8]})
    rows = pa.table({"id": ["t"], "vector": pa.array([[0.0, 1, 1]], pa.list_(pa.float32(), 3)), "year": [9]})
    assert space.upsert(rows) > first
    newest = writable.space("plain", at=space.delete("n"))
    assert newest.get(["a", "t"])["year"].to_pylist() == [8, 9]
    assert len(newest) == 4
    with pytest.raises(errors.UnknownItem):
        space.delete(["n"])
    with pytest.raises(errors.ShapeMismatch):
        space.upsert(["x"], [[1, 2]])
    with pytest.raises(errors.NotFinite):
        space.upsert(["x"], [[1, np.nan, 2]])
    with pytest.raises(errors.NotFinite):
        space.search([1.0, float("nan"), 2.0])
    fitted = writable.space("small").fit_attribute("baggy", positive="label = 'Bag'", negative="label = 'Shirt'")
    assert "baggy" in writable.space("small", at=fitted).attributes["name"].to_pylist()


def test_no_service_and_no_address():
    with (
        ls.connect("http://127.0.0.1:9") as store,
        pytest.raises(errors.StorageError, match=r"no answer from http://127.0.0.1:9.*is it running"),
    ):
        _ = store.spaces
    with ls.connect("ftp://x") as store, pytest.raises(errors.ConfigInvalid, match="ftp://x"):
        _ = store.spaces


def test_the_key_is_sent(store):
    from latentstore.server import create_key

    key = create_key(store, "read", "me")
    with serving(store) as client:
        with ls.connect(str(client.base_url), key) as opened:
            assert opened.spaces
            with pytest.raises(errors.Forbidden, match="may not write"):
                opened.space("plain").delete("a")
            with pytest.raises(errors.Forbidden, match="may not sql"):
                opened.sql("SELECT 1")
        with ls.connect(str(client.base_url)) as opened, pytest.raises(errors.Forbidden, match="needs a key"):
            _ = opened.spaces
