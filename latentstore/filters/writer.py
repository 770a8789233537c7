"""Tree → SQL, if everything in it is on the allow-list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from latentstore.errors import FilterRefused, suggest
from latentstore.filters.allowed import CASTS, COMPARISONS, CONJUNCTIONS, FUNCTIONS, OPERATORS, duckdb_type, quote
from latentstore.filters.tree import Node, character

if TYPE_CHECKING:
    import pyarrow as pa

Constant: TypeAlias = str | int | float | Decimal | bool

_COMMON = {"class", "type", "alias", "query_location", "query_location_length"}
_NO_ORDER = {"type": "ORDER_MODIFIER", "orders": []}
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "*",
    "PARAMETER": "a parameter",
    "LAMBDA": "a lambda or ->",
    "CASE": "CASE",
    "COLLATE": "COLLATE",
    "POSITIONAL_REFERENCE": "a positional reference",
    "DEFAULT": "DEFAULT",
}


@dataclass
class Writer:
    """Writes SQL from the tree; whatever it does not know, it refuses."""

    text: str
    columns: Mapping[str, pa.DataType]
    parameters: list[Constant] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)

    def write(self, node: Node) -> str:
        """SQL of a node; its constants are appended to `parameters`, its columns to `used`."""
        kind = node["type"]
        match node["class"]:
            case "COMPARISON" if kind in COMPARISONS:
                self._only(node, "left", "right")
                return f"({self.write(node['left'])} {COMPARISONS[kind]} {self.write(node['right'])})"
            case "CONJUNCTION" if kind in CONJUNCTIONS:
                self._only(node, "children")
                return f"({CONJUNCTIONS[kind].join(self._all(node['children']))})"
            case "BETWEEN":
                self._only(node, "input", "lower", "upper")
                value, low, high = self._all([node["input"], node["lower"], node["upper"]])
                return f"({value} BETWEEN {low} AND {high})"
            case "OPERATOR":
                return self._operator(node)
            case "CONSTANT":
                return self._constant(node)
            case "COLUMN_REF":
                return self._column(node)
            case "CAST":
                self._only(node, "child", "try_cast", "type_expr")
                word = "TRY_CAST" if node["try_cast"] else "CAST"
                return f"{word}({self.write(node['child'])} AS {self._type(node['type_expr'])})"
            case "FUNCTION":
                return self._function(node)
            case other:
                raise self._refusal(_REFUSED.get(other, other.replace("_", " ").lower()), node)

    def _all(self, nodes: Sequence[Node]) -> list[str]:
        return [self.write(node) for node in nodes]

    def _operator(self, node: Node) -> str:
        self._only(node, "children")
        children = self._all(node["children"])
        match node["type"]:
            case "OPERATOR_NOT":
                return f"(NOT {children[0]})"
            case "COMPARE_IN":
                return f"({children[0]} IN ({', '.join(children[1:])}))"
            case "OPERATOR_IS_NULL":
                return f"({children[0]} IS NULL)"
            case "OPERATOR_IS_NOT_NULL":
                return f"({children[0]} IS NOT NULL)"
            case "OPERATOR_COALESCE":
                return f"coalesce({', '.join(children)})"
            case "ARRAY_EXTRACT":
                return f"list_extract({', '.join(children)})"
            case other:
                raise self._refusal(other.replace("_", " ").lower(), node)

    def _constant(self, node: Node) -> str:
        self._only(node, "literal")
        kind, text = node["literal"]["kind"], node["literal"]["text"]
        if kind == "NULL_LITERAL":
            return "NULL"
        value: Constant
        match kind:
            case "STRING":
                value = text
            case "BOOLEAN":
                value = text == "true"
            case "INTEGER" if abs(int(text)) < 2**127:
                value = int(text)
            # as in DuckDB, 0.1 is a decimal (equal to a float column's nearest value), 1e-1 is a double
            case "NUMERIC" if "e" not in text.lower() and sum(map(str.isdigit, text)) <= 38:
                value = Decimal(text)
            case "INTEGER" | "NUMERIC":
                value = float(text)
            case _:
                raise self._refusal(f"a {kind.lower()} constant", node)
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def _column(self, node: Node) -> str:
        self._only(node, "column_names")
        names = node["column_names"]
        if len(names) != 1:
            raise self._refusal(f"the qualified name {'.'.join(names)}", node, "write the column's name alone")
        if names[0].lower() == "vector":
            raise self._refusal("the vector", node, "search by it instead")
        # SQL compares names without case
        found = next((known for known in self.columns if known.lower() == names[0].lower()), None)
        if found is None:
            raise FilterRefused(
                f"unknown column {names[0]!r} at character {self._place(node)}; {suggest(names[0], self.columns)}"
            )
        kind = duckdb_type(self.columns[found])
        if kind is None:
            raise self._refusal(f"column {found!r} of type {self.columns[found]}", node, "filter by a plain column")
        self.used[found] = kind
        return quote(found)

    def _type(self, node: Node) -> str:
        name = node.get("type_name", "")
        if node["class"] == "TYPE" and not node["catalog"] and not node["schema"]:
            inside = node["children"]
            if name.lower() == "list" and len(inside) == 1:
                return f"{self._type(inside[0])}[]"
            if name.upper() == "DECIMAL" and all(child["class"] == "CONSTANT" for child in inside) and inside:
                return f"DECIMAL({', '.join(str(int(child['literal']['text'])) for child in inside)})"
            if name.upper() in CASTS and not inside:
                return str(name.upper())
        raise self._refusal(
            f"a cast to {name}", node, "cast to a plain type such as INTEGER, DOUBLE, VARCHAR or TIMESTAMP"
        )

    def _function(self, node: Node) -> str:
        plain = {"function_name", "schema", "catalog", "qualified_name", "filter", "order_bys", "distinct"}
        self._only(node, *plain, "is_operator", "export_state", "arguments")
        name = node["function_name"]
        bare = not (node["schema"] or node["catalog"] or node["filter"] or node["distinct"] or node["export_state"])
        bare = bare and node["order_bys"] == _NO_ORDER and not any(each["name"] for each in node["arguments"])
        known = name in (OPERATORS if node["is_operator"] and name not in FUNCTIONS else FUNCTIONS)
        if not known:
            remedy = "an aggregate, a table function, or not one of the plain functions of a filter"
            raise self._refusal(f"{name!r}", node, f"it is {remedy}; {suggest(name, FUNCTIONS)}")
        if not bare:
            raise self._refusal(
                f"{name!r} with a schema, DISTINCT, FILTER, ORDER BY or named arguments", node, "call it plainly"
            )
        arguments = self._all([each["expression"] for each in node["arguments"]])
        if name in FUNCTIONS:
            return f"{quote(name)}({', '.join(arguments)})"
        if len(arguments) == 1 and name in "+-":
            return f"({name}{arguments[0]})"
        left, right = arguments
        return f"({left} {OPERATORS[name]} {right})"

    def _only(self, node: Node, *keys: str) -> None:
        """Refuse a node with parts this writer does not know (a newer DuckDB's syntax).

        Releases add fields (2.0.1: is_legacy_function_call); one that is false or empty says nothing, and is passed
        (the number 0 may say something).
        """
        told = {key for key, value in node.items() if value is not False and value not in (None, "", [], {})}
        unknown = told - _COMMON - set(keys)
        if unknown or node["alias"]:
            raise self._refusal(f"{node['alias'] or ', '.join(sorted(unknown))}", node)

    def _place(self, node: Node) -> int:
        return min(character(self.text, node["query_location"]), len(self.text) + 1)

    def _refusal(self, what: str, node: Node, remedy: str = "") -> FilterRefused:
        allowed = "a filter has comparisons, and/or/not, in, between, like, is null, arithmetic and plain functions"
        return FilterRefused(f"where uses {what} at character {self._place(node)}; {remedy or allowed}")
