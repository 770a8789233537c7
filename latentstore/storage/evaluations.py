"""What was measured of each version, kept beside the versions: `spaces/<name>/evaluations/<version>.json`.

A record is written once the version is complete, whole or not at all. Vacuum leaves records alone: they are the
history of a space, a few kilobytes a version.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latentstore.errors import ManifestInvalid
from latentstore.storage.files import make_folder, replace, storing


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one version.

    Attributes:
        version: Of the space.
        rows: Live rows then.
        encoder: Fingerprint; None for ready vectors.
        parameters: Digest of how it was measured.
        created: UTC, ISO 8601.
        seconds: Spent measuring.
        metrics: Name → value. `pca_…` is the baseline of the same width, `<map>_…` the quality of a map.
    """

    version: int
    rows: int
    encoder: str | None
    parameters: str
    created: str
    seconds: float
    metrics: dict[str, float]


def write_evaluation(space_folder: Path, evaluation: Evaluation) -> None:
    """Keep a record durably; an earlier one of the same version is replaced in one step."""
    path = _path(space_folder, evaluation.version)
    with storing(path):
        make_folder(path.parent)
        replace(path, (json.dumps(asdict(evaluation), indent=2) + "\n").encode())


def read_evaluation(space_folder: Path, version: int) -> Evaluation | None:
    """The record of a version; None when it was not evaluated.

    Raises:
        ManifestInvalid: The file is damaged.
    """
    path = _path(space_folder, version)
    try:
        content: Any = json.loads(path.read_bytes())
        return Evaluation(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ManifestInvalid(f"{path} is no evaluation ({error}); delete it and run evaluate again") from error


def read_evaluations(space_folder: Path) -> list[Evaluation]:
    """All records of a space, ascending by version."""
    versions = sorted(int(path.stem) for path in (space_folder / "evaluations").glob("*.json"))
    return [record for version in versions if (record := read_evaluation(space_folder, version)) is not None]


def _path(space_folder: Path, version: int) -> Path:
    return space_folder / "evaluations" / f"{version:012d}.json"
