"""The page that shows what a run made: one self-contained report.html, and its pictures as PNG files beside it."""

from __future__ import annotations

import base64
import io
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from latentstore import __version__
from latentstore.evaluate.sheet import DENSITY
from latentstore.evaluate.theme import DARK, LIGHT, THEMES, Theme

if TYPE_CHECKING:
    from latentstore.evaluate.pictures import Picture

LIBRARIES = ("torch", "faiss-cpu", "duckdb", "pyarrow", "numpy", "scikit-learn", "umap-learn", "openTSNE", "prefect")
_LARGE = 400_000  # bytes
_LEAST_SCALE = 0.62  # a picture is not shrunk below this on a narrow screen, but scrolled: its text must stay readable


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture with its words.

    Attributes:
        name: Stem of the PNG file, unique in the report.
        title: What it is.
        caption: What to look for.
        alt: What it shows, for those who do not see it.
        picture: Paints it for a theme.
    """

    name: str
    title: str
    caption: str
    alt: str
    picture: Picture

    @cached_property
    def painted(self) -> dict[str, bytes]:
        """PNG bytes by theme."""
        return {theme.name: self._paint(theme) for theme in THEMES}

    def _paint(self, theme: Theme) -> bytes:
        image = self.picture(theme)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", dpi=(72 * DENSITY, 72 * DENSITY))
        return buffer.getvalue()

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height on the page, CSS pixels."""
        from PIL import Image

        with Image.open(io.BytesIO(self.painted[LIGHT.name])) as image:
            return image.width // DENSITY, image.height // DENSITY

    @property
    def least_width(self) -> int:
        """Below this width the picture is scrolled instead of shrunk, CSS pixels."""
        return round(self.size[0] * _LEAST_SCALE)

    @property
    def sources(self) -> dict[str, str]:
        """The pictures as data URLs, by theme."""
        return {name: _data_url(png) for name, png in self.painted.items()}


@dataclass(frozen=True)
class Table:
    """Rows of text under column titles; the first column names the row, the others are set as numbers.

    Attributes:
        title: What it is.
        columns: Titles.
        rows: One text per column each; `Bar` draws a bar behind its number.
        caption: What to look for.
        best: Cells (row, column) that win.
        prose: Columns of words, not of numbers: set left, and broken where they are long.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Bar]]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()
    prose: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Bar:
    """A number with a bar as long as its share of the largest.

    Attributes:
        text: The number.
        share: 0 to 1.
    """

    text: str
    share: float


@dataclass(frozen=True)
class Section:
    """A part of the report with its own heading.

    Attributes:
        name: Anchor, for example the space's name.
        title: Heading.
        lead: A sentence under it.
        tables: Shown first.
        figures: Shown after.
        made: (what, value) pairs on how it was made: fingerprint, seed, version.
        config: The TOML it was made from.
    """

    name: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    made: Sequence[tuple[str, str]] = ()
    config: str = ""


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        title: Heading of the page.
        lead: What was done, in a sentence or two.
        sections: In reading order.
        commands: What to try next, each a runnable line.
        mark: A comment at the end of the page, for who wants to know what it was made from.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    commands: Sequence[str] = ()
    mark: str = ""


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html` and each figure as `<name>.png` into a folder, made if it is not there.

    The page needs no other file and no network: style, and pictures for light and dark screens, are inside. It is
    written last and whole, so a page that is there is complete.

    Returns:
        Path of report.html.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    folder.mkdir(parents=True, exist_ok=True)
    for section in report.sections:
        for figure in section.figures:
            _replace(folder / f"{figure.name}.png", figure.painted[LIGHT.name])
    environment = Environment(
        loader=PackageLoader("latentstore.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        report=report, light=LIGHT, dark=DARK, software=software(), is_bar=lambda cell: isinstance(cell, Bar)
    )
    path = folder / "report.html"
    _replace(path, page.encode())
    return path


def _data_url(png: bytes) -> str:
    """A picture inside the page: PNG, or WebP for a scatter of many dots, whose PNG is several times as large."""
    from PIL import Image

    if len(png) > _LARGE:
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(png)) as image:
            image.save(buffer, "WEBP", quality=90)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return "data:image/png;base64," + base64.b64encode(png).decode()


def software() -> str:
    """Versions of what made it, in one line."""
    names = [f"{name} {version(name)}" for name in LIBRARIES]
    return ", ".join(
        [
            f"latentstore {__version__}",
            f"Python {platform.python_version()}",
            *names,
            f"{os.cpu_count()} CPUs ({platform.machine()})",
        ]
    )


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(content)
            file.flush()
            draft.chmod(0o644)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
