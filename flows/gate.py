"""The gate: whether what was just written is good enough to serve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentstore.errors import LatentStoreError, suggest

if TYPE_CHECKING:
    from flows.sections import LimitSection


class GateClosed(LatentStoreError):
    """A new version is not good enough; the tag stays. Shell exit code 1: nothing was wrong with the input.

    Attributes:
        breaches: What fell short.
        exit_code: Of the shell.
    """

    exit_code = 1

    def __init__(self, message: str, breaches: tuple[Breach, ...] = ()) -> None:
        super().__init__(message)
        self.breaches = breaches


@dataclass(frozen=True)
class Breach:
    """One metric beyond one limit.

    Attributes:
        metric: Its name in the evaluation.
        rule: "min", "max", "max_drop" or "max_rise"; "measured" when the evaluation has no such finite number.
        value: The new value; None when there is none.
        old: The value of what serves now; None when nothing does, or it was not measured then.
        limit: What the rule allows; None for "measured".
        known: What was measured, for the remedy when `metric` was not.
    """

    metric: str
    rule: str
    value: float | None
    old: float | None
    limit: float | None
    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        old = "none" if self.old is None else f"{self.old:.6g}"
        if self.value is None or self.limit is None:
            return f"{self.metric} was not measured (old {old}); {suggest(self.metric, self.known)}"
        rule = f"{self.rule} = {self.limit:.6g}"
        if self.rule in ("max_drop", "max_rise") and self.old is not None:
            rule += f", it moved by {self.value - self.old:+.6g}"
        return f"{self.metric} is {self.value:.6g} (old {old}; {rule})"


def judge(
    limits: Mapping[str, LimitSection], new: Mapping[str, float], old: Mapping[str, float] | None
) -> tuple[Breach, ...]:
    """Hold new metrics against their limits and against the metrics of what serves now.

    Args:
        limits: By metric.
        new: What was measured of the version to publish.
        old: What was measured of the version that is published; None when there is none: changes then pass.

    Returns:
        Every breach, in the order of `limits`; none means publish.
    """
    breaches = []
    for metric, limit in limits.items():
        value, before = new.get(metric), (old or {}).get(metric)
        if value is None or not math.isfinite(value):  # NaN compares false with everything and would slip through
            breaches.append(Breach(metric, "measured", None, before, None, tuple(new)))
            continue
        change = 0.0 if before is None else value - before
        rules = (
            ("min", limit.min, limit.min is not None and value < limit.min),
            ("max", limit.max, limit.max is not None and value > limit.max),
            ("max_drop", limit.max_drop, limit.max_drop is not None and -change > limit.max_drop),
            ("max_rise", limit.max_rise, limit.max_rise is not None and change > limit.max_rise),
        )
        breaches += [Breach(metric, rule, value, before, bound) for rule, bound, broken in rules if broken]
    return tuple(breaches)


def require_open(breaches: tuple[Breach, ...], *, space: str, version: int, tag: str) -> None:
    """Raise `GateClosed` naming every breach; pass when there is none."""
    if breaches:
        found = "; ".join(map(str, breaches))
        raise GateClosed(
            f"version {version} of {space!r} is not published and tag {tag!r} stays: {found} "
            "(improve the encoder or the data, or change [gate.metrics] if the limit is wrong)",
            breaches,
        )
