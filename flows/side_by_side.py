"""Training several encoders at once, one process each: what `quickstart` does with its three.

The matrix products of a small network do not fill two cores: one epoch of the recipe `fashion` takes 6.9 s on two
threads and 10.6 s on one, so two trainings of one thread each do 1.3 times the work (measured on 2 cores, AVX2).
More trainings than cores take turns: those that are least far go on, so that all end at about the same time and no core
is idle while the longest is finished alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import latentstore.errors
from flows.config import Config, parse_config
from flows.reporting import Progress, listening
from flows.train import find_encoder, train_encoder
from flows.workspace import Workspace
from latentstore.errors import LatentStoreError

GO, WAIT = "go", "wait"


def train_side_by_side(configs: Sequence[Config], progress: Progress | None = None) -> dict[str, float]:
    """Train the encoders that the store lacks; `refresh` then finds them there.

    Each process dies with this one, and keeps the state of its training as `train` does.

    Args:
        configs: Each of another space.
        progress: Told `("space: train", fraction)`.

    Returns:
        Wall seconds by space, of those that were trained; they overlap.

    Raises:
        LatentStoreError: The first that a training raised, of its own kind; the others are stopped and can be resumed.
    """
    trained = [config for config in configs if config.encoder is not None]
    lacking = [config for config in trained if find_encoder(Workspace(config)) is None]
    # Bits depend on the number of threads: it must not change with what an earlier, killed call had trained already.
    cores = len(os.sched_getaffinity(0))
    threads = max(1, cores // max(1, len(trained)))
    with ExitStack() as running:
        trainings = [running.enter_context(_Training(config, threads, progress)) for config in lacking]
        while any(t.alive for t in trainings) and not any(t.failed for t in trainings):
            for training in trainings:
                training.reader.join(0.1)
            least_far = sorted((t for t in trainings if t.alive), key=lambda training: training.fraction)
            for place, training in enumerate(least_far):
                training.turn(place < cores // threads)
        for training in trainings:
            if training.failed:
                raise training.error()
    return {training.space: training.seconds for training in trainings}


class _Training:
    """One process that trains one encoder, and the thread that listens to it.

    Attributes:
        space: Whose encoder.
        fraction: How far it is.
        seconds: Since it was started, once it has ended.
        failed: Whether it ended with an error.
    """

    def __init__(self, config: Config, threads: int, progress: Progress | None) -> None:
        self.space, self.fraction, self.seconds, self.failed = config.space, 0.0, 0.0, False
        self._going = True
        self._progress, self._said = progress, dict[str, Any]()
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.side_by_side"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        # The pipe stays open: its end tells the process that we are gone.
        self._say(config.model_dump_json())
        self.reader = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()

    def __enter__(self) -> _Training:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self.reader.join()
        self._process.__exit__(None, None, None)

    @property
    def alive(self) -> bool:
        return self.reader.is_alive()

    def turn(self, going: bool) -> None:
        """Let it go on, or wait where it is."""
        if going != self._going:
            self._going = going
            self._say(GO if going else WAIT)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and its exit code says how
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def error(self) -> LatentStoreError:
        """What the process raised."""
        kind = getattr(latentstore.errors, self._said.get("error", ""), LatentStoreError)
        words = self._said.get("message", f"the training of {self.space} ended with exit code {self._process.poll()}")
        return kind(words, **self._said.get("details", {}))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said = json.loads(line)
            self.fraction = self._said.get("fraction", self.fraction)
            if self._progress is not None and "fraction" in self._said:
                self._progress(f"{self.space}: train", self.fraction)
        self.seconds = time.perf_counter() - self._started
        self.failed = self._process.wait() != 0


def _obey(pipe: TextIO, going: threading.Event) -> None:
    """Do what the parent says, and end with it."""
    for line in pipe:
        (going.set if line.strip() == GO else going.clear)()
    os._exit(1)


def main() -> int:
    """Train the configuration that is the first line of standard input; say how far in lines of JSON."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not look like ours
    going = threading.Event()
    going.set()

    def tell(**words: Any) -> None:
        print(json.dumps(words), file=out, flush=True)

    def told(_: str, fraction: float) -> None:
        tell(fraction=fraction)
        if fraction < 1:
            going.wait()

    config = parse_config(json.loads(sys.stdin.readline()))
    threading.Thread(target=_obey, args=[sys.stdin, going], daemon=True).start()
    try:
        with listening(told), Workspace(config) as work:
            train_encoder(work)
    except LatentStoreError as error:
        tell(error=type(error).__name__, message=str(error), details=vars(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
