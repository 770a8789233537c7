"""Pictures and films of decoded items: a strip or a grid as PNG, a walk as GIF or MP4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid, NotSupported
from latentstore.exchange.outgoing import replacing

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped, UInt8
    from PIL.Image import Image

    from latentstore.types import Array

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FILMS = (".gif", ".mp4")
CELL, SCREEN = 112, 224  # pixels that the longest side of an item has at least, in a picture and on film
GAP = 4  # pixels between the items of a picture
PAPER = 255
HOLD = 0.5  # seconds that a film rests on an anchor
MOST_FPS = 50  # browsers show a GIF's frames for at least 20 ms


def save_frames(
    frames: Float[Array, "n h w c"], file: Path, *, fps: int = 12, held: Sequence[int] = (), there_and_back: bool = True
) -> None:
    """Write the frames of a walk: side by side, or as a film.

    Args:
        frames: Items in [0, 1] or uint8, shape (n, h, w, c), c is 1 or 3.
        file: Named .png, .jpg, .webp, .gif or .mp4.
        fps: Frames per second of a film, 1 to 50; a GIF counts in hundredths of a second.
        held: Frames that a film rests on.
        there_and_back: Whether a film also walks back, so that it repeats without a jump.

    Raises:
        ConfigInvalid: Another ending, or an impossible speed.
        NotSupported: The items are no pictures; .mp4 without the extra `video`.
    """
    suffix = file.suffix.lower()
    if suffix not in (*PICTURES, *FILMS):
        raise ConfigInvalid(f"{file} is no name of a picture or film; end it in .png, .gif or .mp4")
    if not 1 <= fps <= MOST_FPS:
        raise ConfigInvalid(f"{fps} frames per second; choose 1 to {MOST_FPS}")
    if suffix in PICTURES:
        save_picture(frames[None], file)
        return
    pixels = _enlarged(_as_pixels(frames), SCREEN)
    order = [*range(len(pixels)), *(range(len(pixels) - 2, 0, -1) if there_and_back else ())]
    seconds = [HOLD if i in held else 1 / fps for i in order]
    if suffix == ".gif":
        _write_gif(pixels, order, seconds, file)
    else:
        _write_mp4(pixels, order, seconds, fps, file)


def save_picture(cells: Float[Array, "rows columns h w c"], file: Path) -> None:
    """Write items as a grid on white; cells that are NaN stay white.

    Args:
        cells: Items in [0, 1] or uint8, shape (rows, columns, h, w, c), c is 1 or 3.
        file: Named .png, .jpg or .webp.

    Raises:
        ConfigInvalid: Another ending.
        NotSupported: The items are no pictures.
        StorageError: It cannot be written.
    """
    rows, columns = cells.shape[:2]
    pixels = _enlarged(_as_pixels(cells.reshape(-1, *cells.shape[2:])), CELL)
    height, width, channels = pixels.shape[1:]
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), PAPER, np.uint8)
    for i, item in enumerate(pixels):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = item
    save_image(_image(sheet), file)


def as_pictures(items: Float[Array, "n h w c"], side: int) -> list[Image]:
    """Items as pictures whose longest side has at least so many pixels.

    Raises:
        NotSupported: The items are no pictures.
    """
    return [_image(pixels) for pixels in _enlarged(_as_pixels(items), side)]


def save_image(image: Image, file: Path) -> None:
    """Write one picture; what was there under this name is replaced when all went well.

    Raises:
        ConfigInvalid: Another ending than .png, .jpg or .webp, or one whose format holds no picture of this size.
        StorageError: It cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in PICTURES:
        raise ConfigInvalid(f"{file} is no name of a picture; end it in .png")
    with replacing(file) as hidden:
        try:
            image.save(hidden, format={".jpg": "jpeg"}.get(suffix, suffix[1:]))
        except ValueError as error:  # WebP ends at 16,383 pixels a side, JPEG at 65,535
            size = " × ".join(map(str, image.size))
            raise ConfigInvalid(f"{file} cannot hold {size} pixels ({error}); end it in .png") from error


def _as_pixels(items: Shaped[Array, "n h w c"]) -> UInt8[Array, "n h w c"]:
    if items.ndim != 4 or items.shape[-1] not in (1, 3):
        raise NotSupported(f"items of shape {items.shape[1:]} are no pictures and cannot be drawn; save the latents")
    if items.dtype == np.uint8:
        return items
    light = np.clip(np.nan_to_num(items, nan=1.0), 0, 1)
    return np.asarray(np.rint(light * 255).astype(np.uint8))


def _enlarged(pixels: UInt8[Array, "n h w c"], side: int) -> UInt8[Array, "n h w c"]:
    """Every pixel as a square of whole pixels, so that the longest side has at least `side`."""
    factor = max(1, math.ceil(side / max(pixels.shape[1:3])))
    return np.asarray(pixels.repeat(factor, axis=1).repeat(factor, axis=2))


def _image(pixels: UInt8[Array, "h w c"]) -> Image:
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)


def _write_gif(pixels: UInt8[Array, "n h w c"], order: Sequence[int], seconds: Sequence[float], file: Path) -> None:
    first, *others = (_image(pixels[i]) for i in order)
    hundredths = [max(2, round(100 * s)) for s in seconds]
    times: dict[str, Any] = {"duration": [10 * h for h in hundredths], "loop": 0, "disposal": 1}
    with replacing(file) as hidden:
        first.save(hidden, format="gif", save_all=True, append_images=others, **times)


def _write_mp4(
    pixels: UInt8[Array, "n h w c"], order: Sequence[int], seconds: Sequence[float], fps: int, file: Path
) -> None:
    """H.264 in 4:2:0, the form that every player reads; it needs even sides, so an odd one repeats its last line."""
    try:
        import av
    except ImportError as error:
        raise NotSupported(
            f"{file} needs the extra `video`: pip install 'latentstore[video]'; or end it in .gif"
        ) from error
    height, width = pixels.shape[1:3]
    even = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    even = np.ascontiguousarray(np.broadcast_to(even, (*even.shape[:3], 3)))
    with replacing(file) as hidden, av.open(str(hidden), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "16", "movflags": "+faststart"})
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        for i, held in zip(order, seconds, strict=True):
            for _ in range(max(1, round(held * fps))):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even[i], format="rgb24")))
        container.mux(stream.encode())
