"""Joins of `neighbours(…)` with the space it searches, answered from the hits alone.

    SELECT n.distance, f.label FROM neighbours('fashion', $q, 10) n JOIN fashion f USING (id)

DuckDB would read the ids of all rows to find ten. Where every use of `fashion` in the query is such a join, the rows of
the hits are all it can meet; so the search is done first, and the query runs where there are no other rows
(`HitsOnly`). Anything else is left to DuckDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from latentstore.sql import tree

MAX_K = 1000  # more rows than that are better found by a scan


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

    arguments: tuple[tree.Given, tree.Given, tree.Given]
    table: str
    columns: frozenset[str] | None
    spent: frozenset[str]


@lru_cache(maxsize=256)
def _shape(query: str) -> _Shape | None:
    select = tree.plain_select(query)
    join = (select or {}).get("from_table") or {}
    if select is None or join.get("type") != "JOIN" or join["ref_type"] != "REGULAR":
        return None
    sides = {side["type"]: side for side in (join["left"], join["right"])}
    if set(sides) != {"TABLE_FUNCTION", "BASE_TABLE"} or any(side["sample"] for side in sides.values()):
        return None
    if join["join_type"] != "INNER" and not (join["join_type"] == "LEFT" and join["left"]["type"] == "TABLE_FUNCTION"):
        return None
    hits, table = sides["TABLE_FUNCTION"], sides["BASE_TABLE"]
    asked = tree.neighbours(hits["function"])
    if asked is None or table["schema_name"] or table["catalog_name"]:
        return None
    names = tree.name(hits), tree.name(table)
    if (
        tree.by_place_or_schema(select, names)
        or hits["column_name_alias"]
        or table["column_name_alias"]
        or not tree.on_id(join, *names)
    ):
        return None
    space, wanted, k = map(tree.constant, asked)
    if space is None or wanted is None or k is None or len(tree.tables(select)) != 2:
        return None
    uses = Counter(node["identifier"] for node in tree.nodes(select) if node.get("class") == "PARAMETER")
    spent = frozenset(name for name, _ in (space, wanted, k) if name is not None and uses[name] == 1)
    return _Shape((space, wanted, k), table["table_name"].lower(), tree.columns(select, names), spent)
