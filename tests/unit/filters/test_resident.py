"""Columns kept in memory, threads, damaged files."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentstore.errors import StorageError
from latentstore.filters import SegmentFile, parse_where, resident, select_rows
from tests.unit.filters.typed_rows import RNG, TYPES


def test_threads_have_their_own_cursors(whole):
    expected = {y: len(select_rows(parse_where(f"year = {y}", TYPES), whole)) for y in range(1990, 2000)}
    wrong = []

    def work():
        wrong.extend(y for y in expected if len(select_rows(parse_where(f"year = {y}", TYPES), whole)) != expected[y])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(expected.values()) > 0


def test_a_damaged_segment_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere\.parquet.*run verify"):
        select_rows(parse_where("true", {}), [SegmentFile(tmp_path / "nowhere.parquet", 0)])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StorageError, match=r"torn\.parquet.*run verify"):
        select_rows(parse_where("true", {}), [SegmentFile(tmp_path / "torn.parquet", 0)])


@pytest.fixture
def large(tmp_path):
    """A file of 50,000 rows, columns a to f."""
    table = pa.table({"row": np.arange(50_000), **{name: RNG.random(50_000) for name in "abcdef"}})
    pq.write_table(table, tmp_path / "large.parquet")
    return SegmentFile(tmp_path / "large.parquet", 0, rows=50_000), table


def test_columns_in_memory_are_bounded(large, monkeypatch):
    file, table = large
    monkeypatch.setattr(resident, "KEPT_BYTES", 2_000_000)  # four columns, with what DuckDB adds
    kept, types = resident.resident(), dict.fromkeys("abcdef", pa.float64())
    for name in "abcdefabc":
        rows = select_rows(parse_where(f"{name} < 0.1", types), [file])
        assert np.array_equal(rows, np.flatnonzero(table[name].to_numpy() < 0.1))
        assert sum(one.size for one in kept._tables.values()) <= 2_000_000
    assert len([key for key in kept._tables if key[0] == str(file.path)]) < 6
    monkeypatch.setattr(resident, "KEPT_BYTES", 1000)
    together = select_rows(parse_where("a < 0.1 and b > 0.9", types), [file])
    assert np.array_equal(together, np.flatnonzero((table["a"].to_numpy() < 0.1) & (table["b"].to_numpy() > 0.9)))
    assert (str(file.path), frozenset("ab")) in kept._too_large


def test_columns_in_memory_serve_threads_while_others_are_evicted(large, monkeypatch):
    file, table = large
    monkeypatch.setattr(resident, "KEPT_BYTES", 1_000_000)
    wrong = []

    def work(seed):
        names = np.random.default_rng(seed).choice([*"abcdef"], 60)
        for number, name in enumerate(names):
            below = 0.1 + number / 1000
            rows = select_rows(parse_where(f"{name} < {below}", dict.fromkeys("abcdef", pa.float64())), [file])
            if not np.array_equal(rows, np.flatnonzero(table[name].to_numpy() < below)):
                wrong.append((name, below))

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
