"""Items at the door: checked once, scaled once, then tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentstore.errors import InputError, NotFinite, ShapeMismatch
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from latentstore.types import Array


def check_items(items: Any, item_shape: tuple[int, ...]) -> Array:
    """Check items at the door.

    Args:
        items: See `Encoder.encode`.
        item_shape: What one item must look like.

    Returns:
        uint8 or float32, shape (n, *item_shape).

    Raises:
        ShapeMismatch, NotFinite, InputError: See `Encoder.encode`.
    """
    try:
        given = np.asarray(items)
    except ValueError as error:
        raise ShapeMismatch(f"items differ in shape; this encoder needs (n, {_commas(item_shape)})") from error
    if given.dtype.kind not in "fiub":
        raise InputError(f"items have dtype {given.dtype}; pass uint8, or floats in [0, 1]")
    if len(item_shape) == 3 and item_shape[2] == 1 and given.ndim == 3 and given.shape[1:] == item_shape[:2]:
        given = given[..., None]
    if given.shape[1:] != item_shape or given.ndim != len(item_shape) + 1:
        raise ShapeMismatch(
            f"items have shape {given.shape}; this encoder needs (n, {_commas(item_shape)}): resize or crop them first"
        )
    if len(item_shape) == 1:
        return check_vectors(given, item_shape[0], what="items")
    if given.dtype == np.uint8:
        return given
    if given.dtype.kind != "f":
        raise InputError(f"images have dtype {given.dtype}; pass uint8, or floats in [0, 1]")
    scaled = given.astype(np.float32, copy=False)
    if scaled.size:
        low, high = float(scaled.min()), float(scaled.max())
        if not np.isfinite([low, high]).all():
            at = int(np.flatnonzero(~np.isfinite(scaled.reshape(len(scaled), -1)).all(axis=1))[0])
            raise NotFinite(f"item {at} contains NaN or infinity; remove or repair it")
        if low < -1e-3 or high > 1 + 1e-3:
            raise InputError(f"float images run from {low:g} to {high:g}; pass uint8, or scale them to [0, 1]")
    return scaled


def to_tensor(items: Array, device: torch.device) -> Tensor:
    """Checked items to what models take: float (m, c, h, w), uint8 scaled once to [0, 1]."""
    x = as_tensor(items).to(device)
    return scale(x.permute(0, 3, 1, 2) if x.ndim == 4 else x)


def as_tensor(array: Array) -> Tensor:
    """An array as a tensor, copied only when it is read-only (a memory map) or not contiguous."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def scale(x: Tensor) -> Tensor:
    """Bytes to floats in [0, 1]; floats as they are."""
    return x.float().mul_(1 / 255) if x.dtype == torch.uint8 else x.float()


def as_rows(x: Tensor) -> Tensor:
    """Items as rows (m, width), in the (h, w, c) order of the outside."""
    return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x


def _commas(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
