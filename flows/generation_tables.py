"""Tables of the report on what a space makes: samples, and items moved to another class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from latentstore.evaluate.generation import WAYS
from latentstore.evaluate.report import Table

GENERATION_MEASURES = {
    "frechet": ("Fréchet", ".2f"),
    "frechet_ratio": ("by that of decoded items", ".2f"),
    "density": ("density", ".2f"),
    "coverage": ("coverage", ".2f"),
    "realistic": ("realistic", ".1%"),
    "nearest_ratio": ("nearest distance", ".2f"),
    "nearest_auc": ("farther than test items", ".1%"),
}


def generation_table(metrics: Mapping[str, float]) -> Iterator[Table]:
    """Each way of generating beside real and decoded items; nothing where none was measured."""
    ways = {"real items": "floor", "decoded items": "reconstructions", **{w: w.replace(", ", "_") for w in WAYS}}
    forms = {measure: form for measure, (_, form) in GENERATION_MEASURES.items()}
    found = {
        words: [
            format(metrics[k], f) if (k := f"gen_{key}_{measure}") in metrics else "" for measure, f in forms.items()
        ]
        for words, key in ways.items()
    }
    rows = [(words, *cells) for words, cells in found.items() if any(cells)]
    if rows:
        judged = "gen_floor_frechet" in metrics
        yield Table(
            "Generation",
            ("samples beside test items", *(words for words, _ in GENERATION_MEASURES.values())),
            rows,
            (
                "Fréchet: distance of the judge's features of as many samples and test items; training items are the "
                "floor, and what is decoded of them is as good as samples can get. Density and coverage: how many "
                "samples lie among the nearest features of test items, and how many of these have a sample. "
                if judged
                else "No judge looked at them: Fréchet distance, density and coverage are left out. "
            )
            + "Realistic: no farther from the data than 95 % of the items. Nearest distance: median distance of "
            "samples to the nearest training latent by that of test items. Were it below 1, and farther than test "
            "items below 50 %, training items would be remembered.",
        )


def transport_table(metrics: Mapping[str, float]) -> Iterator[Table]:
    """Optimal transport beside the mean difference; nothing where none was measured."""
    rows = []
    if "transport_success" in metrics:
        far = metrics.get("transport_mean_cost")
        for words, key, cost in (
            ("optimal transport", "", metrics["transport_cost"]),
            ("mean difference, as far", "mean_", metrics["transport_cost"]),
        ):
            shares = (f"{metrics[f'transport_{key}{what}']:.1%}" for what in ("success", "realistic"))
            rows.append((words, *shares, f"{cost:.2f}"))
        needed = "more than 2.50" if far is None else f"{far:.2f}"
        rows.append(("mean difference, as successful", f"{metrics['transport_success']:.1%}", "", needed))
    if rows:
        mixed = (
            f" The mean of two pictures by optimal transport takes {metrics['barycenter_seconds']:.2f} s."
            if "barycenter_seconds" in metrics
            else ""
        )
        yield Table(
            "Items moved to another class",
            ("test items", "success", "realistic", "cost"),
            rows,
            "Success: the judge takes a moved item for the other class. Cost: length of the move by the distance of "
            "the two means." + mixed,
        )
