"""SQL, in the sandboxed process; off unless the service was started with it."""

from __future__ import annotations

from latentstore.server.calls import Call, Tabular
from latentstore.server.refusals import Refusal
from latentstore.server.wire import SqlAsked


def sql(call: Call) -> Tabular:
    """Run one SELECT over the snapshots that are served."""
    asked: SqlAsked = call.body
    from latentstore.sql.statement import mentioned

    if call.service.sql is None:
        raise Refusal(403, "SqlOff", "this service answers no SQL; start it with --sql")
    spaces = call.service.spaces
    versions = {name: one.space.version for name, one in spaces.served.items()}
    versions |= {name: spaces.get(name).files.resolve(version) for name, version in asked.at.items()}
    found = spaces.store.sql(asked.query, asked.parameters, at=versions, sandbox=True, limits=call.service.sql)
    read = mentioned(asked.query, list(versions))
    return Tabular(found, {"versions": ",".join(f"{name}={versions[name]}" for name in read)})
