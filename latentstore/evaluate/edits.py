"""What an edit does, by an independent judge: does it bring what it is named for, and does the rest stay as it was?

Nothing here knows faces: any space with a decoder, attribute vectors, and a judge of its label columns will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import FilterRefused, InputError, UnknownAttribute, suggest
from latentstore.evaluate.edit_measures import Aim, ChainMeasures, EditMeasures, Edits, Effect
from latentstore.evaluate.votes import Vote, said
from latentstore.space.surroundings import REALISTIC

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


def aims_of(space: EmbeddingSpace, judge: Judge | Vote) -> dict[str, Aim]:
    """What each attribute vector of a space is to bring, where one of the judge's columns says so.

    That is the first column (by name) in which all items with the attribute have one value, which no item without it
    has. Attributes that were not fitted to two predicates that still hold aim at nothing.
    """
    found = {}
    columns = [column for column in judge.names if column in space.columns]
    for row in space.attributes.to_pylist():
        try:
            groups = [space.matching(row[side] or "") for side in ("positive", "negative")]
        except FilterRefused:  # a list of examples, a direction without labels, a column that is gone
            continue
        sides = [space.snapshot.columns(rows, columns) for rows in groups]
        for column in columns:
            with_it, without = (set(side[column].to_pylist()) for side in sides)
            if len(with_it) == 1 and not with_it & without and (value := next(iter(with_it))) in judge.names[column]:
                found[row["name"]] = Aim(row["name"], column, value, row["negative"])
                break
    return found


def edit_metrics(
    space: EmbeddingSpace,
    judge: Judge | Vote,
    *,
    ids: Sequence[str] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    chain: Sequence[str] = (),
    items: int = 500,
    seed: int = 0,
    untried: Callable[[str, InputError], None] | None = None,
) -> Edits:
    """Add attributes to stored items, decode them, and ask the judge.

    An attribute is tried on items of its negative group whose decoded picture, unedited, does not show it.
    Strength 1 moves by the distance of the two groups' means. Whether other columns flipped is seen beside that
    unedited picture, so what the encoder loses is not held against the edit; `told` says how much that is.

    Args:
        space: With a decoder and attribute vectors.
        judge: Trained on items, of columns of the space; without one, a `Vote` of the space's own items.
        ids: Which items are edited, best some that the encoder never saw; None for all.
        strengths: What to multiply the attribute vectors with.
        chain: Names of attributes to be added all at once; none, or at least two of different columns.
        items: At most so many are edited for each.
        seed: Chooses them.
        untried: Told the name of an attribute (or of the chain) that no item lacks, and why; it is then left out. By
            default the error is raised.

    Returns:
        One `EditMeasures` for each attribute that some column of the judge tells (see `aims_of`), and the chain's.

    Raises:
        InputError: No strengths, an impossible chain, or no item to edit.
        UnknownAttribute: The chain names one that the space has not, or that no column tells.
        NotSupported: The space cannot decode.
    """
    aims = aims_of(space, judge)
    if not strengths:
        raise InputError("strengths are empty; pass at least one")
    linked = _linked(chain, aims)
    rows = space.snapshot.live_rows() if ids is None else space.rows_of(ids)
    trial = _Trial(space, judge, np.random.default_rng(seed).permutation(rows), items, untried)
    edits = tuple(one for aim in aims.values() if (one := trial.edit(aim, strengths)) is not None)
    best = {one.aim.attribute: one.best for one in edits}
    tried = linked and all(aim.attribute in best for aim in linked)
    chained = trial.chain(linked, [best[aim.attribute] for aim in linked]) if tried else None
    return Edits(edits, chained, trial.told(), not isinstance(judge, Vote))


class _Trial:
    """The items that edits are tried on, and what the judge says of them before."""

    def __init__(
        self,
        space: EmbeddingSpace,
        judge: Judge | Vote,
        rows: Int64[Array, " n"],
        items: int,
        untried: Callable[[str, InputError], None] | None,
    ) -> None:
        self.space, self.judge, self.rows, self.items, self.untried = space, judge, rows, items, untried
        if not len(rows):
            raise InputError("no items to edit are given; name some")
        self.latents = space.snapshot.vectors(rows)
        self.before = said(space, judge, self.latents)

    def told(self) -> dict[str, float]:
        """See `Edits`."""
        columns = [column for column in self.judge.names if column in self.space.columns]
        truth = self.space.snapshot.columns(self.rows, columns)
        return {
            column: float(np.mean(self.before[column] == np.array(truth[column].to_pylist(), object)))
            for column in columns
        }

    def edit(self, aim: Aim, strengths: Sequence[float]) -> EditMeasures | None:
        """One attribute at every strength; None when no item lacks it."""
        chosen = self.lacking([aim])
        if chosen is None:
            return None
        direction = self.space.latent(aim.expression).vector
        effects = {float(s): self.effect(chosen, np.float32(s) * direction, [aim])[0] for s in strengths}
        return EditMeasures(aim, len(chosen), effects)

    def chain(self, aims: Sequence[Aim], strengths: Sequence[float]) -> ChainMeasures | None:
        """Several attributes at once; None when no item lacks all."""
        chosen = self.lacking(aims)
        if chosen is None:
            return None
        terms = (f"{strength!r} * {aim.expression}" for aim, strength in zip(aims, strengths, strict=True))
        effect, each = self.effect(chosen, self.space.latent(" + ".join(terms)).vector, aims)
        return ChainMeasures(tuple(aims), tuple(strengths), len(chosen), effect, each)

    def lacking(self, aims: Sequence[Aim]) -> Int64[Array, " m"] | None:
        """Positions of items of every aim's negative group of which the judge says none of what is wanted."""
        lacks = [self.before[aim.column] != aim.value for aim in aims]
        lacks += [np.isin(self.rows, self.space.matching(aim.negative)) for aim in aims]
        chosen = np.flatnonzero(np.all(lacks, axis=0))[: self.items]
        if len(chosen):
            return chosen
        name = " + ".join(aim.attribute for aim in aims)
        error = InputError(f"none of the {len(self.rows)} items lacks attribute {name!r}; choose other ids")
        if self.untried is None:
            raise error
        self.untried(name, error)
        return None

    def effect(
        self, chosen: Int64[Array, " m"], move: Float32[Array, " d"], aims: Sequence[Aim]
    ) -> tuple[Effect, dict[str, float]]:
        """The effect of all aims together, and the success of each."""
        moved = self.latents[chosen] + move
        shown = said(self.space, self.judge, moved)
        realism, settled = self.space.realism(moved), self.space.settle(moved)
        again = said(self.space, self.judge, settled)
        reached = {aim.attribute: shown[aim.column] == aim.value for aim in aims}
        others = [column for column in shown if column not in {aim.column for aim in aims}]
        flipped = {column: float(np.mean(shown[column] != self.before[column][chosen])) for column in others}
        effect = Effect(
            success=float(np.all(list(reached.values()), axis=0).mean()),
            flipped=float(np.mean(list(flipped.values()))) if flipped else 0.0,
            flipped_by=flipped,
            realism=float(np.median(realism)),
            realistic=float((realism >= REALISTIC).mean()),
            settled_success=float(np.all([again[aim.column] == aim.value for aim in aims], axis=0).mean()),
            settled_realistic=float((self.space.realism(settled) >= REALISTIC).mean()),
        )
        return effect, {name: float(one.mean()) for name, one in reached.items()}


def _linked(chain: Sequence[str], aims: Mapping[str, Aim]) -> list[Aim]:
    for name in chain:
        if name not in aims:
            raise UnknownAttribute(f"chain names {name!r}, which no judged attribute is; {suggest(name, aims)}")
    linked = [aims[name] for name in chain]
    if linked and (len(linked) == 1 or len({aim.column for aim in linked}) < len(linked)):
        raise InputError(f"chain {list(chain)} needs at least two attributes, each of another column")
    return linked
