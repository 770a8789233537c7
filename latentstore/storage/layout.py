"""Every path name of a store, in one place (design §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from latentstore.errors import ConfigInvalid

FORMAT = 2  # of store.json and of manifests; a greater number is refused with FormatTooNew

DATA_FOLDERS = ("segments", "deletes", "index", "concepts", "maps")
FOLDERS = (*DATA_FOLDERS, "manifests", "tags", "staging")

IMPORT = ".import-"  # prefix of the hidden folder a space is built in before it appears

_SPACE = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_FINGERPRINT = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MANIFEST = re.compile(r"(\d{12,})\.json")


def check_space_name(name: str) -> str:
    """Return `name` if it can name a space (and so an SQL table); else raise `ConfigInvalid`."""
    if not isinstance(name, str) or not _SPACE.fullmatch(name):
        raise ConfigInvalid(
            f"space name {name!r} is not allowed; use lower-case letters, digits and _, as in 'my_space'"
        )
    return name


def check_name(name: str, what: str) -> str:
    """Return `name` if it can name a tag, a staging key or a file; else raise `ConfigInvalid`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigInvalid(f"{what} {name!r} is not allowed; begin with a letter, then letters, digits, _ . -")
    return name


def check_fingerprint(fingerprint: str) -> str:
    """Return `fingerprint` if it can name an encoder's folder; else raise `ConfigInvalid`."""
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        raise ConfigInvalid(f"encoder fingerprint {fingerprint!r} is not allowed; use letters, digits, - and _")
    return fingerprint


@dataclass(frozen=True)
class SpaceLayout:
    """Paths of one embedding space."""

    folder: Path

    @cached_property
    def manifests(self) -> Path:
        """Folder of the log: one manifest per version."""
        return self.folder / "manifests"

    @cached_property
    def hint(self) -> Path:
        """A guess at the newest version, never trusted: see `log`."""
        return self.manifests / "newest"

    @cached_property
    def floor(self) -> Path:
        """The version from which upwards no manifest is missing; raised by vacuum before it deletes."""
        return self.manifests / "floor"

    @property
    def lock(self) -> Path:
        """Locked by vacuum and by writers of tags; shared by a commit for the instant of its link."""
        return self.folder / "lock"

    @property
    def segments(self) -> Path:
        """Folder of the segments."""
        return self.folder / "segments"

    @property
    def tags(self) -> Path:
        """Folder of the tags."""
        return self.folder / "tags"

    @property
    def staging(self) -> Path:
        """Folder of the lists of staged segments, one folder per key."""
        return self.folder / "staging"

    def manifest(self, version: int) -> Path:
        """The manifest whose existence is the version."""
        return self.manifests / f"{version:012d}.json"

    def tag(self, name: str) -> Path:
        """A tag's file."""
        return self.tags / f"{check_name(name, 'tag')}.json"

    def staged(self, key: str) -> Path:
        """The folder of what is staged under a key."""
        return self.staging / check_name(key, "staging key")

    def file(self, name: str) -> Path:
        """The path of a file named by a manifest, relative to the space."""
        return self.folder / name

    def name(self, path: Path) -> str:
        """The inverse of `file`."""
        return path.relative_to(self.folder).as_posix()

    def new(self, kind: str, suffix: str, uuid: str | None = None) -> Path:
        """A path nobody has used, in one of the data folders."""
        assert kind in DATA_FOLDERS, kind
        return self.folder / kind / f"{uuid or uuid4().hex}{suffix}"


@dataclass(frozen=True)
class StoreLayout:
    """Paths of a store."""

    folder: Path

    @property
    def store_json(self) -> Path:
        """The file that makes a folder a store."""
        return self.folder / "store.json"

    @property
    def encoders(self) -> Path:
        """Folder of the encoders."""
        return self.folder / "encoders"

    @property
    def spaces(self) -> Path:
        """Folder of the spaces."""
        return self.folder / "spaces"

    def space(self, name: str) -> Path:
        """One space's folder."""
        return self.spaces / check_space_name(name)

    def encoder(self, fingerprint: str) -> Path:
        """One encoder's folder."""
        return self.encoders / check_fingerprint(fingerprint)


def version_of(name: str) -> int | None:
    """The version a manifest's file name stands for, or None for another file."""
    match = _MANIFEST.fullmatch(name)
    return int(match.group(1)) if match else None
