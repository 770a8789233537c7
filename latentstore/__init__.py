"""latentstore: a database of latent spaces.

    import latentstore as ls

    store = ls.open("fashion.store")
    space = store.space("fashion")
    space.search("'test/17'", k=10)

Importing this package loads no torch, faiss, prefect or numba; names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentstore import errors as errors
    from latentstore.client import RemoteStore as RemoteStore
    from latentstore.client import connect as connect
    from latentstore.space import EmbeddingSpace as EmbeddingSpace
    from latentstore.store import LatentStore as LatentStore
    from latentstore.store import open_store as open  # noqa: A004, F401
    from latentstore.types import Neighbours as Neighbours

__version__ = "0.1.0"

_HOMES = {
    "open": ("latentstore.store", "open_store"),
    "LatentStore": ("latentstore.store", "LatentStore"),
    "connect": ("latentstore.client", "connect"),
    "RemoteStore": ("latentstore.client", "RemoteStore"),
    "EmbeddingSpace": ("latentstore.space", "EmbeddingSpace"),
    "Neighbours": ("latentstore.types", "Neighbours"),
    "errors": ("latentstore.errors", None),
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'latentstore' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    home = import_module(module)
    return home if attribute is None else getattr(home, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
