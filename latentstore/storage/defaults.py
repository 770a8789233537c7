"""Default values of metadata columns, as JSON: text that Arrow reads back, {"hex": …} for binary, lists of those."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from latentstore.errors import InputError
from latentstore.storage.manifest import Json


def to_json(name: str, value: Any, kind: pa.DataType) -> Json:
    """A default as JSON, checked against the column's type.

    Raises:
        InputError: The value does not fit the type, or the type has no text form.
    """
    try:
        scalar = value if isinstance(value, pa.Scalar) else pa.array([value], None if value is None else kind)[0]
        scalar = scalar.cast(kind)
        told = _write(scalar)
        same = str(read(told, kind)) == str(scalar)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"the default {value!r} cannot stand in column {name!r} of type {kind} ({error}); pass a value of that "
            "type, or add the column without a default and update its rows"
        ) from error
    if not same:
        raise InputError(f"the default {value!r} of column {name!r} would not be read back as {kind}; choose another")
    return told


def _write(scalar: pa.Scalar) -> Json:
    if not scalar.is_valid:
        return None
    if pa.types.is_list(scalar.type):
        return [_write(one) for one in scalar.values]
    if pa.types.is_binary(scalar.type):
        return {"hex": scalar.as_py().hex()}
    return scalar.cast(pa.string()).as_py()


def read(told: Json, kind: pa.DataType) -> pa.Scalar:
    """The inverse of `to_json`."""
    if told is None:
        return pa.scalar(None, kind)
    if isinstance(told, list):
        return pa.array([[read(one, kind.value_type).as_py() for one in told]], kind)[0]
    if isinstance(told, dict):
        return pa.scalar(bytes.fromhex(told["hex"]), kind)
    return pa.scalar(told, pa.string()).cast(kind)
