"""The words of measured edits: what an attribute vector is to bring, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

USABLE = 0.93  # share of realistic items at which a strength counts as usable


@dataclass(frozen=True)
class Aim:
    """What an attribute vector is to bring.

    Attributes:
        attribute: Its name.
        column: A column of the judge.
        value: What the judge should say there.
        negative: The predicate of items without it, on which it is tried.
    """

    attribute: str
    column: str
    value: Any
    negative: str

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
        """Largest success at a strength where 93 % of the items stay realistic, plain and settled; 0 without one."""
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
