"""The typed rows as a table, and as a segment that is read or kept in memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentstore.filters import SegmentFile
from latentstore.filters.resident import LEAST_ROWS
from tests.unit.filters.typed_rows import METADATA, RNG, N


@pytest.fixture(scope="module")
def table():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(RNG.normal(size=N * 2).astype("f4")), 2)
    return pa.table({"row": np.arange(N), "id": [f"train/{i}" for i in range(N)], "vector": vectors, **METADATA})


@pytest.fixture(scope="module", params=["read from the file", "kept in memory"])
def whole(table, tmp_path_factory, request):
    path = tmp_path_factory.mktemp("whole") / "it's whole.parquet"
    pq.write_table(table, path, row_group_size=500)
    return [SegmentFile(path, first_row=1000, rows=LEAST_ROWS if request.param == "kept in memory" else N)]
