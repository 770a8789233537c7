"""A space behaves as a dict, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from latentstore.errors import AlreadyExists, UnknownItem
from latentstore.storage import SpaceFiles

IDS = st.lists(
    st.sampled_from([f"id{i}" for i in range(12)] + ["é", "🐘", "a'b", " "]), min_size=1, max_size=6, unique=True
)
NOW = timedelta(0)


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.space = SpaceFiles.create(self.folder / "s", space="s", dim=3, metric="l2")
        self.rows: dict[str, tuple[list[float], int]] = {}
        self.history: dict[int, dict[str, tuple[list[float], int]]] = {1: {}}
        self.given: set[int] = set()
        self.step = 0

    def _new(self, ids: list[str]) -> tuple[np.ndarray, dict[str, list[int]]]:
        self.step += 1
        vectors = np.random.default_rng(self.step).standard_normal((len(ids), 3)).astype(np.float32)
        return vectors, {"step": [self.step] * len(ids)}

    def _put(self, ids: list[str], vectors: np.ndarray) -> None:
        self.rows.update({one: (vector.tolist(), self.step) for one, vector in zip(ids, vectors, strict=True)})

    @rule(ids=IDS)
    def add(self, ids: list[str]) -> None:
        vectors, metadata = self._new(ids)
        if self.rows.keys() & set(ids):
            with pytest.raises(AlreadyExists):
                self.space.add(ids, vectors, metadata)
        else:
            self.space.add(ids, vectors, metadata)
            self._put(ids, vectors)

    @rule(ids=IDS)
    def upsert(self, ids: list[str]) -> None:
        vectors, metadata = self._new(ids)
        self.space.upsert(ids, vectors, metadata)
        self._put(ids, vectors)

    @rule(ids=IDS)
    def delete(self, ids: list[str]) -> None:
        if set(ids) <= self.rows.keys():
            self.space.delete(ids)
            for one in ids:
                del self.rows[one]
        else:
            with pytest.raises(UnknownItem):
                self.space.delete(ids)

    @rule(ids=IDS, more=IDS)
    def replace_and_drop(self, ids: list[str], more: list[str]) -> None:
        gone = [one for one in more if one in self.rows and one not in ids]
        vectors, metadata = self._new(ids)
        half = len(ids) // 2
        staged = [
            self.space.stage(ids[:half], vectors[:half], {"step": metadata["step"][:half]}),
            self.space.stage(ids[half:], vectors[half:], {"step": metadata["step"][half:]}, key="job"),
        ]
        self.space.append(staged, on_existing="replace", delete_ids=gone)
        self._put(ids, vectors)
        for one in gone:
            del self.rows[one]

    @rule()
    def compact(self) -> None:
        self.space.compact()

    @rule()
    def reopen(self) -> None:
        self.space = SpaceFiles(self.space.folder)

    @rule()
    def vacuum(self) -> None:
        self.space.vacuum(NOW, grace=NOW)

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from([manifest.version for manifest in self.space.versions()]))
        self.space.restore(version)
        self.rows = dict(self.history[version])
        self.given.clear()  # rows that come back keep their numbers

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        snapshot = self.space.snapshot()
        self.history[snapshot.version] = dict(self.rows)
        assert len(snapshot) == len(self.rows)
        rows = snapshot.live_rows()
        assert (np.diff(rows) > 0).all()
        ids = snapshot.ids(rows).tolist()
        steps = snapshot.columns(rows, ["step"])["step"].to_pylist() if len(rows) else []
        vectors = snapshot.vectors(rows).tolist()
        held = {one: (vector, step) for one, vector, step in zip(ids, vectors, steps, strict=True)}
        assert held == self.rows
        assert snapshot.find(ids).tolist() == rows.tolist()
        scanned = [one for batch in snapshot.scan(["id"]) for one in batch["id"].to_pylist()]
        assert scanned == ids

    def teardown(self) -> None:
        assert self.space.verify() == []
        shutil.rmtree(self.folder)


def test_a_space_is_a_dict(long: bool) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Model,
        settings=settings(
            max_examples=300 if long else 12,
            stateful_step_count=30 if long else 20,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
