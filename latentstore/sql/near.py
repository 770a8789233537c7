"""Joins of `neighbours(…)` with the space it searches, answered from the hits alone.

    SELECT n.distance, f.label FROM neighbours('fashion', $q, 10) n JOIN fashion f USING (id)

DuckDB would read the ids of all rows to find ten. Where every use of `fashion` in the query is such a join, the rows of
the hits are all it can meet; so the search is done first, the view is covered for this query by a table of those rows,
and the function answers with the hits that are known. Anything else is left to DuckDB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from latentstore.filters import session

MAX_K = 1000  # more rows than that are better found by a scan

Node = dict[str, Any]


@dataclass(frozen=True)
class NearJoin:
    """A join that needs the hits' rows only.

    Attributes:
        space: Its name.
        query: The expression or vector.
        k: How many neighbours.
        columns: Names that the query uses, in lower case; None when it may use any.
    """

    space: str
    query: str | list[float]
    k: int
    columns: frozenset[str] | None = None


def near_join(query: str, parameters: Mapping[str, Any]) -> NearJoin | None:
    """The one join of this kind that a query consists of; None where it is anything else.

    The query must be one plain SELECT from `neighbours` with constant arguments, inner-joined (or joined from the left)
    with its space on `id`, and use the space nowhere else.
    """
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
    asked = _call(hits["function"], parameters)
    if asked is None or asked.space != table["table_name"].lower() or table["schema_name"] or table["catalog_name"]:
        return None
    if hits["column_name_alias"] or table["column_name_alias"] or not _on_id(join, _name(hits), _name(table)):
        return None
    used = [node for node in _nodes(select) if node.get("type") in ("BASE_TABLE", "SHOW_REF", "TABLE_FUNCTION")]
    return replace(asked, columns=_columns(select, {_name(hits), _name(table)})) if len(used) == 2 else None


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


def _call(function: Node, parameters: Mapping[str, Any]) -> NearJoin | None:
    """The arguments of a call of `neighbours`, if all of them are known before the query runs."""
    given = function["arguments"]
    if function["function_name"] != "neighbours" or function["schema"] or len(given) != 3:
        return None
    if any(one["name"] for one in given):
        return None
    space, query, k = (_constant(one["expression"], parameters) for one in given)
    if not isinstance(space, str) or isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        return None
    numbers = isinstance(query, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in query)
    return NearJoin(space, query, k) if isinstance(query, str) or (numbers and query) else None


def _constant(node: Node, parameters: Mapping[str, Any]) -> Any:
    """The value of text, a whole number or a parameter; None for everything else."""
    if node["class"] == "PARAMETER":
        return parameters.get(node["identifier"])
    if node["class"] != "CONSTANT":
        return None
    literal = node["literal"]
    return {"STRING": str, "INTEGER": int}.get(literal["kind"], lambda _: None)(literal["text"])


def _nodes(tree: Any) -> Iterator[Node]:
    """Every object of a tree."""
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
