"""From what `refresh` did to the sections of a report: tables with the encoder beside PCA, figures, how it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.attribute_pages import attribute_tables
from flows.generation_tables import generation_table, transport_table
from latentstore.evaluate.generation_figures import class_transport, samples, transport_paths
from latentstore.evaluate.map_figures import atlas, cube
from latentstore.evaluate.paths import WALKS
from latentstore.evaluate.report import Bar, Figure, Section, Table
from latentstore.evaluate.strength_figures import kinds, strength_figure, strengths_of

if TYPE_CHECKING:
    from flows.config import Config
    from flows.outcome import Refreshed
    from latentstore.evaluate.portrait import Portrait
    from latentstore.space import EmbeddingSpace
    from latentstore.store import LatentStore

# name, words, format, +1 when more is better, −1 when less is better, 0 when neither
METRICS: tuple[tuple[str, str, str, int], ...] = (
    ("mse", "test MSE, pixels from 0 to 1", ".5f", -1),
    ("knn5", "5 neighbours vote the right label", ".1%", 1),
    ("knn10", "10 neighbours vote the right label", ".1%", 1),
    ("linear_probe", "a linear classifier finds the label", ".1%", 1),
    ("negative_elbo", "−ELBO, nats per item", ".1f", -1),
    ("active_dims", "active dimensions", ".0f", 0),
    ("dimension_two_nn", "intrinsic dimension, two nearest", ".1f", 0),
    ("dimension_mle", "intrinsic dimension, likelihood", ".1f", 0),
)
MAP_MEASURES = {
    "trustworthiness": ("trustworthiness", ".3f"),
    "continuity": ("continuity", ".3f"),
    "neighbour_preservation": ("preservation", ".3f"),
    "triplet_accuracy": ("triplets", ".3f"),
    "map_knn_accuracy": ("accuracy", ".3f"),
    "image_mse": ("image MSE", ".4f"),
    "image_mse_beside_umap_inverse": ("image MSE, same items", ".4f"),
    "image_mse_umap_inverse": ("by umap-learn", ".4f"),
}
PATH_MEASURES = {
    "realistic": ("realistic frames", ".1%"),
    "evenness": ("evenness", ".2f"),
    "energy": ("energy", ".2f"),
    "ms": ("ms a pair", ".2f"),
}
PAIRS = (("Sneaker", "Ankle boot"), ("T-shirt/top", "Dress"), ("Pullover", "Trouser"), ("Sandal", "Bag"))
EDITED, EDITED_FROM, EDITED_TO = "formal", "Sandal", "Ankle boot"
KINDS = 5  # of sandals


def metric_rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str, int]]:
    """Words, the encoder's value, PCA's value ("" where it has none), and who wins: 1 the encoder, 2 PCA, 0 nobody."""
    rows = []
    for name, words, form, better in METRICS:
        if name in metrics:
            ours, theirs = metrics[name], metrics.get(f"pca_{name}")
            winner = 0 if theirs is None or not better else 1 if (ours - theirs) * better > 0 else 2
            rows.append((words, format(ours, form), "" if theirs is None else format(theirs, form), winner))
    return rows


def overview(
    done: Sequence[Refreshed], kinds: Sequence[str], dims: Sequence[int], extra: Mapping[str, float]
) -> Section:
    """The first section: all spaces side by side, and where the time went."""
    measured = [one.evaluation.metrics if one.evaluation else {} for one in done]
    rows = []
    for name, words, form, _ in METRICS:
        cells = []
        for metrics in measured:
            ours, theirs = metrics.get(name), metrics.get(f"pca_{name}")
            cells += ["" if value is None else format(value, form) for value in (ours, theirs)]
        if any(cells):
            rows.append((words, *cells))
    columns = ["test items", *(c for one in done for c in (one.space, "PCA"))]
    described = "; ".join(f"{one.space}: {k}, d = {d}" for one, k, d in zip(done, kinds, dims, strict=True))
    tables = [
        Table("Encoders", columns, rows, "An encoder that does not beat PCA at equal width is not worth its training.")
    ]
    if any(one.changed for one in done):
        spaces = (one.space for one in done)
        tables.append(Table("Seconds per step", ("step", *spaces, "in all"), list(_times(done, extra))))
    return Section(
        name="overview",
        title="At a glance",
        lead=f"{described}. Every figure stands beside PCA of the same width, fitted on the same training items.",
        tables=tables,
    )


def _times(done: Sequence[Refreshed], extra: Mapping[str, float]) -> Iterator[tuple[str | Bar, ...]]:
    """One row per step with a bar for its sum, then what was done once for all spaces."""
    steps = [(step.name, [one.steps[i].seconds for one in done]) for i, step in enumerate(done[0].steps)]
    longest = max(*(sum(seconds) for _, seconds in steps), *extra.values())
    for name, seconds in steps:
        total = sum(seconds)
        yield name, *(f"{each:.1f}" for each in seconds), Bar(f"{total:.1f}", total / longest)
    for name, total in extra.items():
        yield name, *[""] * len(done), Bar(f"{total:.1f}", total / longest)


def space_section(
    store: LatentStore, space: EmbeddingSpace, config: Config, done: Refreshed, text: str, portrait: Portrait
) -> Section:
    """The section of one space."""
    metrics = done.evaluation.metrics if done.evaluation else {}
    card = json.loads((store.files.encoder_folder(str(space.fingerprint)) / "card.json").read_bytes())
    rows = metric_rows(metrics)
    training: Mapping[str, Any] = card["training"]
    tables = [
        Table(
            f"Encoder beside PCA at d = {space.dim}",
            ("on test items", "encoder", "PCA"),
            [row[:3] for row in rows],
            best=frozenset((i, row[3]) for i, row in enumerate(rows) if row[3]),
        ),
        *_search_table(metrics),
        *_path_table(metrics),
        *attribute_tables(space, metrics),
        *generation_table(metrics),
        *transport_table(metrics),
        *_map_table(metrics, list(config.maps)),
    ]
    return Section(
        name=space.name,
        title=space.name,
        lead=f"{len(space):,} items in {space.dim} dimensions by {training['kind']}. Last run: {done.verdict}.",
        tables=tables,
        figures=list(_figures(portrait, config, metrics, training)),
        made=_made(space, config, training, card),
        config=text,
    )


def _search_table(metrics: Mapping[str, float]) -> Iterator[Table]:
    if "index_recall" in metrics:
        yield Table(
            "Search",
            ("10 nearest of stored items", "index", "exact"),
            (
                ("recall@10", f"{metrics['index_recall']:.4f}", "1"),
                ("one query, median ms", f"{metrics['index_ms']:.2f}", f"{metrics['exact_ms']:.2f}"),
                (
                    "queries per second, in one batch",
                    f"{metrics['index_batch_per_s']:,.0f}",
                    f"{metrics['exact_batch_per_s']:,.0f}",
                ),
            ),
            "Recall is the share of the true ten nearest that are returned.",
        )


def _path_table(metrics: Mapping[str, float]) -> Iterator[Table]:
    rows = []
    for name in WALKS:
        key = f"path_{name.replace(', ', '_')}"
        cells = [format(metrics[k], f) if (k := f"{key}_{m}") in metrics else "" for m, (_, f) in PATH_MEASURES.items()]
        if any(cells):
            rows.append((name, *cells))
    if rows:
        yield Table(
            "Interpolation",
            ("between items of two labels", *(words for words, _ in PATH_MEASURES.values())),
            rows,
            "Realistic: frames no farther from the data than 95 % of the items. Evenness: longest step by mean step, "
            "median. Energy: what the decoded items change from frame to frame, squared, beside lerp. geodesic changes "
            "them least, which is near to a cross-fade; graph goes through real neighbours.",
        )


def _map_table(metrics: Mapping[str, float], maps: Sequence[str]) -> Iterator[Table]:
    told = [(m, words) for m, words in MAP_MEASURES.items() if any(f"{name}_{m}" in metrics for name in maps)]
    rows = [
        (name, *(format(metrics[f"{name}_{m}"], form) if f"{name}_{m}" in metrics else "" for m, (_, form) in told))
        for name in maps
    ]
    if rows:
        floors = [metrics[key] for name in maps if (key := f"{name}_image_floor_mse") in metrics]
        yield Table(
            "Maps",
            ("map", *(words for _, (words, _) in told)),
            rows,
            "Trustworthiness: are neighbours on the map near in the space; continuity: the other way round; "
            "preservation: how many of the ten nearest are the same; triplets: of three items at random, how often the "
            "nearer pair is the same; accuracy: how often ten neighbours on the map vote the right label. "
            + (
                "Image MSE: test items placed on the map without knowing them, taken back to a latent and decoded, "
                f"against the items themselves; {floors[0]:.4f} is what decoding their own latents leaves."
                if floors
                else ""
            ),
        )


def _figures(
    portrait: Portrait, config: Config, metrics: Mapping[str, float], training: Mapping[str, Any]
) -> Iterator[Figure]:
    known, flat = set(portrait.labels), portrait.space.dim == 2
    yield portrait.reconstructions()
    if any(name.startswith("mse/") for name in metrics):
        yield portrait.class_errors(metrics)
    if flat and training["kind"] == "vae":
        yield portrait.latent_grid()
    if flat:
        yield portrait.latents()
    else:
        yield portrait.neighbours()
        yield portrait.paths([pair for pair in PAIRS if known.issuperset(pair)])
        attributes = portrait.space.attributes["name"].to_pylist()
        if EDITED in attributes and known.issuperset((EDITED_FROM, EDITED_TO)):
            yield portrait.transformation(EDITED, EDITED_FROM, EDITED_TO)
        if strengths_of(metrics)[1]:
            yield strength_figure(portrait, metrics)
        if EDITED_FROM in known:
            yield kinds(portrait, EDITED_FROM, KINDS)
        ratio = metrics.get("gen_gmm_frechet_ratio")
        yield samples(portrait, measured="" if ratio is None else f"Fréchet {ratio:.2f} × that of decoded items. ")
        if "flow" in config.generation:
            yield samples(portrait, "flow")
        yield transport_paths(portrait, [pair for pair in PAIRS if known.issuperset(pair)][:2])
        if known.issuperset((EDITED_FROM, EDITED_TO)):
            yield class_transport(portrait, EDITED_FROM, EDITED_TO)
    for name, section in config.maps.items():
        measured = metrics.get(f"{name}_trustworthiness")
        words = "" if measured is None else f"Trustworthiness {measured:.3f}. "
        if section.dim == 3:
            yield cube(portrait, name, words)
            continue
        yield portrait.map(name, words)
        error = metrics.get(f"{name}_image_mse")
        if error is not None and not flat:
            yield atlas(portrait, name, f"Test items placed and drawn like this come back with MSE {error:.4f}. ")
    if training["history"]:
        yield portrait.training(training["history"])


def _made(
    space: EmbeddingSpace, config: Config, training: Mapping[str, Any], card: Mapping[str, Any]
) -> list[tuple[str, str]]:
    tags = [name for name, version in space.files.tags().items() if version == space.version]
    number: Callable[[str], str] = lambda key: f"{training[key]:,.0f}"  # noqa: E731
    return [
        ("version", f"{space.version}" + (f", tagged {', '.join(tags)}" if tags else "")),
        ("encoder", f"{training['kind']}, fingerprint {space.fingerprint}"),
        ("trained on", f"{number('items')} items of {config.dataset.name}, seed {training['seed']}"),
        (
            "training",
            f"{training['epochs']} epochs of {number('steps')} steps in all, {number('seconds')} s, of CPU "
            f"{number('cpu_seconds')} s, {training['precision']} on {training['device']}; best epoch: "
            f"{training['best_epoch']}",
        ),
        ("dataset digest", str(card.get("lineage", {}).get("dataset_digest", "not recorded"))),
    ]
