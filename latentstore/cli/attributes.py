"""Commands about properties of items: attributes, fit-attribute, fit-directions, subclusters, erase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, path_text, say_files
from latentstore.cli.app import PIPELINE, QUERIES, Arrow, At, Json, Picture, Seed, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, source_items
from latentstore.errors import ConfigInvalid, NotSupported

if TYPE_CHECKING:
    from pathlib import Path

    from latentstore.space import Subclusters
    from latentstore.types import Array

Ids = Annotated[list[str] | None, typer.Option(metavar="ID,ID", help="Examples instead of a predicate.")]
Resamples = Annotated[int, typer.Option(help="Bootstrap resamples that the stability is measured with.")]


@app.command(rich_help_panel=QUERIES)
def attributes(
    store: Store,
    space: Space,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="What moving along one does to the level of each other.")
    ] = False,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """List attribute vectors and how far to trust them, or what they do to each other."""
    opened, output = open_space(store, space, at), Output(json, arrow)
    table = opened.leakage() if leakage else opened.attributes.drop_columns(["vector", "midpoint", "seed"])
    rows = table.to_pylist()
    if leakage and output.for_people and rows:
        rows = _square(rows)
    elif output.for_people:  # a column that says nothing of any of them is not shown
        rows = [{key: row[key] for key in row if any(r[key] is not None for r in rows)} for row in rows]
    name = "leakage" if leakage else "attributes"
    output.write(rows, name=name, table=lambda: table, space=opened.name, version=opened.version)


@app.command("fit-attribute", rich_help_panel=PIPELINE)
def fit_attribute(
    store: Store,
    space: Space,
    name: Annotated[str, typer.Argument(metavar="NAME", help="How expressions call it.", show_default=False)],
    positive: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Items that have it.")] = None,
    negative: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Items that have it not.")] = None,
    positive_ids: Ids = None,
    negative_ids: Ids = None,
    method: Annotated[
        str | None,
        typer.Option(help="mean_difference, balanced, conditional or logistic; else what the options ask for."),
    ] = None,
    balance: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN,COLUMN", help="Compare only items that are equal in these.")
    ] = None,
    orthogonal_to: Annotated[
        list[str] | None, typer.Option(metavar="NAME,NAME", help="Attributes that moving along it leaves alone.")
    ] = None,
    resamples: Resamples = 100,
    permutations: Annotated[int, typer.Option(help="Permuted labels that the p-value is measured with.")] = 199,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit an attribute vector from two groups of items, and publish it."""
    from latentstore.store import open_store

    groups = {}
    for side, predicate, ids in (("positive", positive, positive_ids), ("negative", negative, negative_ids)):
        if (predicate is None) == (not ids):
            raise ConfigInvalid(f"which items are {side}? Say --{side} PREDICATE or --{side}-ids ID,ID, not both")
        groups[side] = predicate if predicate is not None else _listed(ids)
    equal, others = _listed(balance), _listed(orthogonal_to)
    chosen = method or ("balanced" if equal else "conditional" if others else "mean_difference")
    opened = open_store(store).space(space)
    version = opened.fit_attribute(
        name, **groups, method=chosen, balance=equal, orthogonal_to=others, resamples=resamples,
        permutations=permutations, seed=seed,
    )  # fmt: skip
    row = next(row for row in opened.attributes.to_pylist() if row["name"] == name)
    told = {key: row[key] for key in ("name", "method", "positives", "negatives", "auc", "stability", "stability_low",
                                      "p_value")}  # fmt: skip
    Output(json).write([told], name="attributes", space=space, version=version)


