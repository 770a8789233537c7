"""Figures about attributes: success against strength, and the kinds of items inside a class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from latentstore.evaluate.charts import strength_chart
from latentstore.evaluate.pictures import grid
from latentstore.evaluate.report import Figure
from latentstore.evaluate.sheet import Sheet, as_bytes

if TYPE_CHECKING:
    from latentstore.evaluate.portrait import Portrait

EXAMPLES = 10
_STRENGTH = re.compile(r"(edit|vote)_(.+?)_(success|realistic|settled_success|settled_realistic)@(.+)")


def strengths_of(metrics: Mapping[str, float]) -> tuple[bool, dict[str, dict[str, dict[float, float]]]]:
    """From metrics called `edit_<attribute>_<share>@<strength>`, or else `vote_…`: whether a judge spoke, and
    attribute → share → strength → value.
    """
    found: dict[str, dict[str, dict[str, dict[float, float]]]] = {}
    for name, value in metrics.items():
        if match := _STRENGTH.fullmatch(name):
            who, attribute, share, strength = match.groups()
            found.setdefault(who, {}).setdefault(attribute, {}).setdefault(share, {})[float(strength)] = value
    judged = "edit" in found
    return judged, found.get("edit" if judged else "vote", {})


def strength_figure(portrait: Portrait, metrics: Mapping[str, float]) -> Figure:
    """What becomes of test items that are moved along each attribute, by strength."""
    judged, measured = strengths_of(metrics)
    success, realistic, again, settled = (
        {name: of[share] for name, of in measured.items()}
        for share in ("success", "realistic", "settled_success", "settled_realistic")
    )
    who = "by a classifier of pictures that never saw a latent" if judged else "by their ten nearest real items"
    return Figure(
        f"{portrait.space.name.replace('_', '-')}-strength",
        "Success against strength",
        f"Test items without an attribute, moved along it. Solid: the share that is then taken ({who}) for items that "
        "have it; dashed: the share that is still realistic, no farther out than 95 % of the real items. At the right "
        "after each moved latent went half the way to the mean of its ten nearest real items. Look for a strength "
        "where both are high.",
        "Line chart by strength: "
        + "; ".join(
            f"{name} " + ", ".join(f"{share:.0%} at {at:g}" for at, share in sorted(of.items()))
            for name, of in success.items()
        ),
        strength_chart({"moved": (success, realistic), "moved, then settled": (again, settled)}),
    )


def kinds(portrait: Portrait, label: str, count: int | None = None) -> Figure:
    """The kinds of items inside a label, a row of examples of each."""
    quoted = label.replace("'", "''")
    column = portrait.column.replace('"', '""')
    found = portrait.space.subclusters(f"\"{column}\" = '{quoted}'", count, seed=portrait.seed)
    items = as_bytes(portrait.read([str(one) for part in found for one in part.ids[:EXAMPLES]]))
    cells = np.zeros((len(found), EXAMPLES, *items.shape[1:]), np.uint8)
    first = 0
    for row, part in enumerate(found):
        shown = len(part.ids[:EXAMPLES])
        cells[row, :shown] = items[first : first + shown]
        first += shown
    titles = [f"{len(part):,} items\n{part.share:.0%}" for part in found]
    asked = "as many as part them best" if count is None else f"{count} of them"
    return Figure(
        f"{portrait.space.name.replace('_', '-')}-kinds",
        f"Kinds of {label}",
        f"Nobody labelled these: k-means of the latents of {label}, {asked}, mean silhouette {found.silhouette:.2f} "
        "(0: nothing parts them, 1: points). Each row begins with the most typical item. An attribute between two rows "
        "is one call of fit_attribute.",
        f"{len(found)} rows of {EXAMPLES} pictures of {label}, one row per cluster.",
        grid(Sheet(cells, titles)),
    )
