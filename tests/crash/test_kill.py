"""A writer is killed with SIGKILL; what it acknowledged is there, whole, and readers saw only whole versions."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import crash_script
import numpy as np
import pytest
from crash_script import DIM, Audit, State, states

from latentstore.storage import SpaceFiles

STEPS = 14  # each kind of step at least once, some again on what they left
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["latentstore.storage", "pandas"])  # pandas: pyarrow imports it where it is


@dataclass
class Outcome:
    """Of one kill."""

    acknowledged: int  # steps
    killed: bool
    reads: int


def create(folder: Path) -> SpaceFiles:
    return SpaceFiles.create(folder, space="crash", dim=DIM, metric="l2")


def attempt(folder: Path, seed: int, wanted: list[State], *, kill_at: int = -1, after: float | None = None) -> Outcome:
    """Run the writer until it is killed, with a reader beside it, and check the store."""
    create(folder)
    known = [state.digest() for state in wanted]
    here, there = FORK.Pipe()
    mine, readers = FORK.Pipe()
    reader = FORK.Process(target=crash_script.read, args=(folder, known, readers))
    writer = FORK.Process(target=crash_script.write, args=(folder, seed, 0, STEPS, kill_at, there))
    reader.start()
    writer.start()
    there.close()
    done = 0
    if after is not None:
        writer.join(after)
        writer.kill()
    while True:
        try:
            done = here.recv()[0] + 1
        except EOFError:
            break
    writer.join()
    mine.send("stop")
    reads, problems = mine.recv()
    reader.join()
    assert reader.exitcode == 0
    assert problems == []
    assert writer.exitcode in (0, -signal.SIGKILL)
    check(folder, seed, wanted, done)
    return Outcome(done, writer.exitcode != 0, reads)


def check(folder: Path, seed: int, wanted: list[State], done: int) -> None:
    """The acknowledged state, or the next if killed between commit and acknowledgement; then go on writing."""
    space = SpaceFiles(folder)
    held = crash_script.seen(space.snapshot())
    possible = {wanted[n].digest() for n in (done, done + 1) if n < len(wanted)}
    assert held in possible, f"after {done} acknowledged steps the store holds another state"
    if wanted[done].tag is not None:
        assert "production" in space.tags()
        assert f"at{wanted[done].tag}" in space.tags()
    assert space.verify() == []
    first = done
    if done + 1 < len(wanted) and held == wanted[done + 1].digest():
        first = done + 1  # it was committed; doing it again would be another step
    state = wanted[first]
    last = min(first + 3, STEPS)
    for step in range(first, last):
        state = crash_script.run(space, seed, step, state)
    assert crash_script.seen(space.snapshot()) == wanted[last].digest()
    report = space.vacuum(timedelta(0), grace=timedelta(0))
    assert not report.dry_run
    assert space.verify() == []
    named = {file.name for manifest in space.versions() for file in manifest.files()}
    on_disk = {path.relative_to(folder).as_posix() for path in (folder / "segments").iterdir()}
    assert on_disk == {name for name in named if name.startswith("segments/")}, "garbage outlived vacuum"


def calls_of(folder: Path, seed: int) -> int:
    """How many file-changing calls the whole script makes."""
    create(folder)
    here, there = FORK.Pipe()
    writer = FORK.Process(target=crash_script.write, args=(folder, seed, 0, STEPS, -1, there))
    writer.start()
    count = 0
    for _ in range(STEPS):
        count = here.recv()[1]
    writer.join()
    return count


def test_killed_at_every_step(tmp_path: Path, long: bool) -> None:
    seed = 1
    wanted = states(seed, STEPS)
    total = calls_of(tmp_path / "whole", seed)
    assert total > 200
    kills = 240 if long else 30
    outcomes = []
    for number, kill_at in enumerate(np.unique(np.linspace(0, total - 1, kills).astype(int))):
        outcomes.append(attempt(tmp_path / f"kill{number}", seed, wanted, kill_at=int(kill_at)))
    assert all(outcome.killed for outcome in outcomes)
    assert len({outcome.acknowledged for outcome in outcomes}) > STEPS // 2, "the kills did not spread over the steps"
    assert sum(outcome.reads for outcome in outcomes) > len(outcomes)
    say("at every step", outcomes)


def test_killed_at_random_times(tmp_path: Path, long: bool) -> None:
    rng = np.random.default_rng(2)
    wanted = states(3, STEPS)
    times = rng.uniform(0.05, 1.0, 40 if long else 10).tolist()
    outcomes = [attempt(tmp_path / f"kill{n}", 3, wanted, after=after) for n, after in enumerate(times)]
    assert any(outcome.killed for outcome in outcomes)
    say("at random times", outcomes)


def say(how: str, outcomes: list[Outcome]) -> None:
    kills = sum(outcome.killed for outcome in outcomes)
    reads = sum(outcome.reads for outcome in outcomes)
    commits = sum(outcome.acknowledged for outcome in outcomes)
    # shown by `pytest -rP`
    sys.stdout.write(f"killed {how}: {kills} kills, {commits} acknowledged steps, 0 lost; {reads} reads, 0 torn\n")


def test_a_lost_row_would_be_noticed(tmp_path: Path) -> None:
    """The control: the checks above do fail when an acknowledged commit is gone."""
    wanted = states(1, STEPS)
    space = create(tmp_path / "a")
    state = State()
    for step in range(4):
        state = crash_script.run(space, 1, step, state)
    (tmp_path / "a" / "manifests" / f"{space.newest_version():012d}.json").unlink()
    with pytest.raises(AssertionError, match="another state"):
        check(tmp_path / "a", 1, wanted, 4)


@pytest.mark.parametrize("step", [0, 1, 3, 4, 5, 9])
def test_everything_is_durable_before_it_is_named(tmp_path: Path, step: int) -> None:
    """Power loss cannot be played here; the order of fsyncs that survives it can be checked."""
    folder = tmp_path / "a"
    space = create(folder)
    state = states(1, step)[-1]
    before = State()
    for earlier in range(step):
        before = crash_script.run(space, 1, earlier, before)
    audit = Audit()
    audit.install()
    try:
        crash_script.run(space, 1, step, state)
    finally:
        audit.remove()
    links = [
        n for n, (call, where) in enumerate(audit.calls) if call == "link" and where.startswith(f"{folder}/manifests")
    ]
    assert len(links) == 1
    synced = {where: n for n, (call, where) in reversed(list(enumerate(audit.calls))) if call == "fsync"}
    created = {where: n for n, (call, where) in enumerate(audit.calls) if call == "open"}
    for file in space.snapshot().manifest.files():
        path = folder / file.name
        if str(path) in created:
            last_write = max(n for n, (call, where) in enumerate(audit.calls) if call == "write" and where == str(path))
            syncs = [n for n, (call, where) in enumerate(audit.calls) if call == "fsync" and where == str(path)]
            assert any(last_write < n < links[0] for n in syncs), f"{path} is named before it is durable"
            folders = [n for n, call in enumerate(audit.calls) if call == ("fsync", str(path.parent))]
            assert any(created[str(path)] < n < links[0] for n in folders), f"{path.parent} is not durable"
    assert any(call == ("fsync", str(folder / "manifests")) for call in audit.calls[links[0] :]), (
        "the name of the commit"
    )
    assert synced
