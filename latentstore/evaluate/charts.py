"""The charts of the report: the map of a space, loss curves, error per class. Matplotlib without a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.evaluate.sheet import DENSITY
from latentstore.evaluate.theme import PALETTE, Theme

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from latentstore.evaluate.pictures import Picture
    from latentstore.types import Array

_DPI = 100 * DENSITY
_OTHERS = "others"


def map_chart(
    coordinates: Float[Array, "n 2"], labels: Shaped[Array, " n"], *, seed: int = 0, alpha: float | None = None
) -> Picture:
    """Every item as a dot, coloured by label, each label written at the median of its dots and in a legend.

    Args:
        coordinates: Map coordinates, shape (n, 2); axes are of one scale, distances along x and y compare.
        labels: n labels; with more than ten different ones the rarer ones share grey.
        seed: Of the order in which dots are painted, so that no label hides another by its number.
        alpha: Opacity of a dot; by default it falls with the number of dots.
    """
    if len(labels) != len(coordinates):
        raise ShapeMismatch(f"{len(labels)} labels for {len(coordinates)} points; pass one each")
    values, counts = np.unique(labels.astype(str), return_counts=True)
    shown = sorted(values[np.argsort(-counts, kind="stable")[: len(PALETTE)]])
    order = np.random.default_rng(seed).permutation(len(labels))
    opacity = alpha if alpha is not None else float(np.clip(9e3 / len(labels), 0.22, 0.9))

    def picture(theme: Theme) -> Image:
        from matplotlib.colors import to_rgba_array

        width, height = np.ptp(coordinates, axis=0)
        figure, axes = _canvas(theme, 8.2, float(np.clip(6.6 * height / (width or 1), 3.6, 7.2)))
        colours = dict(zip(shown, PALETTE, strict=False))
        rgba = to_rgba_array([colours.get(value, theme.rule) for value in values])
        numbers = np.searchsorted(values, labels.astype(str))
        size = float(np.clip(1.5e5 / len(labels), 2.2, 14))
        axes.scatter(
            *coordinates[order].T, c=rgba[numbers[order]], s=size, alpha=opacity, linewidths=0, rasterized=True
        )
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_axis_off()
        for value, colour in colours.items():
            axes.scatter([], [], color=colour, s=40, label=value)
        if len(values) > len(shown):
            axes.scatter([], [], color=theme.rule, s=40, label=_OTHERS)
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, handletextpad=0.2)
        for text in legend.get_texts():
            text.set_color(theme.ink)
        medians = {value: np.median(coordinates[labels.astype(str) == value], axis=0) for value in colours}
        _name_places(figure, axes, medians, theme)
        return _painted(figure)

    return picture


def cube_chart(
    coordinates: Float[Array, "n 3"], labels: Shaped[Array, " n"], *, seed: int = 0, most: int = 10_000
) -> Picture:
    """Items on a map of three dimensions from four sides, coloured by label.

    Args:
        coordinates: Shape (n, 3).
        labels: n labels; with more than ten different ones the rarer ones share grey.
        seed: Of the order of painting, and of which dots are painted where there are more than `most`.
        most: Dots per view.
    """
    if len(labels) != len(coordinates):
        raise ShapeMismatch(f"{len(labels)} labels for {len(coordinates)} points; pass one each")
    values, counts = np.unique(labels.astype(str), return_counts=True)
    shown = sorted(values[np.argsort(-counts, kind="stable")[: len(PALETTE)]])
    order = np.random.default_rng(seed).permutation(len(labels))[:most]

    def picture(theme: Theme) -> Image:
        from matplotlib.colors import to_rgba_array
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        figure = Figure(figsize=(9.2, 7.6), dpi=_DPI, facecolor=theme.paper, layout="constrained")
        colours = dict(zip(shown, PALETTE, strict=False))
        rgba = to_rgba_array([colours.get(value, theme.rule) for value in values])
        numbers = np.searchsorted(values, labels.astype(str))[order]
        for place, turn in enumerate((-60, 30, 120, 210), 1):
            axes = figure.add_subplot(2, 2, place, projection="3d", facecolor=theme.paper)
            axes.scatter(*coordinates[order].T, c=rgba[numbers], s=3.5, alpha=0.7, linewidths=0, rasterized=True)
            axes.set_box_aspect(np.ptp(coordinates, axis=0).clip(min=1e-9), zoom=1.7)
            axes.view_init(elev=22, azim=turn)
            axes.set_axis_off()
        handles = [Line2D([], [], ls="", marker="o", color=colour, label=value) for value, colour in colours.items()]
        if len(values) > len(shown):
            handles.append(Line2D([], [], ls="", marker="o", color=theme.rule, label=_OTHERS))
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        for text in legend.get_texts():
            text.set_color(theme.ink)
        return _painted(figure)

    return picture


def _name_places(figure: Figure, axes: Axes, places: Mapping[str, Float[Array, " 2"]], theme: Theme) -> None:
    """Write names at their places, moved up or down where they would lie on each other."""
    from matplotlib.patheffects import withStroke

    size = 10.0  # points
    figure.draw_without_rendering()  # lays the axes out, so that data can be converted to points
    names = sorted(places, key=lambda name: float(places[name][1]))
    points = np.array([axes.transData.transform(places[name]) for name in names]) * 72 / figure.dpi
    half = np.array([0.36 * size * len(name) for name in names])  # of a bold name's width
    shifts = np.zeros(len(names))
    for upper in range(1, len(names)):
        for lower in range(upper):  # from below upwards, so one pass is enough
            beside = abs(points[upper, 0] - points[lower, 0]) >= half[upper] + half[lower]
            gap = (points[upper, 1] + shifts[upper]) - (points[lower, 1] + shifts[lower])
            if not beside and gap < 1.25 * size:
                shifts[upper] += 1.25 * size - gap
    for name, shift in zip(names, shifts, strict=True):
        axes.annotate(
            name, places[name], (0, shift), textcoords="offset points", color=theme.ink, size=size, weight="bold",
            ha="center", va="center", path_effects=[withStroke(linewidth=3.2, foreground=theme.paper)],
        )  # fmt: skip


def loss_curve(
    series: Mapping[str, Sequence[float]], *, x_label: str = "epoch", y_label: str = "loss", x: Sequence[float] = ()
) -> Picture:
    """Loss against epoch, one line per name, each named at its right end with its last value.

    Args:
        series: name → values, one per epoch, all of one length.
        x_label: Title of the horizontal axis.
        y_label: Title of the vertical axis, with the unit.
        x: Positions of the values; 1, 2, … by default.
    """
    lengths = {len(values) for values in series.values()}
    if len(lengths) != 1 or not lengths.copy().pop():
        raise InputError(f"loss series have lengths {sorted(lengths)}; pass equally long ones, none empty")

    def picture(theme: Theme) -> Image:
        figure, axes = _canvas(theme, 6.4, 3.0)
        at = np.asarray(x) if len(x) else np.arange(1, lengths.copy().pop() + 1)
        ends = _spread([float(values[-1]) for values in series.values()], series)
        for (name, values), colour, end in zip(
            series.items(), (theme.ours, theme.baseline, theme.wrong), ends, strict=False
        ):
            axes.plot(at, values, color=colour, lw=1.8, marker="o", ms=3, solid_capstyle="round", clip_on=False)
            axes.annotate(
                f"{name}  {values[-1]:.4g}", (at[-1], values[-1]), (8, end), textcoords="offset points",
                color=colour, va="center", size=9, annotation_clip=False,
            )  # fmt: skip
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=theme.rule, lw=0.6)
        return _painted(figure)

    return picture


Shares: TypeAlias = "Mapping[str, Mapping[float, float]]"  # name → strength → share, from 0 to 1


def strength_chart(panels: Mapping[str, tuple[Shares, Shares]]) -> Picture:
    """Shares against strength, side by side: a solid line of success and a dashed one of realistic items per name.

    Args:
        panels: Title → success and realistic, of the same names in all panels.
    """
    names = [*{name: None for pair in panels.values() for shares in pair for name in shares}]
    if not names or any(list(shares) != names for pair in panels.values() for shares in pair):
        raise InputError(f"the panels {list(panels)} have other names than {names}; pass the same ones, at least one")

    def picture(theme: Theme) -> Image:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        figure = Figure(figsize=(1.6 + 3.6 * len(panels), 3.4), dpi=_DPI, facecolor=theme.paper, layout="constrained")
        coloured = list(zip(names, PALETTE, strict=False))
        for number, (title, pair) in enumerate(panels.items(), 1):
            axes = _dressed(figure.add_subplot(1, len(panels), number, facecolor=theme.paper), theme)
            for name, colour in coloured:
                for shares, style in zip(pair, ("-", "--"), strict=True):
                    at = sorted(shares[name])
                    values = [shares[name][x] for x in at]
                    axes.plot(at, values, style, color=colour, lw=1.8, marker="o", ms=3.5, clip_on=False)
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            axes.set_xlabel("strength, in gaps between the classes' means")
            axes.set_title(title, color=theme.ink, size=10)
            axes.grid(axis="y", color=theme.rule, lw=0.6)
        handles = [Line2D([], [], color=colour, lw=2.4, label=name) for name, colour in coloured]
        handles += [
            Line2D([], [], color=theme.muted, ls=style, lw=1.8, label=words)
            for style, words in (("-", "success"), ("--", "realistic"))
        ]
        legend = figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
        for text in legend.get_texts():
            text.set_color(theme.ink)
        return _painted(figure)

    return picture


def class_errors(ours: Mapping[str, float], baseline: Mapping[str, float], *, baseline_name: str = "PCA") -> Picture:
    """Mean squared error of each class: a dot for the encoder, a ring for the baseline, a bar between; worst first."""
    if ours.keys() != baseline.keys() or not ours:
        raise InputError(f"classes {sorted(ours)} and {sorted(baseline)} differ; pass the same ones, at least one")
    names = sorted(ours, key=lambda name: ours[name])

    def picture(theme: Theme) -> Image:
        figure, axes = _canvas(theme, 6.4, 0.9 + 0.27 * len(names))
        at = np.arange(len(names))
        left, right = np.array([ours[n] for n in names]), np.array([baseline[n] for n in names])
        axes.hlines(at, left, right, color=theme.rule, lw=3)
        axes.scatter(
            right, at, facecolors=theme.paper, edgecolors=theme.baseline, s=42, lw=1.6, zorder=3, label=baseline_name
        )
        axes.scatter(left, at, color=theme.ours, s=42, zorder=4, label="encoder")
        axes.set_yticks(at, names)
        axes.set_xlim(0, None)
        axes.set_xlabel("mean squared error per pixel (pixels from 0 to 1)")
        axes.grid(axis="x", color=theme.rule, lw=0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        legend = axes.legend(loc="lower right", frameon=False, fontsize=9, reverse=True)
        for text in legend.get_texts():
            text.set_color(theme.ink)
        return _painted(figure)

    return picture


def _canvas(theme: Theme, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty chart of `width` × `height` inches, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=theme.paper, layout="constrained")
    return figure, _dressed(figure.add_subplot(facecolor=theme.paper), theme)


def _dressed(axes: Axes, theme: Theme) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.rule)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(theme.muted)
        axis.label.set_size(9)
    axes.set_axisbelow(True)
    return axes


def _painted(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _spread(ends: Sequence[float], series: Mapping[str, Sequence[float]]) -> list[float]:
    """Vertical offsets (points) that keep the names at the lines' ends from lying on each other."""
    low = min(min(values) for values in series.values())
    high = max(max(values) for values in series.values())
    height = 150.0  # of the chart's inside, points
    wanted = [height * (end - low) / (high - low or 1) for end in ends]
    placed = wanted.copy()
    for before, after in zip(np.argsort(wanted)[:-1], np.argsort(wanted)[1:], strict=True):
        placed[after] = max(placed[after], placed[before] + 12)
    return [p - w for p, w in zip(placed, wanted, strict=True)]
