"""Datasets of torchvision. torch is imported when one is opened, never before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from latentstore.datasets.base import (
    JSON,
    check_limit,
    check_positions,
    hash_arrays,
    object_array,
    refuse_duplicates,
    refuse_empty,
)
from latentstore.datasets.images import Header, ImageForm, agree, check_channels, check_size, fit
from latentstore.datasets.torchvision_targets import targets
from latentstore.errors import ConfigInvalid, InputError, NotSupported, ShapeMismatch, suggest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64, Shaped, UInt8

_SPLITS = ("train", "valid", "val", "test")
_OURS = {"root", "split", "train", "download", "transform", "target_transform", "transforms"}


@dataclass(frozen=True, eq=False)
class TorchvisionDataset:
    """One or more splits of a torchvision dataset. See `Dataset` for the attributes."""

    name: str
    source: dict[str, JSON]
    ids: Shaped[Array, " n"]
    metadata: pa.Table
    form: ImageForm
    parts: tuple[Any, ...] = field(repr=False)  # torchvision datasets, one per split
    places: Int64[Array, "n 2"] = field(repr=False)  # (part, index in it) of each item
    cropped: bool  # whether images of another size are brought to the form

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w, c)."""
        return self.form.shape

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> UInt8[Array, "m h w c"]:
        """The images at these positions.

        Raises:
            ShapeMismatch: No size was given and an image differs from the first.
        """
        chosen = check_positions(positions, len(self))
        items = np.empty((len(chosen), *self.form.shape), np.uint8)
        for number, (position, (part, index)) in enumerate(zip(chosen, self.places[chosen], strict=True)):
            image = _image(self.parts[part], int(index), self.name)
            if not self.cropped and image.size != self.form.size[::-1]:
                raise ShapeMismatch(
                    f"{self.name} differs in size: {self.ids[0]!r} is {self.form.size[0]} × {self.form.size[1]} and "
                    f"{self.ids[position]!r} is {image.height} × {image.width} pixels; add the option size=…"
                )
            items[number] = fit(image, self.form, self.ids[position])
        return items

    def content_hashes(self) -> list[str]:
        """xxh3_128 of each image as read; this reads all."""
        return [hash_arrays(self.read([position]))[0] for position in range(len(self))]


def open_torchvision(
    name: str,
    *,
    root: str | None = None,
    split: str = "all",
    download: bool = False,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    arguments: dict[str, JSON] | None = None,
) -> TorchvisionDataset:
    """Open any image dataset of torchvision that has one image per item.

    Ids are "train/0" …, in torchvision's order; datasets without splits have "0" …; CelebA's are its file names.
    Columns: `label` and `label_number` where there are classes, CelebA's 40 attributes as booleans and its identity,
    `target` where there is something else, `split`.

    Args:
        name: The class in `torchvision.datasets`.
        root: The folder torchvision keeps the files in.
        split: One of the dataset's own, or "all": train, valid and test, those it has.
        download: Let torchvision download what is missing.
        size: As in `image_folder`.
        channels: As in `image_folder`; None: as the first image.
        limit: At most this many, from the first.
        arguments: Further arguments of the class, for example {"num_classes": 10}.

    Raises:
        ConfigInvalid: Unknown dataset, split or argument; files that are not there.
        NotSupported: Items that are no single image, or targets that are no labels.
    """
    import torchvision.datasets

    known = sorted(n for n in torchvision.datasets.__all__ if inspect.isclass(getattr(torchvision.datasets, n, None)))
    if name not in known:
        raise ConfigInvalid(f"torchvision has no dataset {name!r}; {suggest(name, known)}")
    return open_class(
        getattr(torchvision.datasets, name),
        root=root,
        split=split,
        download=download,
        size=size,
        channels=channels,
        limit=limit,
        arguments=arguments,
    )


