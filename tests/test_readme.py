"""README's lines run as they stand, and every command and public name is in it or in the design's tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language: str, section: str) -> list[str]:
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert text, f"README has no section {section!r}"
    return re.findall(rf"^```{language}\n(.*?)^```", text[1], re.M | re.S)


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a user stands after the quickstart, here of 2,000 items."""
    folder = tmp_path_factory.mktemp("readme")
    shell("latentstore quickstart --out fashion --limit 2000", folder)
    return folder


def test_the_quickstart_made_what_it_says(folder):
    assert (folder / "fashion" / "report.html").stat().st_size > 10_000
    assert len(list((folder / "fashion").rglob("*.png"))) >= 8


def test_the_tour_in_python(folder):
    (code,) = blocks("python", "A first tour")
    lines = shell(f"python - <<'END'\n{code}END", folder).stdout.splitlines()
    assert lines[0].startswith("[('train/")
    assert "(9, 28, 28, 1)" in lines[2]
    assert "'n': " in lines[-1]


def test_the_tour_in_the_shell(folder):
    (lines,) = blocks("sh", "A first tour")
    for line in lines.splitlines():
        assert shell(line, folder).stdout.strip(), line
    for name in (
        "edited.png",
        "path.png",
        "sneakers.png",
        "places.png",
        "mean.png",
        "moved.png",
        "boot.png",
        "shoes.png",
    ):
        with Image.open(folder / name) as picture:
            assert min(picture.size) >= 28


def test_maps(folder):
    (code,) = blocks("python", "Maps")
    lines = shell(f"python - <<'END'\n{code}END", folder).stdout.splitlines()
    assert "'trustworthiness': 0.9" in lines[0]
    assert lines[-1] == "(2, 28, 28, 1)"


def test_generation_and_transport(folder):
    (code,) = blocks("python", "Generation and transport")
    lines = shell(f"python - <<'END'\n{code}END", folder).stdout.splitlines()
    assert lines[1] == "(8, 28, 28, 1)"
    assert lines[2] == "(28, 28, 1)"
    assert lines[-1] == "(100, 32)"


def test_attributes(folder):
    (code,) = blocks("python", "Attributes")
    said = shell(f"python - <<'END'\n{code}END", folder).stdout.splitlines()
    assert "'name': 'heeled'" in said[0]
    assert said[1].startswith("realism 0.")
    assert said[-1] == "2000"
    (lines,) = blocks("sh", "Attributes")
    for line in lines.splitlines():
        assert shell(line, folder).stdout.strip(), line
    for name in ("kinds.png", "chain.png", "counterfactual.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) >= 28


def test_ready_vectors(tmp_path):
    (code,) = blocks("python", "Your own vectors")
    assert shell(f"python - <<'END'\n{code}END", tmp_path).stdout.splitlines()[-1] == "2 3"


def test_going_back_backups_and_other_tools(tmp_path):
    (code,) = blocks("python", "Your own vectors")
    shell(f"python - <<'END'\n{code}END", tmp_path)
    (lines,) = blocks("sh", "Going back, backups, other tools")
    said = {line: shell(line, tmp_path).stdout for line in lines.splitlines()}
    assert "0 added, 1 deleted, 1 changed" in said["latentstore diff mine.store docs before"]
    assert latentstore.open(tmp_path / "mine.backup", "r").space("docs").get("a")["year"].to_pylist() == [2023]
    assert latentstore.open(tmp_path / "copy.store", "r").spaces == ["docs", "recent"]
    assert (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()[0] == "id\tyear"


def test_own_pictures(tmp_path):
    generator = np.random.default_rng(0)
    for label, level in (("boot", 60), ("pump", 180)):
        (tmp_path / "shoes" / label).mkdir(parents=True)
        for i in range(60):
            pixels = generator.normal(level, 20, (80, 60, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shoes" / label / f"{i}.png")
    (config,) = blocks("toml", "Your own pictures")
    (tmp_path / "shoes.toml").write_text(config)
    line, _ = blocks("sh", "Your own pictures")  # the other, three whole trainings, is run small by test_repeat
    shell(line, tmp_path)
    space = latentstore.open(tmp_path / "shoes.store", "r").space("shoes", at="production")
    assert len(space) == 120
    assert space.decode(space.latent("centroid('boot')").vector).mean() < 0.5


def test_every_command_is_in_the_readme():
    text = shell("latentstore --help", Path()).stdout
    commands = re.findall(r"^│ ([a-z]+) {2,}", text, re.M)
    assert len(commands) >= 18
    missing = [name for name in commands if not re.search(rf"\b{name}\b", README)]
    assert not missing, f"README does not mention {missing}"


@pytest.mark.parametrize("name", [n for n in latentstore.__all__ if not n.startswith("_")])
def test_every_public_name_has_a_docstring(name):
    assert (getattr(latentstore, name).__doc__ or "").strip()


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, time; t = time.perf_counter(); import latentstore; s = time.perf_counter() - t;"
        "print(*sorted({'torch', 'faiss', 'prefect', 'numba', 'duckdb', 'pyarrow'} & set(sys.modules))); print(s)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert out[0] == ""
