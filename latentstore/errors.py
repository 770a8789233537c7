"""The whole exception tree.

LatentStoreError
├ InputError(ValueError)     ShapeMismatch NotFinite ExpressionRefused FilterRefused QueryRefused ConfigInvalid
├ NotFound(LookupError)      UnknownSpace UnknownItem UnknownAttribute UnknownLabel UnknownVersion UnknownEncoder
├ AlreadyExists              an id or a name that is taken
├ SpaceMismatch              latents, or an encoder, of another embedding space
├ CommitConflict             another writer won, and this change cannot be rebased
├ NotSupported               decode without a decoder, …
├ StorageError               ManifestInvalid ChecksumMismatch FormatTooNew
├ DidNotConverge             carries iterations and residual
└ Forbidden                  a read-only store, a missing key

A message names the offending value and what to do next: "what is wrong; remedy".
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LatentStoreError(Exception):
    """Base of everything this package raises on purpose."""


class InputError(LatentStoreError, ValueError):
    """The caller passed a value that cannot be used."""


class ShapeMismatch(InputError):
    """An array, or an image, has another shape than the space or the encoder expects."""


class NotFinite(InputError):
    """An array contains NaN or infinity, or a zero vector where a direction is needed."""


class ExpressionRefused(InputError):
    """A latent expression does not parse or uses what the algebra does not have."""


class FilterRefused(InputError):
    """A `where` predicate does not parse or uses what is not on the allow-list."""


class QueryRefused(InputError):
    """An SQL statement is not exactly one SELECT, or reaches outside the store."""


class ConfigInvalid(InputError):
    """A configuration file, option or parameter is unknown or has an impossible value."""


class NotFound(LatentStoreError, LookupError):
    """A name that the store does not have."""


class UnknownSpace(NotFound):
    """No such space, or no such store."""


class UnknownItem(NotFound):
    """No item with this id in the snapshot."""


class UnknownAttribute(NotFound):
    """No attribute vector with this name in the snapshot."""


class UnknownLabel(NotFound):
    """No centroid with this label in the snapshot."""


class UnknownVersion(NotFound):
    """No such version or tag (any more)."""


class UnknownEncoder(NotFound):
    """No encoder with this fingerprint or kind."""


class AlreadyExists(LatentStoreError):
    """An id or a name that is taken."""


class SpaceMismatch(LatentStoreError):
    """Latents, or an encoder, of another embedding space."""


class CommitConflict(LatentStoreError):
    """Another writer committed first and this change cannot be rebased on it."""


class NotSupported(LatentStoreError):
    """The space lacks what the operation needs, for example a decoder."""


class StorageError(LatentStoreError):
    """The files of a store are damaged or cannot be written."""


class ManifestInvalid(StorageError):
    """A manifest or another JSON file of the store cannot be read as one."""


class ChecksumMismatch(StorageError):
    """A file's size or sha256 is not what the manifest says."""


class FormatTooNew(StorageError):
    """The store was written by a newer release."""


class DidNotConverge(LatentStoreError):
    """An iterative solver stopped before its tolerance.

    Attributes:
        iterations: Iterations spent.
        residual: What was left, in the solver's own unit.
    """

    def __init__(self, message: str, *, iterations: int, residual: float) -> None:
        super().__init__(f"{message} (iterations {iterations}, residual {residual:.3g})")
        self.iterations = iterations
        self.residual = residual


class Forbidden(LatentStoreError):
    """The store is open read-only, or the caller's key does not allow the operation."""


def suggest(name: str, known: Iterable[str], *, limit: int = 8) -> str:
    """Say which known names are near a misspelt one, for the end of a message."""
    names = sorted(map(str, known))
    near = get_close_matches(str(name), names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    if not names:
        return "there are none"
    shown = ", ".join(repr(n) for n in names[:limit])
    return f"known: {shown}" + (f" and {len(names) - limit} more" if len(names) > limit else "")
