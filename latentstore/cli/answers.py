"""What several commands answer with: rows about latents, contact sheets, the files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array, Neighbours


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


def metadata_columns(space: EmbeddingSpace, asked: str | None) -> list[str]:
    """The metadata columns to show."""
    if asked is None:  # lists, such as a VAE's variances, are for who names them
        types = space.snapshot.column_types
        return [name for name in space.columns if types[name].num_fields == 0]
    return [name.strip() for name in asked.split(",") if name.strip()]


def write_hits(output: Output, space: EmbeddingSpace, hits: Neighbours, **about: Any) -> None:
    """Hits as rows: made here and not by `to_arrow`, as pyarrow loads all of pandas to make its first array."""
    single = hits.rows.ndim == 1
    measure = "similarity" if hits.metric == "ip" else "distance"
    places = np.argwhere(np.atleast_2d(hits.rows) >= 0).tolist()
    ids, distances = np.atleast_2d(hits.ids), np.atleast_2d(hits.distances)
    metadata = hits.columns.to_pylist() if hits.columns is not None else [{}] * len(places)
    rows = [
        {**({} if single else {"query": q}), "rank": r, "id": ids[q, r], measure: float(distances[q, r]), **columns}
        for (q, r), columns in zip(places, metadata, strict=True)
    ]
    shortfall = hits.shortfall
    common: dict[str, Any] = {"space": space.name, "version": space.version, "metric": space.metric}
    missing = shortfall if isinstance(shortfall, int) else shortfall.tolist()
    if hits.explanation is not None:
        about["explanation"] = hits.explanation.to_json()
    output.write(rows, name="hits", table=hits.to_arrow, **about, **common, shortfall=missing)
    if single and shortfall:
        output.say(f"{shortfall} fewer than asked for: no more items match")
    if hits.explanation is not None:
        output.say(str(hits.explanation))
