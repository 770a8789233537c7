"""Telling how far a long step is: to a callback of the shell's progress bars, to Prefect's log and UI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

Progress = Callable[[str, float], None]

_listener: ContextVar[Progress | None] = ContextVar("listener", default=None)
EVERY = 5.0  # seconds between two updates of the UI


@contextmanager
def listening(progress: Progress | None) -> Iterator[None]:
    """While open, flows tell `progress(step, fraction)` how far they are; step for example "embed", fraction 0 to 1."""
    token = _listener.set(progress)
    try:
        yield
    finally:
        _listener.reset(token)


class Reporter:
    """Takes the progress of steps; this one passes it to the listener only."""

    def __init__(self) -> None:
        self._listener = _listener.get()

    def __call__(self, step: str, fraction: float, words: str = "") -> None:  # noqa: ARG002 (for the run's log)
        """Tell that `fraction` of a step is done; `words` say more, for example the loss."""
        if self._listener is not None:
            self._listener(step, fraction)

    def say(self, message: str) -> None:
        """Write one line to the log of the run, or to ours outside of one."""
        logger().info(message)


class RunReporter(Reporter):
    """Within a flow run: also log lines and one progress artifact per step, both at most every 5 seconds."""

    def __init__(self, space: str) -> None:
        super().__init__()
        self._space = space
        self._artifacts: dict[str, UUID] = {}
        self._told: dict[str, float] = {}

    def __call__(self, step: str, fraction: float, words: str = "") -> None:
        """See `Reporter`."""
        super().__call__(step, fraction, words)
        now = time.monotonic()
        started = self._told.setdefault(step, now)
        shown = step in self._artifacts
        if (now - started < EVERY) if fraction < 1 else not shown:
            return  # a step that takes less than five seconds needs no bar
        self._told[step] = now
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if shown:
            update_progress_artifact(self._artifacts[step], progress=100 * fraction)
        else:
            key = f"{self._space}-{step}-progress".replace("_", "-")
            made: Any = create_progress_artifact(
                progress=100 * fraction, key=key, description=f"{step} of {self._space}"
            )
            self._artifacts[step] = made
        self.say(f"{step}: {fraction:.0%} {words}".rstrip())


def logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The log of the run under way, which the UI shows; the plain one outside of a run."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("latentstore.flows")
