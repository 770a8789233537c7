"""Faces through the whole pipeline, small: drawn with a progress, trained, embedded, edited before a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.concepts import fit_concepts
from flows.config import load_config, parse_config
from flows.embed import embed_items
from flows.evaluate import measure
from flows.quickstart import RECIPES
from flows.reporting import Reporter
from flows.train import train_encoder
from flows.workspace import Workspace


class Listening(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, float]] = []

    def __call__(self, step: str, fraction: float, words: str = "") -> None:
        self.told.append((step, fraction))


def test_the_recipe_runs_on_a_few_small_faces(tmp_path: Path) -> None:
    recipe = load_config(RECIPES / "avatars.toml")
    document: dict[str, Any] = {
        **recipe.model_dump(mode="json", include={"space", "metric", "split", "concepts"}),
        "store": str(tmp_path / "a.store"),
        "dataset": {"name": "avatars", "n": 420, "size": 24, "folder": str(tmp_path / "drawn")},
        "encoder": {"kind": "pca", "dim": 24},
        "evaluate": {
            **recipe.evaluate.model_dump(mode="json", exclude_none=True),
            **{"judge": ["smiling", "glasses", "hair_color"], "judge_epochs": 4, "pairs": 3, "queries": 20},
            "chain": recipe.evaluate.chain[:2],  # of so few faces hardly one lacks all three
        },
    }
    report = Listening()
    with Workspace(parse_config(document), report) as work:
        train_encoder(work)
        embed_items(work)
        fit_concepts(work)
        metrics = measure(work).evaluation.metrics
    assert ("dataset", 1.0) in report.told
    for name in recipe.evaluate.chain:
        assert f"edit_{name}_success" in metrics, name  # each link of the chain is an attribute that the judge can tell
    assert set(recipe.gate.metrics) <= metrics.keys()
