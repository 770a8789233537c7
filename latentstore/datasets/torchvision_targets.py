"""What torchvision knows of its items, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.errors import NotSupported
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

_LABELS = ("targets", "labels", "_labels")  # where torchvision's classes keep whole numbers, one per item


def targets(dataset: Any, n: int, name: str) -> dict[str, pa.Array]:
    """Columns of the first n items of a torchvision dataset; images are decoded only where there is no other way.

    Raises:
        NotSupported: A target that is no label, number, list of numbers or tuple of these.
    """
    if hasattr(dataset, "attr_names"):
        return _celeba(dataset, n)
    for attribute in _LABELS:
        values = getattr(dataset, attribute, None)
        if values is not None and np.ndim(values) == 1 and len(values) == len(dataset):
            numbers = np.asarray(values)
            if numbers.dtype.kind in "iu":
                return _labels(numbers[:n].astype(np.int64), _classes(dataset))
    columns: dict[str, list[Any]] = {}
    for index in range(n):
        item = dataset[index]
        target = item[1] if isinstance(item, tuple) and len(item) > 1 else None
        for key, value in _flat(target, name).items():
            columns.setdefault(key, [None] * index).append(value)
    named = {key: pa.array(values) for key, values in columns.items() if any(value is not None for value in values)}
    if "target" in named and pa.types.is_integer(named["target"].type):
        named |= _labels(named.pop("target").to_numpy(zero_copy_only=False), _classes(dataset))
    elif "target" in named and pa.types.is_string(named["target"].type):
        named["label"] = named.pop("target")
    return named


def _celeba(dataset: Any, n: int) -> dict[str, pa.Array]:
    """Forty booleans, and who it is. Boxes and landmarks are lists in pixels: x, y, width, height; five x, y."""
    names = [name for name in dataset.attr_names if name]  # the header line ends in a blank
    flags = np.asarray(dataset.attr)[:n].astype(bool)
    columns = {name.lower(): pa.array(flags[:, i]) for i, name in enumerate(names)}
    columns["identity"] = pa.array(np.asarray(dataset.identity)[:n, 0].astype(np.int64))
    columns["box"] = pa.array(np.asarray(dataset.bbox)[:n].astype(np.int32).tolist(), pa.list_(pa.int32()))
    columns["landmarks"] = pa.array(
        np.asarray(dataset.landmarks_align)[:n].astype(np.int32).tolist(), pa.list_(pa.int32())
    )
    return columns


def _classes(dataset: Any) -> list[str] | None:
    classes = getattr(dataset, "classes", None)
    if not isinstance(classes, list | tuple):
        return None
    # ImageNet's classes are tuples of synonyms.
    return [", ".join(name) if isinstance(name, tuple) else str(name) for name in classes]


def _labels(numbers: Int64[Array, " n"], classes: list[str] | None) -> dict[str, pa.Array]:
    """`label` in words where there are names, else the number as text; negative means unlabelled (STL10)."""
    texts = [
        None if number < 0 else classes[number] if classes and number < len(classes) else str(number)
        for number in numbers.tolist()
    ]
    return {
        "label": pa.array(texts, pa.string()),
        "label_number": pa.array([None if number < 0 else number for number in numbers.tolist()], pa.int64()),
    }


def _flat(target: Any, name: str, key: str = "target") -> dict[str, Any]:
    """A target as cells: numbers and text as they are, vectors as lists, tuples and dicts one level down."""
    if isinstance(target, tuple):
        return {k: v for i, part in enumerate(target) for k, v in _flat(part, name, f"{key}_{i}").items()}
    if isinstance(target, dict):
        return {k: v for label, part in target.items() for k, v in _flat(part, name, str(label)).items()}
    if target is None or isinstance(target, bool | int | float | str):
        return {key: target}
    if hasattr(target, "tolist") and np.ndim(target) <= 1:  # tensors and arrays
        return {key: target.tolist()}
    if isinstance(target, list) and all(isinstance(value, int | float | str) for value in target):
        return {key: target}
    raise NotSupported(f"{name} has a target of {type(target).__name__}, which is no label, number or list of numbers")
