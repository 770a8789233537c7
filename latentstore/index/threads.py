"""How many threads FAISS uses."""

from __future__ import annotations


def one_thread() -> None:
    """Let the calling thread's searches use no other: a short one waits longer for a second thread than it takes."""
    import faiss

    faiss.omp_set_num_threads(1)
