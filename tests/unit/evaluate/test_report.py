"""The page: complete in itself, escaped, with words for every picture; and the figures of a real space."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.errors import InputError, UnknownItem
from latentstore.evaluate import fit_pca, image_metrics, map_metrics
from latentstore.evaluate.generation_figures import class_transport, samples, transport_paths
from latentstore.evaluate.map_figures import atlas, cells, cube
from latentstore.evaluate.pictures import grid
from latentstore.evaluate.portrait import Portrait
from latentstore.evaluate.report import Bar, Figure, Report, Section, Table, write_report
from latentstore.evaluate.sheet import Sheet
from latentstore.evaluate.theme import LIGHT
from latentstore.maps import Inverse, quality

BLANK = Sheet(np.zeros((1, 10, 8, 8, 1)))


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def report() -> Report:
    figure = Figure("a-figure", "A <b> title", "Look & see.", 'Grid of "items".', grid(BLANK))
    rows = [("mse", "0.006", "0.014"), ("t", Bar("3.1", 0.5), "")]
    table = Table("Numbers", ("metric", "encoder", "PCA"), rows, "Why.", best=frozenset({(0, 1)}))
    section = Section("fashion", "fashion", "Lead.", (table,), (figure,), [("seed", "0")], "[dataset]\nname = '<x>'")
    return Report("A report", "What was done.", [section], ("latentstore search a 'b' <c>",), "made from 42")


def test_page_needs_nothing_else(report: Report, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "out")
    page = Page(path)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "srcset", "href"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("data:image/", "#")), (tag, value[:40])
    assert "http" not in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").rstrip().endswith("<!-- made from 42 -->")
    assert sorted(p.name for p in path.parent.iterdir()) == ["a-figure.png", "report.html"]
    with Image.open(path.parent / "a-figure.png") as image:
        assert image.width == 2 * int(str(page.all("img")[0]["width"]))


def test_words_are_escaped_and_complete(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path))
    for words in (
        "A <b> title",
        "Look & see.",
        "[dataset]\nname = '<x>'",
        "latentstore search a 'b' <c>",
        "0.014",
        "3.1",
    ):
        assert words in page.text
    (image,) = page.all("img")
    assert image["alt"] == 'Grid of "items".'
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert {cell["class"] for cell in page.all("td") if "class" in cell} == {"best", "bar"}
    assert {a["href"] for a in page.all("a")} <= {f"#{section.get('id')}" for section in page.all("section")}


def test_page_has_both_themes(report: Report, tmp_path: Path) -> None:
    path = write_report(report, tmp_path)
    (source,), (image,) = Page(path).all("source"), Page(path).all("img")
    assert source["media"] == "(prefers-color-scheme: dark)"
    assert source["srcset"] != image["src"]


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Portrait:
    dataset = open_dataset("fashion_mnist", limit=1400)
    pca = fit_pca(dataset.read(np.arange(1200)), 8)
    store = ls.open(tmp_path_factory.mktemp("portrait") / "a.store")
    fingerprint = store.add_encoder(pca, {})
    space = store.create_space("small_one", dim=8, encoder=fingerprint, source=dataset.source)
    space.add(dataset.ids.tolist(), pca.encode(dataset.read(np.arange(len(dataset)))), dataset.metadata)
    space.fit_attribute("formal", positive="label = 'Ankle boot'", negative="label = 'Sandal'")
    space.fit_map("pca")
    return Portrait(space, dataset, fit_pca(dataset.read(np.arange(1200)), 8), where="split = 'test'")


def test_shown_items_are_test_items_of_their_label(portrait: Portrait) -> None:
    ids = portrait.pick("Sandal", 5)
    assert all(name.startswith("test/") for name in ids)
    assert set(portrait.labels_of(ids)) == {"Sandal"}
    assert ids == portrait.pick("Sandal", 8)[:5]
    assert ids != Portrait(portrait.space, portrait.dataset, portrait.baseline, where=portrait.where, seed=1).pick(
        "Sandal", 5
    )
    positions = [list(portrait.dataset.ids).index(name) for name in ids]
    assert np.array_equal(portrait.read(ids), portrait.dataset.read(positions))


def test_neighbours_leave_the_query_out_and_count_wrong_hits(portrait: Portrait) -> None:
    figure = portrait.neighbours()
    sheet = figure.picture.args[0]  # type: ignore[attr-defined]
    assert sheet.cells.shape[:2] == (10, 11)
    for row in sheet.cells:
        assert not any(np.array_equal(row[0], hit) for hit in row[1:])
    wrong = sum(
        portrait.labels_of([name])[0] != label
        for label in portrait.labels
        for name in portrait.space.search(f"'{portrait.pick(label)[0]}'", 11).ids[1:]
    )
    assert f"({wrong} of 100 hits)" in figure.caption
    assert sheet.marks.sum() == wrong > 0


def test_transformation_starts_at_the_item_itself(portrait: Portrait) -> None:
    figure = portrait.transformation("formal", "Sandal", "Ankle boot", rows=3)
    sheet = figure.picture.args[0]  # type: ignore[attr-defined]
    assert sheet.cells.shape[:2] == (3, 6)
    ids = portrait.pick("Sandal", 3)
    space = portrait.space
    vector = space.latent(f"'{ids[1]}' + 1.5 * formal").vector
    assert np.abs(sheet.cells[1, 4] / 255 - space.decode(vector)).max() < 0.003
    assert sheet.captions[1, 4].split()[-1] == f"{space.latent(vector).realism():.2f}"
    assert figure.name == "small-one-transformation-formal"


def test_the_atlas_draws_where_items_lie_and_what_is_decoded_there(portrait: Portrait) -> None:
    table = portrait.space.map("pca")
    coordinates = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    points, near, (rows, columns) = cells(coordinates)
    assert len(points) == rows * columns == len(near)
    side = points[1, 0] - points[0, 0]
    assert points[0, 1] - points[columns, 1] == pytest.approx(side)  # square cells, y downwards
    reach = np.linalg.norm(points[:, None] - coordinates, axis=2).min(axis=1)
    assert np.array_equal(near, reach <= 0.8 * side)
    assert 0.1 < near.mean() < 0.9
    image = np.asarray(atlas(portrait, "pca").picture(LIGHT))
    cell = image.shape[1] // columns
    first = int(np.flatnonzero(near)[0])
    row, column = divmod(first, columns)
    drawn = image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell, 0].astype(float) / 255
    expected = portrait.space.decode(portrait.space.from_map(points[first], "pca"))[:, :, 0]
    assert abs(drawn.mean() - expected.clip(0, 1).mean()) < 0.01
    empty = divmod(int(np.flatnonzero(~near)[0]), columns)
    assert (image[empty[0] * cell + 1, empty[1] * cell + 1] == 255).all()
    with pytest.raises(InputError, match="one vertical line"):
        cells(np.zeros((5, 2)))


def test_what_is_lost_on_a_map_lies_between_the_encoder_and_the_mean(portrait: Portrait) -> None:
    space, ids = portrait.space, [f"test/{i}" for i in range(60)]
    found = image_metrics(space, "pca", ids, portrait.read)
    items = portrait.read(ids).astype(np.float64) / 255
    floor = ((space.decode(portrait.vectors(ids)) - items) ** 2).mean()
    assert found["image_floor_mse"] == pytest.approx(floor, rel=1e-4)
    mean = space.decode(space.snapshot.vectors(space.snapshot.live_rows()).mean(axis=0))
    assert floor < found["image_mse"] < ((mean - items) ** 2).mean()
    # By hand: the sixty are taken out, placed by the components, and voted for by the others.
    points = space.place(portrait.vectors(ids), "pca")
    out = np.isin(space.map("pca")["id"].to_pylist(), ids)
    table = space.map("pca")
    others = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)[~out]
    kept = space.inverse("pca")
    by_hand = Inverse(others, kept.latents[~out], kept.k, kept.ridge).at(points)
    assert found["image_mse"] == pytest.approx(((space.decode(by_hand) - items) ** 2).mean(), rel=1e-3)
    known = space.decode(space.from_map(points, "pca"))
    assert ((known - items) ** 2).mean() < found["image_mse"]  # the control: with the items themselves it is easier
    with pytest.raises(UnknownItem):
        image_metrics(space, "pca", ["nobody"], portrait.read)


def test_quality_is_measured_again_where_rows_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    space = ls.open(tmp_path / "a.store").create_space("a", dim=4)
    space.add([str(i) for i in range(300)], rng.normal(size=(300, 4)))
    space.fit_map("pca")
    assert map_metrics(space, "pca") == space.map_quality("pca")
    space.delete([str(i) for i in range(150)])
    again = map_metrics(space, "pca")
    rows = space.snapshot.live_rows()
    table = space.map("pca")
    coordinates = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    assert again == quality(space.snapshot.vectors(rows), coordinates)
    assert again != space.map_quality("pca")


def test_a_map_of_three_dimensions_is_painted_from_four_sides(portrait: Portrait) -> None:
    portrait.space.fit_map("pca", dim=3, name="cube")
    figure = cube(portrait, "cube")
    assert figure.painted["light"] != figure.painted["dark"]
    assert figure.name == "small-one-map-cube"


def test_every_figure_is_painted_in_both_themes(portrait: Portrait) -> None:
    figures = [
        portrait.reconstructions(),
        portrait.paths([("Bag", "Dress")]),
        samples(portrait),
        transport_paths(portrait, [("Bag", "Dress")]),
        class_transport(portrait, "Bag", "Dress"),
        portrait.map("pca", "Trustworthiness 0.9. "),
        portrait.class_errors({"mse": 1, "mse/Bag": 0.1, "mse/Coat": 0.2, "pca_mse/Bag": 0.3, "pca_mse/Coat": 0.4}),
        portrait.training([{"loss": 3.0, "validation_loss": 3.5}, {"loss": 2.0, "validation_loss": 2.5}]),
    ]
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.painted["light"] != figure.painted["dark"]
        assert figure.alt
        assert figure.caption.endswith((".", "?"))
    assert "Hardest: Coat" in figures[6].caption
