"""Commands of optimal transport: means of items, items moved to another class, sets moved onto each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from latentstore.cli.answers import draw, path_text, say_files, write_points
from latentstore.cli.app import QUERIES, Arrow, At, Json, Npy, Picture, Seed, Space, Store, app
from latentstore.cli.output import Output
from latentstore.cli.points import open_space, picture_path, point, write_latents
from latentstore.cli.walks import PICTURES
from latentstore.errors import ConfigInvalid, InputError

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace
    from latentstore.space.latent import Latent

SHOWN = 8  # pairs in the picture of a displacement


SETS, DRAWN = 200, 16  # items of a set; latents of a mean set in the picture


@app.command(rich_help_panel=QUERIES)
def barycenter(
    store: Store,
    space: Space,
    texts: Annotated[
        list[str], typer.Argument(metavar="QUERY…", help="Items' ids or expressions.", show_default=False)
    ],
    weights: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="One weight each; alike by default.", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="wasserstein (of pictures), euclidean or spherical.")] = "wasserstein",
    sets: Annotated[
        bool, typer.Option("--sets", help="Each QUERY is a predicate: the mean of the sets of items that match.")
    ] = False,
    n: Annotated[int, typer.Option("-n", help="Of --sets: items of each, at most.")] = SETS,
    seed: Seed = 0,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Draw the weighted mean of items: by optimal transport of their pictures, or of their latents."""
    mixed = open_space(store, space, at)
    shares = _weights(weights, len(texts))
    if sets:
        _mean_set(mixed, texts, shares, n, seed, picture_path(mixed, out, "barycenter.png"), npy, Output(json, arrow))
        return
    points = [point(mixed, text) for text in texts]
    given: dict[Latent, float] = dict(zip(points, shares, strict=True))
    found = mixed.barycenter(given, method=method)
    drawn = picture_path(mixed, out, "barycenter.png")
    output, solution = Output(json, arrow), found.solution
    if npy is not None:
        write_latents(found.latent.vector[None], npy)
    if drawn is not None:
        ends = found.images if found.images is not None else mixed.decode(np.stack([one.vector for one in points]))
        titles = [*(f"{w:.3g}" for w in found.weights), method]
        draw(np.concatenate([ends, found.item[None]])[None], drawn, columns=titles, breaks=(len(texts),))
    near = found.latent.search(1)
    row = {"realism": found.realism(), "nearest": str(near.ids[0]), "distance": float(near.distances[0])}
    about: dict[str, Any] = {"method": method, "weights": found.weights.tolist(), "picture": path_text(drawn)}
    if solution is not None:
        about |= {"pictures": found.pictures, "iterations": solution.iterations, "residual": solution.residual}
        about |= {"mass_error": solution.mass_error}
        output.say(
            f"mixed pictures: {PICTURES[found.pictures]}; {solution.iterations} iterations, mass error "
            f"{solution.mass_error:.1e}; the row below is about the picture as it is encoded"
        )
    write_points(output, mixed, [row], found.latent.vector[None], name="means", **about)
    say_files(output, drawn, npy)


