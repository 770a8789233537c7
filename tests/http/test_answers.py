"""What the service answers is what Python answers, in the same words."""

from __future__ import annotations

import io
from base64 import b64decode

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import latentstore as ls

SPACE = "/v1/spaces/small"
ARROW = {"accept": "application/vnd.apache.arrow.stream"}


def ok(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()


def pixels(picture: str | bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(picture) if isinstance(picture, str) else picture)))


def drawn(space: ls.EmbeddingSpace, latent: np.ndarray) -> np.ndarray:
    return np.rint(space.decode(latent)[..., 0] * 255).astype(np.uint8)


@pytest.mark.parametrize("query", ["'test/17'", "centroid('Bag') + 0.5 * formal", [0.5, -1, 2, 0, 0.25, 3]])
def test_a_plain_search(client, small, query):
    found = ok(client.post(f"{SPACE}/search", json={"query": query, "k": 7}))
    asked = small.search(np.array(query, "f4") if isinstance(query, list) else query, 7)
    assert found["ids"] == asked.ids.tolist()
    np.testing.assert_allclose(found["distances"], asked.distances, rtol=1e-5, atol=1e-5)
    assert (found["space"], found["version"], found["metric"], found["k"]) == ("small", small.version, "l2", 7)


def test_searches_at_the_same_time_get_their_own_answers(client, small):
    """They are answered by one call, one of them with an error of its own."""
    import concurrent.futures as futures

    rows = small.snapshot.live_rows()[:60]
    vectors = small.snapshot.vectors(rows)
    with futures.ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda v: client.post(f"{SPACE}/search", json={"query": v, "k": 3}), [*vectors.tolist(), [1.0]])
        )
    assert [one.json()["ids"][0] for one in answers[:-1]] == small.snapshot.ids(rows).tolist()
    assert answers[-1].status_code == 422
    assert answers[-1].json()["error"]["type"] == "ShapeMismatch"


def test_every_option_of_a_search(client, small):
    options = {"where": "label = 'Bag' or label = 'Coat'", "columns": ["label", "split"], "group_by": "label", "k": 2}
    found = ok(client.post(f"{SPACE}/search", json={"query": "'test/17'", **options}))
    asked = small.search("'test/17'", **options)
    assert found["ids"] == asked.ids.tolist()
    assert found["columns"] == {name: asked.columns[name].to_pylist() for name in ("label", "split")}
    for options in (
        {"radius": 1.5, "k": 50},
        {"offset": 3, "k": 4},
        {"diversity": 0.5},
        {"recall": 1.0},
        {"k": 5, "where": "id = 'test/17'"},
    ):
        found, asked = (
            ok(client.post(f"{SPACE}/search", json={"query": "'test/17'", **options})),
            small.search("'test/17'", **options),
        )
        assert found["ids"] == asked.ids.tolist(), options
        assert found.get("shortfall", 0) == asked.shortfall
    examples = {"positive": ["test/17", "test/18"], "negative": ["test/19"], "k": 3}
    assert ok(client.post(f"{SPACE}/search", json=examples))["ids"] == small.search(**examples).ids.tolist()
    explained = ok(client.post(f"{SPACE}/search", json={"query": "'test/17'", "explain": True}))["explanation"]
    assert explained["strategy"] == small.search("'test/17'", explain=True).explanation.strategy


def test_a_batch_and_arrow(client, small):
    queries = ["'test/1'", "'test/2'", "formal"]
    found = ok(client.post(f"{SPACE}/search", json={"query": queries, "k": 3, "columns": ["label"]}))
    asked = small.search(queries, 3, columns=["label"])
    assert found["ids"] == asked.ids.tolist()
    assert np.array(found["columns"]["label"]).ravel().tolist() == asked.columns["label"].to_pylist()
    few = ok(client.post(f"{SPACE}/search", json={"query": queries, "k": 3, "where": "id = 'test/1'"}))
    assert (few["ids"], few["shortfall"]) == ([["test/1"]] * 3, [2, 2, 2])
    answer = client.post(f"{SPACE}/search", json={"query": queries, "k": 3}, headers=ARROW)
    assert answer.headers["content-type"] == ARROW["accept"]
    assert answer.headers["x-latentstore-version"] == str(small.version)
    assert pa.ipc.open_stream(answer.content).read_all().equals(small.search(queries, 3).to_arrow())
    single = client.post(f"{SPACE}/search", json={"query": "'test/1'", "k": 3}, headers=ARROW)
    assert pa.ipc.open_stream(single.content).read_all()["id"].to_pylist() == small.search("'test/1'", 3).ids.tolist()


def test_similarities_are_named_so(client):
    found = ok(client.post("/v1/spaces/similar/search", json={"query": [1, 1], "k": 2}))
    assert (found["ids"], found["similarities"]) == (["y", "x"], [2.0, 1.0])
    assert "distances" not in found


