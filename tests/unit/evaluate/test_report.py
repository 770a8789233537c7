"""The page: complete in itself, escaped, with words for every picture; and the figures of a real space."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.evaluate import fit_pca
from latentstore.evaluate.pictures import samples
from latentstore.evaluate.portrait import Portrait
from latentstore.evaluate.report import Bar, Figure, Report, Section, Table, write_report


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
    figure = Figure("a-figure", "A <b> title", "Look & see.", 'Grid of "items".', samples(np.zeros((10, 8, 8, 1))))
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


def test_every_figure_is_painted_in_both_themes(portrait: Portrait) -> None:
    figures = [
        portrait.reconstructions(),
        portrait.paths([("Bag", "Dress")]),
        portrait.samples(),
        portrait.map("pca", "Trustworthiness 0.9. "),
        portrait.class_errors({"mse": 1, "mse/Bag": 0.1, "mse/Coat": 0.2, "pca_mse/Bag": 0.3, "pca_mse/Coat": 0.4}),
        portrait.training([{"loss": 3.0, "validation_loss": 3.5}, {"loss": 2.0, "validation_loss": 2.5}]),
    ]
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.painted["light"] != figure.painted["dark"]
        assert figure.alt
        assert figure.caption.endswith((".", "?"))
    assert "Hardest: Coat" in figures[4].caption
