"""diff, restore, repair, backup, export, import on the shell: what they say, their JSON, their mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    space = ls.open("a.store").create_space("docs", dim=3)
    space.add(["a", "b"], np.eye(2, 3), pa.table({"year": [1, None]}))
    space.tag("before")
    space.upsert(["b"], np.ones((1, 3)), pa.table({"year": [2], "new": ["x"]}))
    space.add([f"n{n}" for n in range(30)], np.ones((30, 3)))
    space.delete("a")

    def call(line: str) -> tuple[int, str, str]:
        code = main(line.split())
        return code, *capfd.readouterr()

    return call


def test_diff_and_restore(run: Run) -> None:
    code, out, _ = run("diff a.store docs before")
    assert code == 0
    assert "version 2 → 5: 30 added, 1 deleted, 1 changed" in out
    assert "columns added: new" in out
    assert "and 12 more" in out
    told = json.loads(run("diff a.store docs before 3 --json")[1])
    assert (told["old"], told["new"], told["changed"]) == (2, 3, 1)
    assert told["items"] == [{"change": "changed", "id": "b", "old_row": 1, "new_row": 2}]
    assert run("diff a.store docs before --arrow d.arrow")[0] == 0
    assert pa.ipc.open_file("d.arrow").read_all().num_rows == 32
    assert json.loads(run("restore a.store docs before --json")[1]) == {"space": "docs", "version": 6, "rows": 2}
    assert "0 added, 0 deleted, 0 changed" in run("diff a.store docs before")[1]


def test_backup_and_repair(run: Run) -> None:
    assert json.loads(run("backup a.store b --json")[1])["spaces"] == {"docs": 5}
    assert "0 files, 0.0 MB copied" in run("backup a.store b")[1]
    assert run("repair a.store") == (0, "a.store is sound: nothing to do\n", "")
    next(Path("a.store").rglob("*.f32")).unlink()
    code, out, _ = run("repair a.store")
    assert (code, out.startswith("mended ")) == (0, True)
    next(Path("a.store").rglob("*.parquet")).unlink()
    code, out, _ = run("repair a.store --json")
    assert (code, len(json.loads(out)["left"])) == (1, 1)
    assert run("repair b --json")[0] == 0


def test_export_and_import(run: Run) -> None:
    assert "1 items as parquet" in run("export a.store x.parquet --space docs --where year=2")[1]
    assert "year" in ls.open("a.store").space("docs").columns
    assert json.loads(run("import a.store x.parquet --space two --metric ip --json")[1])["rows"] == 1
    assert ls.open("a.store").space("two").metric == "ip"
    assert run("import a.store x.parquet --space two --replace")[0] == 0
    assert "2 items" in run("export a.store n --space docs --at before --format numpy")[1]
    assert run("export a.store all.tar")[0] == 0
    assert run("import c.store all.tar")[1] == "c.store: docs, two\n"
    assert ls.open("c.store").space("docs").to_arrow().equals(ls.open("a.store").space("docs").to_arrow())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("diff a.store docs 99", "no version 99"),
        ("restore a.store docs nope", "no tag 'nope'"),
        ("restore a.store dogs 1", "did you mean 'docs'"),
        ("repair nothing", "no store at nothing"),
        ("backup nothing b", "no store at nothing"),
        ("backup a.store a.store/b", "overlap"),
        ("export a.store out --space docs", "is unknown"),
        ("export a.store out.tar --format numpy", "needs --space"),
        ("export a.store a.store", "exists"),
        ("import a.store nope.parquet --space x", "does not exist"),
        ("import c.store a.store/store.json", "no archive"),
        ("import a.store a.store/store.json --space x", "no Parquet file"),
    ],
)
def test_a_mistake_is_one_line_and_makes_nothing(run: Run, line: str, words: str) -> None:
    before = sorted(str(one) for one in Path().rglob("*"))
    code, _, err = run(line)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert sorted(str(one) for one in Path().rglob("*")) == before
