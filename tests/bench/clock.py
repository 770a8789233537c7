"""Timing, durability, sizes: what is measured the same way of every system."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any


def milliseconds(acts: Iterable[Callable[[], Any]], budget: float) -> list[float]:
    """Time of each act, in order, until `budget` seconds are spent (at least three acts)."""
    times: list[float] = []
    end = perf_counter() + budget
    for act in acts:
        started = perf_counter()
        act()
        times.append(1e3 * (perf_counter() - started))
        if perf_counter() > end and len(times) >= 3:
            break
    return times


def median(times: list[float]) -> float:
    """Four significant digits."""
    return float(f"{statistics.median(times):.4g}")


class Durable:
    """Makes a folder's new and changed files durable, for systems that return before they are.

    Without it the comparison would be between a disk and a page cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}

    def sync(self) -> None:
        """fsync every file that changed since the last call, then its folders."""
        touched = set()
        for path in self.folder.rglob("*"):
            if not path.is_file():
                continue
            state = path.stat()
            key = (state.st_size, state.st_mtime_ns)
            if self._seen.get(path) != key:
                self._seen[path] = key
                _fsync(path)
                touched.add(path.parent)
        for folder in touched:
            _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_bytes(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def memory() -> dict[str, int]:
    """Resident MiB of this process: its own (anonymous) pages and those of mapped files (Linux)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(fields[name].split()[0]) // 1024 for name in ("RssAnon", "RssFile")}
