"""What one request, and all of them together, may use."""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.server.refusals import Refusal


@dataclass(frozen=True)
class ServerLimits:
    """Bounds of the service; each is answered with its own error.

    Attributes:
        body: Bytes of a request's body.
        k: Neighbours of one query, hits skipped before them included.
        batch: Queries, latents or points of one request.
        steps: Frames of a path, or cells of a grid.
        samples: Latents drawn at once.
        rows: Rows written at once.
        pixels: Of an uploaded image.
        seconds: Until an answer; what still runs then is not waited for.
        running: Requests that compute at the same time, beside plain searches, SQL and one that samples.
        waiting: Requests that wait for one of these.
    """

    body: int = 16 << 20
    k: int = 1_000
    batch: int = 1_024
    steps: int = 200
    samples: int = 256
    rows: int = 10_000
    pixels: int = 16_000_000
    seconds: float = 30.0
    running: int = 4
    waiting: int = 64

    def check(self, name: str, value: int, what: str) -> None:
        """Raise `Refusal` (422) where a number of a request is beyond the bound of this name."""
        most = getattr(self, name)
        if value > most:
            raise Refusal(422, "LimitExceeded", f"{value} {what} are beyond the service's {most}; ask for fewer")


def too_large(most: int) -> Refusal:
    """A body beyond its bound."""
    return Refusal(413, "BodyTooLarge", f"the body is larger than {most:,} bytes; send less at a time")


def too_slow(seconds: float) -> Refusal:
    """An answer that took too long."""
    return Refusal(
        503, "TooSlow", f"the answer took longer than {seconds:g} s; ask for less", ((b"retry-after", b"5"),)
    )


def too_busy(waiting: int) -> Refusal:
    """More requests than can wait."""
    return Refusal(503, "Busy", f"{waiting} requests wait already; try again soon", ((b"retry-after", b"1"),))
