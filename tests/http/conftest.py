"""A store, and the service of it on a free port of this machine: the real one, in a thread."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.server import make_app
from latentstore.server.serving import make_server
from latentstore.storage.evaluations import Evaluation, write_evaluation
from tests.clothes import clothes_space

Serve = Callable[..., httpx.Client]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a decodable space of 1,400 pictures under a tag, an older version, and two plain spaces."""
    path = tmp_path_factory.mktemp("http") / "a.store"
    store = ls.open(path)
    space = clothes_space(store, "small", items=1400, dim=6, fitted=1200)
    space.tag("older")
    space.fit_centroids()
    space.fit_attribute("formal", positive="label = 'Ankle boot'", negative="label = 'Sandal'")
    space.fit_map("pca")
    space.build_index("ivf", target_recall=0.95)
    space.tag("production")
    figures = {"mse": 0.02, "pca_mse": 0.03, "knn10": 0.8}
    write_evaluation(space.files.folder, Evaluation(space.version, len(space), None, "", "2026", 1.0, figures))
    plain = store.create_space("plain", dim=3, metric="cosine")
    plain.add(["a", "b/c", "d é"], np.eye(3), pa.table({"year": [1, 2, None], "pair": [[1.0, 2.0]] * 3}))
    similar = store.create_space("similar", dim=2, metric="ip")
    similar.add(["x", "y"], [[1, 0], [0, 2]])
    return path


@pytest.fixture(scope="session")
def small(template: Path) -> ls.EmbeddingSpace:
    """The tagged space, asked in Python."""
    return ls.open(template, mode="r").space("small", at="production")


@contextmanager
def serving(store: Path, *, key: str | None = None, **options: Any) -> Iterator[httpx.Client]:
    """A running service, and a client of it."""
    server = make_server(make_app(store, **options))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        port = bound.getsockname()[1]
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def client(template: Path) -> Iterator[httpx.Client]:
    """A client of the service of the template, SQL included; nobody writes to it."""
    from latentstore.sql import Limits

    with serving(template, sql=Limits(seconds=20, memory=256 << 20), searchers=1) as made:
        yield made


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Path:
    """A copy of the template to write to."""
    return Path(shutil.copytree(template, tmp_path / "a.store"))


@pytest.fixture
def serve(store: Path) -> Iterator[Serve]:
    """Serve the copy, with options of `make_app`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving(store, **options))


@pytest.fixture
def serve_it() -> Iterator[Serve]:
    """Serve any store, with options of `make_app`."""
    with ExitStack() as stack:
        yield lambda path, **options: stack.enter_context(serving(path, **options))
