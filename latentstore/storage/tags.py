"""Tags: names for versions, replaced atomically, compared and swapped.

Writers of tags take the space's lock (so does vacuum); readers take none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentstore.errors import CommitConflict, ManifestInvalid, UnknownVersion, suggest
from latentstore.storage import files
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import parse_json, seal

ANY: Any = object()  # of `expected`: swap whatever is there
_STATE = "the tag stands where it stood, or moved already: look at tags()"


def read(path: Path) -> int | None:
    """The version a tag's file names, or None when there is no such file.

    Raises:
        ManifestInvalid: The file is damaged.
        StorageError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.unreadable(path, error) from error
    value = parse_json(content, path)
    version = value.get("version")
    if set(value) - {"version", "seal"}:
        raise ManifestInvalid(f"{path} has fields {sorted(value)}; set the tag {path.stem!r} again")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ManifestInvalid(f"{path} names version {version!r}; set the tag {path.stem!r} again")
    return version


def listed(layout: SpaceLayout) -> dict[str, int]:
    """All tags and their versions, by name."""
    with files.reading(layout.tags):
        paths = sorted(layout.tags.glob("*.json"))
    found = {path.stem: read(path) for path in paths}
    return {name: version for name, version in found.items() if version is not None}


def put(layout: SpaceLayout, name: str, version: int, expected: int | None = ANY) -> None:
    """Point a tag at a version.

    Args:
        layout: The space.
        name: Letters, digits, _ . -
        version: Must exist.
        expected: Swap only if the tag names this version now (None: only if there is no such tag).

    Raises:
        UnknownVersion: No such version (any more).
        CommitConflict: The tag does not name `expected`.
    """
    path = layout.tag(name)
    with files.storing(path, _STATE), files.locked(layout.lock):
        if not Log(layout).exists(version):
            raise UnknownVersion(f"no version {version} to tag as {name!r}; see versions()")
        _compare(path, expected)
        files.replace(path, seal({"version": version}))


def delete(layout: SpaceLayout, name: str, expected: int | None = ANY) -> None:
    """Remove a tag.

    Raises:
        UnknownVersion: No such tag.
        CommitConflict: The tag does not name `expected`.
    """
    path = layout.tag(name)
    with files.storing(path, _STATE), files.locked(layout.lock):
        if read(path) is None:
            raise UnknownVersion(f"no tag {name!r}; {suggest(name, listed(layout))}")
        _compare(path, expected)
        path.unlink()
        files.sync_folder(layout.tags)


def _compare(path: Path, expected: int | None) -> None:
    if expected is ANY:
        return
    found = read(path)
    if found != expected:
        raise CommitConflict(
            f"tag {path.stem!r} names version {found}, not {expected}: someone moved it; look at it again, then decide"
        )
