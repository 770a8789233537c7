"""`evaluate`: measure the newest version of a space, and keep what was measured beside it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prefect import flow, task

from flows.artifacts import show_metrics, show_picture
from flows.config import Config, as_config, digest
from flows.editing import attribute_metrics
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Part, Workspace, opened
from latentstore.errors import NotSupported
from latentstore.storage.evaluations import Evaluation, read_evaluation, write_evaluation

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

    from latentstore.encoders import Encoder
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

FEWEST = 11  # items on a side, below which 10 neighbours cannot vote
BARYCENTERS = 200  # test items, of which pairs are mixed
SHOWN = 10  # test items in the picture of reconstructions


@dataclass(frozen=True)
class Evaluated(Outcome):
    """The record of the newest version; `changed` when it was measured now."""

    evaluation: Evaluation


def measure(work: Workspace) -> Evaluated:
    """Measure encoder, index and maps of the newest version; the record that is there when nothing changed."""
    space = work.made_space
    section = work.config.evaluate
    parameters = digest(section.model_dump(mode="json"), work.config.split.model_dump(mode="json"))
    known = read_evaluation(space.files.folder, space.version)
    if known is not None and known.parameters == parameters:
        return Evaluated(f"version {space.version} is evaluated", False, known)
    started = time.perf_counter()
    metrics = _encoder_metrics(work, space)
    work.report("evaluate", 0.6)
    metrics |= _index_metrics(work, space)
    work.report("evaluate", 0.7)
    metrics |= _path_metrics(work, space)
    metrics |= _dimension_metrics(work, space)
    work.report("evaluate", 0.75)
    metrics |= attribute_metrics(work, space)
    metrics |= _generation_metrics(work, space)
    metrics |= _transport_metrics(work, space)
    work.report("evaluate", 0.85)
    metrics |= _map_metrics(work, space)
    evaluation = Evaluation(
        version=space.version,
        rows=len(space),
        encoder=space.fingerprint,
        parameters=parameters,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
        metrics={name: float(value) for name, value in metrics.items()},
    )
    write_evaluation(space.files.folder, evaluation)
    work.report("evaluate", 1.0)
    return Evaluated(f"version {space.version}: {len(metrics)} metrics", True, evaluation)


def _encoder_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    from latentstore.evaluate import encoder_metrics, fit_pca, knn_accuracy, linear_probe

    train, test = work.training, work.testing
    latents = _latents(space, train), _latents(space, test)
    labels = _labels(work, train), _labels(work, test)
    if space.encoder is None:
        if labels[0] is None or labels[1] is None:
            return {}
        votes = knn_accuracy(latents[0], labels[0], latents[1], labels[1], metric=space.metric)
        probe = linear_probe(latents[0], labels[0], latents[1], labels[1])
        return {**{f"knn{k}": accuracy for k, accuracy in votes.items()}, "linear_probe": probe}
    baseline = fit_pca(train, space.dim, seed=work.config.evaluate.seed)
    found = encoder_metrics(
        space.encoder,
        train,
        labels[0],
        test,
        labels[1],
        latents=latents,
        baseline=baseline,
        metric=space.metric,
        seed=work.config.evaluate.seed,
    )
    if "mse" in found and len(work.dataset.item_shape) == 3:
        picture = _reconstructions(space.encoder, baseline, test, labels[1])
        show_picture(work.config.space, "reconstructions", "Test items, as the encoder and as PCA see them", picture)
    return found


def _index_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    from latentstore.evaluate import index_metrics

    if len(space) < FEWEST:
        return {}
    return index_metrics(space, queries=work.config.evaluate.queries, seed=work.config.evaluate.seed)


def _path_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    """Numbers of each way of interpolating, by `path_<way>_<measure>`; none where there are no two labels."""
    from latentstore.evaluate import path_metrics

    section = work.config.evaluate
    if section.label not in space.columns or len(space) < FEWEST or len(_values(space, section.label)) < 2:
        return {}
    measured = path_metrics(
        space,
        pairs=section.pairs,
        column=section.label,
        seed=section.seed,
        unwalkable=lambda name, error: work.report.say(f"no path by {name} is measured: {error}"),
    )
    return {
        f"path_{one.name.replace(', ', '_')}_{what}": value
        for one in measured
        for what, value in asdict(one).items()
        if isinstance(value, float)
    }


def _values(space: EmbeddingSpace, column: str) -> set[object]:
    return set(space.snapshot.columns(space.snapshot.live_rows(), [column])[column].to_pylist())


def _dimension_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    from latentstore.evaluate import dimension_metrics

    return dimension_metrics(space, queries=work.config.evaluate.queries, seed=work.config.evaluate.seed)


def _generation_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    """Numbers of each way of generating, by `gen_<way>_<measure>`; none unless `[generation]` names some."""
    from flows.generators import measured_generation

    if not work.config.generation or min(len(work.training), len(work.testing)) < FEWEST:
        return {}
    judge = work.judge() if _decodes(space) else None
    if judge is None:
        work.report.say(
            "samples are measured as latents only: Fréchet distance, density and coverage need a decoder and a judge, "
            'judge = ["label"] in [evaluate]'
        )
    return measured_generation(work, space, judge).metrics()


def _transport_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    """Items moved to other classes, by `transport_<measure>`, with a judge; barycenters of pictures."""
    from latentstore.evaluate import barycenter_metrics, transport_metrics

    if not work.config.generation or len(work.dataset.item_shape) != 3 or not _decodes(space):
        return {}
    section, found = work.config.evaluate, dict[str, float]()
    judge = work.judge()
    if judge is not None and section.label in judge.names and len(_values(space, section.label)) > 1:
        test = work.testing
        ids = test.dataset.ids[test.positions]
        found |= transport_metrics(space, judge, column=section.label, ids=ids, seed=section.seed).metrics()
    pictures = work.testing.read(np.arange(min(BARYCENTERS, len(work.testing))))
    if len(pictures) > 1:
        found |= barycenter_metrics(pictures, seed=section.seed).metrics()
    return found


def _map_metrics(work: Workspace, space: EmbeddingSpace) -> dict[str, float]:
    from latentstore.evaluate import image_metrics, map_metrics

    section, found = work.config.evaluate, dict[str, float]()
    for name in work.config.maps:
        measured = map_metrics(space, name, column=section.label, asking=section.map_items, seed=section.seed)
        drawn = _drawn(work, space, name)
        if len(drawn):
            ids = drawn.dataset.ids[drawn.positions].tolist()
            measured |= image_metrics(space, name, ids, _reader(drawn), umap_inverse=section.umap_inverse)
        found |= {f"{name}_{what}": value for what, value in measured.items()}
    return found


def _drawn(work: Workspace, space: EmbeddingSpace, name: str) -> Part:
    """Test items on a map that are drawn back from their place on it; none where the space cannot draw."""
    count, test = work.config.evaluate.map_images, work.testing
    if not count or len(space) < FEWEST or not _decodes(space):
        return Part(test.dataset, test.positions[:0])
    order = np.random.default_rng(work.config.evaluate.seed).permutation(test.positions)
    known = set(space.map(name)["id"].to_pylist())  # a map may be older than some items
    on_map = [position for position in order if test.dataset.ids[position] in known]
    return Part(test.dataset, np.array(on_map[: min(count, len(known) // 2)], np.int64))


def _reader(part: Part) -> Callable[[Sequence[str]], Array]:
    return lambda ids: part.read(np.arange(len(ids)))


def _decodes(space: EmbeddingSpace) -> bool:
    try:
        space.decode(np.zeros((1, space.dim), np.float32))
    except NotSupported:
        return False
    return True


def _latents(space: EmbeddingSpace, part: Part) -> Float32[Array, "m d"]:
    return space.snapshot.vectors(space.snapshot.find(part.dataset.ids[part.positions].tolist()))


def _labels(work: Workspace, part: Part) -> Shaped[Array, " m"] | None:
    column = work.config.evaluate.label
    if column not in work.dataset.metadata.column_names or len(part) < FEWEST:
        return None
    return part.labels(column).astype(str)


def _reconstructions(encoder: Encoder, baseline: Encoder, test: Part, labels: Shaped[Array, " m"] | None) -> bytes:
    from latentstore.evaluate.pictures import reconstructions
    from latentstore.evaluate.theme import LIGHT

    chosen = np.linspace(0, len(test) - 1, min(SHOWN, len(test))).astype(np.int64)
    items, titles = test.read(chosen), [""] * len(chosen) if labels is None else labels[chosen].tolist()
    ours, theirs = (one.decode(one.encode(items)) for one in (encoder, baseline))
    picture = reconstructions(items, ours, theirs, titles, dim=encoder.dim)
    png = io.BytesIO()
    picture(LIGHT).save(png, "PNG", optimize=True)
    return png.getvalue()


evaluate_step = task(measure, **step("evaluate"))


@flow(name="evaluate", flow_run_name=run_name("evaluate"))
def evaluate(config: Config | Path | str) -> Evaluated:
    """Measure the newest version of a space."""
    with opened(as_config(config)) as work:
        evaluated = evaluate_step(work)
        show_metrics(work, evaluated.evaluation)
        return evaluated
