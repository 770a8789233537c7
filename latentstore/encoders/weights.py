"""Weights that others trained, from a file that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentstore.encoders.trust import is_import_path
from latentstore.errors import ConfigInvalid, suggest


def read_weights(weights: str, architecture: str) -> dict[str, Tensor]:
    """A state dict from a file. Nothing in it is run: of torch's format, too, only tensors are read (`weights_only`).

    Args:
        weights: The file, or the name of weights that torchvision has in its cache.
        architecture: Whose they are.

    Raises:
        ConfigInvalid: No such file, or it holds something else.
    """
    if not weights:
        raise ConfigInvalid("an encoder of kind 'pretrained' needs weights; name a .safetensors or .pth file")
    named = "/" not in weights and "." not in weights
    path = _cached(weights, architecture) if named else Path(weights).expanduser()
    if not path.is_file():
        raise ConfigInvalid(
            f"there is no file of weights {path}; nothing is downloaded, so put it there or name another"
        )
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ConfigInvalid(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise ConfigInvalid(
            f"{path} holds more than tensors, and that is never run; save a plain state_dict"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigInvalid(f"{path} holds no state_dict of tensors; save model.state_dict()")
    return {str(name): value for name, value in found.items()}


def _cached(name: str, architecture: str) -> Path:
    """Where torchvision keeps the weights of this name, whether they are there or not."""
    if is_import_path(architecture):
        raise ConfigInvalid(f"weights {name!r} is no file, and only torchvision's architectures have names for theirs")
    from torchvision import models

    known = models.get_model_weights(architecture)
    if name not in known.__members__ and name != "DEFAULT":
        raise ConfigInvalid(
            f"torchvision has no weights {name!r} of {architecture}; {suggest(name, known.__members__)}"
        )
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(known[name].url).name
