"""`repeat`: one recipe with several seeds, for what its figures owe to luck."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.config import Config, as_config, parse_config
from flows.outcome import Refreshed
from flows.refresh import refresh
from flows.reporting import listening
from latentstore.errors import ConfigInvalid


@dataclass(frozen=True)
class Repeated:
    """What was measured with each seed.

    Attributes:
        space: The recipe's.
        seeds: In the order they were run.
        metrics: Name → one value per seed. Only what was measured with all of them.
    """

    space: str
    seeds: tuple[int, ...]
    metrics: dict[str, tuple[float, ...]]

    @property
    def medians(self) -> dict[str, float]:
        """Name → median over the seeds."""
        return {name: statistics.median(values) for name, values in self.metrics.items()}


def repeat(
    config: Config | Path | str,
    seeds: Sequence[int],
    folder: Path,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Repeated:
    """Refresh a recipe once per seed, each into a store of its own, and gather what was evaluated.

    The items stay; whatever else the recipe draws at random (weights, batches, samples, which items are measured) is
    drawn anew. Its gate is off: a seed that falls short belongs to the figures. What is done already is not done again.

    Args:
        config: The recipe.
        seeds: Each once.
        folder: Gets `seed_<n>.store`; made if it is not there.
        progress: Told `("seed n: step", fraction)`.

    Raises:
        ConfigInvalid: No seeds, or one of them twice.
    """
    config = as_config(config)
    if not seeds or len({*seeds}) < len(seeds):
        raise ConfigInvalid(f"seeds are {', '.join(map(str, seeds)) or 'none'}; name each once, like 0,1,2")
    folder.mkdir(parents=True, exist_ok=True)
    measured = []
    for seed in seeds:
        with listening(_named(seed, progress)):
            done: Refreshed = refresh(reseeded(config, seed, folder / f"seed_{seed}.store"))
        assert done.evaluation is not None, "a refresh that returns has evaluated"
        measured.append(done.evaluation.metrics)
    common = [name for name in measured[0] if all(name in one for one in measured)]
    return Repeated(config.space, tuple(seeds), {name: tuple(one[name] for one in measured) for name in common})


def reseeded(config: Config, seed: int, store: Path) -> Config:
    """The same recipe with another seed in every section but the dataset's, another store, and no gate."""
    document = config.model_dump(mode="json", exclude_none=True)
    changed = {"store": str(store.absolute()), "dataset": document["dataset"], "gate": {}}
    return parse_config({**_with_seed(document, seed), **changed})


def _with_seed(section: Any, seed: int) -> Any:
    if not isinstance(section, dict):
        return section
    return {key: seed if key == "seed" else _with_seed(value, seed) for key, value in section.items()}


def _named(seed: int, progress: Callable[[str, float], None] | None) -> Callable[[str, float], None] | None:
    return None if progress is None else lambda step, fraction: progress(f"seed {seed}: {step}", fraction)
