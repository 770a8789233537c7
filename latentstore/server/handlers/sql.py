"""SQL, in the sandboxed process; off unless the service was started with it."""

from __future__ import annotations

from latentstore.server.calls import Call, Tabular
from latentstore.server.refusals import Refusal
from latentstore.server.wire import SqlAsked


def sql(call: Call) -> Tabular:
    """Run one SELECT over the newest snapshots of all spaces."""
    asked: SqlAsked = call.body
    if call.service.sql is None:
        raise Refusal(403, "SqlOff", "this service answers no SQL; start it with --sql")
    store = call.service.spaces.store
    return Tabular(store.sql(asked.query, asked.parameters, sandbox=True, limits=call.service.sql), {})
