"""Qdrant in local mode: the client's own store in this process, brute force over NumPy, rows in SQLite."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from tests.bench.adapters.base import Filter, Place, Rows, Setting, padded

COLLECTION = "bench"
BATCH = 1_000
DISTANCES = {"l2": models.Distance.EUCLID, "cosine": models.Distance.COSINE}


class QdrantLocal:
    """What one gets without a server; it has no index and is always exact."""

    name = "qdrant-local"
    durable = True  # SQLite commits

    def __init__(self, place: Place) -> None:
        self.place = place
        warnings.filterwarnings("ignore", category=UserWarning)  # it advises a server beyond 20,000 points

    def version(self) -> str:
        return f"qdrant-client {version('qdrant-client')}"

    def create(self) -> None:
        self.open()
        shape = models.VectorParams(size=self.place.dim, distance=DISTANCES[self.place.metric])
        self.client.create_collection(COLLECTION, vectors_config=shape)

    def open(self) -> None:
        self.client = QdrantClient(path=str(self.place.folder))

    def close(self) -> None:
        self.client.close()

    def add(self, rows: Rows) -> None:
        for start in range(0, len(rows.numbers), BATCH):
            part = slice(start, start + BATCH)
            points = models.Batch(
                ids=rows.numbers[part].tolist(),
                vectors=rows.vectors[part].tolist(),
                payloads=rows.metadata.slice(start, BATCH).to_pylist(),
            )
            self.client.upsert(COLLECTION, points=points)

    upsert = add

    def delete(self, numbers: np.ndarray) -> None:
        self.client.delete(COLLECTION, points_selector=models.PointIdsList(points=numbers.tolist()))

    def build(self) -> str:
        return "none (exact)"

    def settings(self, target: float) -> list[Setting]:
        return [{}]

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        within = None
        if where:
            span = models.Range(gte=where.low, lt=where.high)
            within = models.Filter(must=[models.FieldCondition(key=where.column, range=span)])
        asked = [
            models.QueryRequest(query=query.tolist(), limit=k, filter=within)
            for query in queries.reshape(-1, self.place.dim)
        ]
        return self.client.query_batch_points(COLLECTION, requests=asked)

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        return padded([[point.id for point in one.points] for one in answer], k)
