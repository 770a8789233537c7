"""A folder of images: the path is the id, the sub-folder the label, a table beside them the metadata."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from latentstore.datasets.base import (
    JSON,
    check_choice,
    check_limit,
    check_positions,
    object_array,
    refuse_empty,
)
from latentstore.datasets.images import (
    Header,
    ImageForm,
    agree,
    check_channels,
    check_size,
    decode,
    in_threads,
    read_header,
)
from latentstore.errors import ConfigInvalid, InputError
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64, Shaped, UInt8

_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif"]
)
_SIDECARS = ("metadata.parquet", "metadata.csv")
_SPLITS = frozenset(("train", "valid", "validation", "val", "test"))


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images below a folder, decoded when they are read. See `Dataset` for the attributes.

    Attributes:
        folder: Where they are.
        form: Size and channels that each image is brought to.
        skipped: (id, reason) of each image left out under on_error="skip".
    """

    source: dict[str, JSON]
    ids: Shaped[Array, " n"]
    metadata: pa.Table
    folder: Path
    form: ImageForm
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    name: str = "image_folder"

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w, c)."""
        return self.form.shape

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> UInt8[Array, "m h w c"]:
        """Decode the images at these positions, in threads.

        Raises:
            InputError: An image is broken; the message names its path.
        """
        chosen = self.ids[check_positions(positions, len(self))]
        items = np.empty((len(chosen), *self.form.shape), np.uint8)

        def put(numbered: tuple[int, str]) -> None:
            number, name = numbered
            items[number] = decode(self.folder / name, self.form, str(self.folder / name))

        in_threads(put, enumerate(chosen))
        return items

    def content_hashes(self) -> list[str]:
        """xxh3_128 of each file's bytes and the form; nothing is decoded."""
        return in_threads(lambda name: self.form.hash((self.folder / name).read_bytes()), self.ids)


