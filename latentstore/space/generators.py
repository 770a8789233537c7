"""What new latents are drawn from: fitted to a snapshot's latents, stored beside them, opened again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import ChecksumMismatch, InputError, NotSupported, UnknownLabel, suggest
from latentstore.storage import ArtefactRecord
from latentstore.types import check_seed, without_nan

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.encoders.flow import Flow
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import Manifest
    from latentstore.types import Array

LABEL = "label"
MIXTURE, FLOW = "generation/gmm", "generation/flow"
FITTED_ROWS = 60_000  # a mixture of so many 32-dimensional latents is fitted in some 8 s of CPU
COMPONENTS = 1_000  # in all
PER_COMPONENT = 2  # times d: latents that a component has at least; it has the pooled covariance as d more
LEAST = 50  # of them, however few dimensions
ALONE = 0.1  # of the spread of all latents: that of a label's only one
MOST_LABELS = 1_000
GROUP = 5_000  # latents of a group where there are no labels to group them by
TOLERANCE = 0.1  # nats: with so many components more steps fit the sample, not what it is a sample of


@dataclass(frozen=True, eq=False)
class Mixtures:
    """One mixture of Gaussians per label, and together one of all latents.

    Attributes:
        column: Of the labels; None where latents were grouped by where they lie.
        parts: By label, None standing for latents without one.
        sizes: How many latents each was fitted to.
    """

    column: str | None
    parts: Mapping[str | None, geometry.Mixture]
    sizes: Mapping[str | None, int]

    @property
    def whole(self) -> geometry.Mixture:
        """Of all latents."""
        return geometry.Mixture.union(list(self.parts.values()), np.array(list(self.sizes.values())))

    def of(self, label: str) -> geometry.Mixture:
        """Of one label.

        Raises:
            UnknownLabel: No latent has it.
        """
        if label not in self.parts:
            known = [name for name in self.parts if name is not None]
            raise UnknownLabel(f"no item that it was fitted to has {self.column} = {label!r}; {suggest(label, known)}")
        return self.parts[label]


def compute_mixtures(space: EmbeddingSpace, column: str | None) -> Mixtures:
    """Fit a mixture to the latents of each label; always the same for the same snapshot.

    Without a column, latents are grouped by k-means, and each group's mixture is fitted on its own: whole groups are
    independent in the fit, which then costs a tenth.

    Raises:
        ConfigInvalid: No such column.
        InputError: Too few items.
    """
    rows = _some(space, FITTED_ROWS)
    if not len(rows):
        raise InputError(f"space {space.name!r} has no items that a mixture could be fitted to; add some")
    latents = space.snapshot.vectors(rows)
    names, which = _labels(space, rows, column) if column is not None else _grouped(latents)
    most = max(1, COMPONENTS // len(names))
    least = max(LEAST, PER_COMPONENT * space.dim)

    def fitted(number: int) -> geometry.Mixture:
        mine = latents[which == number]
        return _part(mine, max(1, min(most, len(mine) // least)), latents)

    with geometry.one_core(), ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = dict(zip(names, pool.map(fitted, range(len(names))), strict=True))
    sizes = np.bincount(which, minlength=len(names)).tolist()
    return Mixtures(column, parts, dict(zip(names, sizes, strict=True)))


def fit_mixture(space: EmbeddingSpace, column: str | None) -> Manifest:
    """Fit mixtures and publish them as a new version."""
    from safetensors.numpy import save

    fitted = compute_mixtures(space, column)
    arrays = {}
    for number, part in enumerate(fitted.parts.values()):
        for name in ("weights", "means", "factors"):
            arrays[f"{number}/{name}"] = np.ascontiguousarray(getattr(part, name), np.float32)
    told = {"column": column, "labels": list(fitted.parts), "sizes": list(fitted.sizes.values())}
    return _publish(space, MIXTURE, "mixture", save(arrays), told)


def read_mixtures(space: EmbeddingSpace, column: str | None) -> Mixtures | None:
    """The stored mixtures of a column's labels; None when there are none of it.

    Raises:
        ChecksumMismatch: Their file is damaged.
    """
    record = _record(space, MIXTURE)
    if record is None or record.properties["column"] != column:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(space.snapshot.read(record.files["safetensors"]))
    except SafetensorError as error:
        raise ChecksumMismatch(f"the mixture of space {space.name!r} is damaged ({error}); fit it again") from error
    labels: list[str | None] = record.properties["labels"]
    parts = {label: _mixture(arrays, number) for number, label in enumerate(labels)}
    return Mixtures(column, parts, dict(zip(labels, record.properties["sizes"], strict=True)))


def open_mixtures(space: EmbeddingSpace, column: str) -> Mixtures:
    """The mixtures of a column's labels: stored, or fitted now."""
    return read_mixtures(space, column) or compute_mixtures(space, column)


def open_whole(space: EmbeddingSpace) -> Mixtures:
    """The mixtures of any column that are stored; else they are fitted now, to the labels that there are."""
    record = _record(space, MIXTURE)
    if record is None:
        return compute_mixtures(space, default_column(space))
    return read_mixtures(space, record.properties["column"]) or compute_mixtures(space, default_column(space))


