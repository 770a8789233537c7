"""The page around the views: keys, messages, colours, phones, the documentation, and what may be loaded."""

from __future__ import annotations

import re
import shutil

import httpx
import pytest
from playwright.sync_api import expect

import latentstore as ls
from latentstore.server import create_key
from latentstore.server.routes import ROUTES
from latentstore.sql import Limits
from tests.browser.visiting import Visit, serving

VIEWS = ("map", "item", "path", "edit", "sql", "quality", "versions")


def test_a_key_is_asked_for_and_a_wrong_one_again(visit: Visit, tmp_path, serve):
    store = tmp_path / "locked.store"
    space = ls.open(store).create_space("plain", dim=2)
    space.add(["a", "b"], [[0, 1], [1, 0]])
    key = create_key(store, "read", "reader")
    address = serve(store)
    visit.allowed = ("401",)
    page = visit.open("map", url=address)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("needs a key")
    dialog.get_by_label("Key").fill("ls_wrong")
    dialog.get_by_role("button", name="Use the key").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not one of this service")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_label("Key").press("Enter")
    expect(page.locator(".space-box")).to_contain_text("2 items")
    assert page.evaluate("() => Object.values(localStorage).join() + document.cookie").find(key) < 0
    page.reload()
    expect(page.locator(".space-box")).to_contain_text("2 items")
    expect(page.locator("main")).to_contain_text("no map yet")


