"""How strongly a decoder listens to each direction of its latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentstore.encoders.base import Encoder
from latentstore.encoders.cores import one_thread_each
from latentstore.errors import NotSupported
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.types import Array

PROBES = 2048  # random directions of items that the mean metric is measured with: its error is some √(d/2048)
BLOCK = 256  # of them at a time


def pullbacks(
    encoder: Encoder, reference: Float32[Array, "r d"], *, probes: int = PROBES, seed: int = 0
) -> Float32[Array, "p d"]:
    """Jᵀu of the decoder's Jacobian J at reference latents, for random directions u ~ N(0, I) of items.

    E[(Jᵀu)(Jᵀu)ᵀ] = E[JᵀJ], the mean of the decoder's metric over the reference latents: one backward pass per probe
    instead of d forward ones per latent.

    Args:
        encoder: It needs a decoder.
        reference: Real latents, shape (r, d), taken in turns.
        probes: How many, p.
        seed: Of the random directions.

    Returns:
        Shape (p, d).

    Raises:
        NotSupported: The encoder has no decoder, or one without gradients.
        ShapeMismatch, NotFinite: Latents that do not fit.
    """
    given = torch.from_numpy(check_vectors(reference, encoder.dim, what="reference latents"))
    device = next(iter(encoder.model.state_dict().values())).device

    def part(first: int) -> Tensor:
        generator = torch.Generator().manual_seed((seed << 20) + first)
        count = min(BLOCK, probes - first)
        z = given[torch.arange(first, first + count) % len(given)].to(device).requires_grad_()
        with torch.enable_grad():
            items = encoder.model.decode(z).flatten(1)
            if not items.requires_grad:
                raise NotSupported(f"an encoder of kind {encoder.kind!r} has a decoder without gradients")
            (pulled,) = torch.autograd.grad((items * torch.randn(items.shape, generator=generator).to(device)).sum(), z)
        return pulled.cpu()

    with one_thread_each() as (pool, _):
        return np.asarray(torch.cat(list(pool.map(part, range(0, probes, BLOCK)))).numpy())
