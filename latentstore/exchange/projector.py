"""TensorBoard's embedding projector: tensors, metadata, configuration, and a sprite of the items.

The stand-alone projector reads projector_config.json (raw float32 tensors); TensorBoard reads projector_config.pbtxt
from a log folder (text tensors). Source of the format: the projector plugin of TensorBoard.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from latentstore.exchange.outgoing import Exported, Outgoing, appearing

MAX_SPRITE = 8192  # pixels: the largest texture that browsers promise
TEXT_NUMBERS = 10_000_000  # beyond, tensors.tsv would take 100 MB and more: only tensors.bytes is written
_WHITE = 255


def write(outgoing: Outgoing, path: Path, overwrite: bool) -> Exported:
    """Write the folder."""
    snapshot, n = outgoing.snapshot, len(outgoing)
    notes = []
    with appearing(path, overwrite=overwrite) as hidden:
        hidden.mkdir()
        text = n * snapshot.dim <= TEXT_NUMBERS
        _tensors(outgoing, hidden, text=text)
        _metadata(outgoing, hidden)
        sprite = _sprite(outgoing, hidden / "sprite.png")
        entry: dict[str, Any] = {
            "tensorName": f"{snapshot.manifest.space} v{snapshot.version}",
            "tensorShape": [n, snapshot.dim],
            "tensorPath": "tensors.bytes",
            "metadataPath": "metadata.tsv",
        }
        lines = [
            f"tensor_name: {json.dumps(entry['tensorName'])}",
            f'tensor_path: "{"tensors.tsv" if text else "tensors.bytes"}"',
            f"tensor_shape: {n}\n  tensor_shape: {snapshot.dim}",
            'metadata_path: "metadata.tsv"',
        ]
        if sprite is None:
            notes.append("no sprite: the items are neither known pictures nor decodable, or too many")
        else:
            entry["sprite"] = {"imagePath": "sprite.png", "singleImageDim": list(sprite)}
            dims = "".join(f" single_image_dim: {one}" for one in sprite)
            lines.append(f'sprite {{ image_path: "sprite.png"{dims} }}')
        (hidden / "projector_config.json").write_text(json.dumps({"embeddings": [entry]}, indent=1) + "\n")
        inner = "\n  ".join(lines)
        (hidden / "projector_config.pbtxt").write_text(f"embeddings {{\n  {inner}\n}}\n")
    return Exported(path, "projector", n, "; ".join(notes))


def _tensors(outgoing: Outgoing, folder: Path, *, text: bool) -> None:
    with (folder / "tensors.bytes").open("xb") as raw:
        for rows in outgoing.chunks():
            raw.write(outgoing.snapshot.vectors(rows).astype("<f4", copy=False).data)
    if text:
        with (folder / "tensors.tsv").open("x", encoding="ascii") as file:
            for rows in outgoing.chunks():
                # float32 as text is the shortest that reads back as the same number
                file.writelines("\t".join(row) + "\n" for row in outgoing.snapshot.vectors(rows).astype(str).tolist())


def _metadata(outgoing: Outgoing, folder: Path) -> None:
    """One line per row; a single column has no heading, that is the format."""
    names = ["id", *outgoing.columns]
    with (folder / "metadata.tsv").open("x", encoding="utf-8") as file:
        if len(names) > 1:
            file.write("\t".join(map(_cell, names)) + "\n")
        for rows in outgoing.chunks():
            table = outgoing.snapshot.columns(rows, names)
            columns = [table[name].to_pylist() for name in names]
            file.writelines("\t".join(map(_cell, row)) + "\n" for row in zip(*columns, strict=True))


def _cell(value: Any) -> str:
    """Text without what ends a cell or a line."""
    return "" if value is None else " ".join(str(value).replace("\t", " ").splitlines())


def tile_size(n: int, height: int, width: int) -> tuple[int, int] | None:
    """Width and height of a picture in the sprite of n, scaled down to fit; None when less than 4 pixels are left."""
    side = math.ceil(math.sqrt(max(n, 1)))
    scale = min(1.0, MAX_SPRITE / (side * max(height, width)))
    tile = (int(width * scale), int(height * scale))
    return tile if min(tile) >= min(4, height, width) else None


def _sprite(outgoing: Outgoing, path: Path) -> tuple[int, int] | None:
    from PIL import Image

    if outgoing.pictures is None or not len(outgoing):
        return None
    first = outgoing.pictures(outgoing.rows[:1])
    if first.ndim != 4 or first.shape[-1] not in (1, 3):
        return None
    tile = tile_size(len(outgoing), first.shape[1], first.shape[2])
    if tile is None:
        return None
    side = math.ceil(math.sqrt(len(outgoing)))
    mode = "L" if first.shape[-1] == 1 else "RGB"
    sprite = Image.new(mode, (side * tile[0], side * tile[1]), _WHITE if mode == "L" else (_WHITE,) * 3)
    place = 0
    for start in range(0, len(outgoing), 4096):
        for item in outgoing.pictures(outgoing.rows[start : start + 4096]):
            pixels = item if item.dtype == np.uint8 else np.rint(item.clip(0, 1) * 255).astype(np.uint8)
            picture = Image.fromarray(pixels[..., 0] if mode == "L" else np.ascontiguousarray(pixels))
            if picture.size != tile:
                picture = picture.resize(tile)
            sprite.paste(picture, (place % side * tile[0], place // side * tile[1]))
            place += 1
    sprite.save(path, "PNG")
    return tile
