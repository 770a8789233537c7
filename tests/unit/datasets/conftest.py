from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentstore.types import Array

Write = Callable[..., Path]


def picture(seed: int, height: int = 6, width: int = 8, channels: int = 3) -> Array:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(values: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five colour images: two cats, two dogs (one in a sub-folder of its own), one right in the folder."""
    root = tmp_path / "photos"
    for seed, name in enumerate(["cat/a.png", "cat/b.png", "dog/a.png", "dog/puppies/a.png", "loose.png"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture(seed)))
    return root
