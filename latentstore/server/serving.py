"""Starting the service: a store, what is served of it, and to whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentstore.errors import ConfigInvalid
from latentstore.server.app import App
from latentstore.server.batching import Batcher
from latentstore.server.calls import Service
from latentstore.server.following import Following
from latentstore.server.guard import LOOPBACK, Guard
from latentstore.server.keys import read_keys
from latentstore.server.limits import ServerLimits
from latentstore.server.logs import set_up
from latentstore.server.metrics import Metrics
from latentstore.server.pictures import ItemPictures
from latentstore.server.routes import ROUTES, Router
from latentstore.server.searchers import Searchers
from latentstore.store import open_store

if TYPE_CHECKING:
    import uvicorn

    from latentstore.sql import Limits

GRACE = 10  # seconds that a stop waits for what is under way


def make_app(
    store: str | Path,
    *,
    host: str = "127.0.0.1",
    allow_hosts: Iterable[str] = (),
    at: int | str = "production",
    sql: Limits | None = None,
    limits: ServerLimits | None = None,
    searchers: int = 0,
) -> App:
    """The ASGI application of a store.

    Args:
        store: Its folder.
        host: Address it will listen on. On loopback it may be asked without a key until one is made.
        allow_hosts: Further names it is called by.
        at: Tag or version to serve; a space without that tag is served at its newest version.
        sql: What a query may use; None turns SQL off.
        limits: What a request may use.
        searchers: How many processes search beside the event loop; with none it does so itself.

    Raises:
        UnknownSpace: No store is there.
        ConfigInvalid: Another address than loopback, and nobody has a key.
    """
    path = Path(store)
    loopback = is_loopback(host)
    if not loopback and not read_keys(path):
        raise ConfigInvalid(
            f"to serve on {host}, which others can reach, needs a key; make one: latentstore key create {path} NAME"
        )
    spaces, beside = Following(open_store(path, mode="r"), at), Searchers(path, searchers)
    service = Service(
        spaces=spaces,
        writable=open_store(path),
        limits=limits or ServerLimits(),
        searchers=beside,
        batcher=Batcher(beside),
        pictures=ItemPictures(),
        metrics=Metrics(spaces, beside),
        sql=sql,
    )
    guard = Guard(path, {*LOOPBACK, _bracketed(host), *allow_hosts}, open_to_all=loopback and not tuple(allow_hosts))
    return App(service, guard, Router(ROUTES))


def serve(app: App, *, host: str = "127.0.0.1", port: int = 8000, log_level: str = "info") -> None:
    """Listen until the process is told to stop; what is under way is finished then.

    Args:
        app: From `make_app`, for the same host.
        host: Address to listen on.
        port: 0 takes a free one.
        log_level: "debug" logs each request; slow ones and failures are always logged.
    """
    set_up(log_level)
    make_server(app, host=host, port=port).run()


def make_server(app: App, **options: Any) -> uvicorn.Server:
    """The server of an application; options as `uvicorn.Config`."""
    import uvicorn

    from latentstore.server.protocol import BoundedProtocol

    protocol: Any = partial(BoundedProtocol, direct=app.direct)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",  # else a start that fails would go unsaid
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        **options,
    )
    return uvicorn.Server(config)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
