"""What the steps of one configuration share: the store, the dataset, who trains and who tests, and the lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from flows.config import Config, digest
from flows.lock import only_one
from flows.reporting import Reporter, RunReporter
from latentstore.datasets import Dataset, open_dataset
from latentstore.errors import ConfigInvalid, InputError, UnknownSpace, suggest
from latentstore.store import LatentStore, open_store
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64, Shaped

    from latentstore.evaluate import Judge
    from latentstore.space import EmbeddingSpace


def refresh_lock(config: Config) -> Path:
    """Held while a flow writes to the space."""
    return config.store / "locks" / f"refresh-{config.space}"


class Workspace:
    """Opens what is needed when it is needed; holds the space's lock from `with` to its end.

    Args:
        config: The checked configuration.
        report: Where progress goes.
    """

    def __init__(self, config: Config, report: Reporter | None = None) -> None:
        self.config = config
        self.report = report or Reporter()
        self._open = ExitStack()

    def __enter__(self) -> Workspace:
        self.store.files.create()  # a folder that is no store is refused before a lock is put into it
        what = f"a run on space {self.config.space!r} of {self.config.store}"
        self._open.enter_context(only_one(refresh_lock(self.config), what=what))
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @cached_property
    def store(self) -> LatentStore:
        """The store, made on first use."""
        encoder = self.config.encoder  # code that its owner's own configuration names may be imported
        named = () if encoder is None else (str(encoder.options.get("architecture", "")),)
        return open_store(self.config.store, trusted_modules=named)

    @property
    def space(self) -> EmbeddingSpace | None:
        """The space at its newest version; None before the first `embed`."""
        try:
            return self.store.space(self.config.space)
        except UnknownSpace:
            return None

    @property
    def made_space(self) -> EmbeddingSpace:
        """The space at its newest version.

        Raises:
            UnknownSpace: Nothing was embedded yet.
        """
        return self.store.space(self.config.space)

    @cached_property
    def dataset(self) -> Dataset:
        """The items, as they are now."""
        section = self.config.dataset
        with self.config.blame("dataset"):
            dataset = open_dataset(section.name, progress=partial(self.report, "dataset"), **section.options)
            if self.config.encoder is None and len(dataset.item_shape) != 1:
                raise ConfigInvalid(f"{section.name} gives images of {dataset.item_shape}; add an [encoder] section")
            return dataset

    @cached_property
    def hashes(self) -> list[str]:
        """Content hash of every item."""
        return self.dataset.content_hashes()

    @cached_property
    def dataset_digest(self) -> str:
        """Hash of all ids and contents, in order."""
        state = xxhash.xxh3_128()
        for name, content in zip(self.dataset.ids, self.hashes, strict=True):
            state.update(f"{name}\0{content}\n".encode())
        return state.hexdigest()

    @cached_property
    def sides(self) -> Array:
        """Which items train the encoder and which test it: "train", "test" or, for neither, another text; (n,)."""
        split, metadata = self.config.split, self.dataset.metadata
        if split.column in metadata.column_names:
            values = np.array(metadata[split.column].to_pylist(), dtype=object)
            if not {split.train, split.test} & set(values):
                held = ", ".join(sorted(map(repr, set(values)))[:5])
                raise ConfigInvalid(
                    f"column {split.column!r} holds {held}, neither {split.train!r} nor {split.test!r}; "
                    "set train and test in [split]"
                )
            return np.where(values == split.train, "train", np.where(values == split.test, "test", "neither"))
        draws = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in self.dataset.ids], np.uint64)
        return np.where(draws < np.uint64(split.test_fraction * 2**64), "test", "train")

    @property
    def training(self) -> Part:
        """The items that train the encoder."""
        with self.config.blame("split"):
            return self._part("train")

    @property
    def testing(self) -> Part:
        """The items that test it."""
        with self.config.blame("split"):
            return self._part("test")

    def _part(self, side: str) -> Part:
        positions = np.flatnonzero(self.sides == side)
        if not len(positions):
            raise ConfigInvalid(f"no item is on the {side} side; look at column and test_fraction")
        return Part(self.dataset, positions)

    def judge(self) -> Judge | None:
        """The classifier of `[evaluate] judge`, trained now if the store has none; see `flows.judging`."""
        return self._judge

    @cached_property
    def _judge(self) -> Judge | None:
        from flows.judging import judge_of  # torch, and `flows.train`, only for whom needs them

        return judge_of(self)

    @cached_property
    def lineage(self) -> str:
        """What an encoder is made from, as a key: recipe, seed and dataset; with retrain = "data" its items too."""
        encoder = self.config.encoder
        assert encoder is not None
        recipe = encoder.model_dump(mode="json", exclude={"retrain"}, exclude_none=True)
        items = self.dataset_digest if encoder.retrain == "data" else None
        return digest(recipe, self.dataset.source, self.config.split.model_dump(mode="json"), items)


class Part:
    """Some items of a dataset, read when needed: what `train` takes.

    Attributes:
        dataset: The whole.
        positions: Which, ascending, (m,).
        item_shape: (h, w, c), or (d,) of ready vectors.
    """

    def __init__(self, dataset: Dataset, positions: Int64[Array, " m"]) -> None:
        self.dataset, self.positions = dataset, positions
        self.item_shape = tuple(dataset.item_shape)

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, positions: Int64[Array, " k"]) -> Array:
        """Items at positions of this part."""
        return self.dataset.read(self.positions[positions])

    def only(self, chosen: Bool[Array, " m"]) -> Part:
        """Those of these items that are chosen."""
        return Part(self.dataset, self.positions[chosen])

    def labels(self, column: str) -> Shaped[Array, " m"]:
        """A metadata column of these items, dtype object.

        Raises:
            InputError: There is no such column.
        """
        known = self.dataset.metadata.column_names
        if column not in known:
            raise InputError(f"no column {column!r} in the dataset; {suggest(column, known)}")
        values = np.array(self.dataset.metadata[column].to_pylist(), dtype=object)
        return values[self.positions]


@contextmanager
def opened(config: Config) -> Iterator[Workspace]:
    """The workspace of a flow run, locked; progress goes to the run's log and artifacts."""
    with Workspace(config, RunReporter(config.space)) as work:
        yield work
