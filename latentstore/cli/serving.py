"""Commands of the HTTP service: serve, and its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentstore.cli.app import SERVICE, Json, Store, app
from latentstore.cli.output import Output
from latentstore.types import whole_number

key = typer.Typer(help="Keys that callers of the service need.", no_args_is_help=True)
app.add_typer(key, name="key", rich_help_panel=SERVICE)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.", show_default=False)]


@app.command(rich_help_panel=SERVICE)
def serve(
    store: Store,
    host: Annotated[str, typer.Option(help="Address to listen on; another than loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    at: Annotated[
        str, typer.Option(metavar="TAG", help="Tag or version to serve, followed when it moves.")
    ] = "production",
    sql: Annotated[bool, typer.Option("--sql", help="Answer SQL, in a sandbox.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name the service is called by.")
    ] = None,
    searchers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that search beside it; by default the cores but one, at most 4."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug logs each request.")] = "info",
) -> None:
    """Serve a store over HTTP, with the explorer at /."""
    from latentstore.server import make_app, spare_cores
    from latentstore.server import serve as run
    from latentstore.sql import Limits

    number = whole_number(at)
    limits = Limits(seconds=20, memory=512 << 20, result=32 << 20) if sql else None
    made = make_app(
        store,
        host=host,
        allow_hosts=allow_host or (),
        at=at if number is None else number,
        sql=limits,
        searchers=spare_cores() if searchers is None else searchers,
    )
    Output(False, None).say(f"latentstore serves {store} at http://{host}:{port} (Ctrl+C stops it)")
    run(made, host=host, port=port, log_level=log_level)


@key.command()
def create(
    store: Store,
    name: Name,
    role: Annotated[str, typer.Option(help="read, write (and read), or sql (and read).")] = "read",
    json: Json = False,
) -> None:
    """Make a key and show it once."""
    from latentstore.server import create_key
    from latentstore.store import open_store

    open_store(store, mode="r")
    made = create_key(store, role, name)
    output = Output(json, None)
    output.write([{"name": name, "role": role, "key": made}], name="keys")
    output.say("it is stored as a hash only: keep it now")


@key.command(name="list")
def list_(store: Store, json: Json = False) -> None:
    """List whose keys there are."""
    from latentstore.server import read_keys
    from latentstore.store import open_store

    open_store(store, mode="r")
    rows = [{"name": one.name, "role": one.role, "created": one.created} for one in read_keys(Path(store)).values()]
    Output(json, None).write(rows, name="keys")


@key.command()
def revoke(store: Store, name: Name, json: Json = False) -> None:
    """Make a key invalid, within a second also for a service that runs."""
    from latentstore.server import revoke_key
    from latentstore.store import open_store

    open_store(store, mode="r")
    revoke_key(store, name)
    Output(json, None).write([{"revoked": name}], name="keys")
