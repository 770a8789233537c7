"""Which precision and memory format to train in: measured or known to be faster, then written down."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

WORTH_IT = 1.5  # bfloat16 must be so much faster, or the rounding is not worth it and the choice would be a coin's


@dataclass(frozen=True)
class Numerics:
    """The choice, as the card records it.

    Attributes:
        precision: "float32" or "bfloat16" (autocast: weights stay float32).
        memory_format: "contiguous" or "channels_last".
    """

    precision: str
    memory_format: str

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """A context for the forward pass."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def prepare(self, model: nn.Module) -> None:
        """Lay out the model's filters."""
        if self.memory_format == "channels_last":
            model.to(memory_format=torch.channels_last)

    def arrange(self, x: Tensor) -> Tensor:
        """Lay out a batch."""
        return x.contiguous(memory_format=torch.channels_last if self._last(x) else torch.contiguous_format)

    def _last(self, x: Tensor) -> bool:
        return x.ndim == 4 and self.memory_format == "channels_last"


def choose(precision: str, memory_format: str, model: nn.Module, device: torch.device) -> Numerics:
    """Replace "auto" by what is faster on this device.

    bfloat16 is measured: a processor without bfloat16 instructions runs it 4 times slower than float32, one with them
    1.5 to 3 times faster, so the choice does not depend on the noise of the clock. channels_last is a rule: on
    most filter sizes measured (4 × 4 stride 2, 3 × 3; 1 to 128 channels) it took .6 to .9 of the time.
    """
    filters = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if precision == "auto":
        precision = "bfloat16" if bfloat16_is_faster(device.type) else "float32"
    if memory_format == "auto":
        memory_format = "channels_last" if filters else "contiguous"
    return Numerics(precision, memory_format)


@cache
def bfloat16_is_faster(device: str) -> bool:
    """Whether a product of 64 × 1024 × 1024 takes at most 2/3 of its float32 time; once a process.

    Some ms with bfloat16 instructions; without them two products, which take .15 s on one thread.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    _, *times = _seconds(torch.float32, 6)  # the first of each is for the caches
    _, once = _seconds(torch.bfloat16, 2)
    return once < min(times) and min(times) > WORTH_IT * min(_seconds(torch.bfloat16, 5))


def _seconds(dtype: torch.dtype, repeats: int) -> list[float]:
    left, right = torch.ones(64, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.process_time()
            torch.mm(left, right)
            times.append(time.process_time() - start)
    return times
