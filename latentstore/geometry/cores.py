"""One thread for BLAS while thin products are made.

The limit holds for the whole process. It is counted, as limits that overlap in time would undo each other's: whoever
ended last would leave what it found when it began, which was another's one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_inside: list[Any] = []  # the limit, once for each that is inside


@contextmanager
def one_core() -> Iterator[None]:
    """While open, BLAS uses one thread: products this thin run slower on more, 10× on a busy machine."""
    from threadpoolctl import threadpool_limits

    with _lock:
        _inside.append(_inside[0] if _inside else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _inside.pop()
            if not _inside:
                limit.restore_original_limits()
