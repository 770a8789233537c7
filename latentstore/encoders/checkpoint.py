"""Encoders on disk: a folder of spec.json, weights.safetensors and card.json. No pickle; weights cannot run code."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from latentstore.encoders.base import Encoder, build_model, fingerprint
from latentstore.encoders.files import sync_folder, write_file
from latentstore.encoders.trust import refuse_untrusted
from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    Forbidden,
    FormatTooNew,
    InputError,
    ManifestInvalid,
    StorageError,
    UnknownEncoder,
)

FORMAT = 1
SPEC, WEIGHTS, CARD = "spec.json", "weights.safetensors", "card.json"


def save_encoder(encoder: Encoder, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write an encoder to a folder that appears whole or not at all.

    Args:
        encoder: What to save.
        folder: Where. If it already holds this very encoder, only the card is replaced.
        card: JSON that tells how it came about and how good it is: data, seed, epochs, seconds, metrics, lineage.

    Returns:
        The folder.

    Raises:
        AlreadyExists: The folder holds something else.
        StorageError: The disk is full or read-only.
    """
    folder = Path(folder)
    described = {"format": FORMAT, "fingerprint": encoder.fingerprint, "spec": encoder.spec}
    told = _json({**(card or {}), "fingerprint": encoder.fingerprint})
    if folder.exists():
        if not (folder / SPEC).exists() or _read_json(folder / SPEC).get("fingerprint") != encoder.fingerprint:
            raise AlreadyExists(f"{folder} exists and is not encoder {encoder.fingerprint}; choose another folder")
        write_file(folder / CARD, told)
        return folder
    weights = {name: value.cpu().contiguous() for name, value in encoder.model.state_dict().items()}
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        write_file(temporary / WEIGHTS, save(weights))
        write_file(temporary / CARD, told)
        write_file(temporary / SPEC, _json(described))
        os.rename(temporary, folder)  # noqa: PTH104 (Path.rename would do the same; os.replace is refused for folders)
        sync_folder(folder.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process has saved it meanwhile
            return save_encoder(encoder, folder, card)
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_encoder(folder: str | Path, *, trusted: Collection[str] = ()) -> Encoder:
    """Read an encoder and check that it is what its fingerprint says.

    Args:
        folder: Where it is.
        trusted: Import paths ("package.module:Class") that a pretrained encoder may name; see `trust`.

    Raises:
        UnknownEncoder: No encoder in this folder, or one of a kind this release does not have.
        StorageError: The weights are missing or cannot be read.
        ManifestInvalid: spec.json is damaged, or the weights do not belong to it.
        FormatTooNew: Written by a newer release.
        ChecksumMismatch: Spec or weights were changed or damaged.
        Forbidden: It would import code that is not in `trusted`.
    """
    folder = Path(folder)
    spec, expected = _read_spec(folder)
    refuse_untrusted(str(spec.get("architecture", "")), trusted)
    try:
        options = {k: v for k, v in spec.items() if k not in ("kind", "dim", "item_shape")}
        model = build_model(spec["kind"], tuple(spec["item_shape"]), spec["dim"], options)
    except (InputError, KeyError, TypeError) as error:
        raise ManifestInvalid(f"{folder / SPEC} does not describe an encoder: {error}") from error
    weights = _read_weights(folder, spec, expected)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ManifestInvalid(f"the weights in {folder} do not belong to its spec: {error}") from error
    return Encoder(model)


def check_encoder(folder: str | Path) -> None:
    """Raise what `load_encoder` would, but for code that nobody allowed: then spec and weights only."""
    try:
        load_encoder(folder)
    except Forbidden:
        _read_weights(Path(folder), *_read_spec(Path(folder)))


def _read_spec(folder: Path) -> tuple[dict[str, Any], str]:
    """What an encoder is, and the fingerprint that it should have."""
    if not (folder / SPEC).is_file():
        raise UnknownEncoder(f"no encoder in {folder} ({SPEC} is missing); check the path or train one")
    described = _read_json(folder / SPEC)
    version, spec, expected = (described.get(key) for key in ("format", "spec", "fingerprint"))
    if not isinstance(version, int) or not isinstance(spec, dict) or not isinstance(expected, str):
        raise ManifestInvalid(f"{folder / SPEC} is not the description of an encoder; restore it from a copy")
    if version > FORMAT:
        raise FormatTooNew(
            f"{folder} has encoder format {version}, this release reads up to {FORMAT}; upgrade latentstore"
        )
    return spec, expected


def _read_weights(folder: Path, spec: dict[str, Any], expected: str) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load((folder / WEIGHTS).read_bytes())
    except FileNotFoundError as error:
        raise StorageError(f"{folder / WEIGHTS} is missing; restore it from a copy or train again") from error
    except OSError as error:
        raise StorageError(f"cannot read {folder / WEIGHTS}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ChecksumMismatch(f"{folder / WEIGHTS} is damaged ({error}); restore it from a copy") from error
    found = fingerprint(spec, weights)
    if found != expected:
        raise ChecksumMismatch(
            f"the encoder in {folder} has fingerprint {found}, its spec says {expected}: "
            "spec or weights were changed; restore the folder from a copy"
        )
    return weights


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of a saved encoder; `UnknownEncoder` if there is none."""
    if not (Path(folder) / CARD).is_file():
        raise UnknownEncoder(f"no encoder card in {folder}; check the path")
    return _read_json(Path(folder) / CARD)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"{path} is not JSON ({error}); restore it from a copy") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{path} is not a JSON object; restore it from a copy")
    return value
