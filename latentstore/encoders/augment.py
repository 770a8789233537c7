"""Random changes to images that leave what they show as it was: what a contrastive encoder learns to overlook."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from latentstore.encoders.options import number


@dataclass(frozen=True)
class AugmentOptions:
    """How much is changed.

    Attributes:
        shift: Largest move, as a fraction of the side.
        zoom: Largest enlargement or reduction, as a fraction of the size.
        contrast: Largest change of contrast, and of each colour channel's brightness, as a fraction.
        mirror: Whether half of the images are mirrored left to right.
    """

    shift: float = number(0.05, 0, 0.5)
    zoom: float = number(0.1, 0, 0.9)
    contrast: float = number(0.2, 0, 0.9)
    mirror: bool = True


def augment(x: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Images (m, c, h, w) in [0, 1], each changed by its own draw of the generator; borders repeat."""
    m, channels = x.shape[:2]

    def draw(most: float, *shape: int) -> Tensor:
        return most * (2 * torch.rand(m, *shape, generator=generator, device=x.device) - 1)

    move, size = 2 * draw(options.shift, 2), 1 + draw(options.zoom)
    side = torch.where(torch.rand(m, generator=generator, device=x.device) < 0.5 * options.mirror, -1.0, 1.0)
    frames = x.new_zeros(m, 2, 3, dtype=torch.float32)
    frames[:, 0, 0], frames[:, 1, 1], frames[:, :, 2] = side * size, size, move
    with torch.autocast(x.device.type, enabled=False):  # places in bfloat16 would be off by a pixel
        grid = functional.affine_grid(frames, list(x.shape), align_corners=False)
        moved = functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    contrast, brightness = 1 + draw(options.contrast, 1, 1, 1), 1 + draw(options.contrast, channels, 1, 1)
    mean = moved.mean((1, 2, 3), keepdim=True)
    changed: Tensor = ((moved - mean) * contrast + mean).mul_(brightness).clamp_(0, 1)
    return changed
