"""Small pictures with a few degrees of freedom, and one thread, so that bits repeat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blobs(n: int, shape: tuple[int, int, int] = (28, 28, 1), seed: int = 0) -> np.ndarray:
    """uint8 (n, h, w, c): one soft spot each, of random place, width and colour."""
    height, width, channels = shape
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cy, cx = random.uniform(0.2, 0.8, (2, n, 1, 1)) * np.array([height, width])[:, None, None, None]
    size = random.uniform(0.1, 0.25, (n, 1, 1)) * min(height, width)
    spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))
    colour = random.uniform(0.4, 1, (n, 1, 1, channels))
    return np.round(255 * spot[..., None] * colour).astype(np.uint8)
