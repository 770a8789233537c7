"""What an edit does, by an independent judge: does it bring what it is named for, and does the rest stay as it was?

Nothing here knows faces: any space with a decoder, attribute vectors, and a judge of its label columns will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import FilterRefused, InputError, UnknownAttribute, suggest
from latentstore.evaluate.votes import Vote, said
from latentstore.space.surroundings import REALISTIC

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64, Shaped

    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5)
USABLE = 0.93  # share of realistic items at which a strength counts as usable


@dataclass(frozen=True)
class Aim:
    """What an attribute vector is to bring.

    Attributes:
        attribute: Its name.
        column: A column of the judge.
        value: What the judge should say there.
    """

    attribute: str
    column: str
    value: Any

    @property
    def expression(self) -> str:
        """The attribute vector in the latent algebra."""
        return "attribute('{}')".format(self.attribute.replace("'", "''"))


@dataclass(frozen=True)
class Effect:
    """What came of an edit, over the items it was tried on.

    Attributes:
        success: Share of which the judge says the wanted value (of a chain: all wanted values).
        flipped: Share of answers about the other columns that differ from those before the edit, mean of the columns.
        flipped_by: That by column.
        realism: Median realism of the edited latents.
        realistic: Share of them with realism ≥ .05: no farther out than 95 % of the real items.
        settled_success: `success` after each edited latent went half the way to the mean of its ten nearest items
            (`EmbeddingSpace.settle`); NaN where that was not measured.
        settled_realistic: `realistic` then.
    """

    success: float
    flipped: float
    flipped_by: Mapping[str, float]
    realism: float
    realistic: float = float("nan")
    settled_success: float = float("nan")
    settled_realistic: float = float("nan")


@dataclass(frozen=True)
class EditMeasures:
    """One attribute added to items without it.

    Attributes:
        aim: What it is to bring.
        items: How many it was tried on.
        effects: By strength.
    """

    aim: Aim
    items: int
    effects: Mapping[float, Effect]

    @property
    def best(self) -> float:
        """The strength with the largest success × (1 − flipped)."""
        return max(self.effects, key=lambda s: self.effects[s].success * (1 - self.effects[s].flipped))

    @property
    def usable(self) -> tuple[float, float]:
        """The largest success at a strength where 93 % of the items stay realistic, and that after settling; 0 where
        there is none.
        """
        effects = self.effects.values()
        return (
            max((one.success for one in effects if one.realistic >= USABLE), default=0.0),
            max((one.settled_success for one in effects if one.settled_realistic >= USABLE), default=0.0),
        )


@dataclass(frozen=True)
class ChainMeasures:
    """Several attributes added at once, each at the strength that is best for it alone.

    Attributes:
        aims: What each is to bring.
        strengths: Of each.
        items: How many it was tried on.
        effect: Of all together.
        each: Share of which the judge says the wanted value, by attribute.
    """

    aims: tuple[Aim, ...]
    strengths: tuple[float, ...]
    items: int
    effect: Effect
    each: Mapping[str, float]


@dataclass(frozen=True)
class Edits:
    """What was measured of a space's edits.

    Attributes:
        edits: One per attribute that the judge can judge.
        chain: All of a chain at once; None without one.
        told: By column, the share of decoded, unedited items of which the judge says what their metadata say: the
            ceiling of all the rest.
        judged: Whether a judge said so; else a vote of real neighbours.
    """

    edits: tuple[EditMeasures, ...]
    chain: ChainMeasures | None
    told: Mapping[str, float]
    judged: bool = True

    def metrics(self) -> dict[str, float]:
        """As name → value: `edit_<attribute>_…` at its best strength, shares at each; `chain_…`; `told_…`.

        Those of a vote begin with `vote_` instead, and have no `told_…`.
        """
        prefix = "edit" if self.judged else "vote"
        found = {f"told_{column}": share for column, share in self.told.items()} if self.judged else {}
        for one in self.edits:
            key, best = f"{prefix}_{one.aim.attribute}", one.effects[one.best]
            found |= {f"{key}_strength": one.best, f"{key}_success": best.success, f"{key}_flipped": best.flipped}
            found |= {f"{key}_most_flipped": max(best.flipped_by.values(), default=0.0), f"{key}_realism": best.realism}
            found |= {f"{key}_usable": one.usable[0], f"{key}_usable_settled": one.usable[1]}
            for strength, effect in one.effects.items():
                shares = ("success", "flipped", "realistic", "settled_success", "settled_realistic")
                found |= {f"{key}_{share}@{strength:g}": getattr(effect, share) for share in shares}
        if self.chain is not None:
            effect = self.chain.effect
            found |= {"chain_success": effect.success, "chain_flipped": effect.flipped, "chain_realism": effect.realism}
            found |= {f"chain_success/{name}": share for name, share in self.chain.each.items()}
        return found


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
                found[row["name"]] = Aim(row["name"], column, value)
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
        untried: Told the name of an attribute that no item lacks, and why; it is then left out. By default the error
            is raised.

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
    rows = np.random.default_rng(seed).permutation(rows)
    latents, columns = space.snapshot.vectors(rows), list(judge.names)
    before = said(space, judge, latents) if len(rows) else {}
    truth = space.snapshot.columns(rows, [column for column in columns if column in space.columns])
    told = {
        column: float(np.mean(before[column] == np.array(truth[column].to_pylist(), object)))
        for column in truth.column_names
    }
    lacking = {row["name"]: row["negative"] for row in space.attributes.select(["name", "negative"]).to_pylist()}
    lacking = {name: space.matching(lacking[name]) for name in aims}
    measured = []
    for aim in aims.values():
        chosen = _without(before, [aim], rows, lacking)[:items]
        if not len(chosen):
            error = InputError(f"none of the {len(rows)} items lacks attribute {aim.attribute!r}; choose other ids")
            if untried is None:
                raise error
            untried(aim.attribute, error)
            continue
        asked = {column: answers[chosen] for column, answers in before.items()}
        direction = space.latent(aim.expression).vector
        effects = {
            float(strength): _effect(space, judge, latents[chosen] + np.float32(strength) * direction, asked, [aim])[0]
            for strength in strengths
        }
        measured.append(EditMeasures(aim, len(chosen), effects))
    chained = None
    if linked and all(aim.attribute in {one.aim.attribute for one in measured} for aim in linked):
        chosen = _without(before, linked, rows, lacking)[:items]
        if not len(chosen):
            raise InputError(f"no item lacks all of {', '.join(chain)}; choose other ids, or a shorter chain")
        best = {one.aim.attribute: one.best for one in measured}
        amounts = tuple(best[aim.attribute] for aim in linked)
        moved = latents[chosen] + _sum(space, linked, amounts)
        effect, each = _effect(space, judge, moved, {c: answers[chosen] for c, answers in before.items()}, linked)
        chained = ChainMeasures(tuple(linked), amounts, len(chosen), effect, each)
    return Edits(tuple(measured), chained, told, not isinstance(judge, Vote))


def _linked(chain: Sequence[str], aims: Mapping[str, Aim]) -> list[Aim]:
    for name in chain:
        if name not in aims:
            raise UnknownAttribute(f"chain names {name!r}, which no judged attribute is; {suggest(name, aims)}")
    linked = [aims[name] for name in chain]
    if linked and (len(linked) == 1 or len({aim.column for aim in linked}) < len(linked)):
        raise InputError(f"chain {list(chain)} needs at least two attributes, each of another column")
    return linked


def _sum(space: EmbeddingSpace, aims: Sequence[Aim], strengths: Sequence[float]) -> Float32[Array, " d"]:
    terms = (f"{strength!r} * {aim.expression}" for aim, strength in zip(aims, strengths, strict=True))
    return space.latent(" + ".join(terms)).vector


def _without(
    answers: Mapping[str, Shaped[Array, " n"]],
    aims: Sequence[Aim],
    rows: Int64[Array, " n"],
    lacking: Mapping[str, Int64[Array, " r"]],
) -> Shaped[Array, " m"]:
    """Positions of items without any of the attributes, of which the judge says none of what is wanted, either."""
    unseen: Bool[Array, " n"] = np.all([answers[aim.column] != aim.value for aim in aims], axis=0)
    unlabelled: Bool[Array, " n"] = np.all([np.isin(rows, lacking[aim.attribute]) for aim in aims], axis=0)
    return np.flatnonzero(unseen & unlabelled)


def _effect(
    space: EmbeddingSpace,
    judge: Judge | Vote,
    moved: Float32[Array, "n d"],
    before: Mapping[str, Shaped[Array, " n"]],
    aims: Sequence[Aim],
) -> tuple[Effect, dict[str, float]]:
    """The effect of all aims together, and the success of each."""
    shown = said(space, judge, moved)
    reached = {aim.attribute: shown[aim.column] == aim.value for aim in aims}
    others = [column for column in shown if column not in {aim.column for aim in aims}]
    flipped = {column: float(np.mean(shown[column] != before[column])) for column in others}
    realism, settled = space.realism(moved), space.settle(moved)
    again = said(space, judge, settled)
    effect = Effect(
        success=float(np.all(list(reached.values()), axis=0).mean()),
        flipped=float(np.mean(list(flipped.values()))) if flipped else 0.0,
        flipped_by=flipped,
        realism=float(np.median(realism)),
        realistic=float((realism >= REALISTIC).mean()),
        settled_success=float(np.all([again[aim.column] == aim.value for aim in aims], axis=0).mean()),
        settled_realistic=float((space.realism(settled) >= REALISTIC).mean()),
    )
    return effect, {name: float(one.mean()) for name, one in reached.items()}
