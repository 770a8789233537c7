"""Colours and type shared by every picture and by the report's page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Ten colours that stay apart under deuteranopia, protanopia and tritanopia: M. A. Petroff, "Accessible color
# sequences for data visualization", arXiv:2107.02270, ten-colour set.
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """One set of colours, as #rrggbb.

    Attributes:
        name: "light" or "dark".
        paper: Behind everything.
        ink: Text that must be read.
        muted: Text that may be skipped; ≥ 4.5:1 against the paper.
        rule: Hairlines and frames.
        wrong: What is off: never the only sign, always beside a mark.
        ours: The encoder in a chart.
        baseline: What it is compared with.
    """

    name: str
    paper: str
    ink: str
    muted: str
    rule: str
    wrong: str
    ours: str
    baseline: str


LIGHT = Theme("light", "#ffffff", "#1a1f26", "#5c6672", "#d5dbe2", "#c03a00", "#1f6fbf", "#8a94a0")
DARK = Theme("dark", "#14181e", "#e9ecef", "#a0aab6", "#38414c", "#ff8f5a", "#6cb3f5", "#8b95a1")
THEMES = (LIGHT, DARK)


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> FreeTypeFont:
    """DejaVu Sans at `size` pixels, from the copy that matplotlib carries, so that pictures look alike everywhere."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
