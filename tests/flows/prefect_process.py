"""A real `prefect server` and a real serving process, each in a group of its own, so that a test can kill them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

SERVE = "import sys; from flows.deploy import schedule; schedule(sys.argv[1], every=sys.argv[2])"
T = TypeVar("T")


def until(look: Callable[[], T | None], *, within: float, process: subprocess.Popen[bytes], what: str) -> T:
    """Look until there is something to see; the process must stay alive meanwhile."""
    deadline = time.monotonic() + within
    while True:
        if (seen := look()) is not None:
            return seen
        assert time.monotonic() < deadline, f"no {what} within {within:.0f} s"
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"process ended with {process.returncode} before {what}")


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """Start a server on a free port; yields the environment in which to talk to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:

        def healthy() -> bool | None:
            try:
                return httpx.get(f"{environment['PREFECT_API_URL']}/health").status_code == 200 or None
            except httpx.TransportError:
                return None

        until(healthy, within=180, process=process, what="healthy server")
        yield environment
    finally:
        end(process)


@contextmanager
def serving(path: Path, every: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a schedule in a process of its own; killed with its runs at the end."""
    with path.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(path), every],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Api:
    """The few questions a test asks the server."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._client = httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=60)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def runs(self) -> list[dict[str, Any]]:
        """Flow runs that were due, in the order they came due; tasks and future runs left out."""
        found = self._client.post("/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"}).json()
        return [run for run in found if run["state_type"] not in ("SCHEDULED", "PENDING")]

    def ended(self, state: str) -> list[dict[str, Any]]:
        """Runs whose state is COMPLETED, CRASHED, …"""
        return [run for run in self.runs() if run["state_type"] == state]

    def artifacts(self, run: dict[str, Any]) -> dict[str, Any]:
        """Artifacts of a run by key."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        found = self._client.post("/artifacts/filter", json=wanted).json()
        return {artifact["key"]: artifact for artifact in found}
