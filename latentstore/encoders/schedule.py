"""How long and how fast to train, where training is, and what is written down on the way."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from latentstore.encoders.options import choice, number

# Few items are learned as well as many if a training takes as many steps. 6,000 coloured pictures of 32 × 32 in 64
# dimensions: 12 epochs of batches of 256, 280 steps, end at mse .0021, three and a half times what PCA leaves; 40
# epochs of 128, 1,875 steps, at .0003.
LOOKS = 240_000  # items that a training looks at, the same ones again if there are fewer
STEPS = 1_600
MOST_EPOCHS, LEAST_BATCH = 60, 64  # of a thousand items and less, which would else take longer than they tell


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the training items.
        batch_size: Items per step; a last, smaller batch of an epoch is left out.
        learning_rate: At the top of the one-cycle schedule (L. N. Smith, "Super-convergence", 2018).
        rise: Fraction of the steps over which the learning rate grows; then it falls to 0 along a cosine.
        weight_decay: Of AdamW, on matrices and filters only.
        clip: Largest norm of the gradient; 0 never clips.
        flips: Mirror half of the images left to right.
        validation: Fraction of the items set aside (at most 5000) to choose the best epoch.
        patience: Epochs without a better validation loss after which to stop; 0 never stops early. `train` waits for
            half of all, at least this many: while the learning rate is high the loss goes up and down.
        checkpoint_seconds: Between two saved states, where a folder to resume from is given.
        precision: Of the forward pass; "auto" takes bfloat16 where that measures clearly faster.
        memory_format: Of images and filters; "auto" takes channels_last where the network has filters.
    """

    epochs: int = number(12, 1, 100_000)
    batch_size: int = number(256, 2, 65_536)
    learning_rate: float = number(2e-3, 1e-8, 10)
    rise: float = number(0.2, 0, 1)
    weight_decay: float = number(0.01, 0, 10)
    clip: float = number(0.0, 0, 1e6)
    flips: bool = False
    validation: float = number(0.05, 0, 0.5)
    patience: int = number(5, 0, 100_000)
    checkpoint_seconds: float = number(15.0, 0, 86_400)
    precision: str = choice("auto", "float32", "bfloat16")
    memory_format: str = choice("auto", "contiguous", "channels_last")


@dataclass(frozen=True)
class Progress:
    """Where training is.

    Attributes:
        epoch: 1 … epochs.
        step: Steps done of all `steps`.
        loss: Mean of the epoch so far.
        validation: Of the last whole epoch; None before.
        seconds, seconds_left: Spent (with those before a resume), and expected.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    validation: float | None
    seconds: float
    seconds_left: float


@dataclass
class Journal:
    """What is written down while training, and saved with the state."""

    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    numerics: dict[str, str] = field(default_factory=dict)
    finished: bool = False


def length(items: int, recipe: Mapping[str, Any], given: Collection[str]) -> dict[str, int]:
    """Epochs and batch size for so many items: a recipe's, or more epochs in smaller batches where they are few.

    Args:
        items: How many.
        recipe: Option values; `epochs` must be among them.
        given: Names of those that the caller chose, which stay.
    """
    epochs, batch_size = recipe["epochs"], recipe.get("batch_size", TrainingOptions.batch_size)
    if "epochs" not in given:
        epochs = max(epochs, min(MOST_EPOCHS, math.ceil(LOOKS / items)))
    if "batch_size" not in given:
        while batch_size > LEAST_BATCH and items * epochs < STEPS * batch_size:
            batch_size //= 2
    return {"epochs": epochs, "batch_size": batch_size}


def one_cycle(done: float, rise: float) -> float:
    """The learning rate as a fraction of its top: a line up from 1/25, then a cosine down to 0."""
    if done < rise:
        return 0.04 + 0.96 * done / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / max(1e-9, 1 - rise)))
