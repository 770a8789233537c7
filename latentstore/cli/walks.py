"""Commands that walk a space: interpolate, and paths, which measures every way of doing so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, path_text, say_files, write_points
from latentstore.cli.app import QUERIES, Arrow, At, Json, Npy, Seed, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, picture_path, point, write_latents

if TYPE_CHECKING:
    from latentstore.space import Grid
    from latentstore.space import Path as Walk
    from latentstore.space.surroundings import Surroundings

STRIP, FILM, SIDE = 9, 49, 7  # steps of a picture, of a film, and of a grid's side, unless said otherwise
FILMS = (".gif", ".mp4")
PICTURES = {"items": "the items' own", "decoded": "what the decoder draws of the ends"}


@app.command(rich_help_panel=QUERIES)
def interpolate(
    store: Store,
    space: Space,
    start: Annotated[str, typer.Argument(metavar="FROM", help="An item's id or an expression.", show_default=False)],
    end: Annotated[str, typer.Argument(metavar="TO", help="Likewise.", show_default=False)],
    further: Annotated[
        list[str] | None, typer.Argument(metavar="[TO…]", help="More of them: on the way in order, or with --grid.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Points on the way, all ends included: 9, of a film 49, of a grid's side 7.")
    ] = None,
    method: Annotated[str, typer.Option(help="lerp, slerp, gaussian, geodesic, graph or transport.")] = "lerp",
    smoothing: Annotated[
        float, typer.Option(help="Of graph: how far corners are rounded off, a fraction of the length.")
    ] = 0.0,
    grid: Annotated[bool, typer.Option("--grid", help="All mixes of three or four points.")] = False,
    fps: Annotated[int, typer.Option(help="Frames per second of a film.")] = 12,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture (.png) or film (.gif, .mp4) to write.", show_default=False),
    ] = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Walk from one point to another: a strip of decoded pictures or a film, and how real each step is."""
    walked, output = open_space(store, space, at), Output(json, arrow)
    anchors = [point(walked, text) for text in (start, end, *(further or ()))]
    film = out is not None and out.suffix.lower() in FILMS
    drawn = picture_path(walked, out, "grid.png" if grid else "interpolation.png", films=not grid)
    if grid:
        _grid(output, walked.interpolate_grid(
            *anchors, rows=SIDE if steps is None else steps, method=method, smoothing=smoothing
        ), drawn, npy)  # fmt: skip
        return
    count = (FILM if film else STRIP) if steps is None else steps
    path = walked.interpolate(*anchors, steps=count, method=method, smoothing=smoothing)
    if npy is not None:
        write_latents(path.latents, npy)
    report, at_step = path.report, np.linspace(0, 1, count).tolist()
    columns: dict[str, Any] = {
        "step": at_step,
        "realism": report.realism or [None] * count,
        "nearest": report.nearest,
        **({} if report.labels is None else {"label": report.labels}),
    }
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if drawn is not None and film:
        path.save(drawn, fps=fps)
    elif drawn is not None:
        captions = np.array([report.labels], dtype=object) if report.labels is not None else None
        draw(path.decode()[None], drawn, columns=[f"{t:.3g}" for t in at_step], captions=captions)
    output.say(f"{' → '.join((start, end, *(further or ())))} by {method}: {_summary(path)}")
    if path.pictures:
        output.say(f"moved pictures: {PICTURES[path.pictures]}")
    numbers = {k: v for k, v in asdict(report).items() if k not in ("realism", "nearest", "labels")}
    about = {
        "method": method,
        **numbers,
        "anchors": list(path.anchors),
        "pictures": path.pictures or None,
        "picture": path_text(drawn),
    }
    write_points(output, walked, rows, path.latents, name="steps", **about)
    say_files(output, drawn, npy)


@app.command(rich_help_panel=QUERIES)
def paths(
    store: Store,
    space: Space,
    pairs: Annotated[int, typer.Option(help="How many pairs of items of different labels.")] = 500,
    steps: Annotated[int, typer.Option(help="Points on a way, both ends included.")] = STRIP,
    column: Annotated[str, typer.Option(help="The column that the two items of a pair differ in.")] = "label",
    where: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Only items that satisfy this.")] = None,
    seed: Seed = 0,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Measure every method of interpolation: how real, how even, how cheap under the decoder, how fast."""
    from latentstore.evaluate import path_metrics

    measured = open_space(store, space, at)
    rows = [asdict(one) for one in path_metrics(
        measured, pairs=pairs, steps=steps, column=column, where=where, seed=seed
    )]  # fmt: skip
    Output(json, arrow).write(
        rows, name="methods", space=measured.name, version=measured.version, pairs=pairs, seed=seed
    )


def _summary(path: Walk) -> str:
    report = path.report
    said = f"length {report.length:.4g}, longest/mean step {report.evenness:.3g}"
    if report.decoded_energy is not None:
        said += f"; decoded length {report.decoded_length:.3g} and energy {report.decoded_energy:.3g} of lerp's"
    return said


def _grid(output: Output, grid: Grid, drawn: Path | None, npy: Path | None) -> None:
    """Answer with the cells of a grid, row by row."""
    if npy is not None:
        write_latents(grid.latents, npy)
    if drawn is not None:
        grid.save(drawn)
    around: Surroundings = grid.surroundings
    places = np.argwhere(grid.inside).tolist()
    rows = [
        {
            "row": row,
            "column": column,
            "realism": None if around.realism is None else float(around.realism[i]),
            "nearest": around.nearest[i],
            **({} if around.labels is None else {"label": around.labels[i]}),
        }
        for i, (row, column) in enumerate(places)
    ]
    about = {"method": grid.method, "shape": list(grid.inside.shape), "picture": path_text(drawn)}
    write_points(output, grid.space, rows, grid.latents[grid.inside], name="cells", **about)
    say_files(output, drawn, npy)
