from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.lock import Busy, is_held, only_one

HOLD = """
import sys
from pathlib import Path
from flows.lock import only_one
with only_one(Path(sys.argv[1]), what="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a"
    with only_one(path, what="a refresh of 'a'"):
        assert is_held(path)
        message = rf"a refresh of 'a' is under way \(process {os.getpid()} since .* UTC\); wait"
        with pytest.raises(Busy, match=message), only_one(path, what="a refresh of 'a'"):
            pass
        with only_one(tmp_path / "locks" / "b", what="another space"):
            pass
    assert not is_held(path)
    with only_one(path, what="again"):
        pass


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_held(path)
        process.kill()
    assert not is_held(path)
