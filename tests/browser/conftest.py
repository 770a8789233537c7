"""The real service on a small store, and the Chromium of this machine to look at it with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.encoders import train
from latentstore.sql import Limits
from latentstore.storage.evaluations import Evaluation, write_evaluation
from tests.browser.visiting import WAIT, Visit, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
Serve = Callable[..., str]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one decodable space of 600 pictures, flat and solid maps, and an older version of 400."""
    path = tmp_path_factory.mktemp("browser") / "a.store"
    dataset = open_dataset("fashion_mnist", limit=600)
    items = dataset.read(np.arange(len(dataset)))
    encoder, _ = train("pca", items[:400], dim=6)
    store = ls.open(path)
    space = store.create_space("small", dim=6, encoder=store.add_encoder(encoder, {}), source=dataset.source)
    vectors = encoder.encode(items)
    space.add(dataset.ids[:400].tolist(), vectors[:400], dataset.metadata.slice(0, 400))
    space.tag("older")
    _evaluated(space, mse=0.031, pca_mse=0.03, knn10=0.7, pca_knn10=0.6)
    space.add(dataset.ids[400:].tolist(), vectors[400:], dataset.metadata.slice(400))
    space.fit_centroids()
    space.fit_attribute("formal", positive="label = 'Ankle boot'", negative="label = 'Sandal'")
    space.fit_map("pca")
    space.fit_map("pca", name="solid", dim=3)
    space.tag("production")
    _evaluated(space, mse=0.029, pca_mse=0.03, knn10=0.75, pca_knn10=0.6, index_recall=1.0)
    return path


def _evaluated(space: ls.EmbeddingSpace, **figures: float) -> None:
    write_evaluation(space.files.folder, Evaluation(space.version, len(space), None, "", "2026", 1.0, figures))


@pytest.fixture(scope="session")
def space(template: Path) -> ls.EmbeddingSpace:
    """What is served, asked in Python."""
    return ls.open(template, mode="r").space("small", at="production")


@pytest.fixture(scope="session")
def pictures() -> dict[str, np.ndarray]:
    """Every item's picture by id, uint8 (28, 28)."""
    dataset = open_dataset("fashion_mnist", limit=600)
    return dict(zip(dataset.ids.tolist(), dataset.read(np.arange(len(dataset)))[..., 0], strict=True))


@pytest.fixture(scope="session")
def url(template: Path) -> Iterator[str]:
    """The service of the template, which nobody writes to."""
    with serving(template, sql=Limits(seconds=20, memory=256 << 20)) as address:
        yield address


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve another store, with options of `make_app`."""
    with ExitStack() as stack:
        yield lambda path, **options: stack.enter_context(serving(path, **options))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, url: str, serve: Serve) -> Iterator[Visit]:
    # `serve` is asked for so that a test's own service outlives the tab that asks it.
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
    context.set_default_timeout(WAIT)
    made = Visit(context.new_page(), url)
    made.page.on("console", lambda said: made.errors.append(said.text) if said.type == "error" else None)
    made.page.on("pageerror", lambda error: made.errors.append(str(error)))
    made.page.on("request", lambda asked: made.hosts.add(urlsplit(asked.url).hostname or urlsplit(asked.url).scheme))
    yield made
    context.close()
    unexpected = [one for one in made.errors if not any(part in one for part in made.allowed)]
    assert not unexpected, unexpected
    assert made.hosts <= {"127.0.0.1", "data", "blob"}, made.hosts
