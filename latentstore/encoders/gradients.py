"""Histograms of oriented gradients: what of an image says which shape it is, whatever its brightness.

Source: N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005; here with unsigned
directions, each cell normalised by the mean energy of those around it, and the square root at the end. Colours are
taken together as in S. Di Zenzo, "A note on the gradient of a multi-image", 1986.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS = 8  # along the shorter side, about: 4 pixels each of 28, 8 of 64
SMALLEST = 4  # pixels of a cell's side
BLUNT = 1e-3  # added under the square root, which would make much of a rounding error near 0
FAINT = 0.01  # gradient, in pixel values, below which a cell counts as empty


class Gradients(nn.Module):
    """Images (m, c, h, w) in [0, 1] to histograms (m, width) in [0, 1]; nothing in it is trained.

    Args:
        item_shape: (h, w, c).
        bins: Directions that are told apart, of 180°.
    """

    def __init__(self, item_shape: tuple[int, ...], bins: int) -> None:
        super().__init__()
        height, across, _ = item_shape
        self.bins, self.cell = bins, max(SMALLEST, round(min(height, across) / CELLS))
        self.width = bins * -(-height // self.cell) * -(-across // self.cell)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x.float()
        around = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        along = torch.stack(
            [around[..., 1:-1, 2:] - around[..., 1:-1, :-2], around[..., 2:, 1:-1] - around[..., :-2, 1:-1]]
        )
        # Of the colours' gradients the one direction that explains them best: the structure tensor's first axis.
        right, down = along.square().sum(2, keepdim=True)
        across = (along[0] * along[1]).sum(1, keepdim=True)
        size = 0.5 * (right + down).sqrt()
        place = (0.5 * torch.atan2(2 * across, right - down) % math.pi) * (self.bins / math.pi)
        lower = place.floor()
        upper = place - lower  # the share of the upper of the two nearest directions
        first = lower.long() % self.bins
        found = x.new_zeros(len(x), self.bins, *x.shape[2:])
        found.scatter_add_(1, first, size * (1 - upper)).scatter_add_(1, (first + 1) % self.bins, size * upper)
        cells = functional.avg_pool2d(found, self.cell, ceil_mode=True)
        energy = functional.avg_pool2d(cells.square().sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)
        share = (cells / (energy + FAINT**2).sqrt()).clamp_(0, 1)
        histograms: Tensor = (share + BLUNT).sqrt() - BLUNT**0.5
        return histograms.flatten(1)
