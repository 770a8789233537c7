"""A space for retrieval: two views of an item are near each other, and near those whose edges run alike. No decoder.

Sources: NT-Xent of T. Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020;
neighbours as positives as in D. Dwibedi et al., "With a little help from my friends", ICCV 2021, here those of the
batch whose histograms of gradients are nearest; several positives of an item, and labels, as L_out of P. Khosla et al.,
"Supervised contrastive learning", NeurIPS 2020.
"""

# ruff: noqa: ARG002, ARG003 (arguments of the base class)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentstore.encoders.augment import AugmentOptions, augment
from latentstore.encoders.base import Model, register
from latentstore.encoders.gradients import Gradients
from latentstore.encoders.networks import Down, NetworkOptions, default_architecture, dense
from latentstore.encoders.options import number
from latentstore.encoders.sources import Source


@dataclass(frozen=True)
class ContrastiveOptions(NetworkOptions, AugmentOptions):
    """Network, changes to the items and objective.

    Attributes:
        temperature: Of the softmax over the batch.
        neighbours: Of each item so many others of the batch, those with the nearest histograms, are positives too.
        edges: Weight of the mean square error of the unchanged item's histograms, drawn from a view's latent.
        bins: Directions of the histograms.
        label_weight: Weight of the loss with positives by label, where there are labels.
        classes: How many labels there are; filled in by `train`.
        even_out: As in `NetworkOptions`.
    """

    even_out: float = number(0.05, 0, 100)
    temperature: float = number(0.1, 1e-3, 100)
    neighbours: int = number(2, 0, 1000)
    edges: float = number(100.0, 0, 1e6)
    bins: int = number(8, 2, 64)
    label_weight: float = number(6.0, 0, 1000)
    classes: int = number(0, 0, 100_000)


@register
class Contrastive(Model):
    """(x, edges) → z on the unit sphere."""

    kind = "contrastive"
    Options = ContrastiveOptions
    takes_labels = True

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: ContrastiveOptions) -> None:
        super().__init__(item_shape, dim, options)
        self.gradients = Gradients(item_shape, options.bins)
        self.down = Down(item_shape, dim, options, self.gradients)
        self.edges = dense(dim, options.hidden[-1:], self.gradients.width)

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """See the base class."""
        training = {"epochs": 6, "learning_rate": 4e-3, "weight_decay": 0.05, "batch_size": 512}
        return default_architecture(item_shape) | training

    def prepare(self, source: Source, seed: int) -> None:
        """See the base class."""
        self.down.prepare(source, seed)

    def encode(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → (m, d), of length 1."""
        return functional.normalize(self.down(x).float(), dim=1)

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The contrastive loss of two views, plus the weighted error of the histograms, plus that of the labels."""
        views = torch.cat([augment(x, self.options, generator), augment(x, self.options, generator)])
        z = self.encode(views)
        histograms = self.gradients(x)
        contrast = contrastive_loss(
            z, alike(histograms, self.options.neighbours).repeat(2, 2), self.options.temperature
        )
        edges = functional.mse_loss(self.edges(z), histograms.repeat(2, 1))
        loss = contrast + self.options.edges * edges
        scalars = {"contrast": contrast.detach(), "edges": edges.detach()}
        if labels is not None:
            same = labels[:, None] == labels
            supervised = contrastive_loss(z, same.repeat(2, 2), self.options.temperature)
            loss = loss + self.options.label_weight * supervised
            scalars["supervised"] = supervised.detach()
        return {"loss": loss, **scalars}


def alike(features: Tensor, neighbours: int) -> Tensor:
    """Which items of a batch are positives of each other, (m, m): each with itself and its nearest in either order."""
    m = len(features)
    nearest = torch.cdist(features, features).topk(min(neighbours + 1, m), largest=False).indices
    found = torch.eye(m, dtype=torch.bool, device=features.device)
    found.scatter_(1, nearest, True)
    return found | found.T


def contrastive_loss(z: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """L_out of Khosla et al., equation 2, in nats: −mean over i, mean over positives p ≠ i, of log softmax(zᵢ·zₚ / τ).

    Args:
        z: Views of length 1, (v, d).
        positive: Which are positives of each other, (v, v) bool; of a view with itself it does not matter.
        temperature: τ.
    """
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scores = (z @ z.T / temperature).masked_fill(own, float("-inf"))
    shares = torch.log_softmax(scores, 1).masked_fill(own, 0.0)
    wanted = (positive & ~own).float()
    return -((shares * wanted).sum(1) / wanted.sum(1).clamp_min(1)).mean()
