"""Item, path, edit, generate, SQL, quality and versions, as a reader uses them, beside the same asked in Python."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import latentstore as ls
from tests.browser.visiting import Visit, as_pixels, hold, over, pixels


def decoded(space, query: str) -> np.ndarray:
    return as_pixels(space.decode(space.latent(query).vector[None]))[0]


def tile_ids(page, name: str) -> list[str]:
    tiles = page.get_by_role("list", name=name, exact=True)
    expect(tiles.locator("img").first).to_be_visible()
    return [one.get_attribute("title") for one in tiles.locator("a").all()]


def test_an_item_with_its_reconstruction_and_neighbours(visit: Visit, space, pictures):
    page = visit.open("item", item="train/7")
    assert np.array_equal(pixels(page.get_by_alt_text("Picture of train/7")), pictures["train/7"])
    assert np.array_equal(pixels(page.get_by_alt_text("Reconstruction of train/7")), decoded(space, "'train/7'"))
    expect(page.locator("dl.facts")).to_contain_text(space.get("train/7")["label"][0].as_py())
    near = [one for one in space.search("'train/7'", 15).ids.tolist() if one != "train/7"]
    assert tile_ids(page, "Nearest items") == near[:14]
    page.get_by_role("list", name="Nearest items").locator("a").first.click()
    expect(page.get_by_role("heading", name=near[0], exact=True)).to_be_visible()


def test_an_uploaded_picture_is_encoded_and_placed(visit: Visit, space, pictures, tmp_path):
    Image.fromarray(pictures["train/11"]).save(tmp_path / "mine.png")
    page = visit.open("item", item="train/7")
    expect(page.get_by_alt_text("Picture of train/7")).to_be_visible()
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.png")
    expect(page.get_by_role("heading", name="mine.png")).to_be_visible()
    assert tile_ids(page, "Nearest items")[0] == "train/11"
    table = space.map("pca")
    x, y, i = table["x"].to_numpy(), table["y"].to_numpy(), table["id"].to_pylist().index("train/11")
    box = page.locator(".small-map .plane-over").bounding_box()
    scale = min((box["width"] - 56) / np.ptp(x), (box["height"] - 56) / np.ptp(y))  # the whole map, with its margin
    at = [
        box["width"] / 2 + (x[i] - (x.min() + x.max()) / 2) * scale,
        box["height"] / 2 - (y[i] - (y.min() + y.max()) / 2) * scale,
    ]
    page.wait_for_function(
        """([x, y]) => [...document.querySelector(".small-map .plane-over").getContext("2d")
            .getImageData(Math.round(x), Math.round(y), 1, 1).data].join() === "31,111,191,255" """,
        arg=[float(one) for one in at],
    )
    (tmp_path / "no.png").write_bytes(b"no picture")
    visit.allowed = ("422",)
    page.locator("input[type=file]").set_input_files(tmp_path / "no.png")
    expect(page.get_by_role("alert")).to_contain_text("image")


def test_a_path_and_the_one_beside_it(visit: Visit, space):
    page = visit.open("path", a="'train/1'", b="'train/2'", steps=5, method="lerp", beside="slerp")
    frames = page.get_by_role("group", name="Frames by lerp").locator("button")
    expect(frames).to_have_count(5)
    path = space.interpolate("'train/1'", "'train/2'", steps=5)
    drawn = as_pixels(path.decode())
    for i in range(5):
        assert np.abs(pixels(frames.nth(i).locator("img")).astype(int) - drawn[i]).max() <= 1
        expect(frames.nth(i)).to_contain_text(f"{path.report.realism[i]:.2f}")
    expect(page.get_by_role("group", name="Frames by slerp").locator("button")).to_have_count(5)
    page.get_by_label("Frame", exact=True).fill("3")
    expect(frames.nth(3)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Play").click()
    expect(frames.nth(3)).not_to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Stop").click()
    for kind, count in (("PNG", 1), ("GIF", 8)):
        with page.expect_download() as saved:
            page.get_by_role("button", name=kind).first.click()
        with Image.open(saved.value.path()) as film:
            assert (film.format, getattr(film, "n_frames", 1)) == (kind, count)
    page.get_by_role("button", name="Swap").click()
    expect(page.get_by_label("From A")).to_have_value("'train/2'")


def test_a_frame_that_is_looked_at_before_its_place_is_known(visit: Visit):
    """A longer path is shown, and its last frame looked at, while the map still has the places of a shorter one."""
    state = {"a": "'train/1'", "b": "'train/2'", "beside": "nothing"}
    last = "Frame 7 of 7"
    page = visit.open("path", **state, steps=7)
    page.get_by_role("button", name=last).click()
    expected = over(page)
    page.goto("about:blank")
    page = visit.open("path", **state, steps=3)
    page.get_by_role("button", name="Frame 3 of 3").click()
    shorter = over(page)
    held = hold(page, "")
    page.get_by_label("Frames", exact=True).fill("7")
    page.get_by_label("Frames", exact=True).press("Tab")
    page.get_by_role("button", name=last).click()
    empty = over(page)
    assert empty not in (shorter, expected), "no path is drawn"
    assert len(held) == 1
    held[0].continue_()
    page.wait_for_function("(empty) => document.querySelector('.plane-over').toDataURL() !== empty", arg=empty)
    assert over(page) == expected, "the frame that is looked at is marked"


def test_transport_stands_beside_a_path_unless_something_else_does(visit: Visit, space):
    page = visit.open("path", a="'train/1'", b="'train/2'", steps=4)
    frames = page.get_by_role("group", name="Frames by transport").locator("button")
    expect(frames).to_have_count(4)
    moved = as_pixels(space.interpolate("'train/1'", "'train/2'", steps=4, method="transport").decode())
    for i in range(4):
        assert np.abs(pixels(frames.nth(i).locator("img")).astype(int) - moved[i]).max() <= 1
    page.get_by_label("Beside it").select_option("nothing")
    expect(frames).to_have_count(0)
    expect(page.get_by_role("group", name="Frames by lerp").locator("button")).to_have_count(4)
    assert "beside=nothing" in page.url


def test_a_grid_of_three_and_a_refused_point(visit: Visit, space):
    page = visit.open("path", a="'train/1'", b="'train/2'", c="'train/3'", steps=4)
    mixes = page.get_by_role("img", name="Mixes of 3 points")
    made = space.interpolate_grid("'train/1'", "'train/2'", "'train/3'", rows=4)
    expect(mixes.locator("img")).to_have_count(int(made.inside.sum()))
    visit.allowed = ("404",)
    page.get_by_label("third corner C").fill("'nobody'")
    page.get_by_label("third corner C").press("Tab")
    expect(page.get_by_role("alert")).to_contain_text("nobody")


def test_a_slider_moves_the_item_along_an_attribute(visit: Visit, space):
    page = visit.open("edit", item="train/7")
    slider = page.get_by_label("formal")
    edited = page.get_by_alt_text(re.compile("^Edited"))
    expect(edited).to_be_visible()
    slider.fill("1.5")
    query = "'train/7' + 1.5 * formal"
    expect(page.get_by_alt_text(f"Edited: {query}")).to_be_visible()
    assert np.abs(pixels(edited).astype(int) - decoded(space, query)).max() <= 1
    expect(page.locator("code").first).to_have_text(f'space.latent("{query}")')
    expect(page.locator(".gauge-value").first).to_have_text(f"{float(space.latent(query).realism()):.2f}")
    assert tile_ids(page, "Nearest items of the edited point") == space.search(query, 8).ids.tolist()
    page.wait_for_function("() => location.hash.includes('q=')")
    slider.press("ArrowRight")
    expect(page.locator("code").first).to_contain_text("1.55 * formal")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("code").first).to_contain_text("1.5 * formal")
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("code").first).to_have_text("space.latent(\"'train/7'\")")
    visit.allowed = ("404",)
    page.get_by_role("textbox", name="Item").fill("nobody")
    page.get_by_role("textbox", name="Item").press("Tab")
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    expect(edited).to_have_count(0)
    expect(page.get_by_alt_text("Picture of train/7")).to_have_count(0)


def test_two_groups_of_the_map_become_an_attribute(visit: Visit, template, serve, tmp_path):
    store = shutil.copytree(template, tmp_path / "a.store")
    page = visit.open("map", url=serve(store), map="pca", show="nothing")
    for label, sign in (("Bag", "+"), ("Dress", "−")):
        expect(page.locator(".count")).to_contain_text("600")
        page.get_by_role("button", name=label).click()
        expect(page.locator(".count")).to_contain_text("of 600 items")
        page.get_by_role("button", name="Choose what the filter shows").click()
        page.get_by_role("button", name=f"Keep as group {sign}").click()
        page.get_by_role("button", name="Clear").first.click()
        if page.get_by_role("button", name="Clear").count():
            page.get_by_role("button", name="Clear").first.click()
    page.get_by_role("link", name="Edit", exact=True).first.click()
    fit = page.get_by_role("region", name="Fit a new attribute")
    fit.get_by_label("Name").fill("Bag like")
    fit.get_by_role("button", name="Fit").click()
    expect(fit.get_by_role("alert")).to_contain_text("no name")
    fit.get_by_label("Name").fill("bag_like")
    fit.get_by_role("button", name="Fit").click()
    expect(page.get_by_label("bag like")).to_be_visible()
    space = ls.open(store).space("small")
    assert f"at={space.version}" in page.url
    table = space.attributes.to_pylist()
    fitted = np.array(next(one["vector"] for one in table if one["name"] == "bag_like"))
    space.fit_attribute("same", positive="label = 'Bag'", negative="label = 'Dress'")
    same = np.array(next(one["vector"] for one in space.attributes.to_pylist() if one["name"] == "same"))
    assert np.allclose(fitted, same, atol=1e-5)
    assert not np.allclose(fitted, np.array(table[0]["vector"]), atol=1e-2)


def test_samples_beside_the_nearest_items(visit: Visit, space):
    page = visit.open("generate", label="Bag", n=4, seed=3)
    samples = page.get_by_role("list", name="Samples").get_by_role("listitem")
    expect(samples).to_have_count(4)
    drawn = space.sample(4, label="Bag", seed=3)
    assert np.abs(pixels(samples.nth(2).locator("img").first).astype(int) - as_pixels(drawn.decode())[2]).max() <= 1
    nearest = space.search(drawn.latents, 1).ids[:, 0].tolist()
    for i, item in enumerate(nearest):
        expect(samples.nth(i).get_by_role("link", name=f"Nearest real item {item}", exact=True)).to_be_visible()
    page.get_by_role("button", name="Others").click()
    page.wait_for_function("() => location.hash.includes('seed=4')")


def test_sql_answers_a_table_whose_ids_lead_to_the_map(visit: Visit, space):
    page = visit.open("sql")
    page.get_by_label("SQL query").fill("SELECT id, label FROM small WHERE label = 'Bag' ORDER BY id LIMIT 3")
    page.get_by_label("SQL query").press("Control+Enter")
    rows = page.get_by_role("region", name="Result").locator("tbody tr")
    expect(rows).to_have_count(3)
    first = min(space.search("centroid('Bag')", 600, where="label = 'Bag'").ids.tolist())
    expect(rows.first).to_contain_text(first)
    visit.allowed = ("422",)
    page.get_by_label("SQL query").fill("DROP TABLE small")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("SELECT")
    page.go_back()
    page.get_by_role("link", name=first, exact=True).click()
    expect(page.get_by_role("region", name="Chosen item", exact=True)).to_contain_text(first)


def test_quality_is_measured_and_drawn(visit: Visit, space):
    page = visit.open("quality")
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    separation = page.get_by_role("img", name="Attributes: how well they separate their groups")
    expect(separation).to_contain_text("auc")
    beside = page.get_by_role("region", name="Encoder beside PCA of the same width").locator("tbody tr")
    expect(beside).to_have_count(3)
    assert [row.locator("td").all_inner_texts() for row in beside.all()] == [
        ["test MSE, pixels from 0 to 1", "0.029", "0.03", "encoder"],
        ["10 neighbours vote the right label", "0.75", "0.6", "encoder"],
        ["recall@10 of the index", "1", "–", "–"],
    ]
    history = page.get_by_role("img", name="A metric over versions")
    expect(history.locator(".point")).to_have_count(2)
    page.get_by_label("Metric", exact=True).select_option("index_recall")
    expect(history.locator(".point")).to_have_count(1)
    artefacts = page.get_by_role("region", name="Artefacts").locator("tbody tr")
    expect(artefacts).to_have_count(len(space.status().artefacts))
    page.get_by_role("button", name="Measure now").click()
    expect(page.locator(".figure", has_text="recall@10")).to_contain_text("1.000")  # 600 items are searched exactly
    kept = float(page.locator(".figure", has_text="neighbours kept by pca").locator("b").inner_text())
    assert kept == pytest.approx(_kept(space), abs=0.02)


def _kept(space) -> float:
    """The share of the ten nearest that a map keeps, by sorting all distances."""
    table = space.map("pca")
    ids, flat = table["id"].to_pylist(), np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1)
    latents = np.array(space.get(ids)["vector"].to_pylist())
    shares = []
    for at in range(100):
        i = int(at * len(ids) / 100)
        near, there = (np.argsort(((x - x[i]) ** 2).sum(1))[1:11] for x in (latents, flat))
        shares.append(len(set(near) & set(there)) / 10)
    return float(np.mean(shares))


def test_versions_are_looked_at_and_compared(visit: Visit, space):
    page = visit.open("versions")
    old = space.status().tags["older"]
    page.get_by_role("combobox", name="From").select_option(str(old))
    page.get_by_role("combobox", name="To").select_option(str(space.version))
    page.get_by_role("button", name="Compare").click()
    difference = space.diff("older")
    for words, count in (("added", difference.added), ("deleted", difference.deleted), ("written again", 0)):
        expect(page.locator(".figure", has_text=words).locator("b")).to_have_text(str(count))
    assert difference.added == 200
    assert tile_ids(page, "added") == difference.ids("added")[:24]
    page.get_by_role("button", name=f"Look at version {old}", exact=True).click()
    expect(page.locator(".old")).to_contain_text(f"looking at {old}")
    expect(page.locator(".space-box")).to_contain_text("400 items")
    expect(page.get_by_role("region", name="Versions", exact=True)).to_contain_text("looked at")
    page.get_by_role("link", name="back").click()
    expect(page.locator(".space-box")).to_contain_text("600 items")
