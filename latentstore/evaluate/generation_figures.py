"""Figures of what a space makes: samples above their nearest items, transport beside the latents, moved items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.evaluate import pictures
from latentstore.evaluate.portrait import STEPS
from latentstore.evaluate.report import Figure
from latentstore.evaluate.sheet import Sheet, as_bytes

if TYPE_CHECKING:
    from latentstore.evaluate.portrait import Portrait

SAMPLES, ACROSS = 30, 10
METHODS = ("lerp", "graph", "transport")
MOVED = 8
AMOUNTS = (0.5, 1.0)
_DENSITY = {
    "gmm": "a mixture of Gaussians fitted to the latents of each label",
    "flow": "a flow trained on the latents",
    "prior": "the standard normal, the prior",
}


def samples(portrait: Portrait, method: str | None = None, measured: str = "") -> Figure:
    """Items that never were, each above the item that is nearest to it.

    Args:
        portrait: Of the space.
        method: As of `EmbeddingSpace.sample`.
        measured: What is known of many such samples, a sentence.
    """
    drawn = portrait.space.sample(SAMPLES, method=method, seed=portrait.seed)
    report = drawn.report
    items, nearest = as_bytes(drawn.decode()), as_bytes(portrait.read(report.nearest))
    cells = np.stack([x.reshape(-1, ACROSS, *x.shape[1:]) for x in (items, nearest)], axis=1)
    words = [[f"{one:.2f}" for one in report.realism or ()], [f"{one:.2f}" for one in report.novelty]]
    captions = np.stack([np.array(w or [""] * SAMPLES, object).reshape(-1, ACROSS) for w in words], axis=1)
    rows = len(cells) * 2
    median = "" if report.realism is None else f"Median realism {np.median(report.realism):.2f} (real items: 0.50). "
    return portrait.figure(
        "samples" if method is None else f"samples-{method}",
        "Samples, and the items nearest to them" if method is None else f"Samples by {method}",
        f"Latents drawn from {_DENSITY[drawn.method]} and decoded, with their realism; below each the stored item that "
        "is nearest, with the sample's novelty: the share of real items that have another one nearer; 0 would be "
        f"a copy. {median}{measured}Look for whole items, not halves of two, that are not the ones below.",
        f"Grid of {SAMPLES} decoded random latents, each above its nearest real item.",
        pictures.grid(
            Sheet(
                cells.reshape(rows, ACROSS, *items.shape[1:]),
                row_titles=["sample", "nearest"] * len(cells),
                captions=captions.reshape(rows, ACROSS),
                row_breaks=range(2, rows, 2),
            )
        ),
    )


def transport_paths(portrait: Portrait, pairs: Sequence[tuple[str, str]]) -> Figure:
    """Interpolations of the latents of a pair beside the optimal transport of its pictures."""
    return portrait.figure(
        "transport",
        "Optimal transport beside the latents",
        "transport knows no latents: it moves the ink of one picture to where the other has its own, by the shortest "
        "ways, so each frame is a Wasserstein barycenter of the two. Look how it bends and splits shapes where lerp "
        "fades one out as the other comes, and how only graph shows things that exist.",
        f"{len(pairs)} pairs of labels, {STEPS} steps each by {', '.join(METHODS)}.",
        portrait.strips(pairs, METHODS),
    )


def class_transport(portrait: Portrait, source: str, target: str) -> Figure:
    """Items of one class moved to another, beside the same items moved by the difference of the means."""
    space, ids = portrait.space, portrait.pick(source, MOVED)
    before = portrait.vectors(ids)
    rows, titles, captions = [as_bytes(portrait.read(ids))], [source], [[""] * MOVED]
    map_ = space.class_transport(source, target, portrait.column)
    shift = map_.target.mean - map_.source.mean
    moves = [(f"transport {amount:g}", map_(before, amount)) for amount in AMOUNTS]
    moves.append(("mean difference 1", before + shift))
    for words, latents in moves:
        moved = latents.astype(np.float32)
        rows.append(as_bytes(space.decode(moved)))
        titles.append(words)
        captions.append([f"realism {one:.2f}" for one in space.realism(moved)])
    return portrait.figure(
        "class-transport",
        f"{source} moved to {target}",
        "Items the encoder never saw, moved by the optimal transport map between the Gaussians of the two classes: a "
        "long one becomes a long one, a dark one a dark one, as far as the two classes share that. Below: the same, "
        "with the difference of the means added, which keeps the spread of the first class.",
        f"{MOVED} items of class {source}, moved half and all the way to {target}, and by the mean difference.",
        pictures.grid(Sheet(np.stack(rows), titles, ids, np.array(captions, object), row_breaks=(1, len(rows) - 1))),
    )
