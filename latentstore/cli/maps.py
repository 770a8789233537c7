"""Commands about stored maps: place latents on one, and draw what lies at a point of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw
from latentstore.cli.app import QUERIES, Arrow, At, Json, Npy, Picture, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, picture_path, query, read_vectors, write_latents
from latentstore.errors import ConfigInvalid

MapName = Annotated[str, typer.Option("--map", metavar="NAME", help="The map.")]
AXES = ("x", "y", "z")


@app.command(rich_help_panel=QUERIES)
def place(
    store: Store,
    space: Space,
    text: Annotated[str | None, typer.Argument(metavar="QUERY", help="An item's id, or an expression.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Place an image file instead.")] = None,
    vector: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Place a .npy file instead, shape (d,) or (n, d).")
    ] = None,
    map_: MapName = "umap",
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Say where something lies on a map, new items too; nothing is fitted again."""
    opened = open_space(store, space, at)
    placed = np.atleast_2d(opened.place(query(opened, text, image, vector), map_))
    rows = [dict(zip(AXES, point, strict=False)) for point in placed.tolist()]
    Output(json, arrow).write(rows, name="places", space=space, version=opened.version, map=map_)


@app.command("from-map", rich_help_panel=QUERIES)
def from_map(
    store: Store,
    space: Space,
    point: Annotated[list[str] | None, typer.Option(metavar="X,Y", help="A point of the map; may be repeated.")] = None,
    points: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Points from a .npy file instead, shape (m, dim).")
    ] = None,
    map_: MapName = "umap",
    method: Annotated[str, typer.Option(help="local, or umap: umap-learn's own inverse, slow.")] = "local",
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Go from points of a map back to the space: the nearest item of each, and a picture of what is decoded there."""
    if bool(point) == (points is not None):
        raise ConfigInvalid("give --point X,Y (once or more), or --points FILE")
    asked = read_vectors(points) if points is not None else np.array([_coordinates(one) for one in point or ()])
    opened = open_space(store, space, at)
    latents = np.atleast_2d(opened.from_map(np.atleast_2d(asked), map_, method=method))
    drawn = picture_path(opened, out, "from-map.png")
    near = opened.search(latents, 1)
    rows: list[dict[str, Any]] = [
        {**dict(zip(AXES, place, strict=False)), "nearest": str(name), "distance": float(distance)}
        for place, name, distance in zip(
            np.atleast_2d(asked).tolist(), near.ids[:, 0], near.distances[:, 0], strict=True
        )
    ]
    output = Output(json, arrow)
    if npy is not None:
        write_latents(latents, npy)
    if drawn is not None:
        titles = [", ".join(f"{value:.3g}" for value in place) for place in np.atleast_2d(asked).tolist()]
        draw(opened.decode(latents)[None], drawn, columns=titles)
    if json:
        rows = [{**row, "vector": vector} for row, vector in zip(rows, latents.tolist(), strict=True)]
    picture = None if drawn is None else str(drawn)
    output.write(rows, name="points", space=space, version=opened.version, map=map_, picture=picture)
    for path in (drawn, npy):
        if path is not None:
            output.say(f"wrote {path}")


def _coordinates(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3):
        raise ConfigInvalid(f"--point {text} is no point of a map; write 3.5,-2 (or three numbers on a map of three)")
    return values
