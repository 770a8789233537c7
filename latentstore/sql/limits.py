"""What one query may use."""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.errors import ConfigInvalid


@dataclass(frozen=True)
class Limits:
    """What one query may use before it is stopped.

    Attributes:
        seconds: Wall time. In a sandbox also the time of each processor it may run on.
        memory: Bytes. DuckDB keeps below it what it counts; a sandbox cannot have more than this beyond what it had
            before the query, whoever asks for it.
        result: Bytes of the answer.
    """

    seconds: float = 60.0
    memory: int = 1 << 30
    result: int = 256 << 20

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 86_400:
            raise ConfigInvalid(f"a query cannot have {self.seconds} s; choose more than 0 and at most 86400")
        if self.memory < 64 << 20 or self.result < 1 << 16:
            raise ConfigInvalid(
                f"a query cannot have {self.memory} bytes of memory and {self.result} of result; "
                "choose at least 64 MB and 64 KB"
            )

    def over_time(self) -> str:
        """What a query that ran into the time limit is told."""
        return f"the query took longer than {self.seconds:g} s; ask for less, or raise the limit `seconds`"

    def over_memory(self) -> str:
        """What a query that ran into the memory limit is told."""
        return (
            f"the query needs more memory than the {self.memory >> 20} MB it may use; "
            "ask for less, or raise the limit `memory`"
        )

    def over_result(self) -> str:
        """What a query that ran into the limit of its result is told."""
        return (
            f"the result is larger than the {self.result / (1 << 20):.4g} MB it may have; "
            "select fewer rows or columns, or raise the limit `result`"
        )
