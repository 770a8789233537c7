"""Whether a derived artefact is about the rows and the parameters of now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentstore.storage import ArtefactRecord, Manifest


def is_fresh(manifest: Manifest, records: Iterable[ArtefactRecord], name: str, **parameters: Any) -> bool:
    """Whether one of `records` has this name and these parameters, and was computed since rows last changed."""
    return any(
        record.name == name
        and record.version >= manifest.rows_version
        and all(record.properties.get(key) == value for key, value in parameters.items())
        for record in records
    )
