"""A plain trainer. It knows batches, a loss and a clock, and nothing of the model.

Everything random comes from the seed, the epoch and one generator; everything that a resumed run needs is in one file
(`state.py`), so a run that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from latentstore.encoders.numerics import Numerics
from latentstore.encoders.schedule import Journal, Progress, TrainingOptions, one_cycle
from latentstore.encoders.sources import Source
from latentstore.encoders.state import read_state, write_state
from latentstore.errors import DidNotConverge

REPORT_SECONDS = 0.2
VALIDATION_LIMIT = 5000  # items: the loss of so many is known well enough
STATISTICS_ITEMS = 10_000  # from which batch statistics are taken at the end


class Trainable(Protocol):
    """What the trainer wants of an `nn.Module`."""

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scalars of one batch, "loss" to be minimised; `done` is the fraction of training behind us."""
        ...


def fit(
    model: nn.Module,
    source: Source,
    options: TrainingOptions,
    numerics: Numerics,
    *,
    seed: int,
    task: dict[str, Any] | None = None,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Journal:
    """Train a model in place and leave it with its best weights.

    Args:
        model: An initialised `Trainable`.
        source: The items; a fraction of them becomes the validation set.
        options: How.
        numerics: Precision and memory format, already chosen.
        seed: Of the split, the order of items, flips and noise.
        task: What is trained on what, as JSON; a saved state of another task is refused.
        folder: Where the state is saved now and then, and taken up again if there is one.
        progress: Called some times a second and after each epoch.

    Raises:
        DidNotConverge: The loss became NaN or infinite.
        ConfigInvalid: The folder holds the state of another training.
    """
    run = _Run(model, source, options, numerics, seed, task or {}, folder, progress)
    run.resume()
    while not run.over():
        run.epoch()
    run.finish()
    return run.journal


class _Run:
    """The state of one training."""

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        options: TrainingOptions,
        numerics: Numerics,
        seed: int,
        task: dict[str, Any],
        folder: Path | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.model, self.source, self.options, self.numerics = model, source, options, numerics
        self.seed, self.task, self.folder, self.report = seed, task, folder, progress
        numerics.prepare(model)
        parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)
        self.generator = torch.Generator(source.device).manual_seed(seed)
        self.best: dict[str, Tensor] = {}
        self.journal = Journal(numerics=asdict(numerics))
        held_out = min(int(len(source) * options.validation), VALIDATION_LIMIT)
        positions = np.random.default_rng([seed, 0]).permutation(len(source))
        self.validation, self.training = np.sort(positions[:held_out]), np.sort(positions[held_out:])
        self.batch = min(options.batch_size, len(self.training))
        self.per_epoch = len(self.training) // self.batch
        self.steps = self.per_epoch * options.epochs
        self.started = (time.perf_counter(), time.process_time(), 0)
        self.resumed_at = self.reported = self.saved = self.started[0]

    def resume(self) -> None:
        """Take up a saved state, if there is one."""
        if self.folder is None:
            return
        found = read_state(self.folder, self.task, self.model, self.optimiser, self.generator)
        if found is not None:
            journal, self.best = found
            self.journal = Journal(**journal)
            self.journal.resumed += not self.journal.finished
        wall, cpu = time.perf_counter() - self.journal.seconds, time.process_time() - self.journal.cpu_seconds
        self.started = (wall, cpu, self.journal.step)

    def over(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for long enough."""
        done = len(self.journal.history)
        stale = done - self.journal.best_epoch
        early = self.options.patience and len(self.validation) and stale >= self.options.patience
        return done >= self.options.epochs or bool(early)

    def epoch(self) -> None:
        """One pass over the training items, or what is left of it after a resume."""
        number, skip = divmod(self.journal.step, self.per_epoch)
        order = np.random.default_rng([self.seed, 1 + number]).permutation(self.training)
        batches = order[: self.per_epoch * self.batch].reshape(self.per_epoch, self.batch)
        self.model.train()
        for positions, x in zip(batches[skip:], self.source.batches(batches[skip:]), strict=True):
            self._step(x, self.source.labels(positions))
            self._tell(number + 1)
            if self.journal.step % self.per_epoch:
                self._save(every=self.options.checkpoint_seconds)
        means = {name: value / self.per_epoch for name, value in self.journal.sums.items()}
        means |= {f"validation_{name}": value for name, value in self._validate().items()}
        self.journal.sums = {}
        self.journal.history.append(means)
        score = means.get("validation_loss", means["loss"])
        self._refuse_nonsense("validation loss", score)
        earlier = [h.get("validation_loss", h["loss"]) for h in self.journal.history[:-1]]
        if not len(self.validation) or score < min(earlier, default=math.inf):
            self.journal.best_epoch = len(self.journal.history)
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self._save(every=self.options.checkpoint_seconds)
        self._tell(number + 1, at_once=True)

    def finish(self) -> None:
        """Take the best weights and give batch normalisation the statistics of the training items."""
        if not self.journal.finished:
            self._clock()
            self.journal.finished = True
            self._save(every=0)
        self.model.load_state_dict(self.best)
        self._measure_statistics()
        self._clock()

    def _step(self, x: Tensor, labels: Tensor | None) -> None:
        done = self.journal.step / self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * one_cycle(done, self.options.rise)
        scalars = self._loss(x, labels, done, self.generator)
        self.optimiser.zero_grad(set_to_none=True)
        scalars["loss"].backward()  # type: ignore[no-untyped-call]
        if self.options.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimiser.step()
        self.journal.step += 1
        for name, value in scalars.items():
            self.journal.sums[name] = self.journal.sums.get(name, 0.0) + value.item()
        self._refuse_nonsense("loss", scalars["loss"].item())

    def _refuse_nonsense(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise DidNotConverge(
                f"the {name} became {value} in epoch {max(0, self.journal.step - 1) // self.per_epoch + 1}; "
                f"lower learning_rate (now {self.options.learning_rate:g}) or look for damaged items",
                iterations=self.journal.step,
                residual=value,
            )

    def _loss(self, x: Tensor, labels: Tensor | None, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        if self.options.flips and x.ndim == 4 and self.model.training:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        with self.numerics.autocast(x.device):
            scalars: dict[str, Tensor] = self.model.loss(  # type: ignore[operator]
                self.numerics.arrange(x), done, generator, labels
            )
        return scalars

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Scalars of the validation items, each with the same noise in every epoch."""
        self.model.eval()
        generator = torch.Generator(self.source.device).manual_seed(self.seed)
        parts = np.array_split(self.validation, max(1, -(-len(self.validation) // 512))) if len(self.validation) else []
        sums: dict[str, float] = {}
        for part, x in zip(parts, self.source.batches(parts), strict=True):
            for name, value in self._loss(x, self.source.labels(part), 1.0, generator).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(part)
        return {name: value / len(self.validation) for name, value in sums.items()}

    @torch.no_grad()
    def _measure_statistics(self) -> None:
        layers = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
        self.model.train()
        generator = torch.Generator(self.source.device).manual_seed(self.seed)
        order = np.random.default_rng([self.seed, 0]).permutation(self.training)
        count = max(1, min(len(order), STATISTICS_ITEMS) // self.batch)
        parts = order[: count * self.batch if layers else 0].reshape(-1, self.batch)
        for part, x in zip(parts, self.source.batches(parts), strict=True):
            self._loss(x, self.source.labels(part), 1.0, generator)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        self.model.eval()

    def _clock(self) -> None:
        if not self.journal.finished:
            self.journal.seconds = time.perf_counter() - self.started[0]
            self.journal.cpu_seconds = time.process_time() - self.started[1]

    def _tell(self, epoch: int, *, at_once: bool = False) -> None:
        now = time.perf_counter()
        if self.report is None or (now - self.reported < REPORT_SECONDS and not at_once):
            return
        self.reported = now
        self._clock()
        wall, _, step = self.started
        pace = (now - self.resumed_at) / max(1, self.journal.step - step)  # seconds a step, of this process
        within = self.journal.step - (epoch - 1) * self.per_epoch
        ended = len(self.journal.history) == epoch
        self.report(
            Progress(
                epoch=epoch,
                epochs=self.options.epochs,
                step=self.journal.step,
                steps=self.steps,
                loss=self.journal.history[-1]["loss"] if ended else self.journal.sums["loss"] / within,
                validation=self.journal.history[-1].get("validation_loss") if self.journal.history else None,
                seconds=now - wall,
                seconds_left=pace * (self.steps - self.journal.step),
            )
        )

    def _save(self, *, every: float) -> None:
        now = time.perf_counter()
        if self.folder is None or now - self.saved < every:
            return
        self._clock()
        write_state(self.folder, self.task, asdict(self.journal), self.best, self.model, self.optimiser, self.generator)
        self.saved = time.perf_counter()
