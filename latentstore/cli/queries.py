"""Commands that ask a store: search, sql."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentstore.cli.answers import metadata_columns, write_hits
from latentstore.cli.app import QUERIES, Arrow, At, Columns, Json, K, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, query
from latentstore.errors import ConfigInvalid

Where = Annotated[str | None, typer.Option(metavar="PREDICATE", help="Only items that satisfy this, as in SQL.")]


@app.command(rich_help_panel=QUERIES)
def search(
    store: Store,
    space: Space,
    text: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="An item's id, or an expression: \"'test/17' + 1.5 * formal\"."),
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Search for an image file instead.")] = None,
    vector: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Search for a .npy file instead, shape (d,) or (n, d).")
    ] = None,
    k: K = 10,
    where: Where = None,
    columns: Columns = None,
    recall: Annotated[float | None, typer.Option(help="Wanted recall; 1 is exact.")] = None,
    radius: Annotated[float | None, typer.Option(help="Only items at most so far away.")] = None,
    offset: Annotated[int, typer.Option(help="Skip so many hits: the next page.")] = 0,
    group_by: Annotated[str | None, typer.Option(metavar="COLUMN", help="The best of each value of a column.")] = None,
    group_size: Annotated[int, typer.Option(help="Items per group.")] = 1,
    diversity: Annotated[float, typer.Option(help="0: the nearest; 1: the most different of the 5·k nearest.")] = 0.0,
    like: Annotated[list[str] | None, typer.Option(metavar="ID", help="An example of what is wanted.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(metavar="ID", help="An example of what is not.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say how it was answered.")] = False,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Find the nearest items."""
    found_in, examples = open_space(store, space, at), bool(like or unlike)
    if examples and (text or image or vector):
        raise ConfigInvalid("--like and --unlike are the query; leave out QUERY, --image and --vector")
    hits = found_in.search(
        None if examples else query(found_in, text, image, vector), k, where=where, recall=recall, radius=radius,
        columns=metadata_columns(found_in, columns), offset=offset, group_by=group_by, group_size=group_size,
        diversity=diversity, positive=like or (), negative=unlike or (), explain=explain,
    )  # fmt: skip
    write_hits(Output(json, arrow), found_in, hits)


@app.command(rich_help_panel=QUERIES)
def sql(
    store: Store,
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT statement.", show_default=False)],
    at: Annotated[str | None, typer.Option(metavar="TAG", help="Read the spaces that have this tag there.")] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write comma-separated values to standard output.")] = False,
    arrow: Arrow = None,
    seconds: Annotated[float, typer.Option(help="Stop the query after this time.")] = 60.0,
    memory: Annotated[int, typer.Option(metavar="MB", help="Memory that the query may use.")] = 1024,
    sandbox: Annotated[bool, typer.Option(help="Run it in a process of its own (Linux).")] = True,
) -> None:
    """Run one SELECT over the spaces of a store; each space is a table."""
    from latentstore.sql import Limits
    from latentstore.store import open_store

    output, limits = Output(json, arrow, csv), Limits(seconds=seconds, memory=memory << 20)
    found = open_store(store, mode="r").sql(statement, at=at, sandbox=sandbox, limits=limits)
    output.write(found.to_pylist(), columns=found.column_names, table=lambda: found)
