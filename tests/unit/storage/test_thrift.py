"""Footers that pyarrow wrote, to a tree and back to the same bytes."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentstore.storage import thrift
from latentstore.storage.thrift import BINARY, BYTE, FALSE, I16, I32, I64, LIST, MAP, STRUCT, TRUE


def footer(table: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    content = file.getvalue()
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


@pytest.mark.parametrize("columns", [1, 14, 15, 40])  # a list's length stands in its first byte up to 14
def test_footers_come_back_byte_for_byte(columns: int) -> None:
    values = {f"c{i}": [None, -(1 << 40), i] for i in range(columns)} | {"tags": [["a"], [], None]}
    content = footer(pa.table(values), row_group_size=2, write_page_index=True)
    tree = thrift.parse(content)
    assert thrift.serialise(tree) == content
    assert tree[3] == (I64, 3)  # FileMetaData.num_rows
    assert len(tree[4][1][1]) == 2  # its row groups
    tree[3] = I64, 4
    assert thrift.serialise(tree) != content


def test_every_type_and_distant_fields() -> None:
    struct: thrift.Struct = {
        1: (TRUE, None),
        2: (FALSE, None),
        3: (BYTE, b"\x07"),
        20: (I16, -300),  # too far from 3 for a difference in the first byte
        21: (I32, 1 << 30),
        22: (I64, -(1 << 62)),
        23: (BINARY, b"x" * 200),
        24: (LIST, (TRUE, [b"\x01", b"\x02"])),
        25: (STRUCT, {1: (LIST, (STRUCT, [{}, {16: (I32, 0)}]))}),
    }
    assert thrift.parse(thrift.serialise(struct)) == struct
    assert thrift.varint(300) == b"\xac\x02"  # the specification's example


def test_what_no_footer_has_is_refused() -> None:
    with pytest.raises(ValueError, match="type 11"):
        thrift.parse(bytes([1 << 4 | MAP, 0, 0]))
