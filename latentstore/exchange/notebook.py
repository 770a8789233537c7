"""Decoded items in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from latentstore import markup
from latentstore.exchange.film import as_pictures

if TYPE_CHECKING:
    from jaxtyping import Float

    from latentstore.types import Array

SIDE = 84  # pixels that the longest side of an item has at least


def show(items: Float[Array, "n h w c"], captions: Iterable[str], caption: str, *, count: int = 0) -> str:
    """Items as pictures with words under each, as HTML; see `markup.gallery`.

    Raises:
        NotSupported: The items are no pictures.
    """
    pngs = []
    for image in as_pictures(items[: markup.MOST], SIDE):
        png = io.BytesIO()
        image.save(png, "PNG")
        pngs.append(png.getvalue())
    return markup.gallery(pngs, captions, caption, count=max(count, len(items)))
