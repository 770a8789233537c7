"""kill -9 in the middle of `embed`: no finished shard is embedded again, no item is there twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flows.config import load_config
from flows.embed import embed_items
from flows.lock import Busy, is_held
from flows.train import train_encoder
from flows.workspace import Workspace, refresh_lock

SCRIPT = Path(__file__).with_name("embed_script.py")
TOML = """
store = "a.store"
space = "small"
[dataset]
name = "fashion_mnist"
limit = 1050
[encoder]
kind = "pca"
dim = 8
[embed]
shard_items = 100
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TOML)
    with Workspace(load_config(path)) as work:
        train_encoder(work)
    return path


def staged(work: Workspace) -> int:
    """Shards that are finished and durable."""
    if work.space is None:
        return 0
    return sum(len(work.space.files.staged(key)) for key in work.space.files.staging_keys())


def until_staged(shards: int, watching: Workspace, process: subprocess.Popen[bytes]) -> None:
    """The process says nothing when a shard is finished, so they are looked for."""
    deadline = time.monotonic() + 240
    while staged(watching) < shards:
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):  # it must live until it is killed
            process.wait(timeout=0.05)


def test_a_killed_embed_goes_on_where_it_was(path: Path, tmp_path: Path) -> None:
    config, log, shards = load_config(path), tmp_path / "log", 4
    command = [sys.executable, str(SCRIPT), str(path), str(log)]
    with subprocess.Popen([*command, "paced"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n" * shards)
        process.stdin.flush()
        watching = Workspace(config)
        until_staged(shards, watching, process)
        assert is_held(refresh_lock(config))
        with pytest.raises(Busy, match=f"process {process.pid} since"), Workspace(config):
            pass
        process.send_signal(signal.SIGKILL)
    assert log.read_text().split() == ["100"] * shards
    space = watching.made_space
    assert len(space) == 0, "nothing of an unfinished embed is visible"

    subprocess.run(command, check=True, timeout=240)
    encoded = sorted(map(int, log.read_text().split()))
    assert encoded == [50, *[100] * 10], "each finished shard was encoded exactly once"
    with Workspace(config) as work:
        space = work.made_space
        assert [one.operation for one in space.versions()] == ["create", "embed"]
        ids = space.snapshot.ids(space.snapshot.live_rows())
        assert sorted(ids) == sorted(work.dataset.ids)
        assert space.encoder is not None
        rows = space.snapshot.find(work.dataset.ids.tolist())
        bare = space.encoder.encode(work.dataset.read(np.arange(1050)))
        np.testing.assert_allclose(space.snapshot.vectors(rows), bare, atol=1e-5, rtol=1e-5)
        assert not embed_items(work).changed


def test_what_was_staged_for_other_work_is_thrown_away(path: Path, tmp_path: Path) -> None:
    """Control: shards of a killed run count only for the very same items, encoder and metadata."""
    command = [sys.executable, str(SCRIPT), str(path), str(tmp_path / "log")]
    with subprocess.Popen([*command, "paced"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n" * 2)
        process.stdin.flush()
        until_staged(2, Workspace(load_config(path)), process)
        process.kill()
    path.write_text(TOML.replace("shard_items = 100", "shard_items = 300"))
    with Workspace(load_config(path)) as work:
        done = embed_items(work)
        assert (done.encoded, done.resumed) == (1050, 0)
        assert len(work.made_space) == 1050
        segments = work.made_space.files.folder / "segments"
        named = {file.name for one in work.made_space.versions() for file in one.files()}
        assert {f"segments/{one.name}" for one in segments.iterdir()} <= named, "their files are gone too"
