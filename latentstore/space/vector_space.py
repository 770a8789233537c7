"""A vector database over one snapshot: rows, search and versions, whatever the vectors mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latentstore.errors import InputError
from latentstore.space import growing, hits, indexing, rows
from latentstore.space.examples import examples
from latentstore.space.row_space import RowSpace
from latentstore.space.status import Status, status
from latentstore.storage.evaluations import read_evaluations
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    import pyarrow as pa
    from jaxtyping import Float32, Int64

    from latentstore.exchange import Exported
    from latentstore.exchange.outgoing import Pictures
    from latentstore.space.search import Searcher
    from latentstore.storage import Diff, Manifest
    from latentstore.types import Array, Neighbours


class VectorSpace(RowSpace):
    """Vectors of one width under one metric, with ids and metadata: write, read, search, compare versions.

    Attributes:
        files, at: As `RowSpace`.
    """

    # Search

    @property
    def searcher(self) -> Searcher:
        """Search by row numbers and arrays."""
        return self._view

    def search(
        self,
        query: Any = None,
        k: int = 10,
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        recall: float | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        diversity: float = 0.0,
        positive: Sequence[Any] = (),
        negative: Sequence[Any] = (),
        explain: bool = False,
    ) -> Neighbours:
        """Find the k nearest items.

        Args:
            query: A vector (d,): one query; an array (m, d): a batch. A space that can decode also takes an expression
                ("'test/17' + 1.5 * formal"), a `Latent`, or a list of them. A stored item is its own nearest neighbour.
            k: How many, 1 to 100,000; with `group_by`, how many groups.
            where: Only items that satisfy this SQL predicate over the metadata columns.
            columns: Metadata columns to return with the hits.
            recall: Wanted recall@k in (0, 1]; 1.0 is exact; None is what the index was tuned to.
            radius: Only items at most so far away (under ip: at least so similar); of those, at most k.
            offset: Skip so many hits (or groups): the next page.
            group_by: The nearest `group_size` items of each value of this column, nearest value first.
            group_size: Items per group.
            diversity: From 0, the nearest, to 1, those most different from each other among the 5·k nearest
                (maximal marginal relevance).
            positive, negative: Instead of a query: examples of what is wanted and what is not, ids or vectors. The
                query is the mean p of the positive ones, moved on by p − n; the examples are not returned.
            explain: Say in `.explanation` how it was answered, and what took how long.

        Returns:
            Neighbours of this snapshot's live rows; fewer than k only where fewer match.

        Raises:
            InputError: An option out of range, and whatever is wrong with the query or the predicate.
            UnknownItem: An example that is not there.
        """
        options = hits.Options(
            k, where, tuple(columns or ()), recall, radius, offset, group_by, group_size, diversity, explain
        )
        if len(positive) or len(negative):
            if query is not None:
                raise InputError("pass either a query, or positive and negative examples of one")
            asked, without = examples(self, positive, negative)
            return hits.search(self, asked[None], True, options, without)
        if query is None:
            raise InputError("search for what? pass a query, or positive=[…] examples")
        return hits.search(self, *self._queries(query), options)

    def _queries(self, query: Any) -> tuple[Float32[Array, "m d"], bool]:
        """Vectors (m, d) of a query, and whether it was a single one."""
        checked = check_vectors(query, self.dim, self.metric, what="query vectors")
        return checked.reshape(-1, self.dim), checked.ndim == 1

    def build_index(self, kind: str = "auto", *, target_recall: float = 0.98, seed: int = 0) -> int:
        """Build and publish a search index; see `latentstore.space.indexing.build_index`. Returns the version."""
        rows.check_writable(self)
        return self._written(
            indexing.build_index(self.files, self.snapshot, kind, target_recall=target_recall, seed=seed)
        )

    def extend_index(self) -> int:
        """Add the rows that an ivf index does not cover yet, without training it again; returns the version.

        Raises:
            NotSupported: There is no ivf index.
        """
        rows.check_writable(self)
        return self._written(growing.extend_index(self.files, self.files.snapshot()))

    def _added(self, manifest: Manifest) -> int:
        """After rows were added: the index takes them when they are many."""
        return self._written(growing.kept_up(self.files, manifest))

    # Versions

    def status(self) -> Status:
        """Rows, index, staleness and what to run."""
        return status(self)

    def versions(self) -> list[Manifest]:
        """Manifests of the versions that still exist, ascending."""
        return self.files.versions()

    def evaluations(self) -> pa.Table:
        """What was measured up to this version: version, created, metric, value; in the order of measuring.

        `pca_…` is the baseline of the same width, `<map>_…` the quality of a map.

        Raises:
            ManifestInvalid: A record is damaged.
        """
        import pyarrow as pa

        records = [one for one in read_evaluations(self.files.folder) if one.version <= self.version]
        return pa.Table.from_pylist(
            [
                {"version": one.version, "created": one.created, "metric": metric, "value": value}
                for one in records
                for metric, value in one.metrics.items()
            ],
            schema=pa.schema(
                {"version": pa.int64(), "created": pa.string(), "metric": pa.string(), "value": pa.float64()}
            ),
        )

    def tag(self, name: str, version: int | None = None, **options: Any) -> int:
        """Point a tag at a version (None: this snapshot's); returns it."""
        return self.files.tag(name, self.version if version is None else version, **options)

    def compact(self) -> int:
        """Merge segments and drop dead rows; returns the version."""
        rows.check_writable(self)
        return self._written(self.files.compact())

    def diff(self, old: int | str, new: int | str | None = None) -> Diff:
        """What was added, deleted and changed from a version or tag to another (None: this snapshot's).

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        return self.files.diff(old, self.version if new is None else new)

    def restore(self, version: int | str) -> int:
        """Make the contents of an old version or tag the newest; returns the new version. Nothing is lost by it.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        rows.check_writable(self)
        return self._written(self.files.restore(version))

    # Exchange

    def export(
        self,
        path: str | FilePath,
        format: str | None = None,  # noqa: A002 (what users call it)
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> Exported:
        """Write the snapshot's live rows to a file or folder that appears whole.

        Args:
            path: Where.
            format: "parquet" (one file; the default for a name in .parquet), "numpy", "faiss", "delta" (needs the extra
                `delta`) or "projector" (TensorBoard): folders.
            where: Only rows that satisfy this predicate.
            columns: Metadata columns, all unless named.
            overwrite: Replace what is there.

        Raises:
            AlreadyExists: Something is there.
            ConfigInvalid: Unknown format or column.
        """
        from latentstore.exchange import Outgoing, export

        chosen = self.columns if columns is None else tuple(columns)
        self.check_columns(chosen)
        wanted = self.snapshot.live_rows() if where is None else self.matching(where)
        pictures = self._pictures(wanted) if format == "projector" else None
        return export(Outgoing(self.snapshot, wanted, chosen, pictures), path, format, overwrite=overwrite)

    def import_rows(
        self,
        path: str | FilePath,
        format: str | None = None,  # noqa: A002 (what users call it)
        *,
        replace: bool = False,
        id_column: str = "id",
        vector_column: str = "vector",
    ) -> int:
        """Append the rows of a file or folder that may be larger than memory, all or none; returns the version.

        Args:
            path: What `export` wrote, or a Parquet file or Delta table of others.
            format: "parquet", "numpy", "faiss" or "delta"; None looks at the file.
            replace: Replace rows whose id exists; else they are refused.
            id_column: The file's column of ids, text.
            vector_column: The file's column of vectors.

        Raises:
            AlreadyExists: An id is taken.
            SpaceMismatch: The file holds latents of another encoder.
            InputError: A file that does not fit; nothing of it is visible.
        """
        from latentstore.exchange import import_rows, open_source

        rows.check_writable(self)
        source = open_source(path, format, id_column=id_column, vector_column=vector_column)
        encoder = source.about.get("encoder")
        made_for = self.fingerprint
        return self._added(import_rows(self.files, source, replace=replace, encoder=encoder, made_for=made_for))

    def _pictures(self, wanted: Int64[Array, " n"]) -> Pictures | None:
        """What gives the items of rows as pictures, None when nothing does."""
        from latentstore.exchange.pictures import of_dataset

        return of_dataset(self.snapshot, wanted)
