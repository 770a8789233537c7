"""Hyper-parameters: frozen dataclasses whose fields carry their bounds, checked once at the door.

The same check reads what a caller typed, what a configuration file says and what a spec.json of unknown origin claims.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from latentstore.errors import ConfigInvalid, suggest

T = TypeVar("T")
MOST_VALUES = 100_000  # of a column
LONGEST = 200  # characters of a text


def number(default: float, low: float, high: float) -> Any:
    """A field that takes a number of [low, high]; an int default means whole numbers only."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def integers(default: tuple[int, ...], low: int, high: int, most: int) -> Any:
    """A field that takes at most `most` whole numbers of [low, high]."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "most": most})


def choice(default: str, *others: str) -> Any:
    """A field that takes one of these words."""
    return dataclasses.field(default=default, metadata={"choices": (default, *others)})


def text(default: str) -> Any:
    """A field that takes up to 200 characters."""
    return dataclasses.field(default=default, metadata={"text": True})


def numbers(default: tuple[float, ...], low: float, high: float) -> Any:
    """A field that takes as many numbers of [low, high] as its default has."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "count": len(default)})


def json_object() -> Any:
    """A field that takes what a JSON object holds; empty by default."""
    return dataclasses.field(default_factory=dict, metadata={"json": True})


def columns() -> Any:
    """A field that takes the values that occur in each of some columns: {column: [value, …]}."""
    return dataclasses.field(default_factory=dict, metadata={"columns": True})


def option_names(*types: type) -> list[str]:
    """The names of the fields of these option classes."""
    return [field.name for options in types for field in dataclasses.fields(options)]


def refuse_unknown(given: Iterable[str], known: Iterable[str], *, what: str) -> None:
    """Raise `ConfigInvalid` naming the first option that is not known."""
    known = list(known)
    for name in given:
        if name not in known:
            raise ConfigInvalid(f"unknown option {name!r} of {what}; {suggest(name, known)}")


def read_options(options: type[T], given: Mapping[str, Any], *, what: str) -> T:
    """Build an options object from names and values.

    Args:
        options: A dataclass whose fields were made by the functions above or have a bool default.
        given: Values by name; what is missing keeps its default. Lists stand for tuples, as JSON has them.
        what: Whose options these are, for messages.

    Raises:
        ConfigInvalid: An unknown name, a wrong type, or a value out of its bounds.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    refuse_unknown(given, fields, what=what)
    return options(**{name: _checked(fields[name], value, what) for name, value in given.items()})


def _checked(field: dataclasses.Field[Any], value: Any, what: str) -> Any:
    where = f"option {field.name} of {what}"
    if isinstance(field.default, bool):
        if not isinstance(value, bool):
            raise ConfigInvalid(f"{where} is {value!r}; pass true or false")
        return value
    if "choices" in field.metadata:
        if value not in field.metadata["choices"]:
            raise ConfigInvalid(f"{where} is {value!r}; choose one of {', '.join(field.metadata['choices'])}")
        return value
    if "text" in field.metadata:
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST:
            raise ConfigInvalid(f"{where} is {value!r}; pass a text of up to {LONGEST} characters")
        return value
    if "json" in field.metadata:
        return _json_object(value, where)
    if "count" in field.metadata:
        if not isinstance(value, list | tuple) or len(value) != field.metadata["count"]:
            raise ConfigInvalid(f"{where} is {value!r}; pass a list of {field.metadata['count']} numbers")
        return tuple(float(_number(entry, whole=False, limits=field.metadata, where=where)) for entry in value)
    if "columns" in field.metadata:
        return _columns(value, where)
    if "most" in field.metadata:
        if not isinstance(value, list | tuple) or len(value) > field.metadata["most"]:
            raise ConfigInvalid(f"{where} is {value!r}; pass a list of at most {field.metadata['most']} whole numbers")
        return tuple(_number(entry, whole=True, limits=field.metadata, where=where) for entry in value)
    return _number(value, whole=isinstance(field.default, int), limits=field.metadata, where=where)


def _json_object(value: Any, where: str) -> dict[str, Any]:
    try:
        as_read = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{where} is {value!r}, which JSON cannot hold: {error}") from error
    if not isinstance(as_read, dict):
        raise ConfigInvalid(f"{where} is {value!r}; pass names with values")
    return as_read


def _columns(value: Any, where: str) -> dict[str, tuple[Any, ...]]:
    if not isinstance(value, Mapping):
        raise ConfigInvalid(f"{where} is {value!r}; pass the values of each column")
    for column, values in value.items():
        if not isinstance(column, str) or not isinstance(values, list | tuple) or not 1 <= len(values) <= MOST_VALUES:
            raise ConfigInvalid(f"{where}, column {column!r}: pass a list of 1 to {MOST_VALUES} values")
        for one in values:
            if not isinstance(one, str | int | float | bool):
                raise ConfigInvalid(f"{where}, column {column!r}: {one!r} is neither text, number nor truth value")
    return {column: tuple(value[column]) for column in sorted(value)}  # an order that survives JSON


def _number(value: Any, *, whole: bool, limits: Mapping[str, Any], where: str) -> int | float:
    low, high = limits["low"], limits["high"]
    kind = "a whole number" if whole else "a number"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not low <= value <= high:
        raise ConfigInvalid(f"{where} is {value!r}; pass {kind} from {low:g} to {high:g}")
    return int(value) if whole else float(value)
