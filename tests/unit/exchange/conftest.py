"""A store whose space has a column of every type, and the formats that can be read back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.exchange import READABLE
from latentstore.store import LatentStore

WHEN = dt.datetime(2024, 2, 29, 12, 30, 1)
COLUMNS: dict[str, tuple[pa.DataType, object]] = {
    "flag": (pa.bool_(), True),
    "text": (pa.string(), "é\t\n'\"😀"),
    "raw": (pa.binary(), b"\0\xff"),
    "day": (pa.date32(), WHEN.date()),
    "i8": (pa.int8(), -128),
    "u8": (pa.uint8(), 255),
    "u16": (pa.uint16(), 65535),
    "u32": (pa.uint32(), 2**32 - 1),
    "u64": (pa.uint64(), 2**64 - 1),
    "i64": (pa.int64(), -(2**63)),
    "f32": (pa.float32(), 0.5),
    "f64": (pa.float64(), 0.1),
    "s": (pa.timestamp("s"), WHEN),
    "us": (pa.timestamp("us", tz="Europe/Berlin"), WHEN.replace(tzinfo=dt.UTC)),
    "ns": (pa.timestamp("ns"), WHEN),
    "t32": (pa.time32("ms"), WHEN.time()),
    "t64": (pa.time64("us"), WHEN.time()),
    "span": (pa.duration("us"), dt.timedelta(days=1, microseconds=3)),
    "money": (pa.decimal128(10, 2), Decimal("-12.30")),
    "words": (pa.list_(pa.string()), ["a", None, ""]),
    "deep": (pa.list_(pa.list_(pa.int32())), [[1, None], [], None]),
    "nothing": (pa.null(), None),
}


@pytest.fixture
def store(tmp_path: Path) -> LatentStore:
    """Its space `s` has 1,750 live rows: 3 × 700 less 350."""
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("s", dim=5, metric="l2", source={"name": "table", "path": "gone"})
    rng = np.random.default_rng(0)
    for part in range(3):
        values = {
            name: pa.array([None if n % 3 == 0 else value for n in range(700)], kind)
            for name, (kind, value) in COLUMNS.items()
        }
        ids = [f"é'{part}\0/{n}" for n in range(700)]
        space.add(ids, rng.standard_normal((700, 5)), pa.table(values))
    space.delete([f"é'1\0/{n}" for n in range(0, 700, 2)])
    return store


@pytest.fixture(params=READABLE)
def form(request: pytest.FixtureRequest) -> str:
    """Each format that can be read back."""
    if request.param == "delta":
        pytest.importorskip("deltalake", reason="the extra `delta` is not installed")
    return str(request.param)
