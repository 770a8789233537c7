"""Generators from a configuration: fitted once, again when something changed, and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from flows.config import FLOW_OPTIONS, parse_config
from flows.embed import embed_items
from flows.evaluate import measure
from flows.generation_tables import generation_table, transport_table
from flows.generators import fit_generators
from flows.train import train_encoder
from flows.workspace import Workspace
from latentstore.encoders import FlowOptions
from latentstore.errors import ConfigInvalid, InputError

Make = Callable[..., Workspace]
FLOW = {"steps": 20, "hidden": 16, "blocks": 1, "batch_size": 64}


def test_the_options_of_a_flow_are_known_without_torch() -> None:
    assert tuple(field.name for field in fields(FlowOptions)) == FLOW_OPTIONS


def test_generators_are_fitted_once_and_measured(workspace: Make, document: dict[str, Any]) -> None:
    document |= {
        "generation": {"flow": FLOW, "gmm": {}},
        "evaluate": {"judge": ["label"], "judge_epochs": 1, "samples": 100, "pairs": 5, "queries": 50},
    }
    del document["maps"], document["concepts"]
    with workspace(config=parse_config(document)) as work:
        train_encoder(work)
        embed_items(work)
        first = fit_generators(work)
        assert first.changed
        assert first.did.endswith("gmm, flow")
        names = [record.name for record in work.made_space.snapshot.manifest.concepts]
        assert names == ["generation/gmm", "generation/flow"]
        assert not fit_generators(work).changed
        metrics = measure(work).evaluation.metrics
    assert metrics["gen_floor_frechet"] >= 0
    for way in ("gmm", "gmm_truncated", "flow", "flow_truncated"):
        assert 0 <= metrics[f"gen_{way}_realistic"] <= 1
        assert metrics[f"gen_{way}_frechet_ratio"] > 0
    assert metrics["barycenter_mass_error"] < 1e-4
    (made,), (moved,) = list(generation_table(metrics)), list(transport_table(metrics))
    assert [row[0] for row in made.rows] == [
        "real items", "decoded items", "gmm", "gmm, truncated", "flow", "flow, truncated",
    ]  # fmt: skip
    assert [len(row) for row in made.rows] == [len(made.columns)] * 6
    assert len(moved.rows) == 3
    changed = parse_config({**document, "generation": {"gmm": {}, "flow": {**FLOW, "seed": 1}}})
    with workspace(config=changed) as work:
        assert fit_generators(work).did.endswith(": flow")


def test_without_a_judge_the_table_says_what_is_left_out() -> None:
    (table,) = generation_table({"gen_gmm_realistic": 0.9, "gen_gmm_nearest_ratio": 1.2, "gen_gmm_nearest_auc": 0.6})
    assert "Fréchet distance, density and coverage are left out" in table.caption
    assert [row[0] for row in table.rows] == ["gmm"]
    assert not list(generation_table({"mse": 1.0}))
    assert not list(transport_table({"mse": 1.0}))


def test_mistakes_name_the_section(workspace: Make, document: dict[str, Any]) -> None:
    document["generation"] = {"gmm": {"column": "lable"}}
    with workspace(config=parse_config(document)) as work:
        train_encoder(work)
        embed_items(work)
        with pytest.raises((ConfigInvalid, InputError), match=r"\[generation\].*did you mean 'label'"):
            fit_generators(work)
