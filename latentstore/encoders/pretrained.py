"""A network that others trained: a backbone of torchvision's, or any module, with weights from a file.

Items are resized (bilinear, antialiased; the ratio of the sides is not kept) and normalised as the network expects.
Its features, the input of its last linear layer, are the latents, or their principal components are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentstore.encoders.base import Model, register
from latentstore.encoders.options import choice, json_object, number, numbers, text
from latentstore.encoders.principal import principal_components
from latentstore.encoders.sources import Source
from latentstore.encoders.trust import is_import_path, made_by_import
from latentstore.encoders.weights import read_weights
from latentstore.errors import ConfigInvalid, suggest

FITTED = 10_000  # items from which the principal components are taken
AT_A_TIME = 64


@dataclass(frozen=True)
class PretrainedOptions:
    """The network and what it is shown.

    Attributes:
        architecture: A name of torchvision's ("resnet18"), or "package.module:Class", or a function that makes one.
        arguments: Passed to it by name.
        features: "penultimate": what its last linear layer is given; "output": what it returns, flattened.
        side: Height and width that items are resized to, pixels.
        mean: Subtracted from the channels of an item in [0, 1]; by default ImageNet's.
        std: By which they are then divided.
    """

    architecture: str = text("resnet18")
    arguments: Mapping[str, Any] = json_object()
    features: str = choice("penultimate", "output")
    side: int = number(224, 8, 2048)
    mean: tuple[float, ...] = numbers((0.485, 0.456, 0.406), -10, 10)
    std: tuple[float, ...] = numbers((0.229, 0.224, 0.225), 1e-3, 100)


@register
class Pretrained(Model):
    """x → resized, normalised → backbone → features f → z = W (f − mean), or f itself where d is its width."""

    kind = "pretrained"
    Options = PretrainedOptions
    precision = "float32"
    on_meta = False  # what a module keeps beside its weights is only right when it was really made
    components: Tensor
    centre: Tensor

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: PretrainedOptions) -> None:
        super().__init__(item_shape, dim, options)
        if not len(options.mean) == len(options.std) == 3:
            raise ConfigInvalid(f"mean {options.mean} and std {options.std} need three numbers each")
        self.backbone = made(options)
        self.head = _cut(self.backbone) if options.features == "penultimate" else None
        self.backbone.eval()
        with torch.inference_mode():
            features: Tensor = self._features(torch.zeros(1, item_shape[2], *item_shape[:2]))
        self.width = features.shape[1]
        if dim > self.width:
            raise ConfigInvalid(
                f"dim is {dim}, but {options.architecture} has {self.width} features; choose at most so many"
            )
        kept = dim < self.width
        self.register_buffer("components", torch.zeros(dim, self.width) if kept else torch.zeros(0, self.width))
        self.register_buffer("centre", torch.zeros(self.width))

    @property
    def numbers(self) -> int:
        """See the base class."""
        side: int = self.options.side
        return 24 * side**2  # the first layers hold that many for each item

    def fit(self, source: Source, seed: int, *, weights: str = "") -> None:
        """Read the weights, then take the principal components of the features of up to 10,000 items.

        Args:
            source: The items.
            seed: Chooses them.
            weights: A file, .safetensors or a state dict of torch's; or the name of weights of torchvision's that are
                in its cache ("IMAGENET1K_V1", "DEFAULT"). Nothing is ever downloaded.

        Raises:
            ConfigInvalid: No such file, no state dict, or one of another network.
        """
        self._read(weights)
        self.backbone.eval()
        if len(self.components):
            positions = np.sort(np.random.default_rng([seed, 0]).permutation(len(source))[:FITTED])
            parts = np.array_split(positions, -(-len(positions) // AT_A_TIME))
            with torch.inference_mode():
                features = torch.cat([self._features(x).cpu() for x in source.batches(parts)])
            most = min(features.shape)
            if self.dim > most:
                raise ConfigInvalid(
                    f"dim is {self.dim}, but {len(features)} items span at most {most}; pass a smaller dim"
                )
            found = principal_components(Source(features.numpy()), self.dim, seed=seed)
            for buffer, values in ((self.components, found.directions), (self.centre, found.mean)):
                buffer.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)))

    def encode(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → (m, d)."""
        features = self._features(x)
        return (features - self.centre) @ self.components.T if len(self.components) else features

    def _features(self, x: Tensor) -> Tensor:
        side, options = self.options.side, self.options
        shown = functional.interpolate(x.float(), (side, side), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (options.mean, options.std))
        y = self.backbone((shown.expand(-1, 3, -1, -1) - mean) / std)
        if not isinstance(y, Tensor):
            raise ConfigInvalid(f"{options.architecture} returns a {type(y).__name__}, not a tensor")
        return y.flatten(1)

    def _read(self, weights: str) -> None:
        tensors = read_weights(weights, self.options.architecture)
        head = {f"{self.head}.weight", f"{self.head}.bias"} if self.head else set()
        wanted = self.backbone.state_dict()
        missing, more = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys() - head
        wrong = [
            f"{name} {tuple(tensors[name].shape)} for {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in tensors and tensors[name].shape != value.shape
        ]
        for what, names in (("lacks", missing), ("has besides", more), ("has other shapes:", wrong)):
            if names:
                raise ConfigInvalid(
                    f"weights {weights} are not those of {self.options.architecture}: the file {what} "
                    f"{', '.join(sorted(names)[:3])} ({len(names)} in all); name the architecture they belong to"
                )
        self.backbone.load_state_dict({name: tensors[name] for name in wanted})


def made(options: PretrainedOptions) -> nn.Module:
    """The network, with weights of no meaning and without touching torch's own random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if is_import_path(options.architecture):
            return made_by_import(options.architecture, options.arguments)
        from torchvision import models

        if options.architecture not in models.list_models(module=models):
            hint = suggest(options.architecture, models.list_models(module=models))
            raise ConfigInvalid(
                f"torchvision has no architecture {options.architecture!r}; {hint}, or write module:Class"
            )
        extra: dict[str, Any] = {"init_weights": False} if options.architecture in ("googlenet", "inception_v3") else {}
        network: nn.Module = models.get_model(options.architecture, weights=None, **extra, **options.arguments)
        return network


def _cut(backbone: nn.Module) -> str:
    """Replace the last linear layer by nothing; its name."""
    linear = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigInvalid('this network has no linear layer to take the input of; set features = "output"')
    *above, name = linear[-1].split(".")
    setattr(backbone.get_submodule(".".join(above)), name, nn.Identity())
    return str(linear[-1])
