"""Pictures of items and of what is decoded, as PNG."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, LatentStoreError, NotSupported

if TYPE_CHECKING:
    from jaxtyping import Shaped, UInt8

    from latentstore.datasets import Dataset
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array


def png(item: Shaped[Array, "h w c"]) -> bytes:
    """One item, floats in [0, 1] or uint8, as PNG.

    Raises:
        NotSupported: It is no picture.
    """
    from PIL import Image

    if item.ndim != 3 or item.shape[-1] not in (1, 3):
        raise NotSupported(f"an item of shape {item.shape} is no picture; ask for the latents")
    pixels = item if item.dtype == np.uint8 else np.rint(item.clip(0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def pngs(items: Shaped[Array, "n h w c"]) -> list[str]:
    """Items as PNG in base64."""
    return [b64encode(png(item)).decode() for item in items]


def decoded(space: EmbeddingSpace, latents: Shaped[Array, "n d"]) -> list[str] | None:
    """What the decoder draws of latents, in base64; None where the space draws no pictures."""
    return drawn(lambda: space.decode(latents))


def drawn(decode: Callable[[], Shaped[Array, "n h w c"]]) -> list[str] | None:
    """What `decode` draws, in base64; None where the space draws no pictures."""
    try:
        return pngs(decode())
    except NotSupported:
        return None


def read_upload(content: bytes, space: EmbeddingSpace, pixels: int) -> UInt8[Array, "1 h w c"]:
    """An uploaded image as an item of the space: of its size and channels.

    Args:
        content: The file.
        space: Whose encoder is to take it.
        pixels: More are refused before they are decoded.

    Raises:
        NotSupported: The space has no encoder of pictures.
        InputError: No image, or too large a one.
    """
    import warnings

    from PIL import Image

    encoder = space.encoder
    if encoder is None or len(encoder.item_shape) != 3:
        raise NotSupported(f"space {space.name!r} takes no pictures: its items are none; search by vector")
    height, width, channels = encoder.item_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP"))
            if image.width * image.height > pixels:
                raise InputError(
                    f"the image has {image.width} × {image.height} pixels, more than {pixels:,}; send a smaller one"
                )
            image.draft("L" if channels == 1 else "RGB", (width, height))
            drawn = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like about damaged files
        raise InputError("the upload is no image that can be read; send a PNG or JPEG") from error
    return np.asarray(drawn).reshape(1, height, width, channels)


class ItemPictures:
    """The pictures of items, of the dataset they come from where it is still there; safe from several threads."""

    def __init__(self) -> None:
        self._datasets: dict[str, tuple[Dataset, dict[str, int]] | None] = {}
        self._lock = Lock()

    def of(self, space: EmbeddingSpace, ids: Sequence[str]) -> tuple[list[bytes], bool]:
        """PNG of each id, and whether they are the items themselves, or what the decoder makes of their latents.

        Raises:
            UnknownItem: An id is not there.
            NotSupported: Neither is at hand.
        """
        rows = space.rows_of(ids)
        known = self._dataset(space)
        if known is not None and all(one in known[1] for one in ids):
            dataset, places = known
            positions = np.array([places[one] for one in ids], np.int64)
            order = np.argsort(positions, kind="stable")
            read = dataset.read(positions[order])
            return [png(read[place]) for place in np.argsort(order)], True
        return [png(item) for item in space.decode(space.snapshot.vectors(rows))], False

    def _dataset(self, space: EmbeddingSpace) -> tuple[Dataset, dict[str, int]] | None:
        """The dataset that the snapshot says its rows come from, and the place of each id in it."""
        from latentstore.datasets import open_dataset

        source = space.snapshot.manifest.source
        if not source:
            return None
        key = repr(sorted(source.items(), key=str))
        with self._lock:
            if key not in self._datasets:
                try:
                    dataset = open_dataset(**source)
                    pictures = len(dataset.item_shape) == 3
                    places = {str(one): place for place, one in enumerate(dataset.ids)}
                    self._datasets[key] = (dataset, places) if pictures else None
                except (LatentStoreError, OSError, TypeError):  # moved, changed, or of another release
                    self._datasets[key] = None
            return self._datasets[key]
