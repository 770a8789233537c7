"""What several commands answer with: rows about latents, contact sheets, the files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentstore.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array


def write_points(
    output: Output, space: EmbeddingSpace, rows: list[dict[str, Any]], latents: Array, *, name: str, **about: Any
) -> None:
    """Rows about latents; the latents themselves are for programs only."""

    def table() -> pa.Table:
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(latents.ravel(), pa.float32()), space.dim)
        return pa.Table.from_pylist(rows).append_column("vector", vectors)

    if output.json:
        rows = [{**row, "vector": vector} for row, vector in zip(rows, latents.tolist(), strict=True)]
    output.write(rows, name=name, table=table, space=space.name, version=space.version, **about)


def path_text(path: Path | None) -> str | None:
    """A path as JSON has it."""
    return None if path is None else str(path)


def draw(cells: Array, path: Path, *, columns: Sequence[str] = (), **options: Any) -> None:
    """Write a contact sheet of items (rows, columns, h, w, c); options as `evaluate.sheet.Sheet`."""
    from latentstore.evaluate import sheet
    from latentstore.exchange.film import save_image

    save_image(sheet.draw(sheet.Sheet(cells, column_titles=columns, **options)), path)


def say_files(output: Output, *paths: Path | None) -> None:
    """Tell people which files were written."""
    for path in paths:
        if path is not None:
            output.say(f"wrote {path}")
