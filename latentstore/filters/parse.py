"""`where` text → checked tree → SQL with bound constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa

from latentstore.errors import FilterRefused
from latentstore.filters import session
from latentstore.filters.allowed import quote
from latentstore.filters.tree import read_tree
from latentstore.filters.writer import Constant, Writer

MAX_LENGTH = 200_000  # characters; room for a list of ten thousand ids
KEPT = 256  # predicates

_fitting: set[object] = set()  # those whose types were found to fit


@dataclass(frozen=True)
class Predicate:
    """A checked predicate; hashable, so that what it selects can be kept.

    Attributes:
        sql: A boolean SQL expression over quoted column names, constants as $1, $2, …
        parameters: The constants.
        columns: The columns it uses and their DuckDB types, by name.
    """

    sql: str
    parameters: tuple[Constant, ...]
    columns: tuple[tuple[str, str], ...]


def parse_where(text: str, columns: Mapping[str, pa.DataType]) -> Predicate:
    """Read and check one predicate.

    Args:
        text: An SQL expression, as after WHERE.
        columns: The metadata columns with their Arrow types; `id` is known besides.

    Returns:
        The predicate, rewritten.

    Raises:
        FilterRefused: Not one boolean expression, an unknown column, something that is not on the allow-list, or types
            that do not fit; the message names it.
    """
    if not isinstance(text, str):
        raise FilterRefused(f"where is {type(text).__name__}, not text; pass an SQL predicate like \"label = 'Bag'\"")
    return _parse(text, (("id", pa.string()), *columns.items()))


@lru_cache(maxsize=KEPT)
def _parse(text: str, columns: tuple[tuple[str, pa.DataType], ...]) -> Predicate:
    if len(text) > MAX_LENGTH:
        raise FilterRefused(f"where has {len(text)} characters; at most {MAX_LENGTH} are read")
    if not text.strip():
        raise FilterRefused("where is empty; leave it out, or write a predicate like label = 'Bag'")
    writer = Writer(text, dict(columns))
    sql = writer.write(read_tree(text))
    predicate = Predicate(sql, tuple(writer.parameters), tuple(writer.used.items()))
    _check_types(predicate, text)
    return predicate


def _check_types(predicate: Predicate, text: str) -> None:
    """Let DuckDB bind the predicate to empty columns: argument types must fit, and the result be a boolean.

    A predicate that differs from an earlier one in its numbers alone need not be bound, which takes a third of the
    time. DuckDB's type of a whole number depends on its size; a text may have to be read as a date, so it is compared.
    """
    kinds = tuple(one if isinstance(one, str) else (type(one), _bits(one)) for one in predicate.parameters)
    key = (predicate.sql, kinds, predicate.columns)
    if key in _fitting:
        return
    source = ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in predicate.columns) or "1"
    query = f"SELECT {predicate.sql} FROM (SELECT {source}) LIMIT 0"  # noqa: S608 - written from the allow-list
    try:
        cursor = session.parser().execute(query, list(predicate.parameters))
    except (duckdb.Error, OverflowError, UnicodeError) as error:
        raise FilterRefused(f"where does not fit the columns' types: {session.first_line(error)}") from error
    kind = str((cursor.description or [("", "")])[0][1])
    if kind != "BOOLEAN":
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise FilterRefused(f"where is a {kind}, not true or false: {shown!r}; compare it with something")
    if len(_fitting) >= KEPT:
        _fitting.clear()
    _fitting.add(key)


def _bits(constant: Constant) -> int:
    return constant.bit_length() if isinstance(constant, int) else 0
