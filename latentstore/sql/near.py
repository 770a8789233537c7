"""Joins of `neighbours(…)` with the space it searches, answered from the hits alone.

    SELECT n.distance, f.label FROM neighbours('fashion', $q, 10) n JOIN fashion f USING (id)

DuckDB would read the ids of all rows to find ten. Where every use of `fashion` in the query is such a join, the rows of
the hits are all it can meet; so the search is done first, and the query runs where there are no other rows
(`HitsOnly`). Anything else is left to DuckDB.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from latentstore.filters import session

MAX_K = 1000  # more rows than that are better found by a scan

Node = dict[str, Any]
_Given = tuple[str | None, Any]  # the name of a parameter, or None and a constant


@dataclass(frozen=True)
class NearJoin:
    """A join that needs the hits' rows only.

    Attributes:
        space: Its name.
        query: The expression or vector.
        k: How many neighbours.
        columns: Names that the query uses, in lower case; None when it may use any.
        spent: Parameters that are of no more use once the hits are known.
    """

    space: str
    query: str | list[float]
    k: int
    columns: frozenset[str] | None = None
    spent: frozenset[str] = frozenset()


def near_join(query: str, parameters: Mapping[str, Any]) -> NearJoin | None:
    """The one join of this kind that a query consists of; None where it is anything else.

    The query must be one plain SELECT from `neighbours` with constant arguments, inner-joined (or joined from the left)
    with its space on `id`, and use the space nowhere else.
    """
    shape = _shape(query)
    if shape is None:
        return None
    space, asked, k = (value if name is None else parameters.get(name) for name, value in shape.arguments)
    if not isinstance(space, str) or space != shape.table:
        return None
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        return None
    numbers = isinstance(asked, list) and {*map(type, asked)} <= {int, float}
    if not (isinstance(asked, str) or (numbers and asked)):
        return None
    return NearJoin(space, asked, k, shape.columns, shape.spent)


@dataclass(frozen=True)
class _Shape:
    """A query that is such a join if its arguments are what they should be.

    Attributes:
        arguments: Of `neighbours`: space, query, k.
        table: The space that is joined, in lower case.
        columns, spent: As `NearJoin`.
    """

    arguments: tuple[_Given, _Given, _Given]
    table: str
    columns: frozenset[str] | None
    spent: frozenset[str]


@lru_cache(maxsize=256)
def _shape(query: str) -> _Shape | None:
    (tree,) = session.parser().execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("",)
    parsed = json.loads(tree)
    if parsed["error"] or len(parsed["statements"]) != 1:
        return None
    select = parsed["statements"][0]["node"]
    join = select.get("from_table") or {}
    if select["type"] != "SELECT_NODE" or join.get("type") != "JOIN" or join["ref_type"] != "REGULAR":
        return None
    sides = {side["type"]: side for side in (join["left"], join["right"])}
    if set(sides) != {"TABLE_FUNCTION", "BASE_TABLE"} or any(side["sample"] for side in sides.values()):
        return None
    if join["join_type"] != "INNER" and not (join["join_type"] == "LEFT" and join["left"]["type"] == "TABLE_FUNCTION"):
        return None
    hits, table = sides["TABLE_FUNCTION"], sides["BASE_TABLE"]
    arguments = _arguments(hits["function"])
    if arguments is None or table["schema_name"] or table["catalog_name"]:
        return None
    if hits["column_name_alias"] or table["column_name_alias"] or not _on_id(join, _name(hits), _name(table)):
        return None
    used = [node for node in _nodes(select) if node.get("type") in ("BASE_TABLE", "SHOW_REF", "TABLE_FUNCTION")]
    if len(used) != 2:
        return None
    uses = Counter(node["identifier"] for node in _nodes(select) if node.get("class") == "PARAMETER")
    spent = frozenset(name for name, _ in arguments if name is not None and uses[name] == 1)
    return _Shape(arguments, table["table_name"].lower(), _columns(select, {_name(hits), _name(table)}), spent)


def _columns(select: Node, sides: set[str]) -> frozenset[str] | None:
    """Names of the columns a query uses; None where a star, or a whole row by its table's name, stands for them."""
    found = set()
    for node in _nodes(select):
        if node.get("class") == "STAR":
            return None
        if node.get("class") == "COLUMN_REF":
            names = [name.lower() for name in node["column_names"]]
            if len(names) == 1 and names[0] in sides:
                return None
            found.update(names)
    return frozenset(found)


def _name(side: Node) -> str:
    return str(side["alias"] or side.get("table_name") or side["function"]["function_name"]).lower()


def _on_id(join: Node, hits: str, table: str) -> bool:
    """Whether the join's condition is the equality of both ids."""
    if [name.lower() for name in join["using_columns"]] == ["id"]:
        return True
    condition = join["condition"] or {}
    if condition.get("type") != "COMPARE_EQUAL":
        return False
    sides = [one.get("column_names", []) for one in (condition["left"], condition["right"])]
    return sorted(".".join(names).lower() for names in sides) == sorted([f"{hits}.id", f"{table}.id"])


def _arguments(function: Node) -> tuple[_Given, _Given, _Given] | None:
    """The arguments of a call of `neighbours`, if all of them are known before the query runs."""
    given = function["arguments"]
    if function["function_name"] != "neighbours" or function["schema"] or len(given) != 3:
        return None
    if any(one["name"] for one in given):
        return None
    space, query, k = (_given(one["expression"]) for one in given)
    return (space, query, k) if space and query and k else None


def _given(node: Node) -> _Given | None:
    """A parameter, or the value of text or a whole number; None for everything else."""
    if node["class"] == "PARAMETER":
        return node["identifier"], None
    if node["class"] != "CONSTANT":
        return None
    literal = node["literal"]
    read = {"STRING": str, "INTEGER": int}.get(literal["kind"])
    return None if read is None else (None, read(literal["text"]))


def _nodes(tree: Any) -> Iterator[Node]:
    """Every object of a tree."""
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
