"""Lateral joins of a space with the `neighbours(…)` of each of its vectors, answered from one batch search.

    SELECT q.id, n.id, n.distance, f.label
    FROM queries q, neighbours('fashion', q.vector, 10) n JOIN fashion f ON f.id = n.id

DuckDB would pass each vector and each list of hits through its own columns, and read the ids of all rows of `fashion`
to find those of the hits. The search is done first instead. Its hits, the rows of `queries` (each repeated for its
hits) and those of `fashion` then stand side by side in one table, and the join has become one by position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from latentstore.sql import tree
from latentstore.sql.functions import MAX_K

MAX_QUERIES = 2048  # as many as DuckDB passes to a function in one call
MAX_HITS = 200_000  # of all queries
LEFT, RIGHT = "_left", "_right"  # what the queries' rows and the hits' own are called; no space may have these names


@dataclass(frozen=True)
class LateralJoin:
    """A join that needs the queries' rows and the hits' only.

    Attributes:
        queries: The space whose vectors are asked.
        space: The space that is searched.
        k: How many neighbours of each.
        joined: Whether the rows of the hits are joined, too.
        columns: Names that the query uses, in lower case; never "vector".
        text: The query, with joins by position of `LEFT`, `neighbours` and, when joined, `RIGHT`.
    """

    queries: str
    space: str
    k: int
    joined: bool
    columns: frozenset[str]
    text: str


def lateral_join(query: str, parameters: Mapping[str, Any]) -> LateralJoin | None:
    """The one join of this kind that a query consists of; None where it is anything else.

    The query must be one plain SELECT from a space, from `neighbours` of its vectors, and perhaps from the space that
    is searched, joined to the hits on `id`. It must not show vectors, which would be repeated for each hit, nor have a
    LIMIT or another WHERE, which may spare DuckDB some of the searches.
    """
    shape = _shape(query)
    if shape is None:
        return None
    space, k = (value if name is None else parameters.get(name) for name, value in shape.arguments)
    if not isinstance(space, str) or (shape.table is not None and space != shape.table):
        return None
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        return None
    return LateralJoin(shape.queries, space, k, shape.table is not None, shape.columns, shape.text)


@dataclass(frozen=True)
class _Shape:
    """A query that is such a join if its arguments are what they should be.

    Attributes:
        arguments: Of `neighbours`: space and k.
        table: The space that is joined to the hits, in lower case, if any is.
        queries, columns, text: As `LateralJoin`.
    """

    arguments: tuple[tree.Given, tree.Given]
    table: str | None
    queries: str
    columns: frozenset[str]
    text: str


@lru_cache(maxsize=256)
def _shape(query: str) -> _Shape | None:
    select = tree.plain_select(query)
    if select is None or any(one["cte_map"]["map"] for one in tree.nodes(select) if "cte_map" in one):
        return None
    if any("LIMIT" in modifier["type"] for modifier in select["modifiers"]):
        return None
    sides, joins = [*_sides(select["from_table"])], [*_joins(select["from_table"])]
    if [side["type"] for side in sides] not in (
        ["BASE_TABLE", "TABLE_FUNCTION"],
        ["BASE_TABLE", "TABLE_FUNCTION", "BASE_TABLE"],
    ):
        return None
    if len(tree.tables(select)) != len(sides) or not all(map(_plain, sides)):
        return None
    queries, hits, *joined = sides
    asked = tree.neighbours(hits["function"])
    if asked is None or not _conditions_hold(select, joins, hits, joined):
        return None
    space, k = tree.constant(asked[0]), tree.constant(asked[2])
    if space is None or k is None or not _vector_of(asked[1], tree.name(queries)):
        return None
    names = [tree.name(side) for side in sides]
    if tree.by_place_or_schema(select, names) or len({*names}) < len(names):
        return None
    hits["function"]["arguments"][1] = hits["function"]["arguments"][0]  # a search is over before the query runs
    select["from_table"] = _by_position(
        joins[0], [_renamed(queries, LEFT), hits, *(_renamed(one, RIGHT) for one in joined)]
    )
    select["where_clause"] = None
    columns = tree.columns(select, names)
    if columns is None or "vector" in columns:
        return None
    text = tree.text_of(select)
    table = joined[0]["table_name"].lower() if joined else None
    return None if text is None else _Shape((space, k), table, queries["table_name"].lower(), columns, text)


def _sides(source: tree.Node) -> Iterator[tree.Node]:
    """What is joined, from left to right."""
    if source["type"] == "JOIN":
        yield from _sides(source["left"])
        yield from _sides(source["right"])
    else:
        yield source


def _joins(source: tree.Node) -> Iterator[tree.Node]:
    if source["type"] == "JOIN":
        yield from (source, *_joins(source["left"]), *_joins(source["right"]))


def _plain(side: tree.Node) -> bool:
    """Whether a table or function is read whole, under its own columns' names."""
    if side["sample"] or side["column_name_alias"]:
        return False
    if side["type"] == "TABLE_FUNCTION":
        return bool(side["with_ordinality"] == "WITHOUT_ORDINALITY")
    return not (side["schema_name"] or side["catalog_name"] or side["at_clause"])


def _conditions_hold(select: tree.Node, joins: list[tree.Node], hits: tree.Node, joined: list[tree.Node]) -> bool:
    """Whether the query asks for nothing but that the hits and their rows, when joined, have the same id."""
    ids = 0  # conditions that the hits and their rows have the same
    for join in joins:
        if join["join_type"] != "INNER" or join["ref_type"] not in ("CROSS", "REGULAR"):
            return False
        if join["using_columns"] and join["left"] is not hits:  # the queries have an id, too
            return False
        if joined and tree.on_id(join, tree.name(hits), tree.name(joined[0])):
            ids += 1
        elif join["using_columns"] or not _trivial(join["condition"]):
            return False
    if joined and tree.same_id(select["where_clause"], tree.name(hits), tree.name(joined[0])):
        ids += 1
    elif select["where_clause"] is not None:
        return False
    return ids == len(joined)


def _trivial(condition: tree.Node | None) -> bool:
    return condition is None or condition.get("literal") == {"kind": "BOOLEAN", "text": "true"}


def _vector_of(node: tree.Node, name: str) -> bool:
    """Whether an expression is the column `vector` of a table, the only one there is to the left."""
    return [tree.fold(part) for part in node.get("column_names", [])] in (["vector"], [name, "vector"])


def _renamed(table: tree.Node, name: str) -> tree.Node:
    return {
        **table,
        "alias": table["alias"] or table["table_name"],
        "table_name": name,
        "qualified_name": {"path": [name]},
    }


def _by_position(join: tree.Node, sides: list[tree.Node]) -> tree.Node:
    left, *others = sides
    for right in others:
        plain: tree.Node = {"join_type": "INNER", "ref_type": "POSITIONAL", "condition": None, "using_columns": []}
        left = {**join, **plain, "alias": "", "sample": None, "is_implicit": False, "left": left, "right": right}
    return left
