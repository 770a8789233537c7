"""Using all cores for many small batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

SWITCH_INTERVAL = 1e-4  # s; after each operation these threads want the interpreter, by default for 5 ms


@contextmanager
def one_thread_each() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A thread per core, each of which computes alone; and how many they are.

    The threads of one matrix product wait for each other after each, and so for the core that something else is using.
    """
    cores, interval = torch.get_num_threads(), sys.getswitchinterval()
    with ThreadPoolExecutor(cores, "encode", lambda: torch.set_num_threads(1)) as pool:
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            yield pool, cores
        finally:
            sys.setswitchinterval(interval)
            torch.set_num_threads(cores)  # which threads begin with that start from now on