def open_class(
    dataset_class: Callable[..., Any],
    *,
    root: str | None = None,
    split: str = "all",
    download: bool = False,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    arguments: dict[str, JSON] | None = None,
) -> TorchvisionDataset:
    """As `open_torchvision`, for a class that follows torchvision's manners, such as a subclass of one of its own."""
    wanted_size, wanted_channels = check_size(size), check_channels(channels)
    check_limit(limit)
    name = f"torchvision:{dataset_class.__name__}"
    options = _constructor_options(dataset_class, name, root, download, arguments or {})
    splits = _open_splits(dataset_class, name, split, options)
    ids: list[str] = []
    tables = []
    places = []
    for part, (part_split, dataset) in enumerate(splits.items()):
        n = len(dataset) if limit is None else min(len(dataset), limit - len(ids))
        files = getattr(dataset, "filename", None)
        ids += (
            files[:n]
            if isinstance(files, list) and len(files) == len(dataset)
            else [f"{part_split}/{i}" if part_split else str(i) for i in range(n)]
        )
        columns = targets(dataset, n, name)
        if part_split or not columns:
            columns["split"] = pa.array([part_split or None] * n, pa.string())
        tables.append(pa.table(columns))
        places.append(np.stack([np.full(n, part), np.arange(n)], axis=1))
    refuse_empty(len(ids), name)
    refuse_duplicates(ids, name)
    parts = tuple(splits.values())
    first = _image(parts[0], 0, name)
    header = Header(first.height, first.width, first.mode in ("1", "L", "LA", "I", "I;16"))
    return TorchvisionDataset(
        name=name,
        source={
            "name": name,
            "root": None if root is None else str(Path(root).absolute()),
            "split": split,
            "download": download,
            "size": None if wanted_size is None else [*wanted_size],
            "channels": channels,
            "limit": limit,
            "arguments": arguments,
        },
        ids=object_array(ids),
        metadata=pa.concat_tables(tables, promote_options="default"),
        form=agree([header], [ids[0]], wanted_size, wanted_channels),
        parts=parts,
        places=np.concatenate(places),
        cropped=wanted_size is not None,
    )


def download_fashion_mnist(cache: Path) -> Path:
    """Let torchvision download Fashion-MNIST below `cache`; return the folder of its idx files.

    Raises:
        ConfigInvalid: No network, or the download failed.
    """
    from torchvision.datasets import FashionMNIST

    try:
        dataset = FashionMNIST(cache, download=True)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; torchvision wraps some in RuntimeError
        raise ConfigInvalid(
            f"Fashion-MNIST is not on this machine and could not be downloaded to {cache} ({error}); "
            "pass folder=… with its four idx files, or install the Debian package dataset-fashion-mnist"
        ) from error
    return Path(dataset.raw_folder)


def _constructor_options(
    dataset_class: Callable[..., Any], name: str, root: str | None, download: bool, arguments: dict[str, JSON]
) -> dict[str, Any]:
    parameters = inspect.signature(dataset_class).parameters
    for argument in arguments:
        if argument not in parameters or argument in _OURS:
            raise ConfigInvalid(f"{name} has no argument {argument!r}; {suggest(argument, set(parameters) - _OURS)}")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if "root" in parameters:
        if root is None:
            raise ConfigInvalid(f"{name} needs the option root=…, the folder of its files")
        options["root"] = root
    if download:
        if "download" not in parameters:
            raise ConfigInvalid(f"{name} cannot be downloaded by torchvision; fetch it and give root=…")
        options["download"] = True
    if "target_type" in parameters:  # CelebA: all of its targets are read as columns
        options.setdefault("target_type", "attr")
    return options


def _open_splits(dataset_class: Callable[..., Any], name: str, split: str, options: dict[str, Any]) -> dict[str, Any]:
    """torchvision's dataset of each split asked for; the split "" where a dataset has none."""
    parameters = inspect.signature(dataset_class).parameters
    if "train" in parameters:
        choices: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
    elif "split" in parameters:
        choices = {one: {"split": one} for one in (_SPLITS if split == "all" else (split,))}
    else:
        choices = {"": {}}
    if split != "all":
        if split not in choices:
            raise ConfigInvalid(
                f"{name} has no split {split!r}; {suggest(split, [one for one in choices if one] or ['all'])}"
            )
        choices = {split: choices[split]}
    opened: dict[str, Any] = {}
    refused = ""
    for one, extra in choices.items():
        try:
            opened[one] = dataset_class(**options, **extra)
        except ValueError as error:  # what torchvision says to a split that it does not have
            refused = str(error)
        except (OSError, RuntimeError, TypeError) as error:
            raise ConfigInvalid(f"{name} cannot be opened at root={options.get('root')!r} ({error})") from error
    if not opened:
        raise ConfigInvalid(f"{name} has no split {split!r} ({refused})")
    return opened


def _image(dataset: Any, index: int, name: str) -> Image.Image:
    try:
        item = dataset[index]
        image = item[0] if isinstance(item, tuple) else item
        if not isinstance(image, Image.Image):
            raise NotSupported(f"{name} gives {type(image).__name__}, not one image per item; only images can be read")
        with image:  # CelebA and others hand out open files
            return image.copy()
    except (OSError, SyntaxError) as error:
        raise InputError(f"item {index} of {name} cannot be read ({error}); repair its file") from error
