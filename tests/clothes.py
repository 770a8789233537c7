"""A space of clothes that several suites ask: real pictures, encoded in a moment."""

from __future__ import annotations

import numpy as np

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.encoders import train
from latentstore.store import LatentStore


def clothes_space(
    store: LatentStore, name: str, *, items: int, dim: int, fitted: int | None = None
) -> ls.EmbeddingSpace:
    """Pictures of Fashion-MNIST in a new space of PCA, whose decoder is linear where it does not clip.

    Args:
        store: Where it is made.
        name: Of the space.
        items: How many.
        dim: Width d of the latents.
        fitted: To how many of them the encoder is fitted; None for all.
    """
    dataset = open_dataset("fashion_mnist", limit=items)
    pictures = dataset.read(np.arange(len(dataset)))
    encoder, _ = train("pca", pictures[:fitted], dim=dim)
    space = store.create_space(name, dim=dim, encoder=store.add_encoder(encoder, {}), source=dataset.source)
    space.add(dataset.ids.tolist(), encoder.encode(pictures), dataset.metadata)
    return space
