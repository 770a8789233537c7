"""`schedule` against a real server that fires real runs; one is killed, then the serving process too."""

from __future__ import annotations

import os
import re
import signal
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prefect_process import Api, end, prefect_server, serving, until

from flows.config import load_config
from flows.deploy import parse_every, schedule
from flows.lock import Busy, is_held, only_one
from flows.running import quietly
from flows.workspace import refresh_lock
from latentstore.errors import ConfigInvalid
from latentstore.store import open_store

TOML = """
store = "a.store"
space = "small"
[dataset]
name = "fashion_mnist"
limit = 2000
[encoder]
kind = "pca"
dim = 8
[embed]
shard_items = 500
[concepts]
centroids = ["label"]
[maps.pca]
[gate.metrics.mse]
max = 0.2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "refresh.toml"
    path.write_text(TOML)
    return path


def holder(path: Path) -> int | None:
    """The process that refreshes now."""
    lock = refresh_lock(load_config(path))
    if not lock.exists() or not is_held_gently(lock):
        return None
    found = re.match(r"process (\d+) ", lock.read_text())
    return int(found[1]) if found else None


def is_held_gently(lock: Path) -> bool:
    """As `is_held`, but from /proc/locks: taking the lock to look would stand in the run's way."""
    inode = lock.stat().st_ino
    return any(f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())


def interval(run: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(run["start_time"]), datetime.fromisoformat(run["end_time"])


def test_runs_fire_one_is_killed_the_next_publishes(path: Path, tmp_path: Path) -> None:
    with prefect_server(tmp_path / "home") as environment, Api(environment) as api:
        with serving(path, "5s", environment) as process:
            killed = until(lambda: holder(path), within=120, process=process, what="first run")
            os.kill(killed, signal.SIGKILL)
            crashed = until(lambda: api.ended("CRASHED") or None, within=60, process=process, what="crash noticed")
            assert len(crashed) == 1
            done = until(
                lambda: api.ended("COMPLETED")[1:2] or None, within=120, process=process, what="two completed runs"
            )
            first, second = api.ended("COMPLETED")[:2]
            assert second == done[0]
            published = open_store(tmp_path / "a.store").space("small", at="production")
            assert (len(published), len(published.centroids)) == (2000, 10)
            shown = api.artifacts(first)
            assert {"small-metrics", "small-refresh", "small-reconstructions"} <= set(shown)
            assert "production is version" in shown["small-refresh"]["data"]
            assert "nothing to do" in api.artifacts(second)["small-refresh"]["data"]
            assert first["name"] == "refresh small"
            # Runs that came due meanwhile were cancelled before they started.
            ran = sorted(interval(run) for state in ("CRASHED", "COMPLETED") for run in api.ended(state))
            assert len(ran) >= 3
            assert all(before[1] <= after[0] for before, after in pairwise(ran)), "two at a time"

            # Serving process and run killed together: the run stays Running for ever, and its slot taken …
            until(lambda: holder(path), within=60, process=process, what="another run")
            end(process)
        (orphan,) = api.ended("RUNNING")
        assert not is_held(refresh_lock(load_config(path)))
        # … until the schedule is served again.
        before = len(api.ended("COMPLETED"))
        with serving(path, "5s", environment) as process:
            until(
                lambda: len(api.ended("COMPLETED")) > before or None, within=90, process=process, what="run after all"
            )
            states = {run["id"]: run for run in api.runs()}
            assert states[orphan["id"]]["state_type"] == "CRASHED"


def test_without_a_server_it_says_how_to_start_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    refused = pytest.raises(ConfigInvalid, match=r"http://127\.0\.0\.1:9/api.*`prefect server start`")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), refused:
        schedule(path, every="15m")


def test_a_schedule_is_served_once(path: Path) -> None:
    config = load_config(path)
    open_store(config.store).files.create()
    with only_one(config.store / "locks" / "schedule-small", what="x"), pytest.raises(Busy, match="schedule of space"):
        schedule(path, every="15m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a cron line or an interval"),
        ({"cron": "0 3 * * *", "every": "15m"}, "either a cron line or an interval"),
        ({"cron": "0 3 * *"}, "cron line '0 3"),
        ({"cron": "61 * * * *"}, "cron line '61"),
        ({"every": "15"}, "interval '15' is not understood"),
        ({"every": "soon"}, "interval 'soon' is not understood"),
        ({"every": "0.1s"}, "too short"),
    ],
)
def test_a_mistaken_time_is_refused_before_anything_starts(path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        schedule(path, **arguments)


def test_intervals() -> None:
    assert [parse_every(text) for text in ("30s", "15m", "6h", "1 d", "1.5h")] == [
        timedelta(seconds=30),
        timedelta(minutes=15),
        timedelta(hours=6),
        timedelta(days=1),
        timedelta(minutes=90),
    ]


def test_a_server_that_is_named_and_does_not_answer_is_a_clear_mistake_of_any_flow() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    refused = pytest.raises(ConfigInvalid, match="correct PREFECT_API_URL")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), refused, quietly():
        pass
