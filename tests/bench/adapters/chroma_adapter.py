"""Chroma: HNSW over SQLite, in this process."""

from __future__ import annotations

from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

from tests.bench.adapters.base import Filter, Place, Rows, Setting, padded

COLLECTION = "bench"
EF = 100  # its default
SPACES = {"l2": "l2", "cosine": "cosine"}


class Chroma:
    """A persistent client; the index grows with the rows, so building it is part of ingest."""

    name = "chroma"
    durable = True  # rows are in SQLite, which commits with fsync; the HNSW files follow later

    def __init__(self, place: Place) -> None:
        self.place = place

    def version(self) -> str:
        return f"chromadb {chromadb.__version__}"

    def create(self) -> None:
        self._connect()
        options = {"hnsw": {"space": SPACES[self.place.metric], "ef_construction": 100, "ef_search": EF}}
        self.collection = self.client.create_collection(COLLECTION, configuration=options, embedding_function=None)

    def open(self) -> None:
        self._connect()
        self.collection = self.client.get_collection(COLLECTION, embedding_function=None)

    def _connect(self) -> None:
        settings = Settings(anonymized_telemetry=False)
        self.client = chromadb.PersistentClient(str(self.place.folder), settings=settings)
        self.batch = self.client.get_max_batch_size()

    def close(self) -> None:
        del self.collection, self.client

    def add(self, rows: Rows) -> None:
        self._write(self.collection.add, rows)

    def upsert(self, rows: Rows) -> None:
        self._write(self.collection.upsert, rows)

    def _write(self, write: Any, rows: Rows) -> None:
        for start in range(0, len(rows.numbers), self.batch):
            part = slice(start, start + self.batch)
            metadata = rows.metadata.slice(start, self.batch).to_pylist()
            write(ids=_ids(rows.numbers[part]), embeddings=rows.vectors[part], metadatas=metadata)

    def delete(self, numbers: np.ndarray) -> None:
        for start in range(0, len(numbers), self.batch):
            self.collection.delete(ids=_ids(numbers[start : start + self.batch]))

    def build(self) -> str:
        return "HNSW, built while rows come in"

    def settings(self, target: float) -> list[Setting]:
        # Fixed at creation: in 1.5.9 `modify` does nothing to an open collection (the same recall from ef 10 to 640).
        return [{"ef_search": EF}]

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        within = None
        if where:
            within = {"$and": [{where.column: {"$gte": where.low}}, {where.column: {"$lt": where.high}}]}
        asked = queries.reshape(-1, self.place.dim)
        return self.collection.query(query_embeddings=asked, n_results=k, where=within, include=["distances"])

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        return padded(answer["ids"], k)


def _ids(numbers: np.ndarray) -> list[str]:
    return [str(one) for one in numbers.tolist()]