@pytest.mark.parametrize(
    ("space", "named"), [("small", "distances"), ("plain", "distances"), ("similar", "similarities")]
)
def test_a_point_names_what_is_near_as_a_search_does(client, space, named):
    query = {"small": "'test/17'", "plain": "'a'", "similar": "'x' + 'y'"}[space]
    found = ok(client.post(f"/v1/spaces/{space}/search", json={"query": query, "k": 2}))
    edited = ok(client.post(f"/v1/spaces/{space}/edit", json={"query": query, "k": 2, "pictures": False}))
    assert edited["ids"] == found["ids"]
    assert edited[named] == pytest.approx(found[named])
    assert {"distances", "similarities"} & {*edited} == {named}


def test_an_older_version(client, small):
    found = ok(client.post(f"{SPACE}/search", json={"query": "'test/17'", "at": "older"}))
    assert found["version"] == small.files.tags()["older"]
    answer = client.post(f"{SPACE}/edit", json={"query": "'test/17' + formal", "at": "older"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "UnknownAttribute")
    assert ok(client.get(SPACE, params={"at": "older"}))["attributes"] == []
    assert client.get(SPACE, params={"at": "999"}).status_code == 404


def test_walks(client, small):
    asked = {"from": "'test/17'", "to": "centroid('Bag')", "steps": 5, "method": "slerp"}
    walked, path = (
        ok(client.post(f"{SPACE}/interpolate", json=asked)),
        small.interpolate("'test/17'", "centroid('Bag')", steps=5, method="slerp"),
    )
    np.testing.assert_allclose(walked["latents"], path.latents, rtol=1e-6)
    assert walked["report"]["nearest"] == list(path.report.nearest)
    assert (pixels(walked["pictures"][2]) == drawn(small, path.latents[2])).all()
    grid = ok(client.post(f"{SPACE}/grid", json={"anchors": ["'test/1'", "'test/2'", "'test/3'"], "rows": 3}))
    assert grid["shape"] == [3, 3]
    assert [one is None for one in grid["pictures"]] == [one is None for one in grid["latents"]]
    assert sum(one is None for one in grid["latents"]) == 3


def test_points(client, small):
    edited = ok(client.post(f"{SPACE}/edit", json={"query": "'test/17' + 2 * formal - formal", "k": 4}))
    latent = small.latent("'test/17' + formal")
    np.testing.assert_allclose(edited["latent"], latent.vector, rtol=1e-5)
    assert edited["expression"] == "'test/17' + formal"
    assert edited["ids"] == latent.search(4).ids.tolist()
    assert edited["realism"] == pytest.approx(latent.realism())
    assert (pixels(edited["picture"]) == drawn(small, latent.vector)).all()
    decoded = ok(client.post(f"{SPACE}/decode", json={"latents": latent.vector.tolist()}))
    assert decoded["pictures"] == [edited["picture"]]
    placed = ok(client.post(f"{SPACE}/place", json={"query": "'test/17'", "map": "pca"}))
    assert placed["points"] == [pytest.approx(small.place("'test/17'", "pca").tolist())]
    there = ok(client.post(f"{SPACE}/decode", json={"points": placed["points"], "map": "pca"}))
    np.testing.assert_allclose(there["latents"], small.from_map(placed["points"], "pca"), rtol=1e-4, atol=1e-4)
    sampled = ok(client.post(f"{SPACE}/sample", json={"n": 3, "seed": 4}))
    np.testing.assert_allclose(sampled["latents"], small.sample(3, seed=4).latents, rtol=1e-6)
    assert len(sampled["pictures"]) == len(sampled["nearest"]) == 3


@pytest.mark.parametrize("method", ["wasserstein", "euclidean", "spherical"])
def test_means(client, small, method):
    asked = {"'test/1'": 1.0, "'test/2'": 3.0}
    told = ok(client.post(f"{SPACE}/barycenter", json={"weights": asked, "method": method}))
    mean = small.barycenter(asked, method=method)
    np.testing.assert_allclose(told["latent"], mean.latent.vector, rtol=1e-4, atol=1e-4)
    assert (pixels(told["picture"]) == np.rint(mean.item[..., 0] * 255)).all()


def test_items_and_their_pictures(client, small):
    item = ok(client.get(f"{SPACE}/items/test/17"))
    row = small.get("test/17").to_pylist()[0]
    assert item["metadata"] == {k: v for k, v in row.items() if k not in ("id", "vector")}
    assert item["latent"] == row["vector"]
    assert ok(client.get(f"{SPACE}/items/test%2F17")) == item
    picture = client.get(f"{SPACE}/items/test/17/image")
    assert (picture.headers["content-type"], picture.headers["x-latentstore-picture"]) == ("image/png", "item")
    from latentstore.datasets import open_dataset

    dataset = open_dataset("fashion_mnist", limit=1400)
    places = {one: i for i, one in enumerate(dataset.ids.tolist())}
    ids = ["test/17", "train/3", "test/2"]
    own = [dataset.read(np.array([places[one]]))[0, :, :, 0] for one in ids]
    assert (pixels(picture.content) == own[0]).all()
    many = ok(client.post(f"{SPACE}/pictures", json={"ids": ids}))["pictures"]
    assert all((pixels(a) == b).all() for a, b in zip(many, own, strict=True))
    plain = client.get("/v1/spaces/plain/items/b/c")
    assert ok(plain)["metadata"] == {"year": 2, "pair": [1.0, 2.0]}
    assert ok(client.get("/v1/spaces/plain/items/d%20%C3%A9"))["id"] == "d é"
    assert client.get("/v1/spaces/plain/items/a/image").json()["error"]["type"] == "NotSupported"


def test_an_upload_is_encoded_and_placed(client, small):
    from latentstore.datasets import open_dataset

    image = open_dataset("fashion_mnist", limit=1400).read(np.array([5]))[0, :, :, 0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    asked = {"content": file.getvalue(), "headers": {"content-type": "image/png"}, "params": {"k": 2, "map": "pca"}}
    found = ok(client.post(f"{SPACE}/encode", **asked))
    latent = small.encode(image[None, :, :, None])[0]
    np.testing.assert_allclose(found["latent"], latent, rtol=1e-4, atol=1e-5)
    assert found["ids"][0] == "train/5"
    assert len(found["point"]) == 2
    large = io.BytesIO()
    Image.fromarray(image).convert("RGB").resize((280, 280)).save(large, "JPEG")
    resized = ok(client.post(f"{SPACE}/encode", content=large.getvalue(), headers={"content-type": "image/jpeg"}))
    assert np.linalg.norm(np.array(resized["latent"]) - latent) < np.linalg.norm(latent) / 2


def test_tables(client, small):
    about = ok(client.get(SPACE))
    assert (about["rows"], about["kind"], about["item_shape"], about["follows"]) == (
        1400,
        "pca",
        [28, 28, 1],
        "production",
    )
    assert {one["name"] for one in client.get("/v1/spaces").json()} == {"plain", "similar", "small"}
    for name, asked in (
        ("centroids", small.centroids),
        ("attributes", small.attributes),
        ("maps/pca", small.map("pca")),
    ):
        table = ok(client.get(f"{SPACE}/{name}"))
        assert table["names"] == asked.column_names
        arrow = client.get(f"{SPACE}/{name}", headers=ARROW)
        assert pa.ipc.open_stream(arrow.content).read_all().equals(asked)
    with_label = ok(client.get(f"{SPACE}/maps/pca", params={"columns": "label"}))
    known = dict(zip(with_label["columns"][0], with_label["columns"][-1], strict=True))
    assert known["test/17"] == small.get("test/17")["label"][0].as_py()
    bags = ok(client.get(f"{SPACE}/items", params={"where": "label = 'Bag'"}))["columns"][0]
    assert bags == small.snapshot.ids(small.matching("label = 'Bag'")).tolist()
    versions = ok(client.get(f"{SPACE}/versions"))
    assert versions["columns"][0] == [one.version for one in small.versions()]


def test_sql(client):
    asked = {"query": "SELECT label, count(*) AS n FROM small WHERE label = $l GROUP BY 1", "parameters": {"l": "Bag"}}
    table = ok(client.post("/v1/sql", json=asked))
    assert table["names"] == ["label", "n"]
    assert table["columns"][0] == ["Bag"]
    refused = client.post("/v1/sql", json={"query": "SELECT * FROM read_csv('/etc/passwd')"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (422, "QueryRefused")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT TIMESTAMP 'infinity'", "out of range"),
        ("SELECT DATE '20000-01-01'", "20000-01-01"),
        ("SELECT sum(x) FROM (VALUES (3), (4)) t(x)", 7),
        ("SELECT 1.25::DECIMAL(5,2)", 1.25),
        ("SELECT [1, 2]", [1, 2]),
    ],
)
def test_what_python_has_no_value_for_is_answered_all_the_same(client, query, value):
    answer = client.post("/v1/sql", json={"query": query})
    assert answer.status_code == 200, answer.text
    found = answer.json()["columns"][0][0]
    assert value in found if isinstance(value, str) else found == value


def test_health_and_metrics(client, small):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["spaces"]["small"] == small.version
    ok(client.post(f"{SPACE}/search", json={"query": "'test/17'"}))
    text = client.get("/metrics").text
    assert f'latentstore_snapshot_version{{space="small"}} {float(small.version)}' in text
    assert 'latentstore_rows_unindexed{space="small"} 0.0' in text
    counted = next(
        line for line in text.splitlines()
        if line.startswith('latentstore_request_seconds_count{route="/v1/spaces/{space}/search"}')
    )  # fmt: skip
    assert float(counted.rsplit(" ", 1)[1]) >= 1
