"""A reader's tab, the service it asks, and the pictures it shows."""

from __future__ import annotations

import io
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from latentstore.server import make_app

WAIT = 20_000  # ms, on a busy machine
CANVAS = ".plane-over"
expect.set_options(timeout=WAIT)


@contextmanager
def serving(store: Path, **options: Any) -> Iterator[str]:
    """A running service; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(make_app(store, **options), log_config=None, loop="uvloop", http="httptools")
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Visit:
    """A reader's tab. What the console says is kept: no test may leave an error there that it does not expect."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: tuple[str, ...] = ()

    def open(self, view: str = "map", url: str | None = None, **state: Any) -> Page:
        """Open a view as a link would."""
        self.page.goto(f"{url or self.url}/#{urlencode({'view': view, **state})}")
        return self.page

    def map(self, name: str = "pca", **state: Any) -> Page:
        """Open a map and wait until it can be used."""
        page = self.open("map", map=name, **state)
        expect(page.locator(".count")).to_contain_text("items")
        return page


def pixels(image: Locator) -> np.ndarray:
    """What an <img> of the page shows, (h, w) uint8."""
    data = image.evaluate("""async (node) => {
        await node.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [node.naturalWidth, node.naturalHeight];
        canvas.getContext("2d").drawImage(node, 0, 0);
        return canvas.toDataURL("image/png");
    }""")
    return np.asarray(Image.open(io.BytesIO(b64decode(data.partition(",")[2]))).convert("L"))


def over(page: Page) -> str:
    """What lies over the map, once it has not changed for half a second."""
    seen, still = "", 0
    while still < 5:
        page.wait_for_timeout(100)
        now = page.locator(CANVAS).evaluate("(node) => node.toDataURL()")
        seen, still = now, still + 1 if now == seen else 0
    return seen


def hold(page: Page, words: str) -> list[Route]:
    """Keep back requests for places whose body has these words, until they are continued."""
    held: list[Route] = []
    page.route("**/place", lambda one: held.append(one) if words in one.request.post_data else one.continue_())
    return held


def as_pixels(items: np.ndarray) -> np.ndarray:
    """Decoded items, floats (n, 28, 28, 1), as the service draws them."""
    return np.rint(items.clip(0, 1) * 255).astype(np.uint8)[..., 0]
