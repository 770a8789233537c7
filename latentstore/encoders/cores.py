"""Using all cores for many small batches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def one_thread_each() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A thread per core, each of which computes alone; and how many they are.

    The threads of one matrix product wait for each other after each, and so for the core that something else is using.
    """
    cores = torch.get_num_threads()
    with ThreadPoolExecutor(cores, "encode", lambda: torch.set_num_threads(1)) as pool:
        try:
            yield pool, cores
        finally:
            torch.set_num_threads(cores)  # which threads begin with that start from now on
