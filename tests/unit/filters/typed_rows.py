"""3,000 rows with a column of every type, nulls included."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

N = 3_000
RNG = np.random.default_rng(7)
WORDS = ["Bag", "bag", "Ankle boot", "Sneaker", "it's", "100%", "a_b", "", "é", '"; DROP TABLE x; --']


def some_null(values, kind):
    return pa.array([None if RNG.random() < 0.15 else v for v in values], kind)


START = dt.datetime(2020, 1, 1)
METADATA = {
    "label": some_null([WORDS[i] for i in RNG.integers(len(WORDS), size=N)], pa.string()),
    "note": some_null([WORDS[i] for i in RNG.integers(len(WORDS), size=N)], pa.string()),
    "price": some_null((RNG.integers(0, 50, size=N) / 10).tolist(), pa.float32()),
    "weight": some_null(RNG.normal(size=N).tolist(), pa.float64()),
    "year": some_null(RNG.integers(1990, 2030, size=N).tolist(), pa.int32()),
    "tiny": some_null(RNG.integers(-5, 5, size=N).tolist(), pa.int8()),
    "big": some_null(RNG.integers(0, 2**62, size=N).tolist(), pa.int64()),
    "count": some_null(RNG.integers(0, 9, size=N).tolist(), pa.uint16()),
    "sold": some_null((RNG.random(N) < 0.5).tolist(), pa.bool_()),
    "made": some_null([START.date() + dt.timedelta(days=int(d)) for d in RNG.integers(900, size=N)], pa.date32()),
    "seen": some_null([START + dt.timedelta(hours=int(h)) for h in RNG.integers(20_000, size=N)], pa.timestamp("us")),
    "zoned": some_null(
        [START + dt.timedelta(hours=int(h)) for h in RNG.integers(20_000, size=N)], pa.timestamp("us", tz="UTC")
    ),
    "cost": some_null([Decimal(int(c)).scaleb(-2) for c in RNG.integers(9_999, size=N)], pa.decimal128(9, 2)),
    "tags": some_null([RNG.choice(["x", "y", "z"], RNG.integers(3)).tolist() for _ in range(N)], pa.list_(pa.string())),
    "scores": some_null([RNG.integers(9, size=3).tolist() for _ in range(N)], pa.list_(pa.int64())),
    'odd "name"': some_null(RNG.integers(3, size=N).tolist(), pa.int64()),
    "select": some_null(RNG.integers(3, size=N).tolist(), pa.int64()),
}
TYPES = {name: column.type for name, column in METADATA.items()}
