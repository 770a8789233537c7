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
from latentstore.storage import StagedSegment

SCRIPT = Path(__file__).with_name("embed_script.py")
AHEAD = (
    5  # pieces that may be encoded before the one written next: three a core are begun, and the script has two cores
)
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


def staged(work: Workspace) -> list[StagedSegment]:
    """Shards that are finished and durable."""
    if work.space is None:
        return []
    return [one for key in work.space.files.staging_keys() for one in work.space.files.staged(key)]


def until_staged(shards: int, watching: Workspace, process: subprocess.Popen[bytes]) -> None:
    """Let it encode until so many shards are finished; it says nothing, so they are looked for.

    Which of two threads encodes next is not ours to say: with fewer lines than this, one may take them all while the
    other, which has the first piece, waits for ever.
    """
    assert process.stdin is not None
    process.stdin.write(b"\n" * (shards + AHEAD))
    process.stdin.flush()
    deadline = time.monotonic() + 240
    while len(staged(watching)) < shards:
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):  # it must live until it is killed
            process.wait(timeout=0.05)


def test_a_killed_embed_goes_on_where_it_was(path: Path, tmp_path: Path) -> None:
    config, log, shards = load_config(path), tmp_path / "log", 4
    command = [sys.executable, str(SCRIPT), str(path), str(log)]
    with subprocess.Popen([*command, "paced"], stdin=subprocess.PIPE) as process:
        watching = Workspace(config)
        until_staged(shards, watching, process)
        assert is_held(refresh_lock(config))
        with pytest.raises(Busy, match=f"process {process.pid} since"), Workspace(config):
            pass
        process.send_signal(signal.SIGKILL)
    finished, begun = len(staged(watching)), log.read_text().split()
    assert shards <= finished <= len(begun) <= shards + AHEAD, "a shard is finished after it was encoded, in order"
    assert set(begun) == {"100"}
    space = watching.made_space
    assert len(space) == 0, "nothing of an unfinished embed is visible"

    subprocess.run(command, check=True, timeout=240)
    encoded = sorted(map(int, log.read_text().split()[len(begun) :]))
    assert encoded == [50, *[100] * (10 - finished)], "no finished shard was encoded again"
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
        watching = Workspace(load_config(path))
        until_staged(2, watching, process)
        process.kill()
    files = [file for one in staged(watching) for file in one.paths()]
    assert files and all(file.exists() for file in files)
    path.write_text(TOML.replace("shard_items = 100", "shard_items = 300"))
    with Workspace(load_config(path)) as work:
        done = embed_items(work)
        assert (done.encoded, done.resumed) == (1050, 0)
        assert len(work.made_space) == 1050
        assert not any(file.exists() for file in files), "their files are gone too"
        assert not work.made_space.files.staging_keys()
