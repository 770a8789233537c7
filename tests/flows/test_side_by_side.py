"""Trainings side by side: each of its own process, errors as from one's own, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from flows.config import Config, parse_config
from flows.lock import Busy
from flows.side_by_side import _Training, train_side_by_side
from flows.train import find_encoder
from flows.workspace import Workspace
from latentstore.errors import ConfigInvalid, DidNotConverge


def configs(document: dict[str, Any], **options: Any) -> list[Config]:
    slow = {"kind": "autoencoder", "dim": 4, "hidden": [16], "epochs": 2, **options}
    return [parse_config(document), parse_config({**document, "space": "other", "encoder": slow})]


def test_what_is_lacking_is_trained_and_only_once(document: dict[str, Any]) -> None:
    both = configs(document)
    told: list[tuple[str, float]] = []
    seconds = train_side_by_side(both, lambda step, fraction: told.append((step, fraction)))
    assert set(seconds) == {"small", "other"}
    assert {("small: train", 1.0), ("other: train", 1.0)} <= set(told)
    assert all(find_encoder(Workspace(config)) for config in both)
    assert train_side_by_side(both) == {}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"kind": "vae", "learning_rate": 10.0, "beta": 1000.0, "weight_decay": 10.0, "epochs": 50},
            DidNotConverge,
            "became",
        ),
        ({"epochs": -1}, ConfigInvalid, "epochs"),
    ],
)
def test_an_error_of_one_is_raised_here(
    document: dict[str, Any], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        train_side_by_side(configs(document, **options))


def test_a_training_waits_for_its_turn(document: dict[str, Any]) -> None:
    def until(reached: Callable[[float], bool]) -> float:
        deadline = time.monotonic() + 60
        while not reached(training.fraction):
            assert time.monotonic() < deadline, f"it stands at {training.fraction}"
            time.sleep(0.05)
        return training.fraction

    with _Training(configs(document, epochs=20_000, patience=0)[1], 1, None) as training:
        until(lambda fraction: fraction > 0)
        training.turn(False)
        time.sleep(1)  # what it was at
        stopped = training.fraction
        time.sleep(1)
        assert training.fraction == stopped
        training.turn(True)
        assert until(lambda fraction: fraction > stopped) < 1


def test_more_trainings_than_cores_all_end(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    both = configs(document, epochs=300, patience=0)
    assert set(train_side_by_side(both)) == {"small", "other"}
    assert all(find_encoder(Workspace(config)) for config in both)


def test_trainings_end_with_who_started_them(document: dict[str, Any]) -> None:
    """The one that is left behind would hold the space's lock for minutes."""
    slow = configs(document, epochs=100_000, patience=0)[1]
    code = (
        "import json, sys; from flows.config import parse_config; from flows.side_by_side import train_side_by_side\n"
        "train_side_by_side([parse_config(json.load(sys.stdin))], lambda *_: print('on', flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdin and parent.stdout
        parent.stdin.write(slow.model_dump_json())
        parent.stdin.close()
        assert parent.stdout.readline() == "on\n"
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        try:
            with Workspace(slow):
                break
        except Busy:
            assert time.monotonic() < deadline, "the training goes on without whom it was for"
            time.sleep(0.1)
