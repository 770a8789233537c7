"""`where` text → DuckDB's parse tree of one expression."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeAlias

import duckdb

from latentstore.errors import FilterRefused
from latentstore.filters import session
from latentstore.filters.nesting import nesting

Node: TypeAlias = dict[str, Any]

_PREFIX = "SELECT 1 WHERE "


def read_tree(text: str) -> Node:
    """The tree of the predicate, if the text is one expression and nothing else.

    Read bare, an unbalanced `a) or (b` does not parse; read in parentheses, a clause that follows the expression does
    not (the parser drops an unused WINDOW clause, so the tree alone would not show it). What else a SELECT can have
    must be as in `SELECT 1 WHERE true`.
    """
    if nesting(text, session.MAX_DEPTH) > session.MAX_DEPTH:
        raise FilterRefused(f"where is nested more than {session.MAX_DEPTH} deep; simplify it")
    bare, enclosed = _parsed(text, f"({text}\n)")
    plain = _select(text, 0, bare)
    _select(text, 1, enclosed)
    where: Node = plain["where_clause"]
    if {**plain, "where_clause": None} != _nothing_else():
        raise FilterRefused("where is more than a predicate; remove clauses such as GROUP BY, ORDER BY, LIMIT, UNION")
    return where


@cache
def _nothing_else() -> Node:
    """What the tree of `SELECT 1 WHERE …` has besides the predicate."""
    (answer,) = _parsed("true")
    return {**_select("true", 0, answer), "where_clause": None}


def _parsed(*texts: str) -> tuple[str, ...]:
    """DuckDB's JSON of each predicate, in one call."""
    calls = ", ".join(["json_serialize_sql(?)"] * len(texts))
    try:
        found = session.parser().execute(f"SELECT {calls}", [_PREFIX + text for text in texts]).fetchone()
    except (duckdb.Error, UnicodeError) as error:
        raise FilterRefused(f"where does not parse: {session.first_line(error)}; write one SQL predicate") from error
    return found or ("",) * len(texts)


def _select(text: str, shift: int, answer: str) -> Node:
    """The tree of a predicate; `shift` characters were put before it."""
    parsed = json.loads(answer)
    if parsed["error"]:
        message = str(parsed["error_message"])
        if "expression depth" in message:
            raise FilterRefused(f"where is nested more than {session.MAX_DEPTH} deep; simplify it")
        if "Only SELECT" in message:
            raise FilterRefused("where is more than a predicate; remove the second statement")
        near = character(text, int(parsed["position"])) - shift if "position" in parsed else 0
        place = f" at character {near}" if 0 < near <= len(text) else ""
        raise FilterRefused(f"where does not parse: {message}{place}; write one SQL predicate like label = 'Bag'")
    (statement, *others) = parsed["statements"]
    if others or statement["node"]["type"] != "SELECT_NODE":
        raise FilterRefused("where is more than a predicate; remove UNION and further statements")
    node: Node = statement["node"]
    return node


def character(text: str, offset: int) -> int:
    """Where in `text` a byte offset of the parser falls, counted from 1."""
    before = text.encode("utf-8", "replace")[: max(offset - len(_PREFIX), 0)]
    return len(before.decode("utf-8", "ignore")) + 1