def fit_flow(
    space: EmbeddingSpace,
    column: str | None,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Manifest:
    """Train a flow and publish it as a new version."""
    from latentstore.encoders import train_flow

    check_seed(seed)
    mixtures = open_whole(space) if column is None else open_mixtures(space, column)
    rows = _some(space, FITTED_ROWS)
    latents = space.snapshot.vectors(rows)
    parts: dict[str | None, geometry.Mixture] = {None: mixtures.whole} if column is None else dict(mixtures.parts)
    which = np.zeros(len(rows), np.int64) if column is None else _places(space, rows, column, list(parts))
    known = which >= 0  # a stored mixture may be older than some labels
    flow, explained = train_flow(latents[known], which[known], parts, seed=seed, progress=progress, **options)
    told = {"column": column, "seed": seed, "options": options, "spec": flow.spec, "explained": explained}
    return _publish(space, FLOW, "flow", flow.to_bytes(), told)


def read_flow(space: EmbeddingSpace) -> Flow:
    """The stored flow.

    Raises:
        NotSupported: There is none.
        ChecksumMismatch, ManifestInvalid: It is damaged.
    """
    record = _record(space, FLOW)
    if record is None:
        raise NotSupported(
            f"space {space.name!r} has no flow; train one with space.fit_flow() or [generation.flow] in its TOML file "
            "and `latentstore generators`, or use method='gmm'"
        )
    from latentstore.encoders import Flow

    spec = {**record.properties["spec"], "column": record.properties["column"]}
    return Flow.from_bytes(spec, space.snapshot.read(record.files["safetensors"]))


def default_column(space: EmbeddingSpace) -> str | None:
    """The column whose labels generators know unless another is named: `label`, where that sorts items into groups."""
    if LABEL not in space.columns:
        return None
    values = space.snapshot.columns(space.snapshot.live_rows(), [LABEL])[LABEL]
    return LABEL if len(values.unique()) <= min(MOST_LABELS, max(1, len(values) // 2)) else None


def _some(space: EmbeddingSpace, most: int) -> Int64[Array, " r"]:
    rows = space.snapshot.live_rows()
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    return rows


def _labels(
    space: EmbeddingSpace, rows: Int64[Array, " r"], column: str
) -> tuple[list[str | None], Int64[Array, " r"]]:
    """The labels that occur, sorted, None last; and the position in them of each row's."""
    space.check_columns([column])
    found = without_nan(space.snapshot.columns(rows, [column])[column].to_pylist())
    values = [None if v is None else str(v) for v in found]
    if len(set(values)) > MOST_LABELS:
        raise InputError(
            f"column {column!r} has {len(set(values))} values; a generator learns up to {MOST_LABELS}: name another "
            "column, or none"
        )
    names = sorted(set(values), key=lambda name: (name is None, name or ""))
    return names, _numbers(values, names)


def _places(
    space: EmbeddingSpace, rows: Int64[Array, " r"], column: str, names: list[str | None]
) -> Int64[Array, " r"]:
    """The position in `names` of each row's label, −1 where it is none of them."""
    found = without_nan(space.snapshot.columns(rows, [column])[column].to_pylist())
    return _numbers([None if value is None else str(value) for value in found], names)


def _numbers(values: list[str | None], names: list[str | None]) -> Int64[Array, " n"]:
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(value, -1) for value in values], np.int64)


def _grouped(latents: Float32[Array, "n d"]) -> tuple[list[str | None], Int64[Array, " n"]]:
    groups = len(latents) // GROUP
    if groups < 2:
        return [None], np.zeros(len(latents), np.int64)
    from sklearn.cluster import MiniBatchKMeans

    found = MiniBatchKMeans(groups, random_state=0, n_init=1, batch_size=4096, max_iter=20).fit_predict(latents)
    numbers, which = np.unique(found, return_inverse=True)
    return [f"group {number}" for number in numbers], which


def _part(mine: Float32[Array, "m d"], components: int, latents: Float32[Array, "n d"]) -> geometry.Mixture:
    """The mixture of one label: of many latents, of few of them with a shrunk covariance, or around a single one."""
    if components > 1:
        return geometry.fit_mixture(
            mine, components, seed=0, tolerance=TOLERANCE, prior=float(latents.shape[1]), max_iterations=500
        )
    if len(mine) > 1:
        gaussian = geometry.Gaussian.fit(mine)
        return geometry.Mixture(np.ones(1), gaussian.mean[None], np.linalg.cholesky(gaussian.covariance)[None])
    return geometry.Mixture(np.ones(1), mine.astype(np.float64), ALONE * geometry.fit_gaussian(latents).factors)


def _mixture(arrays: Mapping[str, Array], number: int) -> geometry.Mixture:
    weights, means, factors = (
        arrays[f"{number}/{name}"].astype(np.float64) for name in ("weights", "means", "factors")
    )
    return geometry.Mixture(weights / weights.sum(), means, factors)


def _record(space: EmbeddingSpace, name: str) -> ArtefactRecord | None:
    return next((record for record in space.snapshot.manifest.concepts if record.name == name), None)


def _publish(space: EmbeddingSpace, name: str, kind: str, content: bytes, told: dict[str, Any]) -> Manifest:
    written = {"safetensors": space.files.write("concepts", ".safetensors", content)}
    stamp = told | {"next_row": space.snapshot.manifest.next_row, "rows": len(space.snapshot)}
    record = ArtefactRecord(name, kind, space.version, written, stamp)
    return space.files.put_artefacts(space.version, concepts=[record])
