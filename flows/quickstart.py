"""`quickstart`: Fashion-MNIST from pictures to three queryable spaces and a report, in one call."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import latentstore.evaluate
from flows.config import Config, load_config, parse_config
from flows.outcome import Refreshed
from flows.pages import EDITED, EDITED_FROM, EDITED_TO, metric_rows, overview, space_section
from flows.refresh import refresh
from flows.reporting import Reporter, listening
from flows.side_by_side import train_side_by_side
from latentstore.datasets import Dataset, open_dataset
from latentstore.errors import ConfigInvalid
from latentstore.store import LatentStore, open_store

if TYPE_CHECKING:
    from latentstore.encoders import Encoder
    from latentstore.evaluate.report import Section
    from latentstore.space import EmbeddingSpace

RECIPES = Path(__file__).parent / "recipes"
SPACES = ("fashion", "fashion_vae", "fashion_vae_2d")
SIDE_BY_SIDE = "train side by side"
FEWEST = 1_000  # items; below, some class has too few to show and to measure
TRIED = 100  # sandals, of which the one is proposed whose edit is the most real
_MARK = "latentstore quickstart "  # begins the last line of a report: what it was made from


@dataclass
class Quickstart:
    """What a quickstart made.

    Attributes:
        folder: Where everything is.
        refreshed: One per space.
        report: report.html.
        commands: Three lines to try next.
        seconds: Wall time of all.
        training: Wall seconds of each space's training, side by side; empty when nothing was trained.
        training_seconds: Of all of them together.
        report_seconds: Of the report alone; 0 when the one that was there is still true.
    """

    folder: Path
    refreshed: list[Refreshed] = field(default_factory=list)
    commands: tuple[str, ...] = ()
    seconds: float = 0.0
    training: dict[str, float] = field(default_factory=dict)
    training_seconds: float = 0.0
    report_seconds: float = 0.0

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "fashion.store"

    def step_seconds(self) -> Iterator[tuple[str, list[float]]]:
        """Step name and wall time in each space."""
        if self.training:
            yield SIDE_BY_SIDE, [self.training.get(one.space, 0.0) for one in self.refreshed]
        for number, step in enumerate(self.refreshed[0].steps):
            yield step.name, [one.steps[number].seconds for one in self.refreshed]

    def metric_rows(self) -> list[tuple[str, str, str, str]]:
        """Space, metric in words, the encoder's value, PCA's value."""
        return [
            (one.space, *row[:3])
            for one in self.refreshed
            for row in metric_rows(one.evaluation.metrics if one.evaluation else {})
        ]


def quickstart(
    folder: Path,
    *,
    limit: int | None = None,
    program: str = "latentstore",
    progress: Callable[[str, float], None] | None = None,
) -> Quickstart:
    """Refresh the three recipes into `folder`/fashion.store and write `folder`/report.html.

    The recipes are copied to the folder once: `latentstore run` refreshes them one by one, and an edited copy is kept
    and used. What is done already is not done again; a report that is still true is left alone.

    Args:
        folder: Made if it is not there.
        limit: Use only this many items. The gate is then off, as its limits are meant for all items.
        program: How the command is called in the lines to try next.
        progress: Told `(step, fraction)`.

    Raises:
        ConfigInvalid: A limit too small for ten classes.
        DidNotConverge: A training failed.
        GateClosed: A recipe's encoder fell short.
    """
    if limit is not None and limit < FEWEST:
        raise ConfigInvalid(f"limit {limit} is too few items for ten classes; choose at least {FEWEST}")
    started = time.perf_counter()
    done = Quickstart(folder)
    folder.mkdir(parents=True, exist_ok=True)
    configs = [_config(folder, name, limit) for name in SPACES]
    training = time.perf_counter()
    done.training = train_side_by_side(configs, progress)
    done.training_seconds = time.perf_counter() - training if done.training else 0.0
    for config in configs:
        with listening(_named(config.space, progress)):
            done.refreshed.append(refresh(config))
    store = open_store(done.store, mode="r")
    with listening(progress):
        done.commands = _commands(store, folder, program)
        _report(store, configs, done)
    done.seconds = time.perf_counter() - started
    return done


def _config(folder: Path, name: str, limit: int | None) -> Config:
    path = folder / f"{name}.toml"
    if not path.exists():
        shutil.copyfile(RECIPES / path.name, path)
    store = folder / "fashion.store"
    if limit is None:
        return load_config(path, store=store)
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    document |= {"store": str(store.absolute()), "gate": {}, "dataset": {**document["dataset"], "limit": limit}}
    return parse_config(document, folder=folder, where=str(path))


def _named(space: str, progress: Callable[[str, float], None] | None) -> Callable[[str, float], None] | None:
    return None if progress is None else lambda step, fraction: progress(f"{space}: {step}", fraction)


def _report(store: LatentStore, configs: Sequence[Config], done: Quickstart) -> None:
    """Write the report, unless the one that is there was made from the same versions by the same code."""
    from latentstore.evaluate.report import Report, software, write_report

    spaces = [store.space(config.space, at=one.version) for config, one in zip(configs, done.refreshed, strict=True)]
    mark = _MARK + _digest([*(f"{s.name} {s.version} {s.fingerprint}" for s in spaces), software(), *done.commands])
    if done.report.is_file() and done.report.read_text(encoding="utf-8").rstrip().endswith(f"{mark} -->"):
        return
    started = time.perf_counter()
    told = Reporter()
    told("report", 0.0)
    sections = list(_sections(store, spaces, configs, done, told))
    done.report_seconds = time.perf_counter() - started
    first = overview(
        done.refreshed,
        [s.encoder.kind for s in spaces if s.encoder],
        [s.dim for s in spaces],
        ({SIDE_BY_SIDE: done.training_seconds} if done.training else {}) | {"report": done.report_seconds},
    )
    lead = (
        f"{len(spaces[0]):,} pictures of clothes, three encoders trained from scratch, one store. "
        "Every picture below was drawn from the published store: read it back, searched it, decoded it."
    )
    page = Report("Fashion-MNIST as a latent space", lead, [first, *sections], done.commands, mark)
    write_report(page, done.folder)
    told("report", 1.0)


def _sections(
    store: LatentStore, spaces: Sequence[EmbeddingSpace], configs: Sequence[Config], done: Quickstart, told: Reporter
) -> Iterator[Section]:
    from latentstore.evaluate.portrait import Portrait

    dataset = open_dataset(**dict(spaces[0].snapshot.manifest.source or {}))
    baseline = cache(lambda dim: _baseline(dataset, dim))
    for number, (space, config, one) in enumerate(zip(spaces, configs, done.refreshed, strict=True)):
        portrait = Portrait(space, dataset, baseline(space.dim), where="split = 'test'")
        text = (done.folder / f"{config.space}.toml").read_text(encoding="utf-8")
        section = space_section(store, space, config, one, text, portrait)
        for drawn, figure in enumerate(section.figures, 1):
            _ = figure.painted
            told("report", (number + drawn / len(section.figures)) / len(spaces))
        yield section


def _baseline(dataset: Dataset, dim: int) -> Encoder:
    from latentstore.evaluate import fit_pca

    training = np.array([split == "train" for split in dataset.metadata["split"].to_pylist()])
    return fit_pca(dataset.read(np.flatnonzero(training)), dim)


def _commands(store: LatentStore, folder: Path, program: str) -> tuple[str, ...]:
    """Three lines that run as they stand, in the folder the quickstart was called from."""
    space = store.space("fashion")
    boots, sandals = (
        space.snapshot.ids(space.matching(f"label = '{label}' and split = 'test'")[:TRIED]).tolist()
        for label in (EDITED_TO, EDITED_FROM)
    )
    edits = [f"'{one}' + 1.5 * {EDITED}" for one in sandals]
    best = int(space.realism(np.stack([space.latent(edit).vector for edit in edits])).argmax())
    start, path = shlex.quote(program), shlex.quote(str(folder / "fashion.store"))

    def out(name: str) -> str:
        return f"--out {shlex.quote(str(folder / name))}"

    return (
        f"{start} search {path} fashion {boots[0]} -k 5 --where \"split = 'train'\"",
        f'{start} edit {path} fashion "{edits[best]}" {out("edit.png")}',
        f"{start} interpolate {path} fashion_vae {sandals[best]} \"centroid('Bag')\" --method slerp {out('path.png')}",
    )


def _digest(parts: Sequence[str]) -> str:
    homes = (Path(__file__).parent, Path(latentstore.evaluate.__file__).parent)
    code = [
        path.read_bytes() for home in homes for path in sorted(home.rglob("*.*")) if path.suffix in (".py", ".html")
    ]
    return hashlib.sha256("\n".join(parts).encode() + b"".join(code)).hexdigest()[:16]
