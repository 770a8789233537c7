"""A store that commands are tried on, and how to run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.cli import main
from tests.clothes import clothes_space

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a decodable space of 1,400 pictures, an old version, a tag, and a plain cosine space."""
    path = tmp_path_factory.mktemp("cli") / "a.store"
    store = ls.open(path)
    space = clothes_space(store, "small", items=1400, dim=6, fitted=1200)
    space.tag("production")
    space.fit_centroids()
    space.fit_attribute("formal", positive="label = 'Ankle boot'", negative="label = 'Sandal'")
    plain = store.create_space("plain", dim=3, metric="cosine")
    plain.add(["a", "b's", "c d"], np.eye(3), pa.table({"year": [1, 2, None], "pair": [[1.0, 2.0]] * 3}))
    return path


@pytest.fixture
def run(made: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in an empty folder beside the store; STORE stands for its path."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(made) if one == "STORE" else str(one) for one in arguments])
        return code, *capfd.readouterr()

    return call
