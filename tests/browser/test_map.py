"""The map as a reader uses it: hover, choose, filter, lasso, keys, and what the decoder draws."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.visiting import CANVAS, Visit, as_pixels, hold, over, pixels

PAINTED = """(node) => {
    const {width, height} = node, data = node.getContext("2d").getImageData(0, 0, width, height).data;
    const colours = new Set();
    for (let i = 0; i < data.length; i += 4) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return colours.size;
}"""


def place_of(space, item: str) -> tuple[float, float]:
    table = space.map("pca")
    i = table["id"].to_pylist().index(item)
    return table["x"][i].as_py(), table["y"][i].as_py()


def middle(page) -> tuple[float, float]:
    box = page.locator(CANVAS).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_all_items_are_drawn_and_the_legend_counts_them(visit: Visit, space):
    page = visit.map()
    labels = Counter(space.to_arrow()["label"].to_pylist())
    expect(page.locator(".count")).to_have_text("600 items")
    rows = page.locator("button.legend-row")
    expect(rows).to_have_count(len(labels))
    shown = {row.locator(".legend-name").inner_text(): int(row.locator(".number").inner_text()) for row in rows.all()}
    assert shown == labels
    coloured = page.locator(".plane-base").evaluate(PAINTED)
    page.get_by_role("combobox", name="Colour").select_option("none")
    page.wait_for_function(f"(most) => ({PAINTED})(document.querySelector('.plane-base')) < most", arg=coloured)


def test_hover_shows_the_items_own_picture_and_metadata(visit: Visit, space, pictures):
    item = "test/17" if "test/17" in pictures else next(iter(pictures))
    x, y = place_of(space, item)
    page = visit.map(box=f"{x},{y},100000", boxof="pca", show="nothing")
    page.mouse.move(*middle(page))
    card = page.locator(".hover-card")
    expect(card).to_contain_text(item)
    expect(card).to_contain_text(f"label {space.get(item)['label'][0].as_py()}")
    assert np.array_equal(pixels(card.locator("img")), pictures[item])
    page.mouse.click(*middle(page))
    expect(page.get_by_role("region", name="Chosen item", exact=True)).to_contain_text(item)
    page.go_back()
    expect(page.get_by_role("region", name="Chosen item", exact=True)).to_have_count(0)


def test_the_pointer_over_an_empty_place_shows_what_is_decoded_there(visit: Visit, space):
    table = space.map("pca")
    x, y = max(table["x"].to_pylist()) + 0.5, max(table["y"].to_pylist()) + 0.5
    page = visit.map(box=f"{x},{y},200", boxof="pca", show="decode")
    page.mouse.move(*middle(page))
    card = page.locator(".hover-card")
    expect(card).to_contain_text("decoded here")
    drawn = pixels(card.locator("img"))
    expected = as_pixels(space.decode(np.atleast_2d(space.from_map([[x, y]], "pca"))))[0]
    assert np.abs(drawn.astype(int) - expected).max() <= 2  # the pointer is at whole pixels: half of one is .0025
    other = as_pixels(space.decode(np.atleast_2d(space.from_map([[-x, -y]], "pca"))))[0]
    assert np.abs(drawn.astype(int) - other).max() > 20


def test_near_enough_points_become_their_pictures(visit: Visit, space, pictures):
    item = list(pictures)[5]
    x, y = place_of(space, item)
    with visit.page.expect_response(lambda answer: answer.url.endswith("/pictures")) as answered:
        page = visit.map(box=f"{x},{y},100000", boxof="pca", show="pictures")
    assert item in answered.value.request.post_data_json["ids"]
    page.wait_for_function(
        """(wanted) => {
            const node = document.querySelector(".plane-base"), context = node.getContext("2d");
            const data = context.getImageData(node.width / 2 - 27, node.height / 2 - 27, 54, 54).data;
            let sum = 0;
            for (let i = 0; i < data.length; i += 4) sum += data[i];
            return Math.abs(sum / (54 * 54) - wanted) < 12;
        }""",
        arg=float(pictures[item].mean()),
    )


def test_a_filter_leaves_what_it_says_and_a_refused_one_says_why(visit: Visit, space):
    page = visit.map()
    where = "label = 'Bag' and split = 'train'"
    page.get_by_label("Filter").fill(where)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".count")).to_have_text(f"{len(space.matching(where))} of 600 items")
    assert "where=" in page.url
    visit.allowed = ("422",)
    page.get_by_label("Filter").fill("labl = 'Bag'")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("labl")
    expect(page.get_by_role("alert")).to_contain_text("label")


def test_the_lasso_chooses_a_table_that_can_be_exported(visit: Visit, space):
    page = visit.map(show="nothing")
    box = page.locator(CANVAS).bounding_box()
    left, top, right, bottom = box["x"] + 3, box["y"] + 60, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.get_by_role("button", name="Draw around").click()
    page.mouse.move(left, bottom)
    page.mouse.down()
    for corner in ((right, bottom), (right, box["y"] + 2), (left + 300, box["y"] + 2), (left, top)):
        page.mouse.move(*corner, steps=4)
    page.mouse.up()
    expect(page.get_by_role("heading", name="600 items chosen")).to_be_visible()
    expect(page.get_by_role("region", name="Chosen items").locator("tbody tr")).to_have_count(100)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export CSV").click()
    with saved.value.path().open(newline="") as file:
        rows = list(csv.DictReader(file))
    whole = space.to_arrow()
    known = dict(zip(whole["id"].to_pylist(), whole["label"].to_pylist(), strict=True))
    assert {row["id"]: row["label"] for row in rows} == known
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("heading", name="items chosen")).to_have_count(0)


def test_the_keyboard_walks_from_item_to_item(visit: Visit, space):
    page = visit.map(show="nothing")
    page.locator(CANVAS).focus()
    page.keyboard.press("ArrowRight")
    first = page.locator(".hover-card strong").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".hover-card strong")).not_to_have_text(first)
    second = page.locator(".hover-card strong").inner_text()
    assert place_of(space, second)[0] > place_of(space, first)[0]
    expect(page.locator(".map-view > .unseen")).to_contain_text(second)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Chosen item", exact=True)).to_contain_text(second)


@pytest.mark.parametrize("name", ["pca", "solid"])
def test_centroids_and_arrows_are_placed_by_the_service(visit: Visit, name: str):
    asked: list[list[str]] = []
    visit.page.on(
        "request", lambda one: asked.append(one.post_data_json["query"]) if one.url.endswith("/place") else None
    )
    page = visit.map(name, show="centroids,arrows")
    page.wait_for_function(
        "() => document.querySelector('.plane-over').getContext('2d').getImageData(0, 0, 2000, 2000).data.some(Boolean)"
    )
    page.wait_for_timeout(300)
    assert any("centroid('Bag')" in query for query in asked)
    assert any(one.endswith("+ 2 * formal") for query in asked for one in query)


def test_late_places_of_an_earlier_map_are_not_drawn_over_a_newer_one(visit: Visit):
    page = visit.map("solid", show="centroids,pictures")
    expected = over(page)
    page.goto("about:blank")
    held = hold(page, '"pca"')
    visit.map("pca", show="centroids")
    page.get_by_role("combobox", name="Map").select_option("solid")
    over(page)
    assert held
    with page.expect_response("**/place"):
        held[0].continue_()
    page.get_by_label("Pictures when near").check()  # draws once more
    assert over(page) == expected, "the places of the flat map are drawn"


def test_late_arrows_of_an_earlier_item_are_not_drawn_for_a_newer_one(visit: Visit):
    page = visit.map(show="arrows", item="train/8")
    expected = over(page)
    page.goto("about:blank")
    held = hold(page, "train/7")
    visit.map(show="arrows", item="train/7")
    over(page)
    page.evaluate("location.hash = location.hash.replace('train%2F7', 'train%2F8')")
    expect(page.get_by_role("region", name="Chosen item", exact=True)).to_contain_text("train/8")
    assert over(page) == expected, "the control"
    with page.expect_response("**/place"):
        held[0].continue_()
    assert over(page) == expected, "the arrows of the earlier item are drawn"


def test_a_solid_map_turns(visit: Visit):
    page = visit.map("solid", show="nothing")
    before = page.locator(".plane-base").evaluate("(node) => node.toDataURL()")
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 80, y + 20, steps=4)
    page.mouse.up()
    page.wait_for_function("(before) => document.querySelector('.plane-base').toDataURL() !== before", arg=before)


def test_a_link_reopens_the_same_view(visit: Visit, browser):
    page = visit.map(show="nothing")
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Bag").click()
    page.wait_for_function("() => location.hash.includes('box=') && location.hash.includes('where=')")
    page.wait_for_timeout(100)
    picture = page.locator(".plane-base").evaluate("(node) => node.toDataURL()")
    with browser.new_context(viewport={"width": 1280, "height": 720}) as context:
        other = context.new_page()
        other.goto(page.url)
        other.wait_for_function(
            "(wanted) => document.querySelector('.plane-base')?.toDataURL() === wanted", arg=picture
        )
