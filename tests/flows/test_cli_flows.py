"""Flows from the shell: what they say, how they end, and the quickstart with encoders that train in no time."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from flows.quickstart import RECIPES, SPACES
from latentstore.cli import main

pytestmark = pytest.mark.usefixtures("prefect_server")

CONFIG = """
store = "a.store"
space = "small"
[dataset]
name = "fashion_mnist"
limit = 1000
{dataset}
[encoder]
kind = "pca"
dim = 4
[concepts]
centroids = ["label"]
[concepts.attributes.formal]
positive = "label = 'Ankle boot'"
negative = "{negative}"
[gate.metrics.mse]
max = {limit}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "small.toml"


def write(path: Path, *, dataset: str = "", negative: str = "label = 'Sandal'", limit: float = 0.1) -> None:
    path.write_text(CONFIG.format(dataset=dataset, negative=negative, limit=limit))


def test_run_tells_what_it_did(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(config)
    assert main(["run", str(config), "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert [step["name"] for step in first["steps"]] == [
        "train", "embed", "index", "concepts", "generators", "maps", "evaluate", "publish",
    ]  # fmt: skip
    assert first["changed"]
    assert first["metrics"]["mse"] == pytest.approx(first["metrics"]["pca_mse"], rel=1e-6)
    assert main(["run", str(config)]) == 0
    out, err = capfd.readouterr()
    assert "nothing to do" in out
    assert err == ""
    assert main(["evaluate", str(config), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["changed"] is False


def test_a_closed_gate_is_exit_code_1(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(config, limit=0.0001)
    assert main(["run", str(config)]) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "mse is 0.0" in err
    assert main(["tag", "a.store", "small", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["tags"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": 'folder = "nowhere"'}, "nowhere"),
        ({"dataset": 'folder = "corrupt"'}, "train-images"),
        ({"dataset": "colour = true"}, "colour"),
        ({"negative": "label = 'Sandall'"}, "Sandall"),
        ({"negative": "lable = 'Sandal'"}, "did you mean 'label'"),
    ],
    ids=["no folder", "corrupt gz", "unknown option", "one class", "unknown column"],
)
def test_mistakes_in_a_run_are_one_line(
    config: Path, capfd: pytest.CaptureFixture[str], change: dict[str, str], words: str
) -> None:
    corrupt = config.parent / "corrupt"
    shutil.copytree(Path(__file__).parents[2] / "data" / "fashion-mnist", corrupt)
    for path in corrupt.glob("train-images*"):
        path.write_bytes(path.read_bytes()[:-1000])
    write(config, **change)  # type: ignore[arg-type]
    assert main(["run", str(config)]) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert words in err
    assert "Traceback" not in out + err


def test_quickstart_makes_a_report_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The recipes that lie in the folder are used as they are: here with PCA, and a VAE of one epoch."""
    monkeypatch.chdir(tmp_path)
    folder = Path("out")
    folder.mkdir()
    for name in SPACES:
        text = (RECIPES / f"{name}.toml").read_text().split("[maps")[0].split("[gate")[0]
        if name == "fashion_vae_2d":
            text = text.replace('kind = "vae"', 'kind = "vae"\nepochs = 1')
        else:
            text = text.replace('kind = "vae"', 'kind = "pca"').replace('kind = "autoencoder"', 'kind = "pca"')
        (folder / f"{name}.toml").write_text(text)
    assert main(["quickstart", "--out", "out", "--limit", "1400"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert all(space in out for space in SPACES)
    report = folder / "report.html"
    page = report.read_text(encoding="utf-8")
    assert "At a glance" in page
    pictures = {path.stem for path in folder.glob("*.png")}
    assert {
        "fashion-reconstructions", "fashion-neighbours", "fashion-interpolation", "fashion-transformation-formal",
        "fashion-samples", "fashion-class-errors", "fashion-vae-2d-latent-grid", "fashion-vae-2d-training",
    } <= pictures  # fmt: skip
    commands = [line.strip() for line in out.split("Try next:")[1].strip().splitlines()]
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "latentstore"
        assert main(arguments) == 0, command
        assert command in page.replace("&#39;", "'").replace("&#34;", '"')
    capfd.readouterr()
    made = report.stat().st_mtime_ns
    assert main(["quickstart", "--out", "out", "--limit", "1400", "--json"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert report.stat().st_mtime_ns == made  # nothing changed: nothing was drawn again
    assert not any(space["changed"] for space in again["spaces"])
