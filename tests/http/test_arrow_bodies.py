"""Arrow streams that mean harm: offsets that point elsewhere, compressed buffers and cut-off bodies are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

ARROW = "application/vnd.apache.arrow.stream"


def arrow_rows(**options):
    """Three rows for the space `plain`, as an Arrow stream."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(9, "f4")), 3)
    table = pa.table({"id": pa.array([f"hostile{i}" for i in range(3)], pa.string()), "vector": vectors})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def with_offset(last):
    """The same, with ids said to end elsewhere."""
    stream, offsets = arrow_rows(), np.array([0, 8, 16, 24], "<i4").tobytes()
    assert stream.count(offsets) == 1
    return stream.replace(offsets, np.array([0, 8, 16, last], "<i4").tobytes())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (with_offset(2_000_000_000), "no Arrow stream"),
        (with_offset(600), "no Arrow stream"),
        (with_offset(-5), "no Arrow stream"),
        (arrow_rows(compression="zstd"), "compressed"),
        (arrow_rows(compression="lz4"), "compressed"),
        (arrow_rows()[:200], "no Arrow stream"),
        (b"ARROW1" * 100, "no Arrow stream"),
    ],
    ids=["far", "beyond", "negative", "zstd", "lz4", "cut off", "nonsense"],
)
def test_arrow_bodies_are_not_trusted(serve, content, said):
    client = serve()
    before = client.get("/v1/spaces/plain").json()["version"]
    answer = client.post("/v1/spaces/plain/items", content=content, headers={"content-type": ARROW})
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["error"]["message"]
    assert client.get("/v1/spaces/plain").json()["version"] == before
    whole = client.post("/v1/spaces/plain/items", content=arrow_rows(), headers={"content-type": ARROW})
    assert whole.status_code == 200, "the control"
