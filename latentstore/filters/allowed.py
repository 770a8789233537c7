"""What a predicate may use, and how Arrow types are called in DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMPARISONS: Mapping[str, str] = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
CONJUNCTIONS: Mapping[str, str] = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}

# The parser writes operators as functions of these names; ours are the words that read back as them.
OPERATORS: Mapping[str, str] = {
    **{sign: sign for sign in ("+", "-", "*", "/", "//", "%", "**", "||", "@>", "<@", "&&")},
    "^": "**",
    "~~": "LIKE",
    "!~~": "NOT LIKE",
    "~~*": "ILIKE",
    "!~~*": "NOT ILIKE",
    "~~~": "GLOB",
    "^@": "^@",
}

# Scalar functions of bounded cost: none repeats text, reads settings, files or the clock, or takes a function.
FUNCTIONS = frozenset(
    """
    lower upper length len strlen trim ltrim rtrim left right substring substr strip_accents
    contains starts_with ends_with prefix suffix regexp_matches regexp_full_match
    like_escape not_like_escape ilike_escape not_ilike_escape
    abs sign round floor ceil ceiling trunc sqrt exp ln log log2 log10 pow power mod greatest least
    isnan isfinite isinf nullif
    list_value list_contains list_has array_contains array_has list_has_any array_has_any list_has_all array_has_all
    list_position array_position array_length list_extract array_extract list_element
    list_min list_max list_sum list_avg list_distinct list_unique
    year month day hour minute second quarter week dayofweek isodow dayofyear date_part datepart date_trunc datetrunc
    date_diff datediff epoch epoch_ms make_date last_day
    to_years to_months to_weeks to_days to_hours to_minutes to_seconds to_milliseconds to_microseconds
    """.split()  # noqa: SIM905
)

CASTS = frozenset(
    """
    BOOLEAN TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT FLOAT DOUBLE DECIMAL
    VARCHAR DATE TIME TIMESTAMP TIMESTAMP_S TIMESTAMP_MS TIMESTAMP_NS TIMESTAMPTZ INTERVAL UUID
    """.split()  # noqa: SIM905
) | {"TIMESTAMP WITH TIME ZONE"}

_NAMES: Mapping[pa.DataType, str] = {
    pa.null(): '"NULL"',
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
}


def duckdb_type(kind: pa.DataType) -> str | None:
    """The DuckDB type that a Parquet column of an Arrow type is read as, or None where SQL has no such values.

    Timestamps are microseconds (nanoseconds stay), durations are integers in their own unit.
    """
    if kind in _NAMES:
        return _NAMES[kind]
    if pa.types.is_dictionary(kind):
        return duckdb_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP_NS" if kind.unit == "ns" else "TIMESTAMP"
    if pa.types.is_time(kind):
        return "TIME"
    if pa.types.is_duration(kind):
        return "BIGINT"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})" if kind.precision <= 38 and kind.scale >= 0 else "DOUBLE"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = duckdb_type(kind.value_type)
        return inner and f"{inner}[]"
    return None


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: Path | str) -> str:
    """A text or path as an SQL literal."""
    return "'" + str(value).replace("'", "''") + "'"
