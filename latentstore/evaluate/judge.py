"""The judge: a classifier of items, trained on items and never on latents, that says what edited ones look like.

What an encoder draws is judged by somebody else: were the judge to see latents, it would be fooled by whatever fools
the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import SpaceMismatch, UnknownLabel, suggest
from latentstore.evaluate.encoders import parts_of

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

    from latentstore.encoders import Encoder, Progress, TrainingRecord
    from latentstore.evaluate.encoders import Items
    from latentstore.types import Array


class Judge:
    """Says of items which value of each column they show.

    Args:
        encoder: Of kind "classifier"; `Judge.train` makes one.

    Attributes:
        encoder: That; its latents are the features.
        names: By column, the values that are told apart, sorted.
        record: How it was trained; None when it was loaded.
    """

    def __init__(self, encoder: Encoder, record: TrainingRecord | None = None) -> None:
        if encoder.kind != "classifier":
            raise SpaceMismatch(f"encoder {encoder.fingerprint} is of kind {encoder.kind!r}; a judge is a 'classifier'")
        self.encoder, self.record = encoder, record
        self.names: dict[str, list[Any]] = {column: list(values) for column, values in encoder.spec["classes"].items()}

    @classmethod
    def train(
        cls,
        items: Items,
        labels: Mapping[str, Shaped[Array, " n"]],
        *,
        seed: int = 0,
        width: int = 128,
        progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> Judge:
        """Train a judge.

        Args:
            items: n images: an array (n, h, w, c) or (n, h, w), or anything with `item_shape`, `len` and `read`.
            labels: By column, one value of each item: text, numbers or truth values. One network learns all columns.
            seed: Of first weights, order and flips.
            width: Features f.
            progress: Called some times a second.
            options: Of `latentstore.encoders.train`: `epochs`, `flips`, `resume_from`, …

        Raises:
            InputError, ShapeMismatch, ConfigInvalid, DidNotConverge: As `latentstore.encoders.train`.
        """
        from latentstore.encoders import train

        return cls(*train("classifier", items, dim=width, seed=seed, progress=progress, labels=dict(labels), **options))

    def probabilities(self, items: Items, column: str) -> Float32[Array, "n c"]:
        """How likely each of `names[column]` is, shape (n, c); a row sums to 1.

        Raises:
            UnknownLabel: The judge knows no such column.
            ShapeMismatch, NotFinite, InputError: As `Encoder.encode`.
        """
        self._refuse_unknown(column)
        known = list(self.names)
        found = [self.encoder.probabilities(part)[known.index(column)] for _, part in parts_of(items)]
        return np.concatenate([np.empty((0, len(self.names[column])), np.float32), *found])

    def predict(self, items: Items, column: str) -> Shaped[Array, " n"]:
        """The likeliest value of each item, shape (n,), dtype object."""
        return self._named(column, self.probabilities(items, column))

    def predictions(self, items: Items) -> dict[str, Shaped[Array, " n"]]:
        """By column, the likeliest value of each item: `predict` for all columns, at the price of one."""
        found = [self.encoder.probabilities(part) for _, part in parts_of(items)]
        return {
            column: np.concatenate([np.empty(0, object), *(self._named(column, part[number]) for part in found)])
            for number, column in enumerate(self.names)
        }

    def _refuse_unknown(self, *columns: str) -> None:
        for column in columns:
            if column not in self.names:
                raise UnknownLabel(f"the judge knows no column {column!r}; {suggest(column, self.names)}")

    def _named(self, column: str, chances: Float32[Array, "n c"]) -> Shaped[Array, " n"]:
        names: Shaped[Array, " c"] = np.array(self.names[column], object)
        return np.asarray(names[chances.argmax(axis=1)])

    def features(self, items: Items) -> Float32[Array, "n f"]:
        """What the network sees before it decides, shape (n, f): for Fréchet distances."""
        found = [self.encoder.encode(part) for _, part in parts_of(items)]
        return np.concatenate([np.empty((0, self.encoder.dim), np.float32), *found])

    def accuracy(self, items: Items, labels: Mapping[str, Shaped[Array, " n"]]) -> dict[str, float]:
        """By column, the share of items whose value it says, 0 to 1."""
        self._refuse_unknown(*labels)
        said = self.predictions(items)
        return {column: float(np.mean(said[column] == np.array(values, object))) for column, values in labels.items()}

    def save(self, folder: str | Path) -> Path:
        """Write it to a new folder, as any encoder; see `latentstore.encoders.save_encoder`."""
        from latentstore.encoders import save_encoder

        card = {} if self.record is None else {"training": self.record.to_card()}
        return save_encoder(self.encoder, folder, card)

    @classmethod
    def load(cls, folder: str | Path) -> Judge:
        """Read it back; its fingerprint is checked.

        Raises:
            UnknownEncoder, ChecksumMismatch, ManifestInvalid, StorageError: As `latentstore.encoders.load_encoder`.
            SpaceMismatch: The folder holds an encoder of another kind.
        """
        from latentstore.encoders import load_encoder

        return cls(load_encoder(folder))