def open_image_folder(
    *,
    folder: str,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    on_error: str = "raise",
    limit: int | None = None,
) -> ImageFolder:
    """Open a folder of images.

    An item's id is its path relative to the folder, with "/". The first sub-folder is its `label`; where the first is
    called train, valid, val, validation or test and another follows, they are `split` and `label`. Files right in the
    folder have no label. `metadata.parquet` or `metadata.csv` in the folder, with a column `id` or `file` of such paths
    and one row per image, adds its other columns; they win over those from the path. Names that begin with a dot, and
    other files, are ignored.

    Args:
        folder: Where the images are.
        size: [h, w] or one number for a square: images are scaled to cover it and cropped at the centre.
            None: all must have one size.
        channels: 1 or 3. None: 1 where every image is grey, else 3.
        on_error: "raise", or "skip" to leave out broken images, listed in `skipped`; this decodes each when opening.
        limit: At most this many, the first by id.

    Raises:
        ConfigInvalid: An impossible option; no such folder.
        ShapeMismatch: No size was given and two images differ.
        InputError: No images, a broken image, or images and rows of the metadata that do not match.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    wanted_size, wanted_channels = check_size(size), check_channels(channels)
    root = Path(folder).absolute()
    if not root.is_dir():
        raise ConfigInvalid(f"option folder={folder!r} is not a folder; give the folder of the images")
    names = _images_below(root)
    refuse_empty(len(names), f"folder {root}")
    sidecar = _read_sidecar(root, names)
    names = names[: check_limit(limit)]
    headers, skipped = _scan(root, names, skip=on_error == "skip")
    names = [name for name in names if name not in skipped]
    refuse_empty(len(names), f"folder {root}, apart from {len(skipped)} images that cannot be read,")
    form = agree([headers[name] for name in names], [str(root / name) for name in names], wanted_size, wanted_channels)
    return ImageFolder(
        source={
            "name": "image_folder",
            "folder": str(root),
            "size": None if wanted_size is None else [*wanted_size],
            "channels": channels,
            "on_error": on_error,
            "limit": limit,
        },
        ids=object_array(names),
        metadata=_metadata(names, sidecar),
        folder=root,
        form=form,
        skipped=tuple(skipped.items()),
    )


def _images_below(root: Path) -> list[str]:
    names: list[str] = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [
            (Path(place) / name).relative_to(root).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES
        ]
    return sorted(names)


def _scan(root: Path, names: list[str], *, skip: bool) -> tuple[dict[str, Header], dict[str, str]]:
    """Headers by name, and the reasons of those left out. To skip is to know: then each image is decoded once."""

    def look(name: str) -> Header | InputError:
        try:
            header = read_header(root / name, str(root / name))
            if skip:
                decode(root / name, ImageForm((header.height, header.width), 1 if header.grey else 3), str(root / name))
        except InputError as error:
            if not skip:
                raise
            return error
        return header

    looked = dict(zip(names, in_threads(look, names), strict=True))
    headers = {name: found for name, found in looked.items() if isinstance(found, Header)}
    return headers, {name: str(found) for name, found in looked.items() if isinstance(found, InputError)}


def _read_sidecar(root: Path, names: list[str]) -> pa.Table | None:
    """The metadata beside the images, `id` first, one row per image; checked against all of them."""
    present = [root / name for name in _SIDECARS if (root / name).is_file()]
    if not present:
        return None
    if len(present) > 1:
        raise InputError(f"folder {root} has both {_SIDECARS[0]} and {_SIDECARS[1]}; remove one")
    (path,) = present
    try:
        if path.suffix == ".csv":
            keys = pyarrow.csv.ConvertOptions(column_types={"id": pa.string(), "file": pa.string()})
            table = pyarrow.csv.read_csv(path, convert_options=keys)
        else:
            table = pyarrow.parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); repair or remove it") from error
    key = next((name for name in ("id", "file") if name in table.column_names), None)
    if key is None:
        raise InputError(
            f"{path} has the columns {table.column_names}; it needs `id` or `file`, an image's relative path"
        )
    given = [None if name is None else PurePosixPath(str(name)).as_posix() for name in table[key].to_pylist()]
    first: dict[str, int] = {}
    for row, name in enumerate(given):
        if name is None:
            raise InputError(f"{path} row {row} has no {key}; give the image's path relative to the folder")
        if first.setdefault(name, row) != row:
            raise InputError(f"{path} has {name!r} twice, at rows {first[name]} and {row}; keep one")
    if without_row := [name for name in names if name not in first]:
        raise InputError(
            f"{path} has no row for {_some(without_row)}; add a row for each image, or remove the images or the table"
        )
    known = set(names)
    if without_image := [name for name in first if name not in known]:
        raise InputError(
            f"{path} has rows without an image below {root}: {_some(without_image)}; remove them or add the images"
        )
    columns = table.drop_columns([key])
    return columns.add_column(0, "id", pa.array(given, pa.string()))


def _metadata(names: list[str], sidecar: pa.Table | None) -> pa.Table:
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    splits = [folders[0] if len(folders) > 1 and folders[0].lower() in _SPLITS else None for folders in parts]
    labels = [
        (folders[1] if split else folders[0]) if folders else None for folders, split in zip(parts, splits, strict=True)
    ]
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    if any(label is not None for label in labels):
        columns["label"] = pa.array(labels, pa.string())
    if any(split is not None for split in splits):
        columns["split"] = pa.array(splits, pa.string())
    if sidecar is not None:
        row = {name: number for number, name in enumerate(sidecar["id"].to_pylist())}
        joined = sidecar.take(pa.array([row[name] for name in names], pa.int64()))
        columns |= {name: joined[name] for name in joined.column_names if name != "id"}
    if not columns:  # a table without columns would forget how many rows it has
        return pa.table({"label": pa.nulls(len(names), pa.string())})
    return pa.table(columns)


def _some(names: list[str], shown: int = 3) -> str:
    listed = ", ".join(repr(name) for name in names[:shown])
    return listed + (f" and {len(names) - shown} more" if len(names) > shown else "")
