"""Maps of a space: placed on and led back from what is stored, measured, stable when fitted again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import (
    ChecksumMismatch,
    ConfigInvalid,
    InputError,
    NotFound,
    NotSupported,
    ShapeMismatch,
    UnknownItem,
)
from latentstore.maps import quality
from latentstore.types import Array

CENTRES = 8 * np.eye(4, 6, dtype=np.float32)
QUICK = {"pca": {}, "umap": {"epochs": 60}, "tsne": {"perplexity": 10, "iterations": 100}}


def _vectors(n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return (CENTRES[np.arange(n) % 4] + rng.normal(size=(n, 6))).astype(np.float32)


def _space(folder: Path, metric: str = "l2", n: int = 240):
    space = ls.open(folder / "m.store").create_space("m", dim=6, metric=metric)
    labels = pa.table({"label": [f"c{i % 4}" for i in range(n)], "kind": ["x"] * n})
    space.add([f"i{i}" for i in range(n)], _vectors(n, 0), labels)
    return space


def _points(table: pa.Table) -> dict[str, Array]:
    axes = [table[axis].to_numpy() for axis in ("x", "y", "z") if axis in table.column_names]
    return dict(zip(table["id"].to_pylist(), np.stack(axes, axis=1), strict=True))


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
@pytest.mark.parametrize("dim", [2, 3])
def test_items_lie_where_the_map_has_them_and_new_ones_among_their_kind(tmp_path, metric, method, dim):
    space = _space(tmp_path, metric)
    space.fit_map(method, dim=dim, **QUICK[method])
    points = _points(space.map(method))
    assert next(iter(points.values())).shape == (dim,)
    placed = space.place(["'i3'", "'i17'"], method)
    np.testing.assert_allclose(placed, [points["i3"], points["i17"]], atol=1e-4)
    np.testing.assert_array_equal(space.place("'i3'", method), placed[0])
    new = _vectors(40, 7)
    known, where = np.stack(list(points.values())), space.place(new, method)
    nearest = np.linalg.norm(where[:, None] - known, axis=2).argmin(axis=1)
    assert (nearest % 4 == np.arange(40) % 4).mean() > 0.8  # chance is a quarter
    # Back again: what comes back is of the same kind, and of the length that the latents have, also under cosine.
    back = space.from_map(where, method)
    assert (np.linalg.norm(back[:, None] - CENTRES, axis=2).argmin(axis=1) == np.arange(40) % 4).mean() > 0.8
    assert np.linalg.norm(back, axis=1).mean() == pytest.approx(np.linalg.norm(new, axis=1).mean(), rel=0.1)
    np.testing.assert_allclose(space.from_map(where[5], method), back[5], rtol=1e-5)


def test_the_quality_stored_is_what_measuring_gives(tmp_path):
    space = _space(tmp_path)
    space.fit_map("tsne", **QUICK["tsne"])
    points, rows = _points(space.map("tsne")), space.snapshot.live_rows()
    ids = space.snapshot.ids(rows)
    labels = [f"c{int(i[1:]) % 4}" for i in ids]
    expected = quality(space.snapshot.vectors(rows), np.stack([points[i] for i in ids]), labels)
    stored = space.map_quality("tsne")
    assert {name: stored[name] for name in expected} == expected
    assert stored["map_knn_accuracy"] > 0.95
    assert 0.5 < stored["inverse_explained"] < 1
    (told,) = (a for a in space.status().artefacts if a.name == "tsne")
    assert told.quality == expected
    space.fit_map("pca", column="kind")
    assert space.map_quality("pca")["map_knn_accuracy"] == 1.0
    with pytest.raises(InputError, match="colour"):
        space.fit_map("pca", column="colour")


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_fitted_again_it_stays_where_it_was(tmp_path, method):
    space = _space(tmp_path)
    space.fit_map(method, **QUICK[method])
    before = _points(space.map(method))
    space.delete(["i0", "i5"])
    # A kind that is new turns the principal components, from which a map fitted afresh begins.
    new = _vectors(80, 3) + 30 * np.eye(6, dtype=np.float32)[5]
    space.add([f"n{i}" for i in range(80)], new)
    options = QUICK[method] | {"seed": 1}
    space.fit_map(method, **options)
    assert space.snapshot.artefact("maps", method).properties["start"] == "earlier map"
    again = _points(space.map(method))
    space.fit_map(method, afresh=True, **options)
    afresh = _points(space.map(method))
    assert len(again) == 318

    def jump(points: dict[str, Array]) -> float:
        kept = [name for name in before if name in points]
        return float(np.median([np.linalg.norm(points[name] - before[name]) for name in kept]))

    extent = float(np.ptp(np.stack(list(before.values())), axis=0).max())
    assert jump(again) < 0.15 * extent
    assert jump(afresh) > 3 * jump(again)


def test_pca_keeps_its_signs(tmp_path):
    space = _space(tmp_path)
    space.fit_map("pca")
    before = _points(space.map("pca"))
    space.fit_map("pca", seed=1)
    again = _points(space.map("pca"))
    assert all(np.allclose(before[name], again[name], atol=1e-5) for name in before)


def test_options_and_dimension_are_kept_and_checked(tmp_path):
    space = _space(tmp_path)
    space.fit_map("tsne", dim=3, name="cube", perplexity=7.5, iterations=20)
    told = space.snapshot.artefact("maps", "cube").properties
    assert told["options"] == {"perplexity": 7.5, "iterations": 20}
    assert told["parameters"]["perplexity"] == 7.5
    assert space.map("cube").column_names == ["id", "x", "y", "z"]
    version = space.version
    for options, message in (
        ({"perplexity": 900.0}, "perplexity=900"),
        ({"neighbours": ()}, "comes from the space"),
        ({"epochs": 3}, "no option 'epochs'"),
        ({"dim": 4}, "2 or 3"),
    ):
        with pytest.raises(ConfigInvalid, match=message):
            space.fit_map("tsne", **options)
    assert space.files.newest_version() == version


def test_mistakes_are_named(tmp_path):
    space = _space(tmp_path)
    space.fit_map("pca")
    with pytest.raises(NotFound, match="known: 'pca'"):
        space.place("'i1'", "tsne")
    with pytest.raises(NotFound, match="known: 'pca'"):
        space.from_map([[0, 0]], "tsne")
    with pytest.raises(UnknownItem, match="nobody"):
        space.place("'nobody'", "pca")
    with pytest.raises(ShapeMismatch, match=r"\(3,\)"):
        space.place([1, 2, 3], "pca")
    with pytest.raises(ShapeMismatch, match=r"points have shape \(1, 3\)"):
        space.from_map([[0, 0, 0]], "pca")
    with pytest.raises(NotSupported, match="only a UMAP has"):
        space.from_map([[0, 0]], "pca", method="umap")
    with pytest.raises(ConfigInvalid, match="local"):
        space.from_map([[0, 0]], "pca", method="locl")
    space.delete(where="true")
    with pytest.raises(NotSupported, match="no item of map 'pca' is alive"):
        space.from_map([[0, 0]], "pca")


def _rewritten(space, name: str, drop: tuple[str, ...]) -> None:
    """Make a map's record as it was before these properties were stored."""
    from dataclasses import replace

    record = space.snapshot.artefact("maps", name)
    properties = {key: value for key, value in record.properties.items() if key not in drop}
    space.files.put_artefacts(space.version, maps=[replace(record, properties=properties)])
    space.refresh()


