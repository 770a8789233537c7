"""Full and broken disks: each write, sync, open, link, rename and removal of every change fails in turn.

The faults are real ones for everything above the C library (`faults.c`, compiled here and preloaded into the process
that plays them); `fault_script.py` says what is checked after each. Real small disks are in
`tests/unit/storage/test_faults.py`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fault_script import MODES, OPERATIONS, build, contents

from latentstore.storage import StoreFiles

HERE = Path(__file__).parent
WANTED = [name for name in OPERATIONS if name != "careless"]
RUN = "from latentstore.cli import main; raise SystemExit(main())"
POINTS = 2  # faults for each operation and mode in the short form

pytestmark = pytest.mark.timeout(3600)  # the long form plays thousands of faults


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed; it compiles the library that makes a disk fail")
    library = tmp_path_factory.mktemp("shim") / "faults.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.c", "-ldl"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return library


def play(shim: Path, folder: Path, operations: list[str], points: int) -> list[dict[str, Any]]:
    """What came of the faults, one dictionary each; see `fault_script.Fault`."""
    done = subprocess.run(
        [sys.executable, HERE / "fault_script.py", folder, ",".join(operations), str(points)],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def faults(shim: Path, tmp_path_factory: pytest.TempPathFactory, long: bool) -> list[dict[str, Any]]:
    """All faults of all operations, played in one process."""
    return play(shim, tmp_path_factory.mktemp("faults"), WANTED, 0 if long else POINTS)


@pytest.mark.parametrize("operation", WANTED)
def test_a_fault_changes_nothing_or_is_survived(faults: list[dict[str, Any]], operation: str) -> None:
    mine = [fault for fault in faults if fault["operation"] == operation]
    assert mine
    wrong = [fault for fault in mine if fault["problems"] or fault["outcome"] == "crash"]
    assert not wrong, "\n".join(f"{one['at']} {one['mode']} {one['errno']} {one['hit']}: {one}" for one in wrong[:3])
    modes = {fault["mode"] for fault in mine}
    assert modes == {"reads"} if operation == "reading" else {"once", "from then on", "reads"} <= modes <= set(MODES)


def test_the_faults_were_felt(faults: list[dict[str, Any]]) -> None:
    """The control: faults did happen, of each kind of call, and most operations had to report them."""
    felt = [fault for fault in faults if fault["hit"]]
    assert len(felt) > 0.95 * len(faults)
    calls = {fault["hit"].split("|")[0] for fault in felt}
    assert {"write", "fsync", "create", "open", "link", "unlink"} <= calls
    outcomes = Counter(fault["outcome"] for fault in felt)
    assert outcomes["error"] > len(felt) // 3
    # shown by `pytest -rP`
    sys.stdout.write(
        f"{len(felt)} faults: {dict(outcomes)}, at {dict(Counter(f['hit'].split('|')[0] for f in felt))}\n"
    )


def test_a_lost_write_would_be_noticed(shim: Path, tmp_path: Path) -> None:
    """The control: a writer that acknowledges what failed is found out."""
    problems = [problem for fault in play(shim, tmp_path, ["careless"], 6) for problem in fault["problems"]]
    assert any("it was acknowledged and is not there" in problem for problem in problems)


@pytest.mark.parametrize("command", [["compact", "s"], ["vacuum", "--older-than", "0s", "--grace", "0s"]])
def test_the_shell_says_it_in_one_line(shim: Path, tmp_path: Path, command: list[str], long: bool) -> None:
    """A process that knows nothing of the fault: exit code 2, one line, no traceback."""
    template = tmp_path / "template"
    build(template)
    before = contents(template)["rows"]
    codes = []
    for at in range(0, 60, 3 if long else 20):
        store = tmp_path / f"at{at}"
        shutil.copytree(template, store)
        fault = {"FAULT_FOLDER": str(store), "FAULT_AT": str(at), "FAULT_ERRNO": str(errno.ENOSPC), "FAULT_MODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", RUN, command[0], store, *command[1:]],
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path), **fault},
            capture_output=True,
            text=True,
        )
        codes.append(done.returncode)
        assert done.returncode in (0, 2), done.stderr
        if done.returncode == 2:
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1, done.stderr
        assert contents(store)["rows"] == before
        assert StoreFiles(store).verify() == []
    assert 2 in codes, "no fault was felt"
