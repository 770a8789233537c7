"""A small convolutional classifier of any number of label columns: the judge of what others draw.

Its latents are what it sees before it decides, the features that Fréchet distances compare.
"""

# ruff: noqa: ARG002, ARG003 (arguments of the base class)

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentstore.encoders.base import Model, register
from latentstore.encoders.networks import dense
from latentstore.encoders.options import columns, integers
from latentstore.errors import ConfigInvalid, ShapeMismatch

LEAST = 4  # pixels of a side at which halving ends


@dataclass(frozen=True)
class ClassifierOptions:
    """Size of the network.

    Attributes:
        channels: Of the convolutions, each halves height and width.
        classes: By column, the values that are told apart; filled in by `train`.
    """

    channels: tuple[int, ...] = integers((48, 64, 128), 1, 2048, 10)
    classes: Mapping[str, tuple[Any, ...]] = columns()


@register
class Classifier(Model):
    """x → convolutions → features (d) → one score of each value of each column."""

    kind = "classifier"
    Options = ClassifierOptions
    takes_columns = True

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: ClassifierOptions) -> None:
        super().__init__(item_shape, dim, options)
        if not options.classes:
            raise ConfigInvalid("a classifier needs classes; pass labels to train it")
        height, across, before = item_shape
        if min(height, across) < LEAST:
            raise ShapeMismatch(f"items have shape {item_shape}; a classifier needs sides of at least {LEAST} pixels")
        self.conv = nn.Sequential()
        for number, out in enumerate(options.channels):
            if number == 0:  # a pool over every place would cost half of all time
                self.conv += nn.Sequential(nn.Conv2d(before, out, 4, stride=2, padding=1, bias=False))
                height, across = height // 2, across // 2
            else:
                self.conv += nn.Sequential(
                    nn.Conv2d(before, out, 3, padding=1, bias=False), nn.MaxPool2d(2, ceil_mode=True)
                )
                height, across = -(-height // 2), -(-across // 2)
            self.conv += nn.Sequential(nn.BatchNorm2d(out), nn.ReLU())
            before = out
        self.dense = dense(before * height * across, (dim,), sum(map(len, options.classes.values())))

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """See the base class."""
        halvings = max(3, math.ceil(math.log2(min(item_shape[:2]) / LEAST)))
        channels = (48, 64, *[128] * (min(halvings, 10) - 2))
        return {"channels": channels, "epochs": 6, "learning_rate": 4e-3, "weight_decay": 0.05, "flips": True}

    def encode(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → features (m, d)."""
        *before, _ = self.dense
        y: Tensor = self.conv(x * 2 - 1).flatten(1)
        for layer in before:
            y = layer(y)
        return y

    def scores(self, x: Tensor) -> list[Tensor]:
        """(m, c, h, w) → of each column the logits (m, its values)."""
        scores: Tensor = self.dense[-1](self.encode(x))
        return list(torch.split(scores.float(), [len(values) for values in self.options.classes.values()], 1))

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The mean over the columns of the cross-entropy, nats."""
        assert labels is not None
        columns = zip(self.scores(x), labels.reshape(len(x), -1).T, strict=True)
        parts = [functional.cross_entropy(scores, truth) for scores, truth in columns]
        return {"loss": torch.stack(parts).mean()}
