"""The command `sample`: new latents, how real and how new they are, and like which item."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, path_text, say_files, write_points
from latentstore.cli.app import QUERIES, Arrow, At, Json, Npy, Picture, Seed, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, picture_path, source_items, write_latents
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from latentstore.space import Samples

ACROSS = 8  # samples in a row of the picture


@app.command(rich_help_panel=QUERIES)
def sample(
    store: Store,
    space: Space,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 16,
    method: Annotated[str | None, typer.Option(help="gmm, flow, or prior in the space of a VAE.")] = None,
    label: Annotated[str | None, typer.Option(help="Only like items with this label.")] = None,
    column: Annotated[
        str | None, typer.Option(help="The column that --label is a value of; `label` by default.")
    ] = None,
    truncation: Annotated[
        float, typer.Option(help="Scales noise: 1 all variety, .5 half the way from what is typical, 0 only that.")
    ] = 1.0,
    seed: Seed = 0,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Draw new latents from where the data lies, decode them, and say which item is nearest to each."""
    drawn_from = open_space(store, space, at)
    if column is not None and label is None:
        raise ConfigInvalid(f"--column {column} says where --label is looked for; give a --label, too")
    drawn = drawn_from.sample(n, method=method, label=label, column=column or "label", truncation=truncation, seed=seed)
    output, path = Output(json, arrow), picture_path(drawn_from, out, "samples.png")
    if npy is not None:
        write_latents(drawn.latents, npy)
    if path is not None:
        _draw(drawn, path)
    report = drawn.report
    rows: list[dict[str, Any]] = [
        {
            "sample": i,
            "realism": None if report.realism is None else report.realism[i],
            "nearest": report.nearest[i],
            **({} if report.labels is None else {"label": report.labels[i]}),
            "distance": report.distances[i],
            "novelty": report.novelty[i],
        }
        for i in range(len(drawn))
    ]
    about = {"method": drawn.method, "truncation": truncation, "seed": seed, "picture": path_text(path)}
    write_points(output, drawn_from, rows, drawn.latents, name="samples", copies=list(report.copies), **about)
    if report.copies:
        output.say(f"{len(report.copies)} of {n} are as near to an item as a copy would be: novelty ≤ .005")
    say_files(output, path, npy)


def _draw(drawn: Samples, path: Path) -> None:
    """Samples with their realism; below each, where the dataset is at hand, the nearest item with its id."""
    items, report = drawn.decode(), drawn.report
    across = min(ACROSS, len(items))
    real = ["" if report.realism is None else f"realism {one:.2f}" for one in report.realism or items]
    cells, captions = [_rows(items, across)], [_rows(np.array(real, object), across)]
    nearest = source_items(drawn.space, report.nearest)
    if nearest is not None and nearest.shape[1:] == items.shape[1:]:
        cells.append(_rows(nearest / np.float32(255) if nearest.dtype == np.uint8 else nearest, across))
        captions.append(_rows(np.array(report.nearest, object), across))
    sheet, words = (np.stack(each, axis=1).reshape(-1, *each[0].shape[1:]) for each in (cells, captions))
    breaks = range(len(cells), len(sheet), len(cells))
    titles = ["sample", "nearest item"][: len(cells)] * (len(sheet) // len(cells))
    draw(sheet, path, row_titles=titles, captions=words, row_breaks=tuple(breaks))


def _rows(values: Any, across: int) -> Any:
    """Values in rows of so many; the last is filled up with black or nothing."""
    missing = -len(values) % across
    blank = np.full((missing, *values.shape[1:]), "" if values.dtype == object else 0, values.dtype)
    return np.concatenate([values, blank]).reshape(-1, across, *values.shape[1:])
