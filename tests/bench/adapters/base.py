"""What the benchmark asks of a system. Everything timed goes through these calls, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Rows to write.

    Attributes:
        numbers: Item numbers, int64 (n,); each system keeps them in the form of id that it likes best.
        vectors: float32 (n, d).
        metadata: n rows of further columns.
    """

    numbers: np.ndarray
    vectors: np.ndarray
    metadata: pa.Table


@dataclass(frozen=True)
class Filter:
    """low ≤ column < high, over an integer column."""

    column: str
    low: int
    high: int

    @property
    def sql(self) -> str:
        """The predicate as SQL (and Milvus) write it."""
        return f"{self.column} >= {self.low} and {self.column} < {self.high}"


@dataclass(frozen=True)
class Place:
    """Where a system keeps its files, and the shape of what it will be given."""

    folder: Path
    dim: int
    metric: str  # l2 or cosine
    rows: int  # how many will be ingested; some indexes are sized by it


Setting = dict[str, Any]


class System(Protocol):
    """A vector database: made in an empty folder, or opened in one that it has written."""

    name: str
    durable: bool
    """Whether a write has been fsynced when it returns; if not, the harness fsyncs the new files, on the clock."""

    def __init__(self, place: Place) -> None: ...

    def version(self) -> str:
        """Name and version of what is measured."""

    def create(self) -> None:
        """Make an empty collection."""

    def open(self) -> None:
        """Open what an earlier process has written."""

    def close(self) -> None:
        """Let go of all files."""

    def add(self, rows: Rows) -> None:
        """Append rows whose ids are new."""

    def upsert(self, rows: Rows) -> None:
        """Replace rows whose ids exist."""

    def delete(self, numbers: np.ndarray) -> None:
        """Delete rows by id."""

    def build(self) -> str:
        """Build the index; says which."""

    def settings(self, target: float) -> list[Setting]:
        """Search settings, fastest first; the first that reaches the target recall is used."""

    def search(self, queries: np.ndarray, k: int, setting: Setting, where: Filter | None = None) -> Any:
        """Ids and distances of the k nearest, in the system's own form; queries (d,) is one, (m, d) a batch."""

    def numbers(self, answer: Any, m: int, k: int) -> np.ndarray:
        """Item numbers of an answer, int64 (m, k), −1 for rows not returned; off the clock."""


def padded(rows: list[Any], k: int) -> np.ndarray:
    """Lists of at most k item numbers as int64 (m, k), −1 where short."""
    table = np.full((len(rows), k), -1, np.int64)
    for place, row in enumerate(rows):
        found = np.asarray([int(one) for one in row], np.int64)[:k]
        table[place, : len(found)] = found
    return table