def test_an_empty_store_and_a_service_that_is_gone(visit: Visit, tmp_path):
    store = tmp_path / "one.store"
    ls.open(store).create_space("plain", dim=2).add(["a"], [[0, 1]])
    visit.allowed = ("ERR_CONNECTION_REFUSED",)
    with serving(store) as address:
        page = visit.open("sql", url=address)
        expect(page.get_by_role("button", name="Run")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.get_by_role("link", name="Generate").click()  # whose module was not fetched yet
    expect(page.locator("#main > .page > [role=alert]")).to_contain_text("does not answer")


def test_spaces_without_items_or_with_similarities(visit: Visit, tmp_path, serve):
    store = ls.open(tmp_path / "two.store")
    store.create_space("nothing", dim=2)
    store.create_space("products", dim=2, metric="ip").add(["a", "b"], [[0, 1], [0, 2]])
    address = serve(tmp_path / "two.store")
    page = visit.open("path", url=address, space="nothing")
    expect(page.locator(".parts")).to_contain_text("no items to walk between")
    expect(page.get_by_label("From A")).to_have_value("")
    page.goto("about:blank")
    page = visit.open("sql", url=address, space="products")
    visit.allowed = ("403",)  # it answers no SQL
    page.get_by_role("button", name="Neighbours").click()
    expect(page.get_by_label("SQL query")).to_have_value(re.compile("n.similarity.*ORDER BY n.similarity DESC", re.S))


def test_names_that_are_words_of_sql(visit: Visit, tmp_path, serve):
    store = ls.open(tmp_path / "words.store")
    store.create_space("order", dim=2).add(["a", "b"], [[0, 1], [0, 2]], {"group": ["left", "right"]})
    page = visit.open(
        "sql", url=serve(tmp_path / "words.store", sql=Limits(seconds=20, memory=256 << 20)), space="order"
    )
    for button, said in (("Count", "left"), ("Versions", "add")):
        page.get_by_role("button", name=button).click()
        expect(page.locator("table")).to_contain_text(said)


def test_a_store_without_spaces_says_how_to_fill_it(visit: Visit, template, tmp_path, serve):
    store = tmp_path / "empty.store"
    store.mkdir()
    (store / "store.json").write_bytes((template / "store.json").read_bytes())
    page = visit.open("map", url=serve(store))
    expect(page.locator("main")).to_contain_text("no space yet")


def test_an_unknown_version_can_be_left(visit: Visit):
    visit.allowed = ("404",)
    page = visit.open("map", at="99")
    expect(page.get_by_role("alert")).to_contain_text("99")
    page.get_by_role("link", name="Look at the snapshot that is served").click()
    expect(page.locator(".count")).to_have_text("600 items")


def test_an_unknown_space_is_named_and_can_be_left(visit: Visit):
    page = visit.open("map", space="gone")
    expect(page.locator("main")).to_contain_text("no space “gone”")
    page.locator("main").get_by_role("link").first.click()
    expect(page.locator(".count")).to_have_text("600 items")


def test_amounts_that_an_address_has_wrong_are_named(visit: Visit):
    page = visit.open("edit", item="train/7", q="formal:1.5,nothing:2")
    expect(page.get_by_label("formal")).to_have_value("1.5")
    expect(page.get_by_role("status").filter(has_text="nothing:2")).to_be_visible()


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_shows_every_view_without_scrolling_sideways(visit: Visit, view: str):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open(view, item="train/7", a="'train/1'", b="'train/2'")
    page.wait_for_load_state("networkidle")
    expect(page.locator(".tabs [aria-current=page]")).to_be_visible()
    wide = page.evaluate("""() => [document.documentElement, document.querySelector("main")]
        .map((node) => node.scrollWidth - node.clientWidth)""")
    assert max(wide) <= 0


def test_dark_by_the_system_and_by_the_switch(visit: Visit):
    visit.page.emulate_media(color_scheme="dark")
    page = visit.map(show="nothing")
    paper = "() => getComputedStyle(document.documentElement).backgroundColor"
    corner = (
        "() => [...document.querySelector('.plane-base').getContext('2d').getImageData(2, 2, 1, 1).data].slice(0, 3)"
    )
    assert page.evaluate(paper) == "rgb(20, 24, 30)"
    page.wait_for_function(f"() => ({corner})().join() === '20,24,30'")
    page.get_by_role("button", name="Change to light colours").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.wait_for_function(f"() => ({corner})().join() === '255,255,255'")
    page.reload()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_every_control_has_a_name(visit: Visit):
    for view in VIEWS:
        page = visit.open(view, item="train/7", a="'train/1'", b="'train/2'")
        page.wait_for_load_state("networkidle")
        expect(page.locator(f".tabs [aria-current=page][href*='view={view}']")).to_be_visible()
        seen = """() => {
            const all = [...document.querySelectorAll("button, select, input, textarea, canvas[tabindex]")];
            const seen = all.filter((node) => node.checkVisibility());
            const named = (node) => node.ariaLabel || node.innerText?.trim() || node.labels?.length;
            const unnamed = seen.filter((node) => !named(node)).map((node) => node.outerHTML);
            return [seen.filter((node) => node.closest("main")).length, unnamed];
        }"""
        page.wait_for_function(f"() => ({seen})()[0]")  # a view is still drawn when the network is idle
        assert page.evaluate(seen)[1] == []


def test_the_documentation_shows_every_route(visit: Visit):
    page = visit.page
    page.goto(f"{visit.url}/docs")
    expect(page.locator("article.route")).to_have_count(len(ROUTES))
    expect(page.locator("#post-v1-spaces-space-search")).to_contain_text("group_by")


def test_only_packaged_files_are_served_and_nothing_may_be_evaluated(url: str):
    answer = httpx.get(url)
    policy = answer.headers["content-security-policy"]
    assert "unsafe-eval" not in policy and "script-src 'self';" in policy
    assert httpx.get(f"{url}/static/explorer/views/map.js").headers["content-type"].startswith("text/javascript")
    for name in ("explorer", "explorer/", "explorer/../../app.py", "explorer/..%2f..%2fapp.py", "../app.py", "no.js"):
        assert httpx.get(f"{url}/static/{name}").status_code == 404


def test_a_newer_snapshot_is_told_of(visit: Visit, template, tmp_path, serve):
    store = shutil.copytree(template, tmp_path / "a.store")
    page = visit.open("edit", url=serve(store), item="train/7")
    expect(page.get_by_alt_text("Edited: 'train/7'")).to_be_visible()
    space = ls.open(store).space("small")
    space.delete(["train/8"])
    space.tag("production")
    page.wait_for_timeout(1500)  # the service looks twice a second
    page.get_by_label("formal").fill("1")
    expect(page.locator(".toast")).to_contain_text(f"Version {space.version} is served now")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".space-box")).to_contain_text("599 items")


