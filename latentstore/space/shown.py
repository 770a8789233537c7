"""Latents in a notebook: what the decoder draws of them, with words under each; a table where it draws no pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from latentstore import markup
from latentstore.errors import NotSupported

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array


def notebook(space: EmbeddingSpace, latents: Float32[Array, "n d"], captions: Sequence[str], caption: str) -> str:
    """HTML of latents (n, d); those beyond the first 50 are not decoded."""
    from latentstore.exchange.notebook import show

    try:
        return show(space.decode(latents[: markup.MOST]), captions, caption, count=len(latents))
    except NotSupported:
        rows = [[i, words.replace("\n", " ")] for i, words in enumerate(captions)]
        return markup.table(["", "around it"], rows, caption)
