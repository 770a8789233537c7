"""Whether an Arrow stream is compressed, told before anything of it is unpacked.

Sixteen kilobytes may say that they are half a gigabyte, and Arrow makes room for that. The message headers are
FlatBuffers (Apache Arrow, Columnar Format, "Encapsulated message format"; Message.fbs): a table is found by an offset,
its fields by another table of offsets, where 0 stands for a field that is not there.
"""

from __future__ import annotations

import struct

import pyarrow as pa

_HEADER_TYPE, _HEADER = 1, 2  # fields of Message
_DICTIONARY, _RECORDS = 2, 3  # header types
_DATA = 1  # the record batch of a DictionaryBatch
_COMPRESSION = 3  # of a RecordBatch


def compressed(stream: bytes) -> bool:
    """Whether any batch of a stream is.

    Raises:
        pa.ArrowException, OSError, struct.error: It is no stream.
    """
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(stream))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return False
        if _is_compressed(bytes(message.metadata)):
            return True


def _is_compressed(header: bytes) -> bool:
    root = _at("<I", header, 0)
    kind_at = _field(header, root, _HEADER_TYPE)
    kind = _at("<B", header, kind_at) if kind_at else 0
    if kind not in (_DICTIONARY, _RECORDS):
        return False
    batch = _table(header, root, _HEADER)
    if kind == _DICTIONARY:
        batch = _table(header, batch, _DATA)
    return _field(header, batch, _COMPRESSION) != 0


def _table(header: bytes, table: int, field: int) -> int:
    """Where the table that a field points to begins."""
    at = _field(header, table, field)
    return at + _at("<I", header, at)


def _field(header: bytes, table: int, field: int) -> int:
    """Where a field of a table lies; 0 when it is not there."""
    fields = table - _at("<i", header, table)
    place = 4 + 2 * field
    offset = _at("<H", header, fields + place) if place < _at("<H", header, fields) else 0
    return table + offset if offset else 0


def _at(form: str, header: bytes, at: int) -> int:
    number: int = struct.unpack_from(form, header, at)[0]
    return number
