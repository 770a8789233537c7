"""Requests to the service: its errors become those of Python, its tables Arrow tables."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from latentstore import errors
from latentstore.errors import DidNotConverge, Forbidden, LatentStoreError, StorageError
from latentstore.space import Latent
from latentstore.types import brief, is_finite

ARROW = "application/vnd.apache.arrow.stream"
TOLD = "x-latentstore-"  # headers that say what a table is of
_BY_STATUS: dict[int, type[LatentStoreError]] = {
    401: Forbidden,
    403: Forbidden,
    404: errors.NotFound,
    409: errors.AlreadyExists,
    413: errors.InputError,
    422: errors.InputError,
}


class Transport:
    """A connection to a service; safe from several threads.

    Args:
        url: Where it is, for example "http://127.0.0.1:8000".
        key: From `latentstore key create`; None where none is needed.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, ValueError) as error:
            raise errors.ConfigInvalid(
                f"{url!r} is no address of a service ({error}); write http://host:port"
            ) from error
        self.url = url

    def json(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        """The decoded answer."""
        return self._ask(method, path, body, parameters, {}).json()

    def table(self, method: str, path: str, body: Any = None, **parameters: Any) -> tuple[pa.Table, dict[str, str]]:
        """The answer as a table, and what its headers say of it."""
        answer = self._ask(method, path, body, parameters, {"accept": ARROW})
        told = {
            k.removeprefix("x-latentstore-"): v for k, v in answer.headers.items() if k.startswith("x-latentstore-")
        }
        return pa.ipc.open_stream(answer.content).read_all(), told

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(
        self, method: str, path: str, body: Any, parameters: dict[str, Any], headers: dict[str, str]
    ) -> httpx.Response:
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            if isinstance(body, bytes):
                answer = self._client.request(
                    method, path, content=body, params=given, headers={**headers, "content-type": ARROW}
                )
            else:
                answer = self._client.request(method, path, json=_as_json(body), params=given, headers=headers)
        except UnicodeEncodeError as error:
            raise errors.InputError(
                f"{error.object[error.start]!r}, a lone surrogate, cannot be sent; pass UTF-8 text"
            ) from error
        except httpx.UnsupportedProtocol as error:
            raise _no_address(self.url, error) from error
        except httpx.HTTPError as error:
            raise StorageError(
                f"no answer from {self.url} ({error or type(error).__name__}); is it running?"
            ) from error
        if answer.is_success:
            return answer
        raise _error_of(answer)


def _no_address(url: str, error: Exception) -> errors.ConfigInvalid:
    return errors.ConfigInvalid(f"{url!r} is no address of a service ({error}); write http://host:port")


def _error_of(answer: httpx.Response) -> LatentStoreError:
    """What Python would have raised on the service's side."""
    try:
        told = answer.json()["error"]
        kind, message, hint = str(told["type"]), str(told["message"]), str(told["hint"])
    except (ValueError, KeyError, TypeError):
        return StorageError(f"{answer.url} answered {answer.status_code}; is it a latentstore service?")
    text = f"{message}; {hint}" if hint else message
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, LatentStoreError) and found is not DidNotConverge:
        return found(text)
    return _BY_STATUS.get(answer.status_code, LatentStoreError)(text)


def _as_json(body: dict[str, Any] | None) -> Any:
    """The body without what is not given.

    Raises:
        NotFinite: NaN or infinity, which JSON has not.
        InputError: What neither JSON nor this has a form for.
    """
    if body is None:
        return None
    return {name: _plain(one) for name, one in body.items() if one is not None}


def _plain(value: Any) -> Any:
    """Arrays as lists, points as they are written or as vectors."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, int | float) and not is_finite(value):
        said = brief(value) if isinstance(value, int) else value
        raise errors.NotFinite(f"{said} cannot be sent; remove NaN, infinity and what is beyond a float")
    if hasattr(value, "as_sent"):
        return value.as_sent()
    if isinstance(value, Latent):
        return value.vector.tolist() if value.expression is None else str(value)
    if value is not None and not isinstance(value, str | int | float | bool):
        raise errors.InputError(f"{type(value).__name__} {value!r} cannot be sent; pass numbers, text or arrays")
    return value
