"""SQL text → one SELECT statement, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np

from latentstore.errors import QueryRefused
from latentstore.filters.nesting import nesting
from latentstore.filters.session import MAX_DEPTH
from latentstore.types import brief

MAX_LENGTH = 1_000_000  # characters

WHOLE = 1 << 127  # DuckDB's widest whole numbers end there

_FLOATS = {type(None), bool, float}


def one_select(query: str, parameters: Mapping[str, Any]) -> duckdb.Statement:
    """Parse the text; anything but one SELECT, with a value for each of its parameters, is refused."""
    if not isinstance(query, str):
        raise QueryRefused(f"an SQL query is text, not {type(query).__name__}; pass one SELECT")
    if len(query) > MAX_LENGTH:
        raise QueryRefused(f"the query has {len(query)} characters; at most {MAX_LENGTH} are read")
    if nesting(query, MAX_DEPTH) > MAX_DEPTH:
        raise QueryRefused(f"the query is nested more than {MAX_DEPTH} deep; simplify it")
    refuse_surrogates(query, "the query")
    try:
        statements = _parsed(query)
    except (duckdb.Error, UnicodeError) as error:
        raise QueryRefused(f"the query does not parse: {message(error)}") from error
    if len(statements) != 1:
        raise QueryRefused(f"the query has {len(statements)} statements; send exactly one SELECT")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefused(f"this is a {statements[0].type.name} statement; a store answers SELECT only")
    if set(statements[0].named_parameters) != set(parameters):
        asked, given = (", ".join(sorted(names)) or "none" for names in (statements[0].named_parameters, parameters))
        raise QueryRefused(
            f"the query has parameters ($name or ?): {asked}; values were given for: {given}; "
            "name each one $name and pass its value"
        )
    return statements[0]


@lru_cache(maxsize=256)
def _parsed(query: str) -> list[duckdb.Statement]:
    statements: list[duckdb.Statement] = duckdb.extract_statements(query)
    return statements


def refuse_surrogates(text: str, what: str) -> None:
    """Refuse text that is none in UTF-8: a lone surrogate, as in "\\ud800"."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryRefused(
            f"{what} has a lone surrogate ({text[error.start]!r}) at character {error.start + 1}; pass UTF-8 text"
        ) from error


def plain_values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them: numbers, text, Booleans, None, and lists of them (from arrays, too).

    Raises:
        QueryRefused: Something else.
    """
    for name in parameters:
        refuse_surrogates(str(name), "the name of a parameter")
    return {str(name): _plain(name, value) for name, value in parameters.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, str):
        refuse_surrogates(value, f"parameter {name!r}")
    if isinstance(value, int) and not -WHOLE <= value < WHOLE:
        raise QueryRefused(f"parameter {name!r} has the number {brief(value)}, wider than 128 bits; pass a smaller one")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        if {*map(type, value)} <= _FLOATS:  # a vector: one by one would take a twentieth of its query's time
            return list(value)
        return [_plain(name, one) for one in value]
    raise QueryRefused(f"parameter {name!r} is a {type(value).__name__}; pass numbers, text, Booleans or a vector")


def mentioned(query: str, names: Iterable[str]) -> list[str]:
    """Names that are a word of the text, in any case; what is used has to be written."""
    words = set(re.findall(r"\w+", query.lower()))
    return [name for name in names if name in words]


def message(error: Exception) -> str:
    """DuckDB's message without the excerpt of the query that follows it."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())
