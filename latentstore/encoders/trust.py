"""Which code an encoder may bring along: none, unless whoever opens the store names it.

A store is data. Its spec.json may come from anywhere and may name any "module:Class"; importing that would run it. So
a name in a store is compared with names that the caller gave, in Python (`ls.open(…, trusted_modules=[…])`), in the
owner's own configuration, or in the environment, and nothing is imported that is not among them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from latentstore.errors import ConfigInvalid, Forbidden

VARIABLE = "LATENTSTORE_TRUSTED_MODULES"  # names with commas between them


def is_import_path(architecture: str) -> bool:
    """Whether an architecture is code of somebody else's, "package.module:Class", and not a name of torchvision's."""
    return ":" in architecture


def refuse_untrusted(architecture: str, trusted: Collection[str]) -> None:
    """Raise `Forbidden` for an import path that was not named by the caller; nothing is imported."""
    named = {*trusted, *(one.strip() for one in os.environ.get(VARIABLE, "").split(","))}
    if is_import_path(architecture) and architecture not in named:
        raise Forbidden(
            f"this encoder would import and run {architecture!r}, which nobody here has allowed; if you know that "
            f"code, open the store with trusted_modules=[{architecture!r}], or set {VARIABLE}={architecture}"
        )


def made_by_import(path: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Import what a trusted path names, a class or a function that makes a module, and call it.

    Raises:
        ConfigInvalid: There is no such thing, or it makes no `nn.Module`.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigInvalid(f"architecture {path!r} cannot be imported: {error}; write module:Class") from error
    try:
        made = found(**arguments)
    except TypeError as error:
        raise ConfigInvalid(f"architecture {path!r} refuses arguments {dict(arguments)}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConfigInvalid(f"architecture {path!r} makes a {type(made).__name__}, not a torch.nn.Module")
    return made
