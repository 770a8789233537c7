"""What was measured of versions: kept beside them, read as a table, in Python and in SQL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import latentstore as ls
from latentstore.errors import ManifestInvalid
from latentstore.storage.evaluations import Evaluation, write_evaluation


def measured(space: ls.EmbeddingSpace, **metrics: float) -> None:
    write_evaluation(
        space.files.folder,
        Evaluation(space.version, len(space), None, "digest", "2026-01-01T00:00:00+00:00", 1.5, metrics),
    )


def test_evaluations_up_to_a_version_are_a_table(tmp_path: Path) -> None:
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("mine", dim=2)
    assert space.evaluations().num_rows == 0
    assert space.evaluations().column_names == ["version", "created", "metric", "value"]
    for n in (1, 2):
        space.add([f"{n}"], np.full((1, 2), n, np.float32))
        measured(space, mse=0.1 * n, knn10=0.5)
    first, second = (one.version for one in space.versions()[-2:])
    rows = [(row["version"], row["metric"], row["value"]) for row in space.evaluations().to_pylist()]
    assert rows == [(first, "mse", 0.1), (first, "knn10", 0.5), (second, "mse", 0.2), (second, "knn10", 0.5)]
    assert store.space("mine", at=first).evaluations()["version"].unique().to_pylist() == [first]
    asked = "SELECT value FROM mine.evaluations WHERE metric = 'mse' ORDER BY version DESC LIMIT 1"
    for sandbox in (True, False):
        assert store.sql(asked, sandbox=sandbox).to_pylist() == [{"value": 0.2}]
    measured(space, mse=0.3)  # again, of the same version
    for sandbox in (True, False):
        assert store.sql(asked, sandbox=sandbox).to_pylist() == [{"value": 0.3}]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    space = ls.open(tmp_path / "a.store").create_space("mine", dim=2)
    measured(space, mse=0.1)
    (path,) = (space.files.folder / "evaluations").iterdir()
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ManifestInvalid, match=f"{path.name} is no evaluation"):
        space.evaluations()
