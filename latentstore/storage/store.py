"""A store: a folder of spaces and encoders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from latentstore.errors import AlreadyExists, ConfigInvalid, Forbidden, NotFound, StorageError, UnknownSpace, suggest
from latentstore.storage import files
from latentstore.storage.archive import Archived
from latentstore.storage.archive import write as write_archive
from latentstore.storage.backup import BackupReport, refuse_overlap
from latentstore.storage.backup import run as run_backup
from latentstore.storage.layout import FORMAT, IMPORT, SpaceLayout, StoreLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import Json, check_format, parse_json
from latentstore.storage.space_files import SpaceFiles
from latentstore.storage.unarchive import read as read_archive
from latentstore.storage.verify import Problem
from latentstore.storage.versions import Mode


class StoreFiles:
    """The files of a store.

    Args:
        folder: With mode "rw" it may be missing or empty; the first write makes the store.
        mode: "r" never writes.

    Raises:
        UnknownSpace: There is no store, and mode "r" may not create one.
        ManifestInvalid: store.json is damaged.
        FormatTooNew: Written by a newer release.
        ConfigInvalid: The folder holds other things.
    """

    def __init__(self, folder: str | Path, mode: Mode = "rw") -> None:
        if mode not in ("rw", "r"):
            raise ConfigInvalid(f"mode is {mode!r}; use 'rw' or 'r'")
        self.folder = Path(folder)
        self.layout = StoreLayout(self.folder)
        self.mode = mode
        self._check()

    def __repr__(self) -> str:
        return f"<StoreFiles {self.folder} mode={self.mode}>"

    def _check(self) -> None:
        """Refuse what is no store; a missing or empty folder becomes one with the first write."""
        path, folder = self.layout.store_json, self.folder
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            # A hidden file is what a creation that was killed left behind.
            if folder.exists() and not (folder.is_dir() and all(one.name.startswith(".") for one in folder.iterdir())):
                raise ConfigInvalid(
                    f"{folder} is not a store: it has no store.json; name a new or empty folder"
                ) from None
            if self.mode == "r":
                raise UnknownSpace(
                    f"there is no store at {folder}; check the path (`latentstore run` and `import` make a store, "
                    "and so does writing to one that was opened without mode='r')"
                ) from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}; check the permissions") from error
        else:
            check_format(parse_json(content, path), path)

    def create(self) -> None:
        """Make the store, unless it is there; every first write does.

        Raises:
            Forbidden: Open with mode "r".
            StorageError: The disk is full or read-only.
        """
        if self.mode == "r":
            raise Forbidden(f"{self.folder} is open with mode='r'; open it with mode='rw' to write")
        with files.storing(self.folder):
            files.make_folder(self.folder)
            if not self.layout.store_json.exists():
                files.create_exclusive(self.layout.store_json, json.dumps({"format": FORMAT}).encode())
            for folder in (self.layout.encoders, self.layout.spaces):
                files.make_folder(folder)
            for folder in (self.folder.parent, self.folder):  # again: who made them may have been killed before that
                files.sync_folder(folder)

    def spaces(self) -> list[str]:
        """Names of the spaces, sorted; not those whose creation ended before the first version."""
        with files.reading(self.layout.spaces):
            if not self.layout.spaces.is_dir():
                return []
            visible = [one for one in self.layout.spaces.iterdir() if not one.name.startswith(".")]  # others: imports
            found = [path for path in visible if (path / "manifests").is_dir()]
        return sorted(path.name for path in found if not Log(SpaceLayout(path)).unfinished())

    def space(self, name: str) -> SpaceFiles:
        """Open a space.

        Raises:
            UnknownSpace: There is none of this name.
            ConfigInvalid: No space can have this name.
        """
        folder = self.layout.space(name)
        if not folder.is_dir():
            raise UnknownSpace(f"no space {name!r} in {self.folder}; {suggest(name, self.spaces())}")
        return SpaceFiles(folder, self.mode)

    def create_space(
        self,
        name: str,
        *,
        dim: int,
        metric: str,
        encoder: str | None = None,
        source: dict[str, Json] | None = None,
    ) -> SpaceFiles:
        """Create a space.

        Raises:
            AlreadyExists: The name is taken.
            ConfigInvalid: A name, width or metric that no space can have.
        """
        folder = self.layout.space(name)
        self.create()
        return SpaceFiles.create(folder, space=name, dim=dim, metric=metric, encoder=encoder, source=source)

    @contextmanager
    def new_space(
        self,
        name: str,
        *,
        dim: int,
        metric: str,
        encoder: str | None = None,
        source: dict[str, Json] | None = None,
    ) -> Iterator[SpaceFiles]:
        """Create a space out of sight; it appears, filled, when the block ends well, and never otherwise.

        Raises:
            AlreadyExists: The name is taken.
            ConfigInvalid: A name, width or metric that no space can have.
        """
        folder = self.layout.space(name)
        self.create()
        taken = f"space {name!r} exists in {self.folder}; choose another name"
        if folder.exists():
            raise AlreadyExists(taken)
        hidden = folder.with_name(f"{IMPORT}{uuid4().hex}")
        try:
            space = SpaceFiles.create(hidden, space=name, dim=dim, metric=metric, encoder=encoder, source=source)
            with files.locked(space.layout.lock, shared=True):  # tells repair that we live
                yield space
                with files.storing(folder):
                    try:
                        os.rename(hidden, folder)  # noqa: PTH104 (Path.rename would do the same)
                    except OSError as error:
                        if folder.exists():
                            raise AlreadyExists(taken) from error
                        raise
                    files.sync_folder(folder.parent)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)

    def encoders(self) -> list[str]:
        """Fingerprints of the encoders, sorted."""
        if not self.layout.encoders.is_dir():
            return []
        folders = [path for path in self.layout.encoders.iterdir() if not path.name.startswith(".")]
        return sorted(path.name for path in folders if (path / "spec.json").is_file())

    def encoder_folder(self, fingerprint: str) -> Path:
        """The folder of an encoder, whether it is there or not."""
        return self.layout.encoder(fingerprint)

    def new_encoder_folder(self, fingerprint: str) -> Path:
        """Where an encoder goes; the folder above is made. The encoder's own folder appears whole, by renaming."""
        folder = self.layout.encoder(fingerprint)
        self.create()
        return folder

    def backup(self, folder: str | Path, *, check: bool = False) -> BackupReport:
        """Copy the store while others write, into a new folder or an earlier backup; see `backup.run`."""
        refuse_overlap(self.layout, StoreLayout(Path(folder)))
        target = StoreFiles(folder)
        target.create()
        return run_backup(self.layout, target.layout, check=check)

    def archive(self, path: str | Path, *, overwrite: bool = False) -> Archived:
        """Pack the whole store into one file while others write; see `archive.write`."""
        return write_archive(self.layout, Path(path), overwrite=overwrite)

    @classmethod
    def unarchive(cls, path: str | Path, folder: str | Path) -> Archived:
        """Unpack an archive into a new store, all or nothing; see `unarchive.read`."""
        return read_archive(Path(path), Path(folder))

    def verify(self, *, deep: bool = True) -> list[Problem]:
        """Check every file of every version of every space; see `verify.run`."""
        problems = []
        for name in self.spaces():
            try:
                problems += SpaceFiles(self.layout.space(name), "r").verify(deep=deep)
            except NotFound as error:
                path = self.layout.space(name)
                problems.append(Problem(path, str(error), "remove the folder or restore its manifests from a backup"))
        return problems
