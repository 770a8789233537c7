"""LanceDB: Lance tables on disk, with an HNSW or a PQ index and B-trees over the filtered columns."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree, HnswSq, IvfPq

from tests.bench.adapters.base import Filter, Place, Rows, Setting, padded

TABLE = "bench"
WAIT = timedelta(hours=1)


class _Lance:
    durable = False  # Lance writes without fsync

    def __init__(self, place: Place) -> None:
        self.place = place

    def version(self) -> str:
        return f"lancedb {lancedb.__version__}"

    def create(self) -> None:
        self.base = lancedb.connect(self.place.folder)
        self.table: Any = None

    def open(self) -> None:
        self.base = lancedb.connect(self.place.folder)
        self.table = self.base.open_table(TABLE)

    def close(self) -> None:
        del self.table, self.base

    def add(self, rows: Rows) -> None:
        if self.table is None:
            self.table = self.base.create_table(TABLE, self._arrow(rows))
        else:
            self.table.add(self._arrow(rows))

    def upsert(self, rows: Rows) -> None:
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(self._arrow(rows))

    def delete(self, numbers: np.ndarray) -> None:
        self.table.delete(f"id IN ({', '.join(map(str, numbers.tolist()))})")

    def build(self) -> str:
        described = self._build_vectors()
        for column in ("bucket", "region", "id"):
            self.table.create_index(column, config=BTree(), wait_timeout=WAIT)
        return described

    def _build_vectors(self) -> str:
        raise NotImplementedError

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        asked = self.table.search(queries if queries.ndim == 1 else list(queries))
        asked = asked.distance_type(self.place.metric).select(["id", "_distance"]).limit(k).nprobes(setting["nprobes"])
        if "ef" in setting:
            asked = asked.ef(setting["ef"])
        if setting["refine"]:
            asked = asked.refine_factor(setting["refine"])
        if where:
            asked = asked.where(where.sql, prefilter=True)
        return asked.to_arrow()

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        ids = answer["id"].to_numpy()
        of_query = answer["query_index"].to_numpy() if "query_index" in answer.column_names else np.zeros(len(ids))
        return padded([ids[of_query == query] for query in range(m)], k)

    def _arrow(self, rows: Rows) -> pa.Table:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), self.place.dim)
        table = rows.metadata.add_column(0, "id", pa.array(rows.numbers, pa.int64()))
        return table.append_column("vector", vectors)


class LanceHnsw(_Lance):
    """IVF_HNSW_SQ in one partition: Lance's own recommendation below a million rows."""

    name = "lancedb-hnsw"

    def _build_vectors(self) -> str:
        config = HnswSq(distance_type=self.place.metric, num_partitions=1)
        self.table.create_index("vector", config=config, wait_timeout=WAIT)
        return "IVF_HNSW_SQ, 1 partition"

    def settings(self, target: float) -> list[Setting]:
        grid = [(20, 0), (40, 0), (40, 2), (80, 2), (160, 2), (160, 4), (320, 4), (640, 10)]
        return [{"nprobes": 1, "ef": ef, "refine": refine} for ef, refine in grid]


class LancePq(_Lance):
    """IVF_PQ, refined with the vectors themselves."""

    name = "lancedb-pq"

    def _build_vectors(self) -> str:
        lists = max(1, int(math.sqrt(self.place.rows)))
        dim = self.place.dim
        codes = next(c for c in (dim // 8, dim // 7, dim // 5, dim // 2) if c and dim % c == 0)
        config = IvfPq(distance_type=self.place.metric, num_partitions=lists, num_sub_vectors=codes)
        self.table.create_index("vector", config=config, wait_timeout=WAIT)
        return f"IVF_PQ, {lists} partitions, {codes} codes"

    def settings(self, target: float) -> list[Setting]:
        grid = [(4, 4), (8, 4), (16, 4), (16, 10), (32, 10), (64, 10), (64, 20), (128, 20), (256, 40)]
        return [{"nprobes": probes, "refine": refine} for probes, refine in grid]