def test_a_map_of_an_older_store_is_read_placed_on_and_led_back_from(tmp_path):
    space = _space(tmp_path)
    space.fit_map("umap", **QUICK["umap"])
    points = _points(space.map("umap"))
    _rewritten(space, "umap", ("quality", "inverse", "column", "start", "options"))
    assert space.map_quality("umap") == {}
    assert [a.quality for a in space.status().artefacts] == [{}]
    np.testing.assert_allclose(space.place("'i3'"), points["i3"], atol=1e-4)
    back = space.from_map(points["i3"])
    assert np.linalg.norm(back - CENTRES, axis=1).argmin() == 3
    space.fit_map("umap", **QUICK["umap"])
    assert space.map_quality("umap")["trustworthiness"] > 0.8


def test_a_damaged_earlier_map_is_named_with_the_way_out(tmp_path):
    space = _space(tmp_path)
    space.fit_map("tsne", **QUICK["tsne"])
    record = space.snapshot.artefact("maps", "tsne")
    path = space.files.layout.file(record.files["parquet"].name)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumMismatch, match="afresh=True"):
        space.fit_map("tsne", **QUICK["tsne"])
    space.fit_map("tsne", afresh=True, **QUICK["tsne"])
    assert len(space.map("tsne")) == 240


def test_the_way_back_of_umap_itself(tmp_path):
    space = _space(tmp_path, "cosine")
    space.fit_map("umap", **QUICK["umap"])
    ids = [f"i{i}" for i in range(12)]
    points = _points(space.map("umap"))
    where = np.stack([points[i] for i in ids])
    theirs, ours = (space.from_map(where, method=method) for method in ("umap", "local"))
    truth = _vectors(240, 0)[:12]
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=1).mean()
    for found in (theirs, ours):
        assert ((found - truth) ** 2).sum(axis=1).mean() < spread
    assert not np.allclose(theirs, ours)
    np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), np.linalg.norm(ours, axis=1), rtol=1e-4)


def test_a_new_process_places_and_leads_back_without_a_compiler(tmp_path):
    space = _space(tmp_path)
    for method in ("umap", "tsne"):
        space.fit_map(method, **QUICK[method])
    code = (
        "import sys, json, numpy as np, latentstore as ls\n"
        f"space = ls.open({str(tmp_path / 'm.store')!r}, mode='r').space('m')\n"
        "found = {m: space.from_map(space.place(np.ones((5, 6)), m), m).shape for m in ('umap', 'tsne')}\n"
        "heavy = [m for m in ('numba', 'umap', 'openTSNE', 'torch', 'sklearn', 'pynndescent') if m in sys.modules]\n"
        "print(json.dumps([found, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [{"umap": [5, 6], "tsne": [5, 6]}, []]
