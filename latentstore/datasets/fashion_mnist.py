"""Fashion-MNIST: 70,000 grey pictures of clothing, 28 × 28.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
arXiv:1708.07747, 2017.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from latentstore.datasets.base import InMemory, check_choice, check_limit, object_array
from latentstore.datasets.idx import read_idx
from latentstore.errors import ConfigInvalid

LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

# sha256 of the decompressed files: gzip headers differ between mirrors, the contents do not.
_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_PREFIX = {"train": "train", "test": "t10k"}
_SIZE = {"train": 60_000, "test": 10_000}

_REPOSITORY = Path(__file__).parents[2] / "data" / "fashion-mnist"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def open_fashion_mnist(*, split: str = "all", limit: int | None = None, folder: str | None = None) -> InMemory:
    """Open Fashion-MNIST: from this repository, else Debian's package, else torchvision's download.

    Ids are "train/0" … "train/59999", "test/0" … "test/9999"; columns `label` ("Ankle boot"),
    `label_number` (0–9), `split`.

    Args:
        split: "all" (train, then test), "train" or "test".
        limit: At most this many items, from the beginning; of "all" six in seven are from train, as in the whole.
        folder: Where the four idx files are, plain or .gz. None: look in the places above.

    Returns:
        The items, in memory, (28, 28, 1); at most 55 MB.

    Raises:
        ConfigInvalid: An impossible option, or no files and no network.
        ChecksumMismatch: A file is damaged or not Fashion-MNIST's.
    """
    check_choice("split", split, ("all", "train", "test"))
    sizes = _share(split, check_limit(limit))
    files = _find(folder)
    images, labels, ids, splits = [], [], [], []
    for part, size in sizes.items():
        pixels, numbers = (
            read_idx(files[name], sha256=_SHA256[name])
            for name in (f"{_PREFIX[part]}-images-idx3-ubyte", f"{_PREFIX[part]}-labels-idx1-ubyte")
        )
        images.append(pixels[:size, :, :, None])
        labels.append(numbers[:size])
        ids += [f"{part}/{i}" for i in range(size)]
        splits += [part] * size
    numbers = np.concatenate(labels)
    source = {"name": "fashion_mnist", "split": split, "limit": limit}
    if folder is not None:
        source["folder"] = str(Path(folder).absolute())
    return InMemory(
        name="fashion_mnist",
        source=source,
        ids=object_array(ids),
        metadata=pa.table(
            {
                "label": pa.array(np.array(LABELS, dtype=object)[numbers], pa.string()),
                "label_number": pa.array(numbers.astype(np.int8)),
                "split": pa.array(splits, pa.string()),
            }
        ),
        items=np.concatenate(images),
    )


def _share(split: str, limit: int | None) -> dict[str, int]:
    """How many items of each part."""
    if split != "all":
        return {split: min(_SIZE[split], limit or _SIZE[split])}
    total = min(70_000, limit or 70_000)
    train = -(-total * 6 // 7)
    return {part: size for part, size in (("train", train), ("test", total - train)) if size}


def _find(folder: str | None) -> dict[str, Path]:
    """The four files, by name without .gz."""
    if folder is not None:
        return _files_in(Path(folder)) or _refuse(Path(folder))
    for place in (_REPOSITORY, _DEBIAN):
        if files := _files_in(place):
            return files
    from latentstore.datasets.torchvision_datasets import download_fashion_mnist

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentstore"
    place = download_fashion_mnist(cache)
    return _files_in(place) or _refuse(place)


def _files_in(place: Path) -> dict[str, Path] | None:
    files = {name: path for name in _SHA256 for path in (place / name, place / f"{name}.gz") if path.is_file()}
    return files if len(files) == len(_SHA256) else None


def _refuse(place: Path) -> dict[str, Path]:
    missing = [name for name in _SHA256 if not (place / name).is_file() and not (place / f"{name}.gz").is_file()]
    raise ConfigInvalid(
        f"folder {place} lacks {', '.join(missing)} (plain or .gz); "
        "point the option folder at Fashion-MNIST's four idx files"
    )
