"""Datasets by name: `open_dataset` checks the name and the options before anything is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from latentstore.datasets.avatars import open_avatars
from latentstore.datasets.base import JSON, Dataset
from latentstore.datasets.fashion_mnist import open_fashion_mnist
from latentstore.datasets.image_folder import open_image_folder
from latentstore.datasets.table import open_table
from latentstore.datasets.torchvision_datasets import open_torchvision
from latentstore.errors import ConfigInvalid, suggest

_OPENERS: dict[str, Callable[..., Dataset]] = {
    "avatars": open_avatars,
    "fashion_mnist": open_fashion_mnist,
    "image_folder": open_image_folder,
    "table": open_table,
}
_TORCHVISION = "torchvision:"


def dataset_names() -> list[str]:
    """The names `open_dataset` knows."""
    return [*_OPENERS, f"{_TORCHVISION}<Name>"]


def open_dataset(name: str, *, progress: Callable[[float], None] | None = None, **options: JSON) -> Dataset:
    """Open a dataset by name.

    Args:
        name: One of `dataset_names()`; after "torchvision:" the name of one of its classes, for example CIFAR10.
        progress: Called with the fraction that is ready, by datasets that make their items first ("avatars").
        **options: The dataset's own options, see its `open_…` function; JSON values, so that TOML can state them.

    Returns:
        The dataset; `open_dataset(**dataset.source)` opens it again.

    Raises:
        ConfigInvalid: Unknown name or option, or an impossible value.
        InputError: No items, duplicate ids, images of different shapes, an image that cannot be read.
        ChecksumMismatch: Files that are damaged or not the ones they claim to be.
    """
    opener = _OPENERS.get(name)
    if isinstance(name, str) and name.startswith(_TORCHVISION):
        opener = partial(open_torchvision, name.removeprefix(_TORCHVISION))
    if opener is None:
        raise ConfigInvalid(f"unknown dataset {name!r}; {suggest(name, dataset_names())}")
    _check_options(name, opener, options)
    if "progress" in inspect.signature(opener).parameters:
        return opener(**options, progress=progress)
    return opener(**options)


def _check_options(name: str, opener: Callable[..., Dataset], options: dict[str, JSON]) -> None:
    parameters = {**inspect.signature(opener).parameters}
    parameters.pop("progress", None)  # no option: it is not JSON
    for option in options:
        if option not in parameters:
            raise ConfigInvalid(f"dataset {name!r} has no option {option!r}; {suggest(option, parameters)}")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigInvalid(f"dataset {name!r} needs the option {option!r}; add {option}=…")
