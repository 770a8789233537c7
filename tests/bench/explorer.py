"""How quick the explorer is in a real Chromium, and whether its memory stays.

    python -m tests.bench.explorer STORE [--space fashion] [--interactions 200]

`STORE` is the quickstart's. Prints medians and 95 % quantiles of: navigation until the map of all items can be used;
the pointer's move until the picture of an item never seen stands in its card; an attribute's slider until the decoded
picture; and the memory of the tab (after garbage collection) over interactions with all views.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from tests.bench.serving import SERVE, free_port, running

READY = "() => performance.getEntriesByName('map-interactive').length > 0"
STARTED = "() => performance.getEntriesByName('map-interactive')[0].startTime"
HEAP = "() => { gc(); gc(); return performance.memory.usedJSHeapSize / 1e6 }"
SLIDER = "() => performance.getEntriesByName('slider-to-picture').map(one => one.duration)"
# From the last move of the pointer to the moment when a picture that was not there before is decoded and stands there.
WATCH_HOVER = """() => {
  window.hovers = [];
  let began = 0, seen = "";
  document.querySelector(".plane-over").addEventListener("pointermove", () => { began = performance.now(); }, true);
  new MutationObserver(() => {
    const image = document.querySelector(".hover-card:not([hidden]) img");
    if (!image || image.src === seen) return;
    seen = image.src;
    const at = began;
    image.decode().then(() => window.hovers.push(performance.now() - at));
  }).observe(document.querySelector(".hover-card"), { childList: true, subtree: true });
}"""
SLIDE = """async () => {
  const slider = document.querySelector("input[type=range]");
  for (let i = 0; i < 60; i++) {
    slider.value = String(-1.5 + i * 0.05);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => setTimeout(done, 250));
  }
}"""
SHOW = "(view) => { location.hash = location.hash.replace(/view=\\w+/, 'view=' + view); }"
VIEWS = ("item", "path", "edit", "generate", "quality", "versions")


def say(what: str, milliseconds: Sequence[float], wanted: str) -> None:
    """One line of figures."""
    middle, high = np.quantile(milliseconds, [0.5, 0.95])
    sys.stdout.write(f"{what:<44}{middle:>7,.0f} ms, 95 % {high:,.0f} ms, of {len(milliseconds)}   {wanted}\n")
    sys.stdout.flush()


def tab(browser: Browser, url: str) -> Page:
    """A tab at an address, once its map can be used."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(url)
    page.wait_for_function(READY, timeout=60_000)
    return page


def interact(page: Page, number: int) -> None:
    """Point, zoom, click, or go to another view and back."""
    what = number % 5
    if what == 0:
        page.mouse.move(random.randint(100, 900), random.randint(120, 680))
    elif what == 1:
        page.mouse.wheel(0, random.choice([-400, 400]))
    elif what == 2:
        page.mouse.click(random.randint(200, 800), random.randint(150, 650))
    elif what == 3:
        page.evaluate(SHOW, VIEWS[number // 5 % len(VIEWS)])
        time.sleep(0.4)
        page.evaluate(SHOW, "map")
    else:
        page.mouse.move(random.randint(540, 720), random.randint(115, 190))
    time.sleep(0.12)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--space", default="fashion")
    parser.add_argument("--interactions", type=int, default=200)
    given = parser.parse_args()
    random.seed(1)
    port = free_port()
    command = [sys.executable, "-c", SERVE, "serve", str(given.store), "--port", str(port)]
    url = f"http://127.0.0.1:{port}/#space={given.space}"
    options = {
        "executable_path": shutil.which("chromium") or shutil.which("chromium-browser"),
        "args": ["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"],
    }
    with running(command, port, "/healthz"), sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        opened = []
        for _ in range(7):
            page = tab(browser, f"{url}&view=map")
            opened.append(page.evaluate(STARTED))
            page.close()
        say("map of all items can be used", opened, "≤ 3,000")
        page = tab(browser, f"{url}&view=map&show=nothing")
        time.sleep(2)
        page.evaluate(WATCH_HOVER)
        for _ in range(60):
            page.mouse.move(random.randint(540, 720), random.randint(115, 190))
            time.sleep(0.25)
        say("hover: picture of an item", page.evaluate("() => window.hovers"), "≤ 100")
        page.goto(f"{url}&view=edit&item=test%2F17")
        page.reload()
        page.wait_for_selector("text=edited")
        time.sleep(2)
        page.evaluate("() => performance.clearMeasures()")
        page.evaluate(SLIDE)
        say("slider: decoded picture", page.evaluate(SLIDER), "≤ 100")
        page.close()
        page = tab(browser, f"{url}&view=map")
        time.sleep(2)
        heap = [page.evaluate(HEAP)]
        for number in range(1, given.interactions + 1):
            interact(page, number)
            if number % 50 == 0:
                time.sleep(1)
                heap.append(page.evaluate(HEAP))
        sys.stdout.write(f"memory of the tab, every 50 interactions: {', '.join(f'{one:.0f}' for one in heap)} MB\n")
        browser.close()


if __name__ == "__main__":
    main()
