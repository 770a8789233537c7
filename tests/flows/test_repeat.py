"""`repeat`: every draw of a recipe is drawn anew, the medians are of what was measured, nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import latentstore as ls
from flows.config import load_config, parse_config
from flows.repeat import repeat, reseeded
from latentstore.cli import main
from latentstore.errors import ConfigInvalid

RECIPES = Path(__file__).parents[2] / "flows" / "recipes"


def test_a_seed_is_set_wherever_a_recipe_has_one(tmp_path: Path) -> None:
    config = reseeded(load_config(RECIPES / "fashion_hybrid.toml"), 7, tmp_path / "b.store")
    assert config.store == tmp_path / "b.store"
    assert config.encoder is not None
    attribute = config.concepts.attributes["formal"]
    maps, generators = config.maps.values(), config.generation.values()
    sections = [config.encoder, config.index, config.evaluate, attribute, *maps, *generators]
    assert [one.seed for one in sections] == [7] * len(sections)
    assert not config.gate.metrics
    avatars = reseeded(load_config(RECIPES / "avatars.toml"), 7, tmp_path / "b.store")
    assert avatars.dataset.options["seed"] == 0, "the items are the same"
    recipe = load_config(RECIPES / "fashion_hybrid.toml")
    again = reseeded(config, 0, recipe.store).model_dump()
    assert again == {**recipe.model_dump(), "gate": again["gate"]}, "nothing else changes"


@pytest.mark.usefixtures("prefect_server")
def test_medians_of_what_was_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = {
        "store": str(tmp_path / "unused.store"),
        "space": "small",
        "dataset": {"name": "fashion_mnist", "limit": 700},
        "encoder": {"kind": "autoencoder", "dim": 4, "epochs": 1},
        "gate": {"metrics": {"mse": {"max": 1e-9}}},
    }
    done = repeat(parse_config(document), [3, 4, 5], tmp_path / "out")
    assert len(set(done.metrics["mse"])) == 3, "each seed trains another encoder"
    folders = [tmp_path / f"out/seed_{seed}.store/spaces/small/evaluations" for seed in done.seeds]
    stored = [json.loads(next(folder.glob("*.json")).read_text()) for folder in folders]
    for name, values in done.metrics.items():
        assert values == tuple(one["metrics"][name] for one in stored)
        assert done.medians[name] == np.median(values)
    versions = [ls.open(tmp_path / f"out/seed_{seed}.store").space("small").version for seed in done.seeds]
    assert repeat(parse_config(document), [3, 4, 5], tmp_path / "out") == done
    assert versions == [ls.open(tmp_path / f"out/seed_{seed}.store").space("small").version for seed in done.seeds]
    assert not (tmp_path / "unused.store").exists()
    path = tmp_path / "small.toml"
    path.write_text(
        'store = "unused.store"\nspace = "small"\n[dataset]\nname = "fashion_mnist"\nlimit = 700\n'
        '[encoder]\nkind = "autoencoder"\ndim = 4\nepochs = 1\n[gate.metrics.mse]\nmax = 0.5\n'
    )
    assert main(["repeat", str(path), "--seeds", "3,4,5", "--out", str(tmp_path / "out")]) == 0
    out = capfd.readouterr().out
    row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["mse"])
    assert row == ["mse", *(f"{value:.5g}" for value in (*done.metrics["mse"], done.medians["mse"])), "≤", "0.5"]


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_named_once(tmp_path: Path, seeds: list[int]) -> None:
    with pytest.raises(ConfigInvalid, match="seeds are"):
        repeat(load_config(RECIPES / "fashion.toml"), seeds, tmp_path)
    assert main(["repeat", str(RECIPES / "fashion.toml"), "--seeds", "0,x", "--out", str(tmp_path)]) == 2
