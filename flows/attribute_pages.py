"""The report's tables about attribute vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from latentstore.evaluate.report import Table
from latentstore.evaluate.strength_figures import strengths_of

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace

MOST = 8  # attributes of a leakage table: more do not fit the page


def attribute_tables(space: EmbeddingSpace, metrics: Mapping[str, float]) -> Iterator[Table]:
    """How each was fitted and how far it can be trusted, what they do to each other, what edits make of items."""
    rows = space.attributes.drop_columns(["vector"]).to_pylist()
    if rows:
        yield _trust(rows)
    names = [row["name"] for row in rows]
    if 2 <= len(names) <= MOST:
        effects = {(one["attribute"], one["other"]): one["effect"] for one in space.leakage().to_pylist()}
        yield Table(
            "Leakage",
            ("moving by 1 along", *names),
            [(a, *("1" if a == b else f"{round(effects[a, b], 2) + 0.0:+.2f}" for b in names)) for a in names],
            "How far the level of the attribute at the top rises, in units of its own gap: 0 leaves it alone.",
        )
    yield from edit_table(metrics)
    yield from _beyond(metrics)


def _trust(rows: list[dict[str, Any]]) -> Table:
    def number(value: float | None, form: str) -> str:
        return "" if value is None or value != value else format(value, form)

    return Table(
        "Attribute vectors",
        (
            "name",
            "held-out AUC",
            "stability",
            "at least",
            "p",
            "items with",
            "items without",
            "with",
            "without",
            "method",
        ),
        [
            (
                row["name"],
                number(row["auc"], ".4f"),
                number(row["stability"], ".4f"),
                number(row["stability_low"], ".4f"),
                number(row["p_value"], ".3f"),
                number(row["positives"], ","),
                number(row["negatives"], ","),
                row["positive"] or "",
                row["negative"] or "",
                row["method"].replace("_", " "),
            )
            for row in rows
        ],
        "AUC: how often an item that has the attribute lies farther along the vector than one that has it not. "
        "Stability: mean cosine to directions fitted to resamples of the items; 95 % of them are at least at the next "
        "number. p: the chance that permuted labels part the items as far.",
        prose=frozenset({7, 8, 9}),
    )


def edit_table(metrics: Mapping[str, float]) -> Iterator[Table]:
    """What edits do at the strength that is best for each attribute, and what a chain of them does."""
    judged, measured = strengths_of(metrics)
    rows = []
    for name in measured:
        key = f"{'edit' if judged else 'vote'}_{name}"
        best = metrics[f"{key}_strength"]
        shares = [metrics[f"{key}_{what}"] for what in ("success", "flipped", "most_flipped")]
        shares += [metrics[f"{key}_{what}@{best:g}"] for what in ("realistic", "settled_success", "settled_realistic")]
        rows.append((name, f"{best:g}", *(f"{share:.1%}" for share in shares)))
    if "chain_success" in metrics:
        success, flipped = (metrics[f"chain_{what}"] for what in ("success", "flipped"))
        rows.append(("all of a chain", "", f"{success:.1%}", f"{flipped:.1%}", "", "", "", ""))
    if rows:
        who = "a judge that never saw a latent" if judged else "a vote of real neighbours: no independent judge"
        columns = ("attribute added", "strength", "success", "others flipped", "most flipped column", "realistic")
        yield Table(
            f"Edits, by {who}",
            (*columns, "settled: success", "settled: realistic"),
            rows,
            "Success: of test items without the attribute, how many are said to have it afterwards. Flipped: how many "
            "of the answers about other columns changed by the edit, mean and worst column. Realistic: no farther out "
            "than 95 % of the real items. Settled: after half the way to the mean of the ten nearest items.",
        )


def _beyond(metrics: Mapping[str, float]) -> Iterator[Table]:
    told = (
        ("pair_auc_nearly_parted", "pairs of labels that an attribute parts with held-out AUC ≥ .99", ".0%"),
        ("pair_auc_min", "the least held-out AUC of a pair", ".4f"),
        ("undo_error", "largest difference left after undoing a chain of six moves", ".1e"),
        ("erasure_probe", "a linear classifier finds the label after it was erased", ".1%"),
        ("erasure_majority", "always saying the most frequent label", ".1%"),
        ("erasure_lost", "share of the variance that is erased", ".1%"),
        ("counterfactual_success", "counterfactuals at 90 % that show the label", ".1%"),
        ("counterfactual_realistic", "of them realistic", ".1%"),
        ("counterfactual_length", "their mean length, of the way between the labels' means", ".2f"),
    )
    rows = [(words, format(metrics[name], form)) for name, words, form in told if name in metrics]
    if rows:
        yield Table("Chains, erasure, counterfactuals", ("measured", "value"), rows)
