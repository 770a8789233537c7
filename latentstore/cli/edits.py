"""Commands that change what an item is: edit, counterfactual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, metadata_columns, path_text, say_files, write_hits
from latentstore.cli.app import QUERIES, Arrow, At, Columns, Json, K, Npy, Picture, Space, Store, app
from latentstore.cli.output import Output, print_table
from latentstore.cli.points import open_space, picture_path, point, source_items, write_latents

if TYPE_CHECKING:
    from pathlib import Path

    from latentstore.expression import Expression
    from latentstore.space import Counterfactual, EmbeddingSpace, Latent, LatentReport
    from latentstore.types import Neighbours


@app.command(rich_help_panel=QUERIES)
def edit(
    store: Store,
    space: Space,
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="For example \"'test/17' + 1.5 * formal\".", show_default=False)
    ],
    k: K = 10,
    columns: Columns = None,
    settle: Annotated[
        float, typer.Option(help="At the end, go so much of the way to the nearest items: 0 to 1.")
    ] = 0.0,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Compute a point by the latent algebra: its picture after each term, how real it is, its nearest items."""
    edited = open_space(store, space, at)
    names = metadata_columns(edited, columns)
    chain = point(edited, expression).steps()
    expressed = chain[-1][1].expression
    if settle:
        chain.append((f"settled {settle:g}", chain[-1][1].settle(settle)))
    latent = chain[-1][1]
    hits = latent.search(k, columns=names)
    steps = [(words, one, one.report()) for words, one in chain]
    final = steps[-1][2]
    output, drawn = Output(json, arrow), picture_path(edited, out, "edit.png")
    if npy is not None:
        write_latents(latent.vector[None], npy)
    if drawn is not None:
        _draw_edit(edited, expressed, steps, hits, drawn)
    rows = [{"term": words, **_columns_of(report)} for words, _, report in steps]
    if len(steps) > 1 and output.for_people:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    output.say(f"{expression}{f', settled {settle:g}' if settle else ''}: {final}")
    write_hits(
        output, edited, hits, expression=expression, realism=final.realism, report=str(final), steps=rows,
        picture=path_text(drawn),
    )  # fmt: skip
    say_files(output, drawn, npy)


@app.command(rich_help_panel=QUERIES)
def counterfactual(
    store: Store,
    space: Space,
    text: Annotated[str, typer.Argument(metavar="QUERY", help="An item's id or an expression.", show_default=False)],
    label: Annotated[str, typer.Option(help="What it is to be taken for.")],
    column: Annotated[str, typer.Option(help="The column that --label is a value of.")] = "label",
    confidence: Annotated[float, typer.Option(help="Probability that the classifier shall give the label.")] = 0.9,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Find the smallest move that makes an item be taken for another label, and the nearest real item of that label.

    The classifier is a multinomial logistic regression of the latents, fitted to them on the spot.
    """
    asked = open_space(store, space, at)
    found = asked.counterfactual(point(asked, text), label=label, column=column, confidence=confidence)
    output, drawn = Output(json, arrow), picture_path(asked, out, "counterfactual.png")
    if npy is not None:
        write_latents(found.latent.vector[None], npy)
    if drawn is not None:
        _draw_counterfactual(asked, found, drawn)
    row: dict[str, Any] = {
        "before": found.before,
        "its confidence": found.before_confidence,
        "label": found.label,
        "confidence": found.confidence,
        "length": found.length,
        "of the gap": found.relative,
        "realism": found.realism,
        "nearest": found.nearest,
        "distance": found.distance,
    }
    about: dict[str, Any] = {"accuracy": found.accuracy, "iterations": found.iterations, "residual": found.residual}
    output.write([row], name="counterfactual", space=asked.name, version=asked.version, query=text, column=column,
                 **about, picture=path_text(drawn))  # fmt: skip
    output.say(
        f"{text} is taken for {found.before}, and for {found.label} after a move of {found.relative:.2f} of the way "
        f"between the two; the classifier is right for {found.accuracy:.1%} of items it was not fitted to"
    )
    say_files(output, drawn, npy)


def _columns_of(report: LatentReport) -> dict[str, Any]:
    label = {} if report.label is None else {"label": report.label}
    return {"realism": report.realism, "nearest": report.nearest, "distance": report.distance, **label,
            "left the data": report.left_data}  # fmt: skip


def _draw_edit(
    space: EmbeddingSpace,
    expression: Expression | None,
    steps: list[tuple[str, Latent, LatentReport]],
    hits: Neighbours,
    path: Path,
) -> None:
    """The items that the expression names, what is decoded after each term, and, where there are any, the nearest."""
    from latentstore.evaluate.sheet import as_bytes
    from latentstore.expression import Item

    named = [atom.id for atom, _ in expression.terms if isinstance(atom, Item)] if expression else []
    near = [str(name) for name in hits.ids]
    decoded = as_bytes(space.decode(np.stack([one.vector for _, one, _ in steps])))
    words = ["decoded" if not i else word for i, (word, *_) in enumerate(steps)]
    said = [_caption(report) for *_, report in steps]
    off = [report.left_data for *_, report in steps]
    real = source_items(space, [*named, *near])
    if real is None or real.shape[1:] != decoded.shape[1:]:
        named, near, found = [], [], []
        cells = decoded
    else:
        cells = np.concatenate([real[: len(named)], decoded, real[len(named) :]])
        found = [f"{name}\n{distance:.3g}" for name, distance in hits]
    titles = [*named, *words, *(f"{i}" for i in range(1, len(near) + 1))]
    captions = [*[""] * len(named), *said, *found]
    marks = [*[False] * len(named), *off, *[False] * len(near)]
    draw(
        cells[None],
        path,
        columns=titles,
        captions=np.array([captions], dtype=object),
        marks=np.array([marks]),
        breaks=(len(named), len(named) + len(steps)),
    )


def _draw_counterfactual(space: EmbeddingSpace, found: Counterfactual, path: Path) -> None:
    """What is decoded before and after, and the nearest real item of the label."""
    from latentstore.evaluate.sheet import as_bytes

    cells = as_bytes(space.decode(np.stack([found.start.vector, found.latent.vector])))
    titles = ["decoded", "moved"]
    captions = [f"{found.before}\n{found.before_confidence:.2f}", f"{found.label}\n{found.confidence:.2f}"]
    real = source_items(space, [found.nearest])
    if real is not None and real.shape[1:] == cells.shape[1:]:
        cells = np.concatenate([cells, real])
        titles.append("nearest")
        captions.append(f"{found.nearest}\n{found.label}")
    draw(cells[None], path, columns=titles, captions=np.array([captions], dtype=object), side=84)


def _caption(report: LatentReport) -> str:
    real = "" if report.realism is None else f"realism {report.realism:.2f}"
    return f"{real}\n{report.label or report.nearest}"
