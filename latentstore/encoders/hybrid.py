"""One space that decodes and retrieves: an autoencoder that also sees, and has to say, which way the edges run.

Pixels tell two T-shirts of different brightness apart and put a pale T-shirt beside a pale bag; histograms of oriented
gradients do the opposite. A latent from which both can be drawn keeps what either says. With labels the latents of one
class are drawn together as well.
"""

# ruff: noqa: ARG002, ARG003 (arguments of the base class)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentstore.encoders.autoencoder import Autoencoder, AutoencoderOptions
from latentstore.encoders.base import register
from latentstore.encoders.gradients import Gradients
from latentstore.encoders.networks import Down, Up, default_architecture, dense
from latentstore.encoders.options import number


@dataclass(frozen=True)
class HybridOptions(AutoencoderOptions):
    """Network, regularisation and what is asked of the latents beside the pixels.

    Attributes:
        edges: Weight of the histograms' mean square error beside that of a pixel. More of it, nearer neighbours and
            blurrier pictures: on Fashion-MNIST, 6 epochs, .2 gave knn10 .891 and mse .0080, .4 gave .898 and .0085.
        bins: Directions of the histograms.
        label_weight: Weight of the cross-entropy of a linear classifier on the latents, where there are labels.
        classes: How many labels there are; filled in by `train`.
        noise, even_out: As in `AutoencoderOptions`.
    """

    noise: float = number(0.8, 0, 10)
    even_out: float = number(0.05, 0, 100)
    edges: float = number(0.8, 0, 1000)
    bins: int = number(8, 2, 64)
    label_weight: float = number(0.02, 0, 1000)
    classes: int = number(0, 0, 100_000)


@register
class Hybrid(Autoencoder):
    """(x, edges) → z → (x̂, edges^), and a linear classifier on z where there are labels."""

    kind = "hybrid"
    Options = HybridOptions
    takes_labels = True

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: HybridOptions) -> None:
        super().__init__(item_shape, dim, options)
        self.gradients = Gradients(item_shape, options.bins)
        self.down = Down(item_shape, dim, options, self.gradients)
        self.up = Up(item_shape, dim, options)
        self.edges = dense(dim, options.hidden[-1:], self.gradients.width)
        self.classifier = nn.Linear(dim, options.classes) if options.classes else None

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """See the base class."""
        training = {"epochs": 8, "learning_rate": 4e-3, "weight_decay": 0.05}
        # Edges know nothing of colours. On coloured faces of 32 × 32 (d = 64), mean knn10 of twelve attributes and mse:
        # .740 and .0004 with the defaults, .748 and .0003 with these (autoencoder .726, PCA .629).
        coloured = {"edges": 0.2, "noise": 0.3, "even_out": 0.15} if item_shape[2] > 1 else {}
        return default_architecture(item_shape) | training | coloured

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The autoencoder's, plus the weighted errors of histograms and of the classifier."""
        z = self.encode(x)
        noisy = z + self.options.noise * torch.randn(z.shape, generator=generator, device=z.device)
        drawn = noisy if self.training else z
        mse = functional.mse_loss(self.decode(drawn), x)
        edges = functional.mse_loss(self.edges(drawn), self.gradients(x))
        loss = mse + self.options.edges * edges + self.options.penalty * z.square().mean()
        scalars = {"mse": mse.detach(), "edges": edges.detach()}
        if self.classifier is not None and labels is not None:
            entropy = functional.cross_entropy(self.classifier(z).float(), labels)
            loss = loss + self.options.label_weight * entropy
            scalars["cross_entropy"] = entropy.detach()
        return {"loss": loss, **scalars}