def test_every_tab_shows_its_view_at_the_first_click(visit: Visit):
    page = visit.map()
    shown = {
        "Versions": page.get_by_role("button", name="Compare"),
        "Item": page.get_by_alt_text("Picture of"),
        "Path": page.get_by_role("group", name="Frames by lerp"),
        "Edit": page.get_by_alt_text("Edited:"),
        "SQL": page.get_by_role("button", name="Run"),
        "Quality": page.get_by_role("region", name="Encoder beside PCA of the same width"),
        "Generate": page.locator("main button.main"),
        "Map": page.locator(".count"),
    }
    for name, sign in shown.items():
        page.get_by_role("link", name=name, exact=True).first.click()
        expect(sign.first).to_be_visible()
    page.get_by_role("link", name="SQL", exact=True).first.click()
    assert page.get_by_label("SQL query").input_value().startswith("SELECT")
    page.go_back()
    expect(page.locator(".count")).to_be_visible()


def test_sliders_stay_when_another_tab_was_looked_at(visit: Visit):
    page = visit.open("edit", item="train/7")
    expect(page.get_by_alt_text("Edited:")).to_be_visible()
    slider = page.get_by_label("formal")
    slider.fill("1.5")
    slider.dispatch_event("change")
    page.get_by_role("link", name="SQL", exact=True).first.click()
    expect(page.get_by_role("button", name="Run")).to_be_visible()
    page.get_by_role("link", name="Edit", exact=True).first.click()
    expect(page.get_by_label("formal")).to_have_value("1.5")


def test_colours_are_those_of_the_version_that_is_looked_at(visit: Visit, template, serve, tmp_path):
    store = shutil.copytree(template, tmp_path / "a.store")
    address = serve(store, at="newest")  # no such tag: the newest version is served
    page = visit.open("map", url=address, map="pca", colour="split")
    expect(page.locator(".count")).to_contain_text("600")
    space = ls.open(store).space("small")
    before = space.version
    space.delete([f"train/{i}" for i in range(3, 6)])
    with httpx.Client(base_url=address, trust_env=False) as health:
        while health.get("/readyz").json()["spaces"]["small"] == before:
            page.wait_for_timeout(100)
    with page.expect_response(lambda answer: "columns=label" in answer.url) as asked:
        page.get_by_role("combobox", name="Colour").select_option("label")
    told = asked.value.json()
    truth = ls.open(store).space("small", at=before)
    ids = told["columns"][told["names"].index("id")]
    labels = told["columns"][told["names"].index("label")]
    assert ids == truth.map("pca")["id"].to_pylist(), "the points that are drawn"
    assert labels == truth.get(ids)["label"].to_pylist()


def test_another_space_begins_without_the_filter_of_the_last(visit: Visit, template, serve, tmp_path):
    store = shutil.copytree(template, tmp_path / "a.store")
    opened = ls.open(store)
    first = opened.space("small", at="production")
    other = opened.create_space("tiny", dim=6)
    rows = first.get([f"train/{i}" for i in range(40)])
    other.upsert(rows)
    other.fit_map("pca")
    page = visit.open("map", url=serve(store), space="small", where="label = 'Bag'")
    expect(page.locator(".count")).to_contain_text("of 600 items")
    page.get_by_label("Space").select_option("tiny")
    expect(page.locator(".count")).to_have_text("40 items")
    assert "where" not in page.url
