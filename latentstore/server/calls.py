"""What a handler gets, and what it may answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentstore.errors import ConfigInvalid
from latentstore.server.refusals import Refusal
from latentstore.server.wire import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from latentstore.server.batching import Batcher
    from latentstore.server.following import Following
    from latentstore.server.limits import ServerLimits
    from latentstore.server.metrics import Metrics
    from latentstore.server.pictures import ItemPictures
    from latentstore.server.searchers import Searchers
    from latentstore.space import EmbeddingSpace
    from latentstore.sql import Limits
    from latentstore.store import LatentStore


MOST_CELLS = 5_000_000  # of a table as JSON: some 200 MB while it is made


@dataclass(frozen=True)
class Service:
    """What all requests share.

    Attributes:
        spaces: As they are served.
        writable: The store, opened to write.
        limits: What a request may use.
        searchers: Processes that search beside the event loop.
        batcher: Answers plain searches together.
        pictures: The items' own pictures.
        metrics: Counts.
        sql: What a query may use; None where SQL is off.
    """

    spaces: Following
    writable: LatentStore
    limits: ServerLimits
    searchers: Searchers
    batcher: Batcher
    pictures: ItemPictures
    metrics: Metrics
    sql: Limits | None = None


@dataclass(frozen=True)
class Call:
    """One request, checked and decoded.

    Attributes:
        service: What all share.
        path: The parts of the path that vary, by name.
        query: The query string, by name.
        body: The decoded body, a struct of `wire`, or bytes of an upload; None without.
    """

    service: Service
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None

    @property
    def limits(self) -> ServerLimits:
        """What the request may use."""
        return self.service.limits

    def space(self) -> EmbeddingSpace:
        """The space that the path names, at the version the body or the query string asks for."""
        at = getattr(self.body, "at", None)
        if at is None and "at" in self.query:
            at = self.query["at"]
        return self.service.spaces.at(self.path["space"], at)


@dataclass(frozen=True)
class Tabular:
    """A table: Arrow IPC for who accepts that, else JSON.

    Attributes:
        table: Its rows.
        about: Of what; in the headers.
    """

    table: pa.Table
    about: Mapping[str, Any]

    def to_json(self) -> Table:
        """Column by column.

        Raises:
            Refusal: As JSON it would be many times as large as it is.
        """
        cells = self.table.num_rows * self.table.num_columns
        if cells > MOST_CELLS:
            raise Refusal(
                422,
                "LimitExceeded",
                f"{cells:,} values are beyond {MOST_CELLS:,} as JSON; accept Arrow, or ask for less",
            )
        return Table(names=self.table.column_names, columns=[_values(one) for one in self.table.columns])


def _values(column: pa.ChunkedArray) -> list[Any]:
    """A column as JSON has it; what neither JSON nor Python has (infinite times, the year 20000) as text."""
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        whole = column.type.scale == 0
        wide = [None if one is None else int(one) if whole else float(one) for one in column.to_pylist()]
        return [str(one) if isinstance(one, int) and not -(1 << 63) <= one < 1 << 63 else one for one in wide]
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        values = column.cast(pa.string()).to_pylist()
    return values


@dataclass(frozen=True)
class Either:
    """An answer with a table for who accepts Arrow, and a body of its own as JSON, made where it is wanted."""

    table: pa.Table
    about: Mapping[str, Any]
    body: Callable[[], Any]


@dataclass(frozen=True)
class Content:
    """Bytes of a type.

    Attributes:
        content: The body.
        media: Its type.
        headers: More of them.
    """

    content: bytes
    media: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refuse_parameters(query: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse names in the query string that mean nothing."""
    for name in query:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise ConfigInvalid(f"unknown parameter {name[:100]!r} in the address; allowed: {allowed}")
