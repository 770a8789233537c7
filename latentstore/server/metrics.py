"""What is measured of the service, in Prometheus' text format."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from latentstore.server.following import Following
    from latentstore.server.searchers import Searchers

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics(Collector):
    """Latency and answers by route; version, age, unindexed rows and recall of what is served.

    Counted in the event loop alone, so without a lock.

    Args:
        spaces: As they are served.
        searchers: Processes that search.
    """

    def __init__(self, spaces: Following, searchers: Searchers) -> None:
        self._spaces, self._searchers, self._registry = spaces, searchers, CollectorRegistry()
        self._registry.register(self)
        self._answers: dict[tuple[str, int], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._spent: dict[str, float] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is the template, so that there are few."""
        self._answers[route, status] = self._answers.get((route, status), 0) + 1
        if route not in self._buckets:
            self._buckets[route], self._spent[route] = [0] * (len(SECONDS) + 1), 0.0
        self._buckets[route][bisect_left(SECONDS, seconds)] += 1
        self._spent[route] += seconds

    def text(self) -> bytes:
        """All of it."""
        return bytes(generate_latest(self._registry))

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks for no numbers."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        latency = HistogramMetricFamily("latentstore_request_seconds", "Time to answer", labels=["route"])
        for route, counts in list(self._buckets.items()):
            edges = [*map(str, SECONDS), "+Inf"]
            latency.add_metric([route], list(zip(edges, accumulate(counts), strict=True)), self._spent[route])
        answers = CounterMetricFamily("latentstore_answers", "Answers by route and status", labels=["route", "status"])
        for (route, status), count in list(self._answers.items()):
            answers.add_metric([route, str(status)], count)
        beside = GaugeMetricFamily("latentstore_searchers", "Processes that search beside the event loop")
        beside.add_metric([], self._searchers.ready)
        yield from (latency, answers, beside, *self._of_spaces())

    def _of_spaces(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("latentstore_snapshot_version", "Version that is served", labels=["space"])
        age = GaugeMetricFamily("latentstore_snapshot_age_seconds", "Since it was swapped in", labels=["space"])
        unindexed = GaugeMetricFamily("latentstore_rows_unindexed", "Rows that searches scan", labels=["space"])
        recall = GaugeMetricFamily("latentstore_index_recall", "Recall measured at the setting used", labels=["space"])
        for name, one in self._spaces.served.items():
            index = one.space.searcher.index
            point = index.whole.operating(None) if index else None
            version.add_metric([name], one.space.version)
            age.add_metric([name], time.time() - one.since)
            unindexed.add_metric([name], one.space.searcher.unindexed)
            recall.add_metric([name], point.recall if point else math.nan if index else 1.0)
        yield from (version, age, unindexed, recall)
