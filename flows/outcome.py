"""What the steps of a run say when they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from flows.gate import GateClosed

if TYPE_CHECKING:
    from flows.workspace import Workspace
    from latentstore.storage.evaluations import Evaluation


@dataclass(frozen=True)
class Outcome:
    """What a step did.

    Attributes:
        did: In words, one line.
        changed: Whether anything was written; False means that all was there already.
    """

    did: str
    changed: bool


@dataclass(frozen=True)
class Step:
    """One line of a summary: a step's name, its wall time in seconds, and what it did."""

    name: str
    seconds: float
    did: str
    changed: bool


AnOutcome = TypeVar("AnOutcome", bound=Outcome)


@dataclass
class Refreshed:
    """What a refresh did.

    Attributes:
        space: Its name.
        version: The newest version when it ended; None when it did not get there.
        steps: In order, as far as it came.
        evaluation: What was measured of `version`.
        verdict: How it ended, in one line.
    """

    space: str
    version: int | None = None
    steps: list[Step] = field(default_factory=list)
    evaluation: Evaluation | None = None
    verdict: str = "did not finish"

    @property
    def changed(self) -> bool:
        """Whether anything was written; False after a refresh with nothing to do."""
        return any(step.changed for step in self.steps)

    def run(self, name: str, step: Callable[..., AnOutcome], work: Workspace, *arguments: Any) -> AnOutcome:
        """Run a step and note down its time and what it did."""
        started = time.perf_counter()
        outcome = step(work, *arguments)
        self.steps.append(Step(name, time.perf_counter() - started, outcome.did, outcome.changed))
        return outcome


@contextmanager
def verdict(done: Refreshed, show: Callable[[Refreshed], None]) -> Iterator[Refreshed]:
    """Say in one line how a refresh ended, and show the summary, whichever way it ends."""
    try:
        yield done
    except GateClosed as closed:
        done.verdict = f"not published: {'; '.join(map(str, closed.breaches))}"
        show(done)
        raise
    done.verdict = done.steps[-1].did if done.changed else "nothing to do"
    show(done)
