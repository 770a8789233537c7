"""A store behind a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latentstore.client.remote_space import RemoteSpace
from latentstore.client.transport import Transport

if TYPE_CHECKING:
    import pyarrow as pa


def connect(url: str, key: str | None = None, *, timeout: float = 60.0) -> RemoteStore:
    """Connect to a service; nothing is asked yet.

    Args:
        url: Where it is, for example "http://127.0.0.1:8000".
        key: From `latentstore key create`; None where none is needed.
        timeout: Seconds to wait for an answer.

    Raises:
        ConfigInvalid: No such address.
    """
    return RemoteStore(Transport(url, key, timeout))


class RemoteStore:
    """Spaces and SQL of a service; `with` closes it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __repr__(self) -> str:
        return f"RemoteStore({self._transport.url!r})"

    def __enter__(self) -> RemoteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @property
    def spaces(self) -> list[str]:
        """Names of the spaces, ascending."""
        return [one["name"] for one in self._transport.json("GET", "/v1/spaces")]

    def space(self, name: str, at: int | str | None = None) -> RemoteSpace:
        """A space as it is served, or at a version or tag.

        Raises:
            UnknownSpace, UnknownVersion: No such space, version or tag.
        """
        return RemoteSpace(self._transport, name, at)

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run one SELECT over the spaces; the service must have been started with --sql.

        Raises:
            Forbidden: SQL is off, or the key has no right to it.
            QueryRefused: See `LatentStore.sql`.
        """
        from latentstore.sql.statement import plain_values, refuse_surrogates

        if isinstance(query, str):
            refuse_surrogates(query, "the query")
        body = {"query": query, "parameters": plain_values(parameters or {})}
        return self._transport.table("POST", "/v1/sql", body)[0]
