"""A space behind a service: methods of `EmbeddingSpace`, with the same arguments, results, errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from latentstore.client.results import RemoteLatent, RemotePath, RemoteSamples, frames
from latentstore.errors import InputError
from latentstore.types import Explanation, Neighbours, check_metric, check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.client.transport import Transport
    from latentstore.types import Array


class RemoteSpace:
    """A space as it is served, or at a version or tag.

    Args:
        transport: To the service.
        name: Of the space.
        at: Version or tag; None is what is served, whichever that is at each call.
    """

    def __init__(self, transport: Transport, name: str, at: int | str | None = None) -> None:
        self._transport, self.name, self.at = transport, name, at
        self.refresh()

    def __len__(self) -> int:
        return int(self._about["rows"])

    def __repr__(self) -> str:
        return f"RemoteSpace({self.name!r}, version {self.version}, {len(self)} items, d={self.dim}, {self.metric})"

    def refresh(self) -> RemoteSpace:
        """Ask again what is served; returns itself."""
        self._about: dict[str, Any] = self._transport.json("GET", self._path(), at=self.at)
        return self

    # What it is

    @property
    def version(self) -> int:
        """Version that answered last when it was asked what it is."""
        return int(self._about["version"])

    @property
    def dim(self) -> int:
        """Width d of the latents."""
        return int(self._about["dim"])

    @property
    def metric(self) -> str:
        """l2, cosine or ip."""
        return str(self._about["metric"])

    @property
    def fingerprint(self) -> str | None:
        """The encoder's fingerprint; None for ready vectors."""
        found: str | None = self._about["encoder"]
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the metadata columns."""
        return tuple(self._about["columns"])

    # Search

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
        """Find the k nearest items; see `EmbeddingSpace.search`."""
        if query is None and not positive and not negative:
            raise InputError("search for what? pass a query, or positive=[…] examples")
        body = {
            "query": query, "k": k, "where": where, "columns": columns, "recall": recall, "radius": radius,
            "offset": offset, "group_by": group_by, "group_size": group_size, "diversity": diversity,
            "positive": list(positive), "negative": list(negative), "explain": explain,
            "at": self.at,
        }  # fmt: skip
        table, told = self._transport.table("POST", self._path("search"), body)
        batch = _several(query)
        return _neighbours(table, told, len(query) if batch else None, k * group_size, columns)

    # Points

    def latent(self, given: Any) -> RemoteLatent:
        """A point: from an expression, or from a vector (d,)."""
        told = self._json("edit", {"query": given, "k": 1, "pictures": False})
        return RemoteLatent(self, np.asarray(told["latent"], np.float32), told["expression"])

    def decode(self, latents: Any) -> Float32[Array, "n ..."]:
        """Items of latents (n, d), float32 in [0, 1]; one latent (d,) gives one item."""
        given = check_vectors(latents, self.dim, what="latents")
        table, told = self._transport.table("POST", self._path("decode"), {"latents": given, "at": self.at})
        shape = tuple(int(side) for side in told["shape"].split(","))
        items = np.array(table["item"].combine_chunks().flatten().to_numpy()).reshape(-1, *shape)
        return items[0] if given.ndim == 1 else items

    def interpolate(self, *anchors: Any, steps: int = 9, method: str = "lerp", smoothing: float = 0.0) -> RemotePath:
        """A path through latents in order; see `EmbeddingSpace.interpolate`."""
        if len(anchors) < 2:
            raise InputError(f"{len(anchors)} anchors; a path needs a start and an end")
        start, *through, end = anchors
        body = {"from": start, "to": end, "through": through, "steps": steps, "method": method, "smoothing": smoothing}
        told = self._json("interpolate", {**body, "pictures": method == "transport"})
        latents = np.asarray(told["latents"], np.float32)
        items = None if told["pictures"] is None else frames(told["pictures"])
        return RemotePath(self, latents, told["method"], tuple(told["anchors"]), told["report"], items)

    def sample(
        self,
        n: int,
        *,
        method: str | None = None,
        label: str | None = None,
        column: str = "label",
        truncation: float = 1.0,
        seed: int = 0,
    ) -> RemoteSamples:
        """New latents from where the data lies; see `EmbeddingSpace.sample`."""
        body = {"n": n, "method": method, "label": label, "column": column, "truncation": truncation, "seed": seed}
        told = self._json("sample", {**body, "pictures": False})
        return RemoteSamples(self, np.asarray(told["latents"], np.float32), told["method"], told["nearest"])

    def place(self, latents: Any, map: str = "umap") -> Float32[Array, "n dim"]:  # noqa: A002 (the word for it)
        """Coordinates of latents on a stored map, (n, dim); (dim,) of a single one."""
        points = np.asarray(self._json("place", {"query": latents, "map": map})["points"], np.float32)
        return points if _several(latents) else points[0]

    # Tables

    def get(self, ids: str | Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of ids, in that order: id, metadata columns (all unless named), vector.

        Raises:
            UnknownItem: An id is not there.
        """
        body = {"ids": [ids] if isinstance(ids, str) else list(ids), "columns": columns, "at": self.at}
        return self._transport.table("POST", self._path("rows"), body)[0]

    @property
    def centroids(self) -> pa.Table:
        """One row per label."""
        return self._transport.table("GET", self._path("centroids"), at=self.at)[0]

    def evaluations(self) -> pa.Table:
        """What was measured up to this version."""
        return self._transport.table("GET", self._path("evaluations"), at=self.at)[0]

    @property
    def attributes(self) -> pa.Table:
        """One row per attribute vector."""
        return self._transport.table("GET", self._path("attributes"), at=self.at)[0]

    def map(self, name: str = "umap") -> pa.Table:
        """Coordinates of the items: id, x, y (and z)."""
        return self._transport.table("GET", self._path("maps", name), at=self.at)[0]

    # Writing

    def upsert(self, ids: Any, vectors: Any = None, metadata: Any = None, *, encoder: str | None = None) -> int:
        """Append rows, replacing those whose id exists; returns the version that has them, durable.

        Args:
            ids: n ids, with `vectors`; or an Arrow table with the columns id and vector and metadata.
            vectors: Shape (n, d).
            metadata: Columns of n values each: an Arrow table or a dict.
            encoder: Fingerprint of what made the vectors.
        """
        if encoder is not None:  # which an Arrow stream has no place for
            columns = metadata.to_pydict() if isinstance(metadata, pa.Table) else metadata
            body = {"ids": list(ids), "vectors": np.asarray(vectors), "metadata": columns, "encoder": encoder}
            return int(self._transport.json("POST", self._path("items"), body)["version"])
        table = ids
        if not isinstance(ids, pa.Table):
            given = check_vectors(vectors, self.dim, what="vectors").reshape(-1, self.dim)
            columns = {} if metadata is None else metadata
            extra = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
            vector = pa.FixedSizeListArray.from_arrays(pa.array(given.ravel()), self.dim)
            table = pa.table({"id": pa.array(list(ids), pa.string()), "vector": vector} | _columns(extra))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return int(self._transport.json("POST", self._path("items"), bytes(sink.getvalue()))["version"])

    def delete(self, ids: str | Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete rows by id or by predicate; returns the version without them."""
        chosen = [ids] if isinstance(ids, str) else ids
        return int(self._transport.json("DELETE", self._path("items"), {"ids": chosen, "where": where})["version"])

    def fit_attribute(
        self, name: str, *, positive: str, negative: str, method: str = "mean_difference", seed: int = 0
    ) -> int:
        """Fit and publish an attribute vector from two `where` clauses; returns the version."""
        body = {"name": name, "positive": positive, "negative": negative, "method": method, "seed": seed}
        return int(self._transport.json("POST", self._path("attributes"), body)["version"])

    def _json(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = self._transport.json("POST", self._path(verb), {**body, "at": self.at})
        return told

    def _path(self, *parts: str) -> str:
        return "/".join(["/v1/spaces", *(quote(part, safe="", errors="surrogatepass") for part in (self.name, *parts))])


def _several(points: Any) -> bool:
    """Whether a query is a list of points, and not one: text, a point, or its numbers."""
    if isinstance(points, list | tuple):
        return not all(isinstance(one, int | float | np.number) for one in points)
    return getattr(points, "ndim", 1) == 2


def _columns(table: pa.Table) -> dict[str, Any]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _neighbours(
    table: pa.Table, told: dict[str, str], queries: int | None, k: int, columns: Sequence[str] | None
) -> Neighbours:
    """Hits as `EmbeddingSpace.search` returns them."""
    metric = check_metric(told["metric"])
    ids = np.array(table["id"].to_pylist(), object)
    rows = table["row"].to_numpy()
    distances = table["similarity" if metric == "ip" else "distance"].to_numpy()
    extra = table.select(list(columns)) if columns else None
    if queries is not None:
        at = table["query"].to_numpy(), table["rank"].to_numpy()
        all_ids, all_rows = np.full((queries, k), None, object), np.full((queries, k), -1, np.int64)
        all_distances = np.full((queries, k), np.nan, np.float32)
        all_ids[at], all_rows[at], all_distances[at] = ids, rows, distances
        ids, rows, distances = all_ids, all_rows, all_distances
    how = Explanation.from_json(json.loads(told["explanation"])) if "explanation" in told else None
    return Neighbours(ids, rows, distances, k, metric, int(told["version"]), extra, how)
