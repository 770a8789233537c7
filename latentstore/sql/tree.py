"""The parsed tree of a query, as DuckDB serialises it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from latentstore.filters import session

Node = dict[str, Any]
Given = tuple[str | None, Any]  # the name of a parameter, or None and a constant


def plain_select(query: str) -> Node | None:
    """The tree of one SELECT without set operations; None for anything else, and where it is too deep to look at."""
    (tree,) = session.parser().execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("",)
    try:
        parsed = json.loads(tree)
    except RecursionError:  # nested deeper than Python reads
        return None
    if parsed["error"] or len(parsed["statements"]) != 1:
        return None
    select: Node = parsed["statements"][0]["node"]
    return select if select["type"] == "SELECT_NODE" else None


def text_of(select: Node) -> str | None:
    """The inverse of `plain_select`; None where DuckDB cannot read it back (it nests 256 deep at most)."""
    tree = json.dumps({"error": False, "statements": [{"node": select, "named_param_map": []}]})
    try:
        (query,) = session.parser().execute("SELECT json_deserialize_sql(?)", [tree]).fetchone() or ("",)
    except duckdb.Error:
        return None
    return str(query)


def nodes(tree: Any) -> Iterator[Node]:
    """Every object of a tree."""
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from nodes(child)


def tables(tree: Node) -> list[Node]:
    """Everything that a query reads rows from."""
    return [node for node in nodes(tree) if node.get("type") in ("BASE_TABLE", "SHOW_REF", "TABLE_FUNCTION")]


def columns(tree: Node, sides: Collection[str]) -> frozenset[str] | None:
    """Names of the columns a query uses, in lower case.

    Returns:
        None where a star, or a whole row by its table's name (one of `sides`), stands for them.
    """
    found = set()
    for node in nodes(tree):
        if node.get("class") == "STAR":
            return None
        if node.get("class") == "COLUMN_REF":
            names = [fold(name) for name in node["column_names"]]
            if len(names) == 1 and names[0] in sides:
                return None
            found.update(names)
    return frozenset(found)


def name(side: Node) -> str:
    """By which name a query calls a table or function it reads from, in lower case."""
    return fold(str(side["alias"] or side.get("table_name") or side["function"]["function_name"]))


def fold(text: str) -> str:
    """In lower case as DuckDB compares names: of ASCII letters alone."""
    return text.encode().lower().decode()


def by_place_or_schema(tree: Node, sides: Collection[str]) -> bool:
    """Whether a query may name columns by their places, or tables by their schemas: neither is kept when rows are shown
    under other tables."""
    return any(
        node.get("class") == "POSITIONAL_REFERENCE"
        or (
            node.get("class") == "COLUMN_REF"
            and len(node["column_names"]) > 2
            and fold(node["column_names"][0]) not in sides
        )
        for node in nodes(tree)
    )


def on_id(join: Node, one: str, other: str) -> bool:
    """Whether two tables are joined where both ids are equal."""
    return [fold(column) for column in join["using_columns"]] == ["id"] or same_id(join["condition"], one, other)


def same_id(condition: Node | None, one: str, other: str) -> bool:
    """Whether a condition is the equality of both ids."""
    if condition is None or condition["type"] != "COMPARE_EQUAL":
        return False
    sides = [side.get("column_names", []) for side in (condition["left"], condition["right"])]
    return sorted(fold(".".join(names)) for names in sides) == sorted([f"{one}.id", f"{other}.id"])


def neighbours(function: Node) -> tuple[Node, Node, Node] | None:
    """The arguments of a call of `neighbours`: space, query and k; None for another function."""
    given = function["arguments"]
    if function["function_name"] != "neighbours" or function["schema"] or len(given) != 3:
        return None
    if any(one["name"] for one in given):
        return None
    space, query, k = (one["expression"] for one in given)
    return space, query, k


def constant(node: Node) -> Given | None:
    """A parameter, or the value of text or a whole number; None for everything else."""
    if node["class"] == "PARAMETER":
        return node["identifier"], None
    if node["class"] != "CONSTANT":
        return None
    literal = node["literal"]
    read = {"STRING": str, "INTEGER": int}.get(literal["kind"])
    return None if read is None else (None, read(literal["text"]))
