"""The state of a training in one file, so that it is replaced in one step: tensors, and JSON in the file's header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from latentstore.encoders.files import write_file
from latentstore.errors import ChecksumMismatch, ConfigInvalid

STATE = "training.safetensors"


def saved_journal(folder: Path) -> dict[str, Any] | None:
    """The journal of the state in this folder, without the tensors; None if there is none."""
    return _read(folder / STATE, tensors=False)[1] if (folder / STATE).exists() else None


def write_state(
    folder: Path,
    task: dict[str, Any],
    journal: dict[str, Any],
    best: dict[str, Tensor],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    """Write everything a resumed run needs, atomically and fsynced."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, parameter in enumerate(_parameters(optimiser)):
        tensors |= {f"optimiser.{number}.{name}": value for name, value in optimiser.state[parameter].items()}
    tensors["generator"] = generator.get_state()
    # Cloned: two names may share memory, which the format refuses.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"task": json.dumps(task, sort_keys=True), "journal": json.dumps(journal)}
    write_file(folder / STATE, save(plain, metadata=header))


def read_state(
    folder: Path,
    task: dict[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Put a saved state back into model, optimiser and generator.

    Returns:
        The journal and the best weights; None if nothing was saved yet.

    Raises:
        ConfigInvalid: The state is of another training.
        ChecksumMismatch: The file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    saved, journal, tensors = _read(path)
    if saved != json.loads(json.dumps(task)):
        differs = ", ".join(sorted(k for k in {*saved, *task} if saved.get(k) != json.loads(json.dumps(task.get(k)))))
        raise ConfigInvalid(
            f"{folder} holds the state of another training (different: {differs}); "
            "resume with the same options and items, or pass an empty folder"
        )
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
    for name, value in tensors.items():
        if name == "generator":
            generator.set_state(value)
        else:
            group, rest = name.split(".", 1)
            groups[group][rest] = value
    model.load_state_dict(groups["model"])
    for number, parameter in enumerate(_parameters(optimiser)):
        prefix = f"{number}."
        optimiser.state[parameter] = {
            name.removeprefix(prefix): _like(parameter, value)
            for name, value in groups["optimiser"].items()
            if name.startswith(prefix)
        }
    return journal, groups["best"]


def _read(path: Path, *, tensors: bool = True) -> tuple[Any, Any, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            found = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
            return json.loads(header["task"]), json.loads(header["journal"]), found
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ChecksumMismatch(f"{path} is damaged ({error}); delete it and train again from the start") from error


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A moment on the parameter's device and in its memory format; the step count stays as it is."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
