"""The picture of edits: items without an attribute, the same with more and more of it, and with a whole chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.evaluate import pictures
from latentstore.evaluate.sheet import Sheet, as_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32, Shaped

    from latentstore.evaluate.edit_measures import Aim, Edits
    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

SHARES = (0.5, 1.0, 1.5)  # of the best strength, at which the first attribute is shown


def edits_sheet(
    space: EmbeddingSpace,
    judge: Judge,
    edits: Edits,
    items: Shaped[Array, "n h w c"],
    latents: Float32[Array, "n d"],
    *,
    titles: Sequence[str] = (),
) -> pictures.Picture:
    """One row per item: itself, decoded, with growing strength of the first attribute, with each other, with all.

    A frame with a cross marks what the judge does not take for what was aimed at.

    Args:
        space: Where the attributes are.
        judge: Whom `edits` are by.
        edits: What was measured.
        items: The items themselves.
        latents: Theirs.
        titles: At the left of each row.

    Raises:
        InputError: No edit was measured.
    """
    columns = [*_columns(space, edits)]
    if not columns:
        raise InputError("no edit was measured; fit an attribute whose groups a column of the judge tells apart")
    cells, marks = [as_bytes(items), as_bytes(space.decode(latents))], [np.zeros(len(items), bool)] * 2
    for _, move, aims in columns:
        drawn = space.decode(latents + move)
        said = judge.predictions(drawn)
        cells.append(as_bytes(drawn))
        marks.append(~np.all([said[aim.column] == aim.value for aim in aims], axis=0))
    names = ["item", "decoded", *(name for name, _, _ in columns)]
    sheet = Sheet(np.stack(cells, 1), titles, names, marks=np.stack(marks, 1), breaks=(1, 2, 2 + len(SHARES)), side=72)
    return pictures.grid(sheet)


def _columns(space: EmbeddingSpace, edits: Edits) -> list[tuple[str, Float32[Array, " d"], tuple[Aim, ...]]]:
    """Title, what is added to the latents, and what that aims at."""
    found: list[tuple[str, Float32[Array, " d"], tuple[Aim, ...]]] = []
    moves: dict[str, Float32[Array, " d"]] = {}
    for number, one in enumerate(edits.edits):
        direction = space.latent(one.aim.expression).vector
        moves[one.aim.attribute] = one.best * direction
        for share in SHARES if number == 0 else (1.0,):
            strength = share * one.best
            move: Float32[Array, " d"] = np.asarray(strength * direction, np.float32)
            found.append((f"{one.aim.attribute}\n× {strength:g}", move, (one.aim,)))
    if edits.chain is not None:
        aims = edits.chain.aims
        total: Float32[Array, " d"] = np.asarray(sum(moves[aim.attribute] for aim in aims), np.float32)
        found.append(("\n".join(f"+ {aim.attribute}" for aim in aims), total, aims))
    return found
