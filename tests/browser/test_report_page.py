"""The report in a real browser: read at a glance on a screen of 1,280 pixels, and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from latentstore.evaluate.report import Report, Section, Table, write_report

WIDER = "() => [...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
ATTRIBUTES = Table(
    "Attribute vectors",
    ["name", "held-out AUC", "stability", "at least", "p", "items with", "items without", "with", "without", "method"],
    [["long_sleeved", "0.9842", "0.9996", "0.9994", "0.005", "7,000", "7,000", "label in ('Sandal', 'Sneaker', 'Bag')",
      "label not in ('Sandal', 'Sneaker', 'Bag')", "mean difference"]],
    prose=frozenset({7, 8, 9}),
)  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Path:
    config = "positive = \"label = 'Ankle boot'\"  # " + "a long comment " * 12
    section = Section("fashion", "fashion", tables=[ATTRIBUTES], config=config)
    return write_report(Report("A report", "Of one table.", [section], commands=["latentstore " + "x" * 200]), tmp_path)


@pytest.mark.parametrize("width", [1280, 390])
def test_only_tables_on_a_phone_are_scrolled(browser: Browser, page: Path, width: int) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 800})
    opened.goto(page.as_uri())
    opened.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    wider = opened.evaluate(f"({WIDER})().map(e => e.className || e.tagName)")
    assert wider == ([] if width == 1280 else ["wide"])
    opened.close()
