"""The pictures: recall against time, filters, and what it costs to keep a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from tests.bench.adapters import SYSTEMS
from tests.bench.workloads import FILTERS

Results = dict[str, Any]
COLOURS = dict(zip(SYSTEMS, plt.get_cmap("tab10").colors, strict=False))


def draw(results: Results, folder: Path) -> None:
    """Write one PNG per kind of picture, a panel per workload."""
    for name, panel in (("recall", _recall), ("filters", _filters), ("costs", _costs)):
        found = results["workloads"]
        figure, axes = plt.subplots(len(found), 1, figsize=(11, 4.2 * len(found)), squeeze=False, layout="constrained")
        for axis, one in zip(axes[:, 0], found.values(), strict=True):
            panel(axis, one)
            axis.set_title(one["title"], loc="left", fontsize=10)
        figure.savefig(folder / f"{name}.png", dpi=110)
        plt.close(figure)


def _recall(axis: Any, one: Results) -> None:
    """Single-query time over recall, each system's settings joined; low and to the right is better."""
    for name, result in one["systems"].items():
        curve = sorted(result.get("curve", []), key=lambda point: point["recall"])
        x, y = [p["recall"] for p in curve], [p["single_ms"] for p in curve]
        axis.plot(x, y, "o", color=COLOURS[name], label=name, markersize=4)
        frontier = [p for i, p in enumerate(curve) if all(q["single_ms"] >= p["single_ms"] for q in curve[i:])]
        axis.plot([p["recall"] for p in frontier], [p["single_ms"] for p in frontier], color=COLOURS[name])
    axis.axvline(one["target"], color="grey", linestyle=":", linewidth=1)
    axis.set(xlabel="recall@10", ylabel="single query, median ms", yscale="log", xlim=(0.8, 1.003))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(True, which="both", alpha=0.2)
    axis.legend(fontsize=8)


def _filters(axis: Any, one: Results) -> None:
    """Bars of time with a filter used before (solid) and unseen (pale), the recall written above."""
    systems = [name for name, result in one["systems"].items() if result.get("filters")]
    width = 0.85 / max(1, len(systems))
    for place, name in enumerate(systems):
        found = one["systems"][name]["filters"]
        at = [turn + place * width for turn in range(len(found))]
        used, unseen = ([cell[key] for cell in found.values()] for key in ("used_ms", "unseen_ms"))
        axis.bar(at, unseen, width * 0.95, color=COLOURS[name], alpha=0.35)
        axis.bar(at, used, width * 0.95, color=COLOURS[name], label=name)
        for x, height, cell in zip(at, map(max, used, unseen), found.values(), strict=True):
            colour = "black" if cell["recall"] >= 0.95 else "crimson"
            axis.text(x, height * 1.1, f"{cell['recall']:.2f}", ha="center", fontsize=6, color=colour)
    axis.set_xticks([turn + 0.4 for turn in range(len(FILTERS))], list(FILTERS))
    axis.set(yscale="log", ylabel="ms: filter used before / pale: unseen; recall above")
    axis.margins(y=0.3)  # room for the legend
    axis.legend(fontsize=8, ncols=4)
    axis.grid(True, axis="y", alpha=0.2)


def _costs(axis: Any, one: Results) -> None:
    """What ingest, index, disk, cold open, an append and deletes cost, on one logarithmic axis."""
    measures = {
        "ingest s": "ingest_s",
        "build s": "build_s",
        "disk GB": "disk_mb",
        "cold open s": "cold_s",
        "append 100, s": "append_first_ms",
        "upsert 1 % s": "upsert_s",
        "delete 1 % s": "delete_s",
    }
    systems = list(one["systems"])
    width = 0.85 / max(1, len(systems))
    for place, name in enumerate(systems):
        result = one["systems"][name]
        heights = [
            result.get(key, 0) / (1e3 if key in ("disk_mb", "append_first_ms") else 1) for key in measures.values()
        ]
        at = [turn + place * width for turn in range(len(measures))]
        axis.bar(at, heights, width * 0.95, color=COLOURS[name], label=name)
    axis.set_xticks([turn + 0.4 for turn in range(len(measures))], list(measures))
    axis.set(yscale="log", ylabel="smaller is better")
    axis.legend(fontsize=8, ncols=4)
    axis.grid(True, axis="y", alpha=0.2)
