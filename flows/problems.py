"""Pydantic's findings as one line that names the key, the value and the nearest known key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from latentstore.errors import suggest


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """All findings, in the order of the file's sections, separated by semicolons."""
    return "; ".join(_describe_one(finding, model) for finding in error.errors(include_url=False))


def _describe_one(finding: Any, model: type[BaseModel]) -> str:
    place: tuple[str | int, ...] = finding["loc"]
    key = ".".join(map(str, place))
    if finding["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {suggest(str(place[-1]), _known_keys(model, place[:-1]))}"
    if finding["type"] == "missing":
        return f"key {key!r} is missing; add it"
    message = str(finding["msg"]).removeprefix("Value error, ")
    if not place:
        return message
    return f"{key} = {finding['input']!r}: {message[:1].lower()}{message[1:]}"


def _known_keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys of the section at `place`: down through fields, optional sections and tables of sections."""
    annotation: Any = model
    for step in place:
        section = _section(annotation)
        # Without a section this is a table with free names, dict[str, X], and the step is the name.
        annotation = section.model_fields[str(step)].annotation if section else get_args(annotation)[-1]
    section = _section(annotation)
    return list(section.model_fields) if section else []


def _section(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *(get_args(annotation) if getattr(annotation, "__origin__", None) is not dict else ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
