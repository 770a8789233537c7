"""Logs as JSON, one object a line; request ids tie them to answers."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
import sys
import time

SLOW = 0.5  # seconds from which on a request is logged, whatever the level

_FIELDS = ("space", "version", "error", "request", "method", "path", "status", "ms", "key", "query")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
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