@app.command(rich_help_panel=QUERIES)
def transport(
    store: Store,
    space: Space,
    texts: Annotated[
        list[str], typer.Argument(metavar="QUERY…", help="Items' ids or expressions.", show_default=False)
    ],
    source: Annotated[str, typer.Option("--from", metavar="LABEL", help="The class they are of.")],
    target: Annotated[str, typer.Option("--to", metavar="LABEL", help="The class they become.")],
    column: Annotated[str, typer.Option(help="Whose values the labels are.")] = "label",
    amount: Annotated[float, typer.Option(help="Which part of the way.")] = 1.0,
    out: Picture = None,
    npy: Npy = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Move items from one class to another by the optimal transport map between the classes' Gaussians."""
    moving = open_space(store, space, at)
    points = [point(moving, text) for text in texts]
    moved = moving.transport(points, from_label=source, to_label=target, column=column, amount=amount)
    drawn = picture_path(moving, out, "transport.png")
    output, near, real = Output(json, arrow), moving.search(moved.latents, 1), moved.realism()
    if npy is not None:
        write_latents(moved.latents, npy)
    if drawn is not None:
        cells = np.stack([moving.decode(moved.before), moved.decode()])
        captions = np.array([[""] * len(texts), [f"realism {one:.2f}" for one in real]], object)
        draw(cells, drawn, columns=texts, row_titles=["decoded", f"as {target}"], captions=captions)
    rows = [
        {
            "item": text,
            "cost": float(cost),
            "realism": float(one),
            "nearest": str(name),
        }
        for text, cost, one, name in zip(texts, moved.cost, real, near.ids[:, 0], strict=True)
    ]
    about = {
        "mean_difference": moved.mean_difference,
        "shrinkage": [moved.map.source.shrinkage, moved.map.target.shrinkage],
        "amount": amount,
        "picture": path_text(drawn),
    }
    write_points(output, moving, rows, moved.latents, name="moved", **about)
    output.say(
        f"the classes' means are {moved.mean_difference:.3g} apart; covariances are shrunk by "
        f"{moved.map.source.shrinkage:.1%} and {moved.map.target.shrinkage:.1%}"
    )
    say_files(output, drawn, npy)


@app.command(rich_help_panel=QUERIES)
def displace(
    store: Store,
    space: Space,
    source: Annotated[str, typer.Argument(metavar="PREDICATE", help="The items that move.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="PREDICATE", help="Those they move to.", show_default=False)],
    n: Annotated[int, typer.Option("-n", help="Of each, at most.")] = 500,
    steps: Annotated[int, typer.Option(help="Frames of the picture, both sets included.")] = 7,
    seed: Seed = 0,
    out: Picture = None,
    npy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all frames as .npy, shape (steps, n, d).")
    ] = None,
    at: At = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Match two sets of items one to one by exact optimal transport, and draw how one becomes the other."""
    from latentstore.geometry import MOST_MATCHED

    if not 1 <= n <= MOST_MATCHED or steps < 2:
        raise ConfigInvalid(f"-n {n} --steps {steps}; choose 1 to {MOST_MATCHED} items and 2 or more steps")
    displaced = open_space(store, space, at)
    found = displaced.displace(source, target, n=n, seed=seed)
    output, drawn = Output(json, arrow), picture_path(displaced, out, "displacement.png")
    if npy is not None:
        write_latents(found.frames(steps), npy)
    if drawn is not None:
        frames = found.frames(steps)[:, :SHOWN]
        cells = displaced.decode(frames.reshape(-1, displaced.dim))
        cells = np.moveaxis(cells.reshape(*frames.shape[:2], *cells.shape[1:]), 1, 0)
        titles = [f"{a}\n→ {b}" for a, b in found.ids[:SHOWN]]
        draw(cells, drawn, columns=[f"{t:.3g}" for t in np.linspace(0, 1, steps)], row_titles=titles)
    lengths = np.linalg.norm(found.ends.astype(np.float64) - found.starts, axis=1)
    rows = [
        {"item": str(a), "match": str(b), "cost": float(cost)} for (a, b), cost in zip(found.ids, lengths, strict=True)
    ]
    about: dict[str, Any] = {"cost": found.cost, "unmatched_cost": found.unmatched_cost, "picture": path_text(drawn)}
    output.write(rows, name="pairs", space=displaced.name, version=displaced.version, **about)
    output.say(f"{len(found)} pairs, {found.cost:.3g} apart (root mean square); at random {found.unmatched_cost:.3g}")
    say_files(output, drawn, npy)


def _mean_set(
    space: EmbeddingSpace, sets: list[str], shares: list[float], n: int, seed: int, drawn: Path | None,
    npy: Path | None, output: Output,
) -> None:  # fmt: skip
    """Answer with the mean of sets of items."""
    found = space.set_barycenter(dict(zip(sets, shares, strict=True)), n=n, seed=seed)
    if npy is not None:
        write_latents(found.latents, npy)
    if drawn is not None:
        draw(found.decode()[None, :DRAWN], drawn)
    near, real = space.search(found.latents, 1), found.realism()
    rows = [
        {"point": i, "realism": float(one), "nearest": str(name)}
        for i, (one, name) in enumerate(zip(real, near.ids[:, 0], strict=True))
    ]
    about: dict[str, Any] = {"cost": found.cost, "weights": found.weights.tolist(), "picture": path_text(drawn)}
    write_points(output, space, rows, found.latents, name="means", **about)
    output.say(f"a set of {len(found)} after {found.iterations} iterations; mean squared distance {found.cost:.3g}")
    say_files(output, drawn, npy)


def _weights(text: str | None, count: int) -> list[float]:
    if text is None:
        return [1.0] * count
    try:
        weights = [float(one) for one in text.split(",")]
    except ValueError as error:
        raise InputError(f"--weights {text} are no numbers; write .5,.5") from error
    if len(weights) != count:
        raise InputError(f"--weights {text} are {len(weights)} for {count} items; give one each")
    return weights
