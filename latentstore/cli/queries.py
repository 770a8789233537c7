"""Commands that ask a store: search, edit, sql."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, path_text, say_files
from latentstore.cli.app import QUERIES, Arrow, At, Json, K, Npy, Picture, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, picture_path, point, query, realism, source_items, write_latents
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace
    from latentstore.space.latent import Latent
    from latentstore.types import Neighbours

Where = Annotated[str | None, typer.Option(metavar="PREDICATE", help="Only items that satisfy this, as in SQL.")]
Columns = Annotated[
    str | None, typer.Option(metavar="A,B", help="Metadata columns to show; all but lists by default, '' for none.")
]


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
        columns=_columns(found_in, columns), offset=offset, group_by=group_by, group_size=group_size,
        diversity=diversity, positive=like or (), negative=unlike or (), explain=explain,
    )  # fmt: skip
    _answer(Output(json, arrow), found_in, hits)


@app.command(rich_help_panel=QUERIES)
def edit(
    store: Store,
    space: Space,
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="For example \"'test/17' + 1.5 * formal\".", show_default=False)
    ],
    k: K = 10,
    columns: Columns = None,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Compute a point by the latent algebra: its picture, its realism, its nearest items."""
    edited = open_space(store, space, at)
    names = _columns(edited, columns)
    latent = point(edited, expression)
    hits, (real,) = latent.search(k, columns=names), realism(edited, latent.vector[None])
    output, drawn = Output(json, arrow), picture_path(edited, out, "edit.png")
    if npy is not None:
        write_latents(latent.vector[None], npy)
    if drawn is not None:
        _draw_edit(edited, latent, hits, drawn)
    if real is not None:
        output.say(f"{expression}: realism {real:.2f} (the share of real items at least as far out)")
    _answer(output, edited, hits, expression=expression, realism=real, picture=path_text(drawn))
    say_files(output, drawn, npy)


@app.command(rich_help_panel=QUERIES)
def sql(
    store: Store,
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT statement.", show_default=False)],
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
    found = open_store(store, mode="r").sql(statement, sandbox=sandbox, limits=limits)
    output.write(found.to_pylist(), columns=found.column_names, table=lambda: found)


def _columns(space: EmbeddingSpace, asked: str | None) -> list[str]:
    if asked is None:  # lists, such as a VAE's variances, are for who names them
        types = space.snapshot.column_types
        return [name for name in space.columns if types[name].num_fields == 0]
    return [name.strip() for name in asked.split(",") if name.strip()]


def _answer(output: Output, space: EmbeddingSpace, hits: Neighbours, **about: Any) -> None:
    """Hits as rows: made here and not by `to_arrow`, as pyarrow loads all of pandas to make its first array."""
    single = hits.rows.ndim == 1
    measure = "similarity" if hits.metric == "ip" else "distance"
    places = np.argwhere(np.atleast_2d(hits.rows) >= 0).tolist()
    ids, distances = np.atleast_2d(hits.ids), np.atleast_2d(hits.distances)
    metadata = hits.columns.to_pylist() if hits.columns is not None else [{}] * len(places)
    rows = [
        {**({} if single else {"query": q}), "rank": r, "id": ids[q, r], measure: float(distances[q, r]), **columns}
        for (q, r), columns in zip(places, metadata, strict=True)
    ]
    shortfall = hits.shortfall
    common: dict[str, Any] = {"space": space.name, "version": space.version, "metric": space.metric}
    missing = shortfall if isinstance(shortfall, int) else shortfall.tolist()
    if hits.explanation is not None:
        about["explanation"] = hits.explanation.to_json()
    output.write(rows, name="hits", table=hits.to_arrow, **about, **common, shortfall=missing)
    if single and shortfall:
        output.say(f"{shortfall} fewer than asked for: no more items match")
    if hits.explanation is not None:
        output.say(str(hits.explanation))


def _draw_edit(space: EmbeddingSpace, latent: Latent, hits: Neighbours, path: Path) -> None:
    """The items that the expression names, what was decoded, and, where the dataset is at hand, the nearest items."""
    from latentstore.evaluate.sheet import as_bytes
    from latentstore.expression import Item

    named = [atom.id for atom, _ in latent.expression.terms if isinstance(atom, Item)] if latent.expression else []
    near = [str(name) for name in hits.ids]
    decoded = as_bytes(latent.decode())[None]
    real = source_items(space, [*named, *near])
    if real is None or real.shape[1:] != decoded.shape[1:]:
        draw(decoded[None], path, columns=["decoded"])
        return
    cells = np.concatenate([real[: len(named)], decoded, real[len(named) :]])
    titles = [*named, "decoded", *(f"{i}" for i in range(1, len(near) + 1))]
    captions = [*[""] * (len(named) + 1), *(f"{name}\n{distance:.3g}" for name, distance in hits)]
    draw(
        cells[None],
        path,
        columns=titles,
        captions=np.array([captions], dtype=object),
        breaks=(len(named), len(named) + 1),
    )