@app.command("fit-directions", rich_help_panel=PIPELINE)
def fit_directions(
    store: Store,
    space: Space,
    method: Annotated[str, typer.Option(help="principal, or sensitive: what the decoder listens to.")] = "principal",
    count: Annotated[int, typer.Option(help="How many.")] = 5,
    name: Annotated[str | None, typer.Option(help="They are called NAME1, NAME2, …; pc or sensitive.")] = None,
    where: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Of items that satisfy this.")] = None,
    resamples: Resamples = 100,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Find directions without labels, and publish them as attributes; strength 1 is one standard deviation."""
    from latentstore.space.attributes import DEFAULT_NAMES
    from latentstore.store import open_store

    opened = open_store(store).space(space)
    version = opened.fit_directions(method, count=count, name=name, where=where, resamples=resamples, seed=seed)
    names = [f"{name or DEFAULT_NAMES[method]}{order}" for order in range(1, count + 1)]
    made = {row["name"]: row for row in opened.attributes.to_pylist()}
    kept = ("name", "method", "share", "stability", "stability_low")
    rows = [{key: made[one][key] for key in kept} for one in names]
    Output(json).write(rows, name="attributes", space=space, version=version)


@app.command(rich_help_panel=QUERIES)
def subclusters(
    store: Store,
    space: Space,
    where: Annotated[str, typer.Option(metavar="PREDICATE", help="The class, for example \"label = 'Sandal'\".")],
    count: Annotated[int | None, typer.Option(help="How many; by default what parts them best.")] = None,
    seed: Seed = 0,
    out: Picture = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Find kinds of items inside a class, with examples of each; --out draws them."""
    opened, output = open_space(store, space, at), Output(json, arrow)
    found = opened.subclusters(where, count, seed=seed)
    if out is not None:
        ids = [one for part in found for one in part.exemplars]
        real = source_items(opened, ids)
        if real is None or real.ndim != 4:
            raise NotSupported(f"the dataset of space {opened.name!r} is not there, so --out {out} cannot be drawn")
        _draw_kinds(found, real, out)
    table = found.to_arrow()
    tried = {str(parts): score for parts, score in found.tried.items()}
    about: dict[str, Any] = {"silhouette": found.silhouette, "tried": tried, "picture": path_text(out)}
    output.write(table.to_pylist(), name="clusters", table=lambda: table, space=opened.name, version=opened.version,
                 where=where, **about)  # fmt: skip
    output.say(f"silhouette {found.silhouette:.3f} (0: nothing parts them, 1: points)")
    say_files(output, out)


@app.command(rich_help_panel=PIPELINE)
def erase(
    store: Store,
    space: Space,
    by: Annotated[str, typer.Option(metavar="COLUMN", help="A metadata column, or a predicate.")],
    to: Annotated[str, typer.Option(metavar="SPACE", help="The new space.")],
    where: Annotated[
        str | None, typer.Option(metavar="PREDICATE", help="Fit the eraser to items that satisfy this.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a space in which no linear classifier finds a concept (LEACE); its latents are of no encoder."""
    from latentstore.store import open_store

    opened = open_store(store)
    eraser = opened.space(space).erase(by, where=where)
    made = opened.create_erased_space(to, space, by, where=where)
    row = {"space": made.name, "rows": len(made), "dimensions erased": eraser.rank, "variance lost": eraser.lost}
    Output(json).write([row], name="erased", by=by, version=made.version)


def _listed(given: list[str] | None) -> list[str]:
    return [part.strip() for one in given or () for part in one.split(",") if part.strip()]


def _square(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per attribute, one column per other."""
    effects = {(row["attribute"], row["other"]): row["effect"] for row in rows}
    names = list(dict.fromkeys(row["attribute"] for row in rows))
    return [{"moving along": a, **{b: round(effects.get((a, b), 1.0), 3) for b in names}} for a in names]


def _draw_kinds(found: Subclusters, real: Array, path: Path) -> None:
    """A row of examples of each kind."""
    side = max(len(part.exemplars) for part in found)
    rows, first = np.zeros((len(found), side, *real.shape[1:]), real.dtype), 0
    for number, part in enumerate(found):
        rows[number, : len(part.exemplars)] = real[first : first + len(part.exemplars)]
        first += len(part.exemplars)
    draw(rows, path, row_titles=[f"{number}: {len(part):,} items" for number, part in enumerate(found)])
