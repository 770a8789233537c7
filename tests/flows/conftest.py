"""Real components on a slice of Fashion-MNIST; one Prefect test server per session, in a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.config import Config, parse_config
from flows.workspace import Workspace
from latentstore.datasets import InMemory, open_dataset


@pytest.fixture(scope="session")
def fashion() -> InMemory:
    dataset = open_dataset("fashion_mnist", limit=700)  # 600 train, 100 test
    assert isinstance(dataset, InMemory)
    return dataset


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A small but whole configuration."""
    return {
        "store": str(tmp_path / "a.store"),
        "space": "small",
        "dataset": {"name": "fashion_mnist", "limit": 700},
        "encoder": {"kind": "pca", "dim": 8},
        "embed": {"shard_items": 100},
        "concepts": {
            "centroids": ["label"],
            "attributes": {"formal": {"positive": "label = 'Ankle boot'", "negative": "label = 'Sandal'"}},
        },
        "maps": {"pca": {}},
        "gate": {"metrics": {"mse": {"max": 0.08}}},
    }


@pytest.fixture
def config(document: dict[str, Any]) -> Config:
    return parse_config(document)


@pytest.fixture
def workspace(config: Config, fashion: InMemory) -> Callable[..., Workspace]:
    """Workspaces of one store, for datasets of one source on different days."""

    def make(dataset: InMemory | None = None, *, config: Config = config) -> Workspace:
        work = Workspace(config)
        work.dataset = fashion if dataset is None else dataset
        return work

    return make


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    from flows.running import quietly

    with quietly(), prefect_test_harness(server_startup_timeout=180):
        yield
