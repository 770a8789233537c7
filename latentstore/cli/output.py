"""Answers: a table for people, JSON, CSV and Arrow for programs; progress bars on a terminal."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ENTRIES = 4  # of a vector in a cell


@dataclass(frozen=True)
class Output:
    """Where and how a command answers.

    Attributes:
        json: One JSON object on standard output.
        arrow: An Arrow IPC file; "-" is a stream on standard output.
        csv: Comma-separated values on standard output, names first.
    """

    json: bool = False
    arrow: Path | None = None
    csv: bool = False

    def __post_init__(self) -> None:
        if self.json + self.csv + (str(self.arrow) == "-") > 1:
            raise ConfigInvalid("standard output takes one form; choose one of --json, --csv and --arrow -")

    @property
    def for_people(self) -> bool:
        """Whether standard output is free for words and tables."""
        return not self.json and not self.csv and str(self.arrow) != "-"

    def write(
        self,
        rows: list[dict[str, Any]],
        *,
        name: str = "rows",
        table: Callable[[], pa.Table] | None = None,
        columns: list[str] | None = None,
        **about: Any,
    ) -> None:
        """Answer with rows, as a table for people unless another form was asked for.

        Args:
            rows: All with the same keys.
            name: What the rows are called in the JSON object.
            table: Makes the Arrow table; by default from the rows.
            columns: Their names, which an answer without rows has, too; also a key of the JSON object.
            about: Further keys of the JSON object.
        """
        if columns is not None:
            about = {"columns": columns, **about}
        if self.arrow is not None:
            _write_arrow(table() if table else _to_arrow(rows), self.arrow)
        if self.json:
            self.write_json(**about, **{name: rows})
        elif self.csv:
            write_csv(columns if columns is not None else list(rows[0]) if rows else [], rows)
        elif self.for_people:
            print_table(list(rows[0]) if rows else [], [list(row.values()) for row in rows])
        if self.arrow is not None:
            self.say(f"wrote {self.arrow}")

    def write_json(self, **content: Any) -> None:
        """One JSON object on standard output; NaN and infinity become null."""
        sys.stdout.write(json.dumps(_plain(content), ensure_ascii=False, allow_nan=False) + "\n")

    def say(self, line: str) -> None:
        """A line for people."""
        if self.for_people:
            sys.stdout.write(line + "\n")


def write_csv(columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Comma-separated values on standard output: null is empty, lists are JSON, numbers keep every digit."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row.values()] for row in rows)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    return value.isoformat() if hasattr(value, "isoformat") else value


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """A table on standard output: as wide as the terminal, or as its content where there is none."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not columns:
        sys.stdout.write("none\n")
        return
    terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold" if terminal else "")
    numeric = [all(isinstance(row[i], int | float) for row in rows) and bool(rows) for i in range(len(columns))]
    for name, right in zip(columns, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=sys.stdout, width=None if terminal else 10_000, highlight=False)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None] | None]:
    """A bar per step on a terminal's standard error; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    layout = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bars: dict[str, TaskID] = {}
    with Progress(*layout, console=Console(stderr=True)) as shown:

        def tell(step: str, fraction: float) -> None:
            if step not in bars:
                bars[step] = shown.add_task(step, total=1.0)
            shown.update(bars[step], completed=fraction)

        yield tell


def _write_arrow(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    if str(path) == "-":
        with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
            stream.write_table(table)
        sys.stdout.buffer.flush()
        return
    with path.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _to_arrow(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows)


def _plain(value: Any) -> Any:
    """JSON's own types: no NaN, no dates, no bytes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        head = ", ".join(_cell(item) for item in value[:SHOWN_ENTRIES])
        return f"[{head}, …] ({len(value)})" if len(value) > SHOWN_ENTRIES else f"[{head}]"
    return str(value)
