"""Thrift's compact protocol, as far as a Parquet footer needs it: bytes to a tree of fields, and back.

Source: the Apache Thrift specification, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

import io
from typing import Any

Struct = dict[int, tuple[int, Any]]  # field number → type and value, ascending; a list's value: (type, values)

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


def parse(content: bytes) -> Struct:
    """Read one struct."""
    struct: Struct = _read(io.BytesIO(content), STRUCT)
    return struct


def serialise(struct: Struct) -> bytes:
    """The inverse of `parse`."""
    out = bytearray()
    _write(out, STRUCT, struct)
    return bytes(out)


def varint(number: int) -> bytes:
    """A number ≥ 0 in groups of seven bits, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(stream: io.BytesIO) -> int:
    number = shift = 0
    while True:
        (byte,) = stream.read(1)
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift += 7


def _read(stream: io.BytesIO, kind: int) -> Any:
    if kind in (TRUE, FALSE):  # as an element of a list; a field has its value in its type
        return stream.read(1)
    if kind == BYTE:
        return stream.read(1)
    if kind in (I16, I32, I64):
        folded = _read_varint(stream)
        return (folded >> 1) ^ -(folded & 1)
    if kind == DOUBLE:
        return stream.read(8)
    if kind == BINARY:
        return stream.read(_read_varint(stream))
    if kind in (LIST, SET):
        (head,) = stream.read(1)
        count = head >> 4 if head >> 4 < 15 else _read_varint(stream)
        return head & 15, [_read(stream, head & 15) for _ in range(count)]
    if kind != STRUCT:
        raise ValueError(f"type {kind}, which no Parquet footer has")
    struct: Struct = {}
    number = 0
    while head := stream.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _read(stream, I16)
        struct[number] = head & 15, None if head & 15 in (TRUE, FALSE) else _read(stream, head & 15)
    return struct


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE, BYTE, DOUBLE):
        out += value
    elif kind in (I16, I32, I64):
        out += varint(value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind == BINARY:
        out += varint(len(value)) + value
    elif kind in (LIST, SET):
        element, values = value
        out.append(min(len(values), 15) << 4 | element)
        if len(values) >= 15:
            out += varint(len(values))
        for one in values:
            _write(out, element, one)
    else:
        before = 0
        for number, (field, content) in value.items():
            if 0 < number - before < 16:
                out.append(number - before << 4 | field)
            else:
                out.append(field)
                _write(out, I16, number)
            before = number
            if field not in (TRUE, FALSE):
                _write(out, field, content)
        out.append(0)
