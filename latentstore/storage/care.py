"""Care of versions: tags, comparing, going back, vacuum, verify, repair."""

from __future__ import annotations

from datetime import timedelta

from latentstore.errors import UnknownVersion, suggest
from latentstore.storage import rows as changes
from latentstore.storage import tags as tag_files
from latentstore.storage.diff import Diff, compare
from latentstore.storage.manifest import Manifest
from latentstore.storage.repair import RepairReport
from latentstore.storage.repair import run as run_repair
from latentstore.storage.vacuum import VacuumReport
from latentstore.storage.vacuum import run as run_vacuum
from latentstore.storage.verify import Problem
from latentstore.storage.verify import run as run_verify
from latentstore.storage.versions import Versions
from latentstore.storage.writing import Scratch
from latentstore.types import whole_number


class CaredVersions(Versions):
    """The versions of a space, named, restored, checked and dropped."""

    def tags(self) -> dict[str, int]:
        """All tags and the versions they name."""
        return tag_files.listed(self.layout)

    def tag(self, name: str, version: int | None = None, expected: int | None = tag_files.ANY) -> int:
        """Point a tag at a version, the newest by default; returns the version.

        Args:
            name: Letters, digits, _ . -
            version: Which.
            expected: Swap only if the tag names this version now; None: only if there is no such tag.

        Raises:
            UnknownVersion: No such version (any more).
            CommitConflict: The tag does not name `expected`.
        """
        self._writable()
        number = self.newest_version() if version is None else version
        tag_files.put(self.layout, name, number, expected)
        return number

    def delete_tag(self, name: str, expected: int | None = tag_files.ANY) -> None:
        """Remove a tag; the version stays. UnknownVersion when there is no such tag."""
        self._writable()
        tag_files.delete(self.layout, name, expected)

    def resolve(self, at: int | str | None = None) -> int:
        """The version that a number, a number as text, or a tag stands for; the newest for None.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        if at is None:
            return self.newest_version()
        version = whole_number(at) if isinstance(at, str) else int(at)
        if version is None:
            known = self.tags()
            if at not in known:
                raise UnknownVersion(f"no tag {at!r} in space {self.folder.name!r}; {suggest(str(at), known)}")
            return known[str(at)]
        if not self._log.exists(version):
            self._log.read(version)  # raises, saying why
        return version

    def vacuum(
        self,
        retention: timedelta = timedelta(days=7),
        *,
        grace: timedelta = timedelta(days=1),
        dry_run: bool = False,
    ) -> VacuumReport:
        """Delete versions older than the retention and files that nothing needs: see `vacuum.run`."""
        if not dry_run:
            self._writable()
        return run_vacuum(self._log, retention, grace, dry_run=dry_run)

    def verify(self, *, deep: bool = True) -> list[Problem]:
        """Check every file of every version: see `verify.run`."""
        return run_verify(self._log, deep=deep)

    def diff(self, old: int | str, new: int | str | None = None) -> Diff:
        """What was added, deleted and changed from one version or tag to another, the newest by default.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        return compare(self.snapshot(self.resolve(old)), self.snapshot(self.resolve(new)))

    def restore(self, version: int | str) -> Manifest:
        """Make the contents of an old version the newest one.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        number = self.resolve(version)
        old = self._log.read(number)
        return self.commit_manifest(  # the reason to go back may be that the newest version's files are damaged
            lambda base: changes.restored(base, old),
            operation=f"restore {number}",
            scratch=Scratch(self.layout),
            requires=number,
        )

    def repair(self) -> RepairReport:
        """Rebuild damaged files that hold nothing of their own; rows, deletes and manifests are not touched.

        Returns:
            What was mended, and what is left: index, concepts and maps (the space above rebuilds them), and what only
            a backup has.
        """
        self._writable()
        return run_repair(self, self._log)
