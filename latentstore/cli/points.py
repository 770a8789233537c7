"""From what was typed to a point of a space (an id, an expression, an image, a vector) and back to pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import (
    ConfigInvalid,
    ExpressionRefused,
    InputError,
    LatentStoreError,
    NotSupported,
    UnknownAttribute,
    UnknownItem,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32, UInt8

    from latentstore.space import EmbeddingSpace
    from latentstore.space.latent import Latent
    from latentstore.types import Array


def open_space(store: Path, space: str, at: str | None = None) -> EmbeddingSpace:
    """Open a space of a store that exists, for reading."""
    from latentstore.store import open_store

    return open_store(store, mode="r").space(space, at=at)


def point(space: EmbeddingSpace, text: str) -> Latent:
    """What was typed, as a latent: the id of an item as it stands, or else an expression.

    Raises:
        UnknownItem: Neither an id nor, from its looks, an expression.
        ExpressionRefused, UnknownAttribute, …: It looks like an expression and is none.
    """
    if space.snapshot.find([text])[0] >= 0:
        quoted = text.replace("'", "''")
        return space.latent(f"'{quoted}'")
    try:
        return space.latent(text)
    except (ExpressionRefused, UnknownAttribute) as error:
        if text.isidentifier() or any(sign in text for sign in "'()*+ "):
            raise  # a name, or more: it was meant as an expression
        raise UnknownItem(
            f"no item {text!r} in space {space.name!r}; `latentstore sql` lists the ids of its table {space.name}"
        ) from error


def query(space: EmbeddingSpace, text: str | None, image: Path | None, vector: Path | None) -> Any:
    """The one query given, as `EmbeddingSpace.search` takes it.

    Raises:
        ConfigInvalid: None was given, or more than one.
        UnknownItem: As `point`; a text that looks like a file's name is told how files are given.
    """
    given = [name for name, value in (("QUERY", text), ("--image", image), ("--vector", vector)) if value is not None]
    if len(given) != 1:
        raise ConfigInvalid(f"give one of QUERY, --image and --vector, not {' and '.join(given) or 'none'}")
    if image is not None:
        return space.encode(read_image(image)[None])[0]
    if vector is not None:
        return read_vectors(vector)
    try:
        return point(space, str(text))
    except UnknownItem as error:
        if (suffix := Path(str(text)).suffix.lower()) not in (".png", ".jpg", ".jpeg", ".npy"):
            raise
        raise UnknownItem(
            f"{error}; a file is given as {'--vector' if suffix == '.npy' else '--image'} FILE"
        ) from error


def read_vectors(path: Path) -> Array:
    """An array from a .npy file; never a pickled one."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no .npy file of numbers; write it with numpy.save") from error


def read_image(path: Path) -> UInt8[Array, "h w c"]:
    """An image file: grey stays one channel, everything else becomes RGB.

    Raises:
        InputError: Not an image that Pillow reads.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no image that can be read; give a PNG or JPEG") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def write_latents(latents: Float32[Array, "n d"], path: Path) -> None:
    """Write .npy under exactly this name; what was there is replaced when all went well."""
    from latentstore.exchange.outgoing import replacing

    with replacing(path) as hidden, hidden.open("xb") as file:
        np.save(file, latents, allow_pickle=False)


def can_decode(space: EmbeddingSpace) -> bool:
    """Whether latents of the space can be drawn."""
    encoder = space.encoder
    if encoder is None or len(encoder.item_shape) != 3:
        return False
    try:
        encoder.decode(np.zeros((1, space.dim), np.float32))
    except NotSupported:
        return False
    return True


def realism(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> list[float | None]:
    """How near each latent is to real data; None in a space of too few items to say."""
    try:
        return [float(score) for score in space.realism(latents)]
    except NotSupported:
        return [None] * len(latents)


def picture_path(space: EmbeddingSpace, asked: Path | None, default: str, *, films: bool = False) -> Path | None:
    """Where to draw: what was asked for, else the default; None in a space that has no decoder and none was asked for.

    Args:
        space: Whose decoder draws.
        asked: The file that was named.
        default: Its name when none was.
        films: Whether it may be a film.

    Raises:
        NotSupported: A picture was asked for and the space cannot decode.
        ConfigInvalid: The file's name is no picture's.
    """
    endings = (".png", ".jpg", ".jpeg", ".webp", *((".gif", ".mp4") if films else ()))
    if asked is not None and asked.suffix.lower() not in endings:
        raise ConfigInvalid(f"--out {asked} is no picture's name; end it in .png" + (", .gif or .mp4" if films else ""))
    if can_decode(space):
        return asked or Path(default)
    if asked is not None:
        raise NotSupported(
            f"space {space.name!r} has no decoder of images, so --out {asked} cannot be drawn; use --npy"
        )
    return None


def source_items(space: EmbeddingSpace, ids: Sequence[str]) -> Array | None:
    """The items of ids from the dataset they came from, shape (n, h, w, c); None when it cannot be opened any more."""
    source = space.snapshot.manifest.source
    if not source:
        return None
    from latentstore.datasets import open_dataset

    with contextlib.suppress(LatentStoreError, OSError):
        dataset = open_dataset(**source)
        positions = {str(name): i for i, name in enumerate(dataset.ids)}
        if all(name in positions for name in ids):
            return dataset.read([positions[name] for name in ids])
    return None
