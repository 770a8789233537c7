"""milvus-lite: Milvus' client over its single-file store."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from milvus_lite.server_manager import server_manager_instance
from pymilvus import DataType, MilvusClient

from tests.bench.adapters.base import Filter, Place, Rows, Setting, padded

COLLECTION = "bench"
BATCH = 5_000
METRICS = {"l2": "L2", "cosine": "COSINE"}


class MilvusLite:
    """HNSW, as its AUTOINDEX makes."""

    name = "milvus-lite"
    durable = False  # its log is fsynced when it is closed, not when a write returns

    def __init__(self, place: Place) -> None:
        self.place = place

    def version(self) -> str:
        return f"milvus-lite {version('milvus-lite')}, pymilvus {version('pymilvus')}"

    def create(self) -> None:
        self.client = MilvusClient(str(self.place.folder / "milvus.db"))
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.place.dim)
        schema.add_field("label", DataType.VARCHAR, max_length=64)
        schema.add_field("bucket", DataType.INT64)
        schema.add_field("region", DataType.INT64)
        schema.add_field("price", DataType.DOUBLE)
        self.client.create_collection(COLLECTION, schema=schema)

    def open(self) -> None:
        self.client = MilvusClient(str(self.place.folder / "milvus.db"))
        self.client.load_collection(COLLECTION)

    def close(self) -> None:
        self.client.close()
        server_manager_instance.release_all()  # the store stays locked by a thread until then

    def add(self, rows: Rows) -> None:
        self._write(self.client.insert, rows)

    def upsert(self, rows: Rows) -> None:
        self._write(self.client.upsert, rows)

    def _write(self, write: Any, rows: Rows) -> None:
        for start in range(0, len(rows.numbers), BATCH):
            part = slice(start, start + BATCH)
            records = rows.metadata.slice(start, BATCH).to_pylist()
            for record, number, vector in zip(records, rows.numbers[part].tolist(), rows.vectors[part], strict=True):
                record["id"], record["vector"] = number, vector
            write(COLLECTION, data=records)

    def delete(self, numbers: np.ndarray) -> None:
        self.client.delete(COLLECTION, ids=numbers.tolist())

    def build(self) -> str:
        self.client.flush(COLLECTION)
        wanted = self.client.prepare_index_params()
        options = {"M": 16, "efConstruction": 200}
        metric = METRICS[self.place.metric]
        wanted.add_index("vector", index_type="HNSW", metric_type=metric, params=options)
        for column in ("bucket", "region"):
            wanted.add_index(column, index_type="INVERTED")
        self.client.create_index(COLLECTION, wanted)
        self.client.load_collection(COLLECTION)
        return "HNSW M 16, efConstruction 200"

    def settings(self, target: float) -> list[Setting]:
        return [{"ef": ef} for ef in (10, 20, 40, 80, 160, 320, 640)]

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        return self.client.search(
            COLLECTION,
            data=queries.reshape(-1, self.place.dim).tolist(),
            limit=k,
            filter=where.sql if where else "",
            search_params={"metric_type": METRICS[self.place.metric], "params": {"ef": setting["ef"]}},
            output_fields=["id"],
        )

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        return padded([[hit["id"] for hit in hits] for hits in answer], k)
