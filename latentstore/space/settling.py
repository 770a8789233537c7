"""Bringing latents that left the data back towards it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotSupported
from latentstore.space.density import nearest

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

NEIGHBOURS = 10  # as realism's: fewer make a latent one of them, more make it the class's mean
AMOUNT = 0.5


def settle(space: EmbeddingSpace, latents: Float32[Array, "n d"], amount: float = AMOUNT) -> Float32[Array, "n d"]:
    """Move latents (n, d) part of the way to the mean of their ten nearest items.

    One step of mean shift (K. Fukunaga, L. Hostetler, 1975): what a latent has across the data, where no item is, is
    taken back, and what it has along the data stays, as its neighbours have it, too.

    Args:
        space: Whose items.
        latents: Shape (n, d).
        amount: 0 leaves them, 1 takes them all the way.

    Raises:
        InputError: An amount outside [0, 1].
        NotSupported: Too few items.
    """
    if not 0 <= amount <= 1:
        raise InputError(f"amount is {amount}; choose 0 (stay) to 1 (all the way)")
    if len(space) < NEIGHBOURS:
        raise NotSupported(f"settling needs {NEIGHBOURS} items around, and the space has {len(space)}; add more")
    if not len(latents):
        return latents
    rows, _ = nearest(space, latents, NEIGHBOURS)
    known, where = np.unique(rows, return_inverse=True)
    around = space.snapshot.vectors(known)[where.reshape(rows.shape)]
    wide = latents.astype(np.float64)
    return np.asarray(wide + amount * (around.mean(axis=1, dtype=np.float64) - wide), np.float32)
