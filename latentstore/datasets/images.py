"""Encoded images, files or bytes, as uint8 arrays of one shape: what image_folder, table and torchvision share."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import xxhash
from PIL import Image, ImageOps, UnidentifiedImageError

from latentstore.errors import ConfigInvalid, InputError, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import UInt8

T = TypeVar("T")
R = TypeVar("R")

# What Pillow's decoders raise on damaged input; DecompressionBombWarning only where warnings are errors.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"}
_TURN = {  # EXIF orientation → what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Header:
    """What an image's header says. Unit of sizes: pixels, after EXIF orientation."""

    height: int
    width: int
    grey: bool


@dataclass(frozen=True)
class ImageForm:
    """The form that every image of a dataset is brought to.

    Attributes:
        size: (h, w). An image of another size is scaled to cover it and cropped at the centre, never distorted.
        channels: 1 (ITU-R 601 luma) or 3 (RGB).
    """

    size: tuple[int, int]
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        return (*self.size, self.channels)

    def hash(self, encoded: bytes) -> str:
        """Content hash of an encoded image in this form; the image is not decoded."""
        digest = xxhash.xxh3_128(encoded)
        digest.update(f"{self.shape}".encode())
        return digest.hexdigest()


def check_size(size: object) -> tuple[int, int] | None:
    """The option `size`, as (h, w): None, one number for a square, or two.

    Raises:
        ConfigInvalid: Anything else.
    """
    if size is None:
        return None
    sides = [size, size] if isinstance(size, int) else size
    if (
        isinstance(sides, list | tuple)
        and len(sides) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 16_384 for side in sides)
    ):
        return sides[0], sides[1]
    raise ConfigInvalid(f"option size={size!r} must be a whole number of pixels or [height, width], 1 to 16384")


def check_channels(channels: object) -> int | None:
    """The option `channels`: None, 1 or 3; else raise `ConfigInvalid`."""
    if channels is None or (channels in (1, 3) and isinstance(channels, int) and not isinstance(channels, bool)):
        return channels
    raise ConfigInvalid(f"option channels={channels!r} must be 1 (grey) or 3 (RGB); leave it out for as the images are")


def agree(
    headers: Sequence[Header], names: Sequence[str], size: tuple[int, int] | None, channels: int | None
) -> ImageForm:
    """The form of a dataset: the size asked for, or the one that all images have; grey where all are.

    Raises:
        ShapeMismatch: No size was asked for and the images differ; two of them are named.
    """
    if size is None:
        first = headers[0]
        for header, name in zip(headers, names, strict=True):
            if (header.height, header.width) != (first.height, first.width):
                raise ShapeMismatch(
                    f"images differ in size: {names[0]} is {first.height} × {first.width} and {name} is "
                    f"{header.height} × {header.width} pixels; add the option size=… to bring all to one"
                )
        size = first.height, first.width
    return ImageForm(size, channels or (1 if all(header.grey for header in headers) else 3))


def read_header(encoded: Path | bytes, name: str) -> Header:
    """Size and kind of an image, from its header only.

    Raises:
        InputError: Not an image, or one of more than Pillow's `MAX_IMAGE_PIXELS`.
    """
    with _open(encoded, name) as image:
        turned = _orientation(image) >= 5
        width, height = image.size
        if turned:
            width, height = height, width
        return Header(height, width, image.mode in _GREY)


def decode(encoded: Path | bytes, form: ImageForm, name: str) -> UInt8[Array, "h w c"]:
    """Decode an image into a form.

    Orientation as EXIF says; transparency over white; palettes, CMYK and 16 bit to 8-bit RGB or grey; the first frame
    of several.

    Raises:
        InputError: The image is broken, too large, or of a kind that has no defined 8-bit form.
    """
    with _open(encoded, name) as image:
        orientation = _orientation(image)
        try:
            image.load()
        except _BROKEN as error:
            raise _broken(name, error) from error
        return fit(image.transpose(_TURN[orientation]) if orientation in _TURN else image, form, name)


def fit(image: Image.Image, form: ImageForm, name: str) -> UInt8[Array, "h w c"]:
    """Bring a loaded image to a form."""
    image = _eight_bit(image, name)
    if image.mode in ("PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if form.channels == 1 else "RGB")
    height, width = form.size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8).reshape(form.shape)


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to each item in threads, results in order. Pillow decodes outside the interpreter's lock."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _open(encoded: Path | bytes, name: str) -> Image.Image:
    try:
        image = Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))
    except _BOMB as error:
        raise _too_large(name, str(error)) from error
    except _BROKEN as error:
        raise _broken(name, error) from error
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise _too_large(name, f"{image.width} × {image.height} pixels, more than {Image.MAX_IMAGE_PIXELS}")
    return image


def _orientation(image: Image.Image) -> int:
    # Pillow turns TIFF by itself; and it would decode a whole PNG to look for EXIF behind the pixels.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except (*_BROKEN, TypeError):  # damaged EXIF does not make the pixels unreadable
        return 1


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
        raise InputError(f"image {name} has {image.mode} pixels without a defined range; save it with 8 or 16 bit")
    # 65535 → 255 and 0 → 0: 257 = 65535 / 255.
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _broken(name: str, error: BaseException) -> InputError:
    reason = "no image format is recognised" if isinstance(error, UnidentifiedImageError) else str(error)
    return InputError(f'image {name} cannot be read ({reason}); repair or remove it, or use on_error="skip"')


def _too_large(name: str, reason: str) -> InputError:
    return InputError(
        f"image {name} is too large to decode safely ({reason}); make it smaller, "
        'use on_error="skip", or raise PIL.Image.MAX_IMAGE_PIXELS'
    )
