"""Commands that walk, map, edit, sample and transport: what they say, draw and write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import latentstore as ls

Run = Callable[..., tuple[int, str, str]]


def test_interpolate_draws_and_tells(run: Run, made: Path) -> None:
    code, out, _ = run(
        "interpolate", "STORE", "small", "test/1", "centroid('Bag')", "--steps", "5", "--npy", "z.npy", "--json"
    )
    answer = json.loads(out)
    assert code == 0
    assert [step["step"] for step in answer["steps"]] == [0, 0.25, 0.5, 0.75, 1]
    assert answer["steps"][0]["nearest"] == "test/1"
    latents = np.load("z.npy")
    assert np.allclose([step["vector"] for step in answer["steps"]], latents)
    space = ls.open(made, "r").space("small")
    assert np.allclose(
        latents[2], (space.latent("'test/1'").vector + space.latent("centroid('Bag')").vector) / 2, atol=1e-5
    )
    with Image.open(answer["picture"]) as strip:
        assert strip.width > 5 * 100
    assert run("interpolate", "STORE", "plain", "a", "b's")[0] == 0  # no decoder: the table alone
    assert sorted(p.name for p in Path().iterdir()) == ["interpolation.png", "z.npy"]


def test_interpolate_through_more_points_as_a_film(run: Run, made: Path) -> None:
    code, out, _ = run(
        "interpolate", "STORE", "small", "test/1", "centroid('Bag')", "test/2", "--steps", "12", "--method", "geodesic",
        "--out", "walk.gif", "--json",
    )  # fmt: skip
    answer = json.loads(out)
    assert code == 0
    assert (answer["anchors"][0], answer["anchors"][-1], len(answer["anchors"])) == (0, 11, 3)
    assert answer["decoded_energy"] < 1.001
    assert answer["evenness"] >= 1
    assert answer["steps"][0]["label"] == ls.open(made, "r").space("small").get(["test/1"])["label"][0].as_py()
    with Image.open("walk.gif") as film:
        assert film.n_frames == 12 + 10
    assert run("interpolate", "STORE", "small", "test/1", "test/2", "--method", "graph", "--out", "w.mp4")[0] == 0
    with av.open("w.mp4") as film:
        assert len(list(film.decode(video=0))) == 2 * 6 + 2 * 47  # 49 frames there and back, half a second on each end
    code, out, _ = run("interpolate", "STORE", "small", "test/1", "test/2", "--method", "graph", "--smoothing", ".1")
    assert "test/1 → test/2 by graph: length" in out
    assert "of lerp's" in out


def test_interpolate_lays_out_grids(run: Run) -> None:
    code, out, _ = run(
        "interpolate", "STORE", "small", "test/1", "test/2", "test/3", "--grid", "--steps", "4", "--npy", "g.npy",
        "--json",
    )  # fmt: skip
    answer = json.loads(out)
    assert code == 0
    assert answer["shape"] == [4, 4]
    assert [(cell["row"], cell["column"]) for cell in answer["cells"]] == [
        (r, c) for r in range(4) for c in range(r + 1)
    ]
    assert answer["cells"][0]["nearest"] == "test/1"
    assert np.load("g.npy").shape == (4, 4, 6)
    assert answer["picture"] == "grid.png"
    with Image.open("grid.png") as picture:
        assert picture.size == (4 * 116 - 4, 4 * 116 - 4)


def test_paths_measures_every_method(run: Run) -> None:
    code, out, _ = run("paths", "STORE", "small", "--pairs", "10", "--json")
    answer = json.loads(out)
    assert code == 0
    assert [one["name"] for one in answer["methods"]] == [
        "lerp", "slerp", "gaussian", "geodesic", "graph", "graph, smoothed"
    ]  # fmt: skip
    assert answer["methods"][0]["energy"] == 1
    assert answer["pairs"] == 10


def test_place_and_from_map_go_both_ways(run: Run, made: Path, tmp_path: Path) -> None:
    store = tmp_path / "maps.store"
    shutil.copytree(made, store)
    space = ls.open(store).space("small")
    space.fit_map("pca")
    space.fit_map("tsne", dim=3, name="cube", iterations=20)
    where = {row["id"]: row for row in space.map("pca").to_pylist()}["test/8"]
    code, out, _ = run("place", store, "small", "test/8", "--map", "pca", "--json")
    assert code == 0
    (answer,) = json.loads(out)["places"]
    assert answer == {"x": pytest.approx(where["x"], abs=1e-4), "y": pytest.approx(where["y"], abs=1e-4)}
    np.save("z.npy", space.latent("'test/8'").vector[None].repeat(3, axis=0))
    code, out, _ = run("place", store, "small", "--vector", "z.npy", "--map", "cube", "--json")
    assert [sorted(place) for place in json.loads(out)["places"]] == [["x", "y", "z"]] * 3
    points = [(answer["x"], answer["y"]), (-3.5, 2.0)]
    given = [word for x, y in points for word in ("--point", f"{x},{y}")]
    code, out, _ = run("from-map", store, "small", *given, "--map", "pca", "--npy", "back.npy", "--json")
    assert code == 0
    back = json.loads(out)
    expected = space.from_map(points, "pca")
    assert np.allclose([one["vector"] for one in back["points"]], expected, atol=1e-4)
    assert np.allclose(np.load("back.npy"), expected, atol=1e-4)
    assert back["points"][0]["nearest"] == space.search(expected[0], 1).ids[0]
    with Image.open(back["picture"]) as drawn:
        assert drawn.width > 2 * 28
    np.save("p.npy", np.array(points))
    assert "wrote p.png" in run("from-map", store, "small", "--points", "p.npy", "--map", "pca", "--out", "p.png")[1]
    code, out, _ = run("status", store, "small")
    assert "neighbour preservation" in out
    for words, message in (
        (["--map", "pca"], "give --point X,Y"),
        (["--point", "1;2", "--map", "pca"], "--point 1;2 is no point"),
        (["--point", "1,2,3", "--map", "pca"], "points have shape (1, 3)"),
        (["--point", "1,2"], "no map 'umap'"),
        (["--point", "1,2", "--map", "pca", "--method", "umap"], "only a UMAP has"),
    ):
        code, _, err = run("from-map", store, "small", *words)
        assert code == 2
        assert message in err


def test_edit_says_how_real_and_what_is_near(run: Run, made: Path) -> None:
    code, out, _ = run("edit", "STORE", "small", "'test/8' + 1.5 * formal", "-k", "3", "--out", "edited.png", "--json")
    answer = json.loads(out)
    point = ls.open(made, "r").space("small").latent("'test/8' + 1.5 * formal")
    assert code == 0
    assert answer["realism"] == pytest.approx(point.realism())
    assert [hit["id"] for hit in answer["hits"]] == point.search(3).ids.tolist()
    with Image.open("edited.png") as picture:
        assert picture.width > 4 * 112  # the item, what was decoded, three neighbours


def test_samples_are_of_the_seed(run: Run) -> None:
    first, again, other = (
        json.loads(run("sample", "STORE", "small", "-n", "3", "--label", "Bag", "--seed", seed, "--json")[1])["samples"]
        for seed in ("1", "1", "2")
    )
    assert first == again != other
    assert Path("samples.png").is_file()


def test_samples_say_what_is_near(run: Run, made: Path) -> None:
    code, out, _ = run("sample", "STORE", "small", "-n", "9", "--truncation", "0.5", "--npy", "s.npy", "--json")
    answer = json.loads(out)
    assert code == 0
    space = ls.open(made, "r").space("small")
    drawn = np.load("s.npy")
    assert [one["nearest"] for one in answer["samples"]] == space.search(drawn, 1).ids[:, 0].tolist()
    assert [one["novelty"] for one in answer["samples"]] == pytest.approx(space.novelty(drawn).tolist())
    assert answer["truncation"] == 0.5
    with Image.open("samples.png") as picture:  # two rows of eight, each above its nearest items
        assert picture.height > picture.width / 2


def test_barycenter_transport_and_displacement(run: Run, made: Path) -> None:
    space = ls.open(made, "r").space("small")
    code, out, _ = run("barycenter", "STORE", "small", "test/8", "test/3", "--weights", "3,1", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["weights"] == [0.75, 0.25]
    assert answer["pictures"] == "items"
    assert answer["mass_error"] < 1e-4
    found = space.barycenter({"'test/8'": 3, "'test/3'": 1})
    np.testing.assert_allclose(answer["means"][0]["vector"], found.latent.vector, rtol=1e-5)
    words = ("transport", "STORE", "small", "test/8", "test/3", "--from", "Sandal", "--to", "Ankle boot", "--json")
    moved = json.loads(run(*words)[1])
    assert [one["item"] for one in moved["moved"]] == ["test/8", "test/3"]
    assert moved["mean_difference"] > 0
    pairs = json.loads(run("displace", "STORE", "small", "label='Bag'", "label='Dress'", "-n", "5", "--json")[1])
    assert len(pairs["pairs"]) == 5
    assert pairs["cost"] < pairs["unmatched_cost"]
    words = (
        "barycenter",
        "STORE",
        "small",
        "label = 'Bag'",
        "label = 'Dress'",
        "--sets",
        "-n",
        "9",
        "--out",
        "set.png",
    )
    assert len(json.loads(run(*words, "--json")[1])["means"]) == 9
    for name in ("barycenter", "transport", "displacement", "set"):
        with Image.open(f"{name}.png") as picture:
            assert min(picture.size) > 56
    _, _, said = run("interpolate", "STORE", "small", "test/8", "test/3", "--method", "transport", "--steps", "4")
    assert said == ""
    assert Path("interpolation.png").is_file()
