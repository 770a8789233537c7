"""What the service says no with: one shape of error, and the status of each."""

from __future__ import annotations

import msgspec

from latentstore import errors
from latentstore.errors import LatentStoreError


class Refusal(LatentStoreError):
    """A request that is refused before it reaches the store.

    Attributes:
        status: HTTP status.
        kind: The error's name on the wire.
        headers: That go with the answer.
    """

    def __init__(self, status: int, kind: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers


# The first that an error is an instance of.
STATUS: tuple[tuple[type[LatentStoreError], int], ...] = (
    (errors.NotFound, 404),
    (errors.InputError, 422),
    (errors.NotSupported, 422),
    (errors.AlreadyExists, 409),
    (errors.SpaceMismatch, 409),
    (errors.CommitConflict, 409),
    (errors.Forbidden, 403),
    (LatentStoreError, 500),
)
STATUSES = (400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 500, 503)


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong.

    Attributes:
        type: The name of the error, as in `latentstore.errors`.
        message: What is wrong, with the value.
        hint: What to do; empty where nothing helps.
    """

    type: str
    message: str
    hint: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


def status_of(error: LatentStoreError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refusal):
        return error.status
    return next(status for kind, status in STATUS if isinstance(error, kind))


def body_of(error: LatentStoreError) -> ErrorBody:
    """The error as it is sent: messages read "what is wrong; remedy"."""
    message, _, hint = str(error).rpartition("; ")
    kind = error.kind if isinstance(error, Refusal) else type(error).__name__
    return ErrorBody(ErrorDetail(kind, message, hint) if message else ErrorDetail(kind, hint, ""))


UNEXPECTED = ErrorBody(
    ErrorDetail(
        "InternalError", "the service failed in a way it did not expect", "look for this request's id in its log"
    )
)
