"""A space answers as a plain dict and an exact NumPy search do, whatever was done to it, through whichever handle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from latentstore.errors import AlreadyExists, UnknownItem
from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles
from latentstore.types import METRICS

D = 4
NOW = timedelta(0)
NAMES = [f"id{i}" for i in range(14)] + ["é", "🐘", "a'b", " "]
IDS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)
BULK = 2_600  # rows from which on the planner asks the index; below, it compares all
COLUMNS = ["n", "label", "c0", "c1"]  # what add, rename and drop play with
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), st.integers(0, 5)),
    "string": (pa.string(), st.sampled_from(["a", "b", "it's", ""])),
    "bool": (pa.bool_(), st.booleans()),
}
Row = dict[str, Any]  # the metadata of an item


def predicate(data: st.DataObject, columns: dict[str, str]) -> tuple[str, Callable[[Row], bool]]:
    """A filter as text, and what it means; null is never true."""
    if not columns:
        return "1 = 0", lambda row: False
    name = data.draw(st.sampled_from(sorted(columns)))
    if data.draw(st.integers(0, 3)) == 0:
        return f"{name} is null", lambda row: row[name] is None
    value = data.draw(KINDS[columns[name]][1])
    text = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()
    if data.draw(st.booleans()):
        return f"{name} <> {text}", lambda row: row[name] is not None and row[name] != value
    return f"{name} = {text}", lambda row: row[name] is not None and row[name] == value


class Model(RuleBasedStateMachine):
    """Every rule does the same to the space and to `rows`, `vectors` and `columns`."""

    @initialize(metric=st.sampled_from(METRICS), bulk=st.integers(0, 9))
    def create(self, metric: str, bulk: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        SpaceFiles.create(self.folder / "s", space="s", dim=D, metric=metric)
        self.metric = metric
        self.space, self.other = self._opened(), self._opened()
        self.rows: dict[str, Row] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.columns: dict[str, str] = {}
        self.defaults: Row = {}
        self.history: dict[int, Any] = {1: ({}, {}, {}, {})}
        self.tags: dict[str, int] = {}
        self.rng = np.random.default_rng(bulk)
        if bulk == 0:
            names = [f"bulk{i}" for i in range(BULK)]
            vectors = self.rng.standard_normal((BULK, D)).astype(np.float32)
            self.space.add(names, vectors)
            self._put(names, vectors, [{}] * BULK)
            self._remember()
            self.space.build_index("ivf")
            self._remember()
        vectors = self.rng.standard_normal((8, D)).astype(np.float32)
        first: list[Row] = [{"n": i, "label": "ab"[i % 2]} for i in range(8)]
        self.pending.update({"n": "int64", "label": "string"})
        self.space.add(NAMES[:8], vectors, pa.Table.from_pylist(first))
        self._put(NAMES[:8], vectors, first)

    def _opened(self, at: int | str | None = None) -> VectorSpace:
        return VectorSpace(SpaceFiles(self.folder / "s"), at=at)

    def _writer(self, data: st.DataObject) -> VectorSpace:
        """This handle, or one that has not seen what the first one wrote."""
        return data.draw(st.sampled_from([self.space, self.other]))

    def _new(self, data: st.DataObject, ids: list[str]) -> tuple[np.ndarray, pa.Table | None, list[Row]]:
        """Vectors and metadata of some columns, new ones among them."""
        vectors = self.rng.integers(-3, 4, (len(ids), D)).astype(np.float32)  # small integers: many ties
        vectors[(vectors == 0).all(axis=1), 0] = 1
        chosen = data.draw(st.lists(st.sampled_from(COLUMNS), unique=True, max_size=3))
        arrays: dict[str, pa.Array] = {}
        for name in chosen:
            kind = self.columns.get(name) or data.draw(st.sampled_from(sorted(KINDS)))
            kind_, values = KINDS[kind]
            column = [data.draw(st.one_of(st.none(), values)) for _ in ids]
            arrays[name] = pa.array(column, kind_)
            if name not in self.columns:
                self.pending[name] = kind
        table = pa.table(arrays) if arrays else None
        return vectors, table, table.to_pylist() if table is not None else [{} for _ in ids]

    def _put(self, ids: list[str], vectors: np.ndarray, metadata: list[Row]) -> None:
        new = {name for row in metadata for name in row} - self.columns.keys()
        for name in new:
            self.columns[name] = self.pending[name]
            for row in self.rows.values():
                row[name] = None
        for one, vector, given in zip(ids, vectors, metadata, strict=True):
            self.vectors[one] = vector
            self.rows[one] = {name: given.get(name, self.defaults.get(name)) for name in self.columns}
            for name in set(given) & self.columns.keys():
                self.rows[one][name] = given[name]

    @property
    def pending(self) -> dict[str, str]:
        """Types of columns that come with an add."""
        return self.__dict__.setdefault("_pending", {})

    def _some(self, data: st.DataObject) -> list[str]:
        """Ids that are mostly there."""
        there = [one for one in self.rows if not one.startswith("bulk")] + [one for one in self.rows if one == "bulk7"]
        if there and data.draw(st.integers(0, 7)):
            return data.draw(st.lists(st.sampled_from(sorted(there)), min_size=1, max_size=4, unique=True))
        return data.draw(IDS)

    # Rows

    @rule(data=st.data(), ids=IDS, replace=st.booleans(), as_table=st.booleans())
    def add_or_upsert(self, data: st.DataObject, ids: list[str], replace: bool, as_table: bool) -> None:
        vectors, table, metadata = self._new(data, ids)
        given: tuple[Any, ...] = (ids, vectors, table)
        if as_table:
            columns = {"id": pa.array(ids), "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), D)}
            columns |= {} if table is None else dict(zip(table.column_names, table.columns, strict=True))
            given = (pa.table(columns),)
        writer = self._writer(data)
        if not replace and self.rows.keys() & set(ids):
            with pytest.raises(AlreadyExists):
                writer.add(*given)
            return
        (writer.upsert if replace else writer.add)(*given)
        self._put(ids, vectors, metadata)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        ids = self._some(data)
        if set(ids) <= self.rows.keys():
            self._writer(data).delete(ids)
            for one in ids:
                del self.rows[one], self.vectors[one]
        else:
            with pytest.raises(UnknownItem):
                self._writer(data).delete(ids)

    @rule(data=st.data())
    def delete_where(self, data: st.DataObject) -> None:
        where, holds = predicate(data, self.columns)
        if sum(map(holds, self.rows.values())) > BULK // 2:
            return  # the bulk is wanted for searches
        # A handle that lags may not know a column yet: it asks the newest version all the same.
        self._writer(data).delete(where=where)
        for one in [one for one, row in self.rows.items() if holds(row)]:
            del self.rows[one], self.vectors[one]

    @rule(data=st.data(), per_row=st.booleans())
    def update(self, data: st.DataObject, per_row: bool) -> None:
        if not self.columns:
            return
        ids = self._some(data)
        names = data.draw(st.lists(st.sampled_from(sorted(self.columns)), unique=True, min_size=1))
        values: dict[str, Any] = {}
        for name in names:
            kind, known = KINDS[self.columns[name]]
            drawn = [data.draw(st.one_of(st.none(), known)) for _ in (ids if per_row else [0])]
            values[name] = pa.array(drawn, kind) if per_row else drawn[0]
        if not set(ids) <= self.rows.keys():
            with pytest.raises(UnknownItem):
                self._writer(data).update(ids, values)
            return
        before = self.space.files.snapshot().find(ids)
        self._writer(data).update(ids, values)
        for i, one in enumerate(ids):
            self.rows[one].update({n: v[i].as_py() if per_row else v for n, v in values.items()})
        assert self.space.files.snapshot().find(ids).tolist() == before.tolist(), "an update moves no row"

    @rule(data=st.data())
    def update_where(self, data: st.DataObject) -> None:
        if not self.columns:
            return
        where, holds = predicate(data, self.columns)
        name = data.draw(st.sampled_from(sorted(self.columns)))
        value = data.draw(st.one_of(st.none(), KINDS[self.columns[name]][1]))
        self._writer(data).update(where=where, values={name: value})
        for row in [row for row in self.rows.values() if holds(row)]:
            row[name] = value

    # Columns

    @rule(data=st.data(), name=st.sampled_from(COLUMNS), kind=st.sampled_from(sorted(KINDS)))
    def add_column(self, data: st.DataObject, name: str, kind: str) -> None:
        default = data.draw(st.one_of(st.none(), KINDS[kind][1]))
        if name in self.columns:
            with pytest.raises(AlreadyExists):
                self._writer(data).add_column(name, kind, default)
            return
        self._writer(data).add_column(name, kind, default)
        self.columns[name] = kind
        if default is not None:
            self.defaults[name] = default
        for row in self.rows.values():
            row[name] = default

    @rule(data=st.data(), new=st.sampled_from(COLUMNS))
    def rename_column(self, data: st.DataObject, new: str) -> None:
        if not self.columns or new in self.columns:
            return
        old = data.draw(st.sampled_from(sorted(self.columns)))
        self._writer(data).rename_column(old, new)
        for where in (self.columns, self.defaults, *self.rows.values()):
            if old in where:
                where[new] = where.pop(old)

    @rule(data=st.data())
    def drop_column(self, data: st.DataObject) -> None:
        if not self.columns:
            return
        name = data.draw(st.sampled_from(sorted(self.columns)))
        self._writer(data).drop_column(name)
        for where in (self.columns, self.defaults, *self.rows.values()):
            where.pop(name, None)

    # Versions and upkeep

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self._writer(data).compact()

    @rule(kind=st.sampled_from(["auto", "ivf", "flat"]))
    def build_index(self, kind: str) -> None:
        if kind == "ivf" and len(self.rows) < BULK // 2:
            kind = "auto"  # FAISS warns of fewer training points than it has clusters
        self.space.build_index(kind)

    @rule()
    def reopen(self) -> None:
        self.space, self.other = self._opened(), self._opened()

    @rule()
    def vacuum(self) -> None:
        self.space.files.vacuum(NOW, grace=NOW)

    @rule(name=st.sampled_from(["production", "old"]))
    def tag(self, name: str) -> None:
        self.tags[name] = self.space.tag(name)

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from([manifest.version for manifest in self.space.versions()]))
        self.space.files.restore(version)
        rows, vectors, columns, defaults = self.history[version]
        self.rows = {one: dict(row) for one, row in rows.items()}
        self.vectors, self.columns, self.defaults = dict(vectors), dict(columns), dict(defaults)

    @rule(data=st.data())
    def travel(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([*self.tags, *(manifest.version for manifest in self.space.versions())]))
        old = self._opened(at)
        rows, vectors, columns, _ = self.history[self.tags.get(at, at)]
        self._compare(old, rows, vectors, columns)

    # Answers

    @rule(data=st.data(), k=st.integers(1, 12), filtered=st.booleans(), recall=st.sampled_from([None, 1.0]))
    def search(self, data: st.DataObject, k: int, filtered: bool, recall: float | None) -> None:
        query = self.rng.standard_normal(D).astype(np.float32)
        where, holds = predicate(data, self.columns) if filtered and self.columns else (None, lambda row: True)
        ids = [one for one, row in self.rows.items() if holds(row)]
        found = self.space.search(query, k, where=where, recall=recall)
        assert len(found) == min(k, len(ids)), "k rows whenever k rows match"
        assert found.shortfall == k - len(found)
        assert len(set(found.ids)) == len(found)
        assert set(found.ids) <= set(ids), "a deleted row, or one that does not match"
        if ids:
            truth = dict(zip(ids, self._distances(query, ids).tolist(), strict=True))
            np.testing.assert_allclose(found.distances, [truth[one] for one in found.ids], rtol=1e-5, atol=2e-6)
            if recall == 1.0 or len(ids) <= 1_000:
                best = np.sort(list(truth.values()))
                best = best[::-1] if self.metric == "ip" else best
                np.testing.assert_allclose(found.distances, best[: len(found)], rtol=1e-5, atol=2e-6)

    def _distances(self, query: np.ndarray, ids: list[str]) -> np.ndarray:
        x, q = np.stack([self.vectors[one] for one in ids]).astype(np.float64), query.astype(np.float64)
        if self.metric == "l2":
            return np.sqrt(((x - q) ** 2).sum(1))
        return x @ q if self.metric == "ip" else 1 - x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)

    @precondition(lambda self: hasattr(self, "space"))
    @invariant()
    def holds_what_the_model_holds(self) -> None:
        self.space.refresh()
        self._remember()
        self._compare(self.space, self.rows, self.vectors, self.columns)

    def _remember(self) -> None:
        copied = {one: dict(row) for one, row in self.rows.items()}
        self.history[self.space.version] = (copied, dict(self.vectors), dict(self.columns), dict(self.defaults))

    def _compare(
        self, space: VectorSpace, rows: dict[str, Row], vectors: dict[str, np.ndarray], columns: dict[str, str]
    ) -> None:
        assert set(space.columns) == columns.keys()
        batches = list(space.iterate(batch_rows=1_000))
        ids = [one for batch in batches for one in batch["id"].to_pylist()]
        assert len(ids) == len(space) == len(rows)
        held = [row for batch in batches for row in batch.select(list(space.columns)).to_pylist()] if columns else []
        assert dict(zip(ids, held, strict=True)) == rows if columns else set(ids) == rows.keys()
        if rows:
            stored = space.snapshot.vectors(space.rows_of(ids))
            assert np.array_equal(stored.view(np.uint32), np.stack([vectors[one] for one in ids]).view(np.uint32))

    def teardown(self) -> None:
        if hasattr(self, "space"):
            assert self.space.files.verify() == []
            shutil.rmtree(self.folder)


def test_a_space_is_a_dict_with_an_exact_search(long: bool) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Model,
        settings=settings(
            max_examples=1_000 if long else 25,
            stateful_step_count=30 if long else 25,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
