"""Writing rows and attributes; each needs the right to write."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError
from latentstore.server.arrow_stream import compressed
from latentstore.server.calls import Call
from latentstore.server.wire import AttributeAsked, DeleteAsked, RowsAsked, Written


def upsert(call: Call) -> Written:
    """Write rows, replacing those whose id exists: as JSON, or as an Arrow stream with the columns id and vector."""
    space = call.service.writable.space(call.path["space"])
    asked = call.body
    if isinstance(asked, RowsAsked):
        call.limits.check("rows", len(asked.ids), "rows")
        given = asked.vectors or np.empty((0, space.dim), np.float32)
        version = space.upsert(asked.ids, given, asked.metadata, encoder=asked.encoder)
    else:
        table = _table(asked)
        call.limits.check("rows", len(table), "rows")
        version = space.upsert(table)
    return Written(space=space.name, version=version)


def delete(call: Call) -> Written:
    """Delete rows by id or by predicate."""
    asked: DeleteAsked = call.body
    space = call.service.writable.space(call.path["space"])
    return Written(space=space.name, version=space.delete(asked.ids, where=asked.where))


def fit_attribute(call: Call) -> Written:
    """Fit an attribute vector from two predicates and publish it."""
    asked: AttributeAsked = call.body
    space = call.service.writable.space(call.path["space"])
    version = space.fit_attribute(
        asked.name, positive=asked.positive, negative=asked.negative, method=asked.method, seed=asked.seed
    )
    return Written(space=space.name, version=version)


def _table(content: bytes) -> pa.Table:
    """The table of an Arrow stream whose sender is not trusted: Arrow itself checks neither offsets nor text."""
    try:
        if compressed(content):
            raise InputError("the Arrow stream is compressed, and may be of any size; send it uncompressed")
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, struct.error) as error:
        raise InputError(f"the body is no Arrow stream ({error}); send one, or JSON") from error
    return table
