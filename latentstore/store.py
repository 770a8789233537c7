"""A store: many spaces and their encoders in one folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from latentstore import markup
from latentstore.errors import SpaceMismatch
from latentstore.space import EmbeddingSpace
from latentstore.storage import StoreFiles
from latentstore.types import check_metric

if TYPE_CHECKING:
    import pyarrow as pa

    from latentstore.encoders import Encoder
    from latentstore.sql import Limits, Runners
    from latentstore.storage import Archived, BackupReport, Problem, RepairReport


def open_store(
    path: str | Path, mode: Literal["rw", "r"] = "rw", *, trusted_modules: Collection[str] = ()
) -> LatentStore:
    """Open a store.

    Args:
        path: Its folder; created on the first write.
        mode: "rw", or "r", which never writes and needs the store to exist.
        trusted_modules: Import paths ("package.module:Class") of networks that its pretrained encoders may import and
            run. A store is data and may come from anywhere: without being named here (or in the environment's
            LATENTSTORE_TRUSTED_MODULES) nothing that it names is imported.

    Raises:
        UnknownSpace: Nothing is there and `mode` is "r", or the folder holds something else.
        FormatTooNew: A newer release wrote it.
    """
    return LatentStore(StoreFiles(Path(path), mode), trusted_modules)


def import_store(archive: str | Path, folder: str | Path) -> LatentStore:
    """Unpack what `LatentStore.export` made into a new store, all or nothing; every checksum is verified first.

    Raises:
        AlreadyExists: The folder holds something.
        InputError, ChecksumMismatch: The file is no archive of a store, forged or damaged.
    """
    StoreFiles.unarchive(archive, folder)
    return open_store(folder)


def repair_store(path: str | Path) -> RepairReport:
    """As `LatentStore.repair`, also for a store that does not open because store.json is damaged."""
    from latentstore.storage.repair import mend_store_mark

    mended = list(mend_store_mark(Path(path)))
    StoreFiles(path, "r")  # refuses what is no store, where "rw" would make one
    report = LatentStore(StoreFiles(path)).repair()
    report.mended[:0] = mended
    return report


class LatentStore:
    """Many embedding spaces, their encoders, and SQL over all of them.

    Attributes:
        files: The store's files (storage room).
        trusted_modules: See `open_store`.
    """

    def __init__(self, files: StoreFiles, trusted_modules: Collection[str] = ()) -> None:
        self.files, self.trusted_modules = files, frozenset(trusted_modules)
        self._encoders: dict[str, Encoder] = {}
        self._runners: Runners | None = None
        self._lock = Lock()

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.files.folder

    @property
    def spaces(self) -> list[str]:
        """Names of the spaces, ascending."""
        return self.files.spaces()

    @property
    def encoders(self) -> list[str]:
        """Fingerprints of the encoders, ascending."""
        return self.files.encoders()

    def __repr__(self) -> str:
        return f"LatentStore({str(self.path)!r}, spaces {self.spaces})"

    def _repr_html_(self) -> str:
        """For notebooks: the spaces."""
        columns = ["space", "version", "items", "d", "metric", "encoder"]
        opened = map(self.space, self.spaces)
        rows = [[one.name, one.version, len(one), one.dim, one.metric, one.fingerprint] for one in opened]
        return markup.table(columns, rows, str(self.path))

    def space(self, name: str, at: int | str | None = None) -> EmbeddingSpace:
        """Open a space at its newest version, or read-only at a version number or tag.

        Raises:
            UnknownSpace: No such space.
            UnknownVersion: No such version or tag.
        """
        return EmbeddingSpace(self.files.space(name), at=at, load_encoder=self.encoder)

    def create_space(
        self,
        name: str,
        *,
        dim: int,
        metric: str = "l2",
        encoder: str | None = None,
        source: dict[str, Any] | None = None,
    ) -> EmbeddingSpace:
        """Create an empty space.

        Args:
            name: Lower-case letters, digits and underscores, starting with a letter: it is a name in SQL.
            dim: Width d of its latents, ≥ 1.
            metric: l2, cosine or ip.
            encoder: Fingerprint of a stored encoder; None for ready vectors.
            source: Which dataset the items come from, JSON.

        Raises:
            AlreadyExists: The name is taken.
            ConfigInvalid: Name, dim or metric impossible.
            UnknownEncoder: The encoder is not in the store.
            SpaceMismatch: The encoder has another dim.
        """
        if encoder is not None and self.encoder(encoder).dim != dim:
            raise SpaceMismatch(
                f"encoder {encoder} makes latents of d={self.encoder(encoder).dim}, not {dim}; use its d"
            )
        files = self.files.create_space(name, dim=dim, metric=check_metric(metric), encoder=encoder, source=source)
        return EmbeddingSpace(files, load_encoder=self.encoder)

    def create_erased_space(self, name: str, space: str, by: str, *, where: str | None = None) -> EmbeddingSpace:
        """Make a space of the latents of another without a concept; it appears whole or not at all.

        Its latents do not mix with those of the other, and nothing is encoded or decoded: it has no encoder. New items
        are brought in by `space.erase(by).apply(…)` of the other.

        Args:
            name: Of the new space.
            space: The other one.
            by: A metadata column or a predicate, as of `EmbeddingSpace.erase`.
            where: What the eraser is fitted to; all rows are erased.

        Raises:
            AlreadyExists: The name is taken.
            UnknownSpace, FilterRefused, InputError: As `space` and `EmbeddingSpace.erase`.
        """
        from latentstore.space.erasure import create_erased

        create_erased(self.files, name, self.space(space), by, where=where)
        return self.space(name)

    def import_space(
        self,
        name: str,
        path: str | Path,
        format: str | None = None,  # noqa: A002 (what users call it)
        *,
        metric: str | None = None,
        keep_encoder: bool = True,
        id_column: str = "id",
        vector_column: str = "vector",
    ) -> EmbeddingSpace:
        """Make a new space of a file or folder that may be larger than memory; it appears whole or not at all.

        Args:
            name: Of the space.
            path: What `EmbeddingSpace.export` wrote, or a Parquet file or Delta table of others.
            format: "parquet", "numpy", "faiss" or "delta"; None looks at the file.
            metric: l2, cosine or ip; None: what the file says, else l2.
            keep_encoder: False takes latents as ready vectors where this store lacks their encoder.
            id_column: The file's column of ids, text.
            vector_column: The file's column of vectors.

        Raises:
            AlreadyExists: The name is taken.
            UnknownEncoder: The latents' encoder is not in this store.
            InputError: A file that cannot be read as rows.
        """
        from latentstore.exchange import import_space, open_source

        source = open_source(path, format, id_column=id_column, vector_column=vector_column)
        import_space(self.files, name, source, metric=metric, keep_encoder=keep_encoder)
        return self.space(name)

    def encoder(self, fingerprint: str) -> Encoder:
        """Load an encoder; kept in memory afterwards.

        Raises:
            UnknownEncoder: Not in the store.
            ChecksumMismatch: Its weights are not those its fingerprint names.
            Forbidden: It would import code that is not in `trusted_modules`.
        """
        with self._lock:
            if fingerprint not in self._encoders:
                from latentstore.encoders import load_encoder

                folder = self.files.encoder_folder(fingerprint)
                self._encoders[fingerprint] = load_encoder(folder, trusted=self.trusted_modules)
            return self._encoders[fingerprint]

    def add_encoder(self, encoder: Encoder, card: dict[str, Any]) -> str:
        """Store an encoder under its fingerprint, durably; one that is there already stays.

        Args:
            encoder: The trained encoder.
            card: Data, seed, epochs, time, metrics: JSON.

        Returns:
            The fingerprint.
        """
        from latentstore.encoders import save_encoder

        if encoder.fingerprint not in self.encoders:
            save_encoder(encoder, self.files.new_encoder_folder(encoder.fingerprint), card)
        return encoder.fingerprint

    def sql(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        at: str | Mapping[str, int | str] | None = None,
        sandbox: bool = True,
        limits: Limits | None = None,
    ) -> pa.Table:
        """Run one SELECT over the newest snapshots of all spaces, or those asked for; see `latentstore.sql`.

        Args:
            query: SQL in DuckDB's dialect.
            parameters: A value for each `$name` in it: number, text, Boolean, None or vector.
            at: Read the spaces that have this tag there; or, by name of the space, at a version or tag.
            sandbox: Run it in a process of its own that is killed when it exceeds its limits (Linux). Without, a
                hostile query can take all of this process's memory, or hang it; no file can be reached either way.
            limits: What the query may use: seconds, memory, size of the result.

        Raises:
            QueryRefused: Not exactly one SELECT, it reaches outside the store, or it needs more than it may use.
            NotSupported: There is no sandbox on this system.
            UnknownSpace: `at` names a space that is not there.
            UnknownVersion: `at` names a version or tag that the space has not, or a tag that no space has.
        """
        from latentstore.sql import Runners

        with self._lock:
            self._runners = self._runners or Runners(self.files)
        return self._runners.run(query, parameters, self.space, at=at, sandbox=sandbox, limits=limits)

    def verify(self, *, deep: bool = True) -> list[Problem]:
        """Check every file of every version of every space, and the encoders; an empty list is a sound store."""
        from latentstore import upkeep

        return upkeep.verify(self.files, deep=deep)

    def repair(self) -> RepairReport:
        """Rebuild what is damaged and can be rebuilt: index, concepts, maps, raw vectors, id tables, marks.

        Committed rows, deletes and manifests are never touched.

        Returns:
            What was mended, and what only a backup has, each with its remedy.
        """
        from latentstore import upkeep

        return upkeep.repair(self.files, self.space)

    def backup(self, folder: str | Path, *, check: bool = False) -> BackupReport:
        """Copy the store while others write; only what is new, if the folder is an earlier backup.

        Args:
            folder: New, empty, or an earlier backup. It is a store itself.
            check: Also read what is there and replace what is damaged.

        Raises:
            AlreadyExists: The folder is another store.
            ChecksumMismatch: A file of this store is damaged.
        """
        return self.files.backup(folder, check=check)

    def export(self, path: str | Path, *, overwrite: bool = False) -> Archived:
        """Pack every version, tag and encoder into one file; `import_store` unpacks it.

        Raises:
            AlreadyExists: The file is there.
            ChecksumMismatch: A file of this store is damaged.
        """
        return self.files.archive(path, overwrite=overwrite)
