"""Logs as JSON, one object a line; request ids tie them to answers."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
import sys
import time

from latentstore.server.heads import Scope

SLOW = 0.5  # seconds from which on a request is logged, whatever the level

_FIELDS = ("space", "version", "error", "request", "method", "path", "status", "ms", "key", "query")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("latentstore.server")
_prefix, _numbers = secrets.token_hex(4), itertools.count(1)


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, message and the fields of ours that it has."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(level: str) -> None:
    """Write logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("latentstore", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler] if name != "uvicorn.error" else [], name == "uvicorn.error"
        logger.setLevel(level.upper())


def request_id(given: str | None) -> str:
    """The id a caller gave, if it can be one; else a new one."""
    if given is not None and _ID.fullmatch(given):
        return given
    return f"{_prefix}-{next(_numbers)}"


def log_request(scope: Scope, asked: str, status: int, key: str, seconds: float, *, unexpected: bool = False) -> None:
    """A line of a request that took long, or failed as none should; of every one at the level "debug".

    Args:
        scope: ASGI's.
        asked: The request's id.
        status: Of the answer.
        key: Name of the caller's.
        seconds: Until the answer.
        unexpected: Whether it failed by a mistake of ours.
    """
    slow = seconds > SLOW
    if not (slow or unexpected or _log.isEnabledFor(logging.DEBUG)):
        return
    fields = {"request": asked, "method": scope["method"], "path": scope["path"], "status": status, "key": key}
    _log.log(
        logging.WARNING if slow else logging.DEBUG,
        "slow request" if slow else "request",
        extra={**fields, "ms": round(1e3 * seconds, 2)},
    )
