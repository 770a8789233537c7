"""The grids of the report, each a contact sheet: arrays in, a picture for either theme out. Nothing is searched here.

A picture is a function of the theme, so that the page can show the same one on white and on black.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.evaluate.sheet import Sheet, as_bytes, draw
from latentstore.evaluate.theme import Theme

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped
    from PIL.Image import Image

    from latentstore.types import Array

Picture: TypeAlias = "Callable[[Theme], Image]"


def grid(sheet: Sheet) -> Picture:
    """The picture of a contact sheet."""
    return partial(draw, sheet)


def reconstructions(
    items: Shaped[Array, "n h w c"],
    ours: Float[Array, "n h w c"],
    baseline: Float[Array, "n h w c"],
    titles: Sequence[str],
    *,
    dim: int,
) -> Picture:
    """Three rows: the items, decoded by the encoder, decoded by PCA of equal width; the squared error under each.

    Args:
        items: Originals, shape (n, h, w, c), uint8 or [0, 1].
        ours: The encoder's reconstructions, same shape, [0, 1].
        baseline: PCA's reconstructions, same shape, [0, 1].
        titles: What each item is, n strings.
        dim: Width d of both spaces, for the row titles.
    """
    _same(items, ours, baseline)
    truth = as_bytes(items).astype(np.float64) / 255
    errors = [((truth - np.clip(x, 0, 1)) ** 2).mean(axis=(1, 2, 3)) for x in (ours, baseline)]
    captions = np.array([[""] * len(items), *([f"{e:.4f}" for e in row] for row in errors)])
    cells = np.stack([as_bytes(items), as_bytes(ours), as_bytes(baseline)])
    rows = ("original", f"encoder\nd = {dim}", f"PCA\nd = {dim}")
    return grid(Sheet(cells, rows, titles, captions))


def neighbours_grid(
    queries: Shaped[Array, "n h w c"],
    query_titles: Sequence[str],
    hits: Shaped[Array, "n k h w c"],
    captions: Shaped[Array, "n k"],
    wrong: Bool[Array, "n k"],
    *,
    row_titles: Sequence[str] = (),
) -> Picture:
    """Each query beside its k nearest; a hit with another label than the query's wears a frame and a cross.

    Args:
        queries: Query items, shape (n, h, w, c).
        query_titles: Their labels, below each.
        hits: Nearest items, nearest first, shape (n, k, h, w, c).
        captions: Label and distance of each hit, shape (n, k).
        wrong: Hits whose label is not the query's, shape (n, k).
        row_titles: Ids of the queries, at the left.
    """
    _same(queries, hits[:, 0])
    cells = np.concatenate([as_bytes(queries)[:, None], as_bytes(hits)], axis=1)
    texts = np.concatenate([np.array(query_titles, object)[:, None], captions.astype(object)], axis=1)
    marks = np.concatenate([np.zeros((len(queries), 1), bool), wrong], axis=1)
    columns = ("query", *(f"{i}" for i in range(1, hits.shape[1] + 1)))
    return grid(Sheet(cells, row_titles, columns, texts, marks, breaks=(1,)))


def strips(
    starts: Shaped[Array, "n h w c"],
    frames: Float[Array, "n steps h w c"],
    ends: Shaped[Array, "n h w c"],
    titles: Sequence[str],
    *,
    row_breaks: Sequence[int] = (),
) -> Picture:
    """Interpolations: each row runs from one real item, over decoded frames, to another real item.

    Args:
        starts: Real items at the left, shape (n, h, w, c).
        frames: Decoded path, shape (n, steps, h, w, c); the first and last decode the two items.
        ends: Real items at the right, shape (n, h, w, c).
        titles: Pair and method of each row.
        row_breaks: Rows where another pair begins.
    """
    _same(starts, frames[:, 0], ends)
    cells = np.concatenate([as_bytes(starts)[:, None], as_bytes(frames), as_bytes(ends)[:, None]], axis=1)
    steps = frames.shape[1]
    columns = ("item", *(f"{t:.3g}" for t in np.linspace(0, 1, steps)), "item")
    return grid(Sheet(cells, titles, columns, breaks=(1, steps + 1), row_breaks=row_breaks))


def transformation(
    items: Shaped[Array, "n h w c"],
    edited: Float[Array, "n s h w c"],
    strengths: Sequence[float],
    *,
    row_titles: Sequence[str] = (),
    captions: Shaped[Array, "n s"] | None = None,
    marks: Bool[Array, "n s"] | None = None,
) -> Picture:
    """An attribute vector applied to real items: the item, then its decoding at each strength.

    Args:
        items: Real items, shape (n, h, w, c).
        edited: Decodings of latent + strength · attribute, shape (n, s, h, w, c).
        strengths: The s strengths, in units of the attribute vector.
        row_titles: Ids, at the left.
        captions: What the edited one is nearest to, shape (n, s).
        marks: Cells that left the data, shape (n, s).
    """
    _same(items, edited[:, 0])
    cells = np.concatenate([as_bytes(items)[:, None], as_bytes(edited)], axis=1)
    columns = ("item", *(f"{s:+.3g}" if s else "0" for s in strengths))
    texts = None if captions is None else np.pad(captions.astype(object), ((0, 0), (1, 0)), constant_values="")
    flags = None if marks is None else np.pad(marks, ((0, 0), (1, 0)))
    return grid(Sheet(cells, row_titles, columns, texts, flags, breaks=(1,), side=64))


def latent_grid_points(side: int) -> Float[Array, " side"]:
    """Positions that cut a standard normal into `side` equally probable parts, at each part's median."""
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(side) + 0.5) / side))


def latent_grid(decoded: Float[Array, "n h w c"]) -> Picture:
    """A 2-D latent space decoded on `latent_grid_points`: z₁ to the right, z₂ upwards.

    Args:
        decoded: Row-major over (z₂ descending, z₁ ascending), shape (side², h, w, c).
    """
    side = round(len(decoded) ** 0.5)
    if side**2 != len(decoded):
        raise ShapeMismatch(f"{len(decoded)} decodings are not a square grid; pass side² of them")
    ticks = [f"{t:.1f}".replace("-", "−") if i % 3 == 1 else "" for i, t in enumerate(latent_grid_points(side))]
    rows = [f"z₂ = {t}" if t else "" for t in reversed(ticks)]
    cells = decoded.reshape(side, side, *decoded.shape[1:])
    return grid(Sheet(cells, rows, [f"z₁\n{t}" if t else "" for t in ticks], side=28, seamless=True))


def _same(first: Shaped[Array, "n h w c"], *others: Shaped[Array, "n h w c"]) -> None:
    for other in others:
        if other.shape != first.shape:
            raise ShapeMismatch(f"pictures have shapes {first.shape} and {other.shape}; pass equally many of one size")
