"""The judge of a configuration: trained once, shared by spaces, never on latents; its words in metrics and shell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.attribute_pages import edit_table
from flows.concepts import fit_concepts
from flows.config import parse_config
from flows.embed import embed_items
from flows.evaluate import measure
from flows.train import find_encoder, train_encoder
from flows.workspace import Workspace
from latentstore.cli import main
from latentstore.errors import ConfigInvalid, InputError, UnknownAttribute

Make = Callable[..., Workspace]
JUDGE = {"judge": ["label"], "judge_epochs": 3, "pairs": 5, "queries": 50, "edit_items": 60}


def made(work: Workspace) -> Workspace:
    train_encoder(work)
    embed_items(work)
    fit_concepts(work)
    return work


def test_a_judge_is_trained_once_and_shared(workspace: Make, document: dict[str, Any]) -> None:
    config = parse_config({**document, "evaluate": JUDGE})
    with workspace(config=config) as work:
        made(work)
        before = find_encoder(work)
        judge = work.judge()
        assert judge is not None and judge is work.judge()
        assert judge.record is not None and judge.record.items == 600  # the training side only
        items = work.dataset.read(work.testing.positions)
        truth = work.testing.labels("label")
        assert judge.accuracy(work.testing, {"label": truth})["label"] > 0.55
        assert judge.accuracy(work.testing, {"label": np.roll(truth, 1)})["label"] < 0.25  # control
        assert find_encoder(work) == before  # a judge is no encoder of the space
        assert not (work.config.store / "training" / "judges").exists() or not any(
            (work.config.store / "training" / "judges").iterdir()
        )
    other = parse_config({**document, "space": "other", "evaluate": JUDGE, "encoder": {"kind": "pca", "dim": 3}})
    with workspace(config=other) as work:
        again = work.judge()
        assert again is not None and again.record is None  # read back
        assert again.encoder.fingerprint == judge.encoder.fingerprint
        np.testing.assert_array_equal(again.predict(items, "label"), judge.predict(items, "label"))
    with workspace(config=parse_config({**document, "evaluate": {**JUDGE, "seed": 1}})) as work:
        assert work.judge().encoder.fingerprint != judge.encoder.fingerprint  # type: ignore[union-attr]
    with workspace(config=parse_config(document)) as work:
        assert work.judge() is None


def test_what_cannot_be_judged_is_refused(workspace: Make, document: dict[str, Any]) -> None:
    for judge, kind, message in (
        (["lable"], InputError, r"\[evaluate\] no column 'lable' in the dataset; did you mean 'label'"),
        (["label", "split"], ConfigInvalid, r"column 'split' has fewer than two values; leave it out"),
    ):
        with workspace(config=parse_config({**document, "evaluate": {"judge": judge}})) as work:  # noqa: SIM117
            with pytest.raises(kind, match=message):
                work.judge()


def test_edits_are_measured_and_told(
    workspace: Make, document: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = {**document, "encoder": {"kind": "pca", "dim": 24}, "maps": {}, "evaluate": JUDGE}
    with workspace(config=parse_config(document)) as work:
        metrics = measure(made(work)).evaluation.metrics
        assert metrics["judge_label"] >= metrics["told_label"] > 0.4  # of ten labels
        assert 0 <= metrics["edit_formal_flipped"] <= 1
        assert metrics["edit_formal_success"] == max(v for k, v in metrics.items() if "edit_formal_success@" in k)
        assert metrics["edit_formal_success"] > metrics["edit_formal_success@0"] == 0
        (table,) = edit_table(metrics)
        assert table.rows[0][:3] == (
            "formal",
            f"{metrics['edit_formal_strength']:g}",
            f"{metrics['edit_formal_success']:.1%}",
        )
    path = tmp_path / "small.toml"
    path.write_text(_toml(document))
    assert main(["judge", str(path), "--json", "--out", str(tmp_path / "edits.png")]) == 0
    told = json.loads(capfd.readouterr().out)
    (best,) = (row for row in told["edits"] if row["best"])
    assert best["success"] == pytest.approx(metrics["edit_formal_success"])
    with Image.open(tmp_path / "edits.png") as picture:
        assert picture.size[0] > 500
    assert main(["judge", str(path)]) == 0
    assert re.search(r"formal +\d", capfd.readouterr().out)
    assert main(["judge", str(path), "--out", "edits.jpg"]) == 2
    assert "is no .png" in capfd.readouterr().err
    path.write_text(_toml({**document, "evaluate": {}}))
    assert main(["judge", str(path)]) == 2
    assert "names no columns to judge" in capfd.readouterr().err


def test_a_chain_of_unknown_attributes_is_refused(workspace: Make, document: dict[str, Any]) -> None:
    config = parse_config({**document, "maps": {}, "evaluate": {**JUDGE, "chain": ["formal", "smile"]}})
    with workspace(config=config) as work, pytest.raises(UnknownAttribute, match="chain names 'smile'"):
        measure(made(work))


def _toml(document: dict[str, Any]) -> str:
    """Enough of TOML for these documents."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items() if not isinstance(value, dict)]

    def table(name: str, content: dict[str, Any]) -> None:
        plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
        lines.extend([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in plain.items())])
        for key, value in content.items():
            if isinstance(value, dict):
                table(f"{name}.{key}", value)

    for key, value in document.items():
        if isinstance(value, dict):
            table(key, value)
    return "\n".join(lines) + "\n"
