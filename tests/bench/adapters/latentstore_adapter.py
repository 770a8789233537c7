"""latentstore itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import latentstore as ls
from tests.bench.adapters.base import Filter, Place, Rows, Setting

SPACE = "bench"


class Latentstore:
    """One space of ready vectors, indexed with kind="auto"."""

    name = "latentstore"
    durable = True

    def __init__(self, place: Place) -> None:
        self.place = place

    def version(self) -> str:
        return f"latentstore {ls.__version__}"

    def create(self) -> None:
        self.store = ls.open(self.place.folder / "bench.store")
        self.space = self.store.create_space(SPACE, dim=self.place.dim, metric=self.place.metric)

    def open(self) -> None:
        self.store = ls.open(self.place.folder / "bench.store")
        self.space = self.store.space(SPACE)

    def close(self) -> None:
        del self.space, self.store

    def add(self, rows: Rows) -> None:
        self.space.add(_ids(rows.numbers), rows.vectors, rows.metadata)

    def upsert(self, rows: Rows) -> None:
        self.space.upsert(_ids(rows.numbers), rows.vectors, rows.metadata)

    def delete(self, numbers: np.ndarray) -> None:
        self.space.delete(_ids(numbers))

    def build(self) -> str:
        self.space.build_index(target_recall=0.97)
        record = self.space.snapshot.manifest.index[0]
        return str(record.properties.get("factory", record.kind))

    def settings(self, target: float) -> list[Setting]:
        # Asked for as a caller would: the recall wanted, then more until it is delivered.
        asked = (target - 0.02, target - 0.01, target, target + 0.005, target + 0.01, target + 0.02, 0.99, 0.995)
        return [{"recall": round(one, 3)} for one in asked if one < 1]

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        return self.space.search(queries, k, where=where.sql if where else None, recall=setting["recall"])

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        found = np.full((m, k), -1, np.int64)
        ids = answer.ids.reshape(m, -1)
        for place in np.argwhere(ids != None):  # noqa: E711 - elementwise
            found[tuple(place)] = int(ids[tuple(place)])
        return found


def _ids(numbers: np.ndarray) -> list[str]:
    return [str(one) for one in numbers.tolist()]
