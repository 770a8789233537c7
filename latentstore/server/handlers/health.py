"""Whether the service lives and is ready."""

from __future__ import annotations

from latentstore.server.calls import Call, Content
from latentstore.server.metrics import MEDIA
from latentstore.server.refusals import Refusal
from latentstore.server.wire import Health


def healthz(_: Call) -> Health:
    """The process answers."""
    return Health(status="ok")


def readyz(call: Call) -> Health:
    """Snapshots are open, and which."""
    served = call.service.spaces.served
    if not served:
        raise Refusal(503, "NotReady", "the store has no space yet; run a pipeline, or create_space()")
    return Health(status="ready", spaces={name: one.space.version for name, one in sorted(served.items())})


def metrics(call: Call) -> Content:
    """Latency by route, versions, ages, rows unindexed and recall, in Prometheus' format."""
    return Content(call.service.metrics.text(), MEDIA)
