"""Threads that compute alone leave torch as it was."""

from __future__ import annotations

import sys

import pytest
import torch

from latentstore.encoders import one_thread_each


def test_each_thread_computes_alone_and_torch_is_left_as_it_was() -> None:
    before, interval = torch.get_num_threads(), sys.getswitchinterval()
    with one_thread_each() as (pool, cores):
        assert cores == before
        assert set(pool.map(lambda _: torch.get_num_threads(), range(4 * cores))) == {1}
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), one_thread_each() as (pool, _):
        pool.submit(lambda: 1 / 0).result()
    assert torch.get_num_threads() == before
    assert sys.getswitchinterval() == interval
