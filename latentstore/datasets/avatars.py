"""Faces whose attributes are known exactly: smile, glasses, hair, skin, beard, eyes, clothing. See `faces`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pyarrow as pa

from latentstore.datasets.base import InMemory, object_array
from latentstore.datasets.faces import WINDOW, Recipe
from latentstore.errors import ConfigInvalid, NotSupported, StorageError

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from latentstore.types import Array

ONE_IN = 7  # faces is a test item
ALONE = 200  # faces that are drawn sooner than another process starts
PACKAGES = ("python-avatars", "resvg-py")
MOST, LARGEST = 1_000_000, 1024


def open_avatars(
    *,
    n: int = 14_000,
    seed: int = 0,
    size: int = 64,
    confound: float = 0.0,
    folder: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> InMemory:
    """Draw cartoon faces, or read those that were drawn before.

    The same n, seed, size and confound give the same bytes (with the same releases of the two packages that draw). All
    attributes are drawn independently of each other, so that none stands in for another. Drawing takes some 5 ms of CPU
    a face of 64 × 64.

    Ids are "face/0" …; the columns are those parts that were drawn: `mouth`, `accessory`, `hair`, `hair_color`,
    `skin`, `facial_hair`, `eyes`, `eyebrows`, `clothing`, `clothing_color`; `smiling`: the mouth is "smile",
    "big_smile" or "twinkle"; `glasses`: the accessory is not "none"; `split`: every seventh face is "test".

    Args:
        n: How many.
        seed: Of all draws. The first faces of a larger n are the same.
        size: Side in pixels, 16 to 1024.
        confound: From 0 to 1: the share of faces that have glasses just when they smile, for whoever wants to see what
            a correlation does to attribute vectors.
        folder: Where drawn faces are kept; None: latentstore/avatars in the user's cache folder. A file whose hash is
            not the noted one is drawn again.
        progress: Called with the fraction drawn.

    Raises:
        ConfigInvalid: An impossible option.
        NotSupported: The extra `avatars` is not installed.
    """
    recipe = _check(n, seed, size, confound)
    releases = {name: _release(name) for name in PACKAGES}
    drawn = [values.tolist() for values in recipe.parts(min(n, 100)).values()]
    key = sha256(json.dumps([asdict(recipe), n, releases, WINDOW, drawn]).encode()).hexdigest()[:16]
    place = Path(folder) if folder is not None else _cache()
    items = _kept(place / f"{key}.rgb", (n, size, size, 3))
    if items is None:
        items = _drawn(recipe, n, progress)
        _keep(place / f"{key}.rgb", items)
    source = {"name": "avatars", "n": n, "seed": seed, "size": size, "confound": confound}
    if folder is not None:
        source["folder"] = str(Path(folder).absolute())
    columns = {name: pa.array(values) for name, values in recipe.parts(n).items()}
    splits = np.where(np.arange(n) % ONE_IN == ONE_IN - 1, "test", "train")
    return InMemory(
        name="avatars",
        source=source,
        ids=object_array(f"face/{number}" for number in range(n)),
        metadata=pa.table({**columns, "split": pa.array(splits)}),
        items=items,
    )


def _check(n: int, seed: int, size: int, confound: float) -> Recipe:
    for name, value, low, high in (("n", n, 1, MOST), ("seed", seed, 0, 2**32 - 1), ("size", size, 16, LARGEST)):
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigInvalid(f"option {name}={value!r} must be a whole number from {low} to {high}")
    if not isinstance(confound, int | float) or isinstance(confound, bool) or not 0 <= confound <= 1:
        raise ConfigInvalid(f"option confound={confound!r} must be a number from 0 to 1")
    return Recipe(seed, size, float(confound))


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise NotSupported(
            f"dataset 'avatars' draws with {package}, which is not installed; pip install 'latentstore[avatars]'"
        ) from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentstore" / "avatars"


def _drawn(recipe: Recipe, n: int, progress: Callable[[float], None] | None) -> UInt8[Array, "n h w 3"]:
    """Draw n faces, many of them in several processes."""
    items = np.empty((n, recipe.size, recipe.size, 3), np.uint8)
    done, lock = [0], threading.Lock()

    def told() -> None:
        with lock:
            done[0] += 1
            if progress is not None and (done[0] % 50 == 0 or done[0] == n):
                progress(done[0] / n)

    def part(bounds: tuple[int, int]) -> None:
        for face, picture in zip(range(*bounds), _elsewhere(recipe, *bounds), strict=True):
            items[face] = picture
            told()

    if n <= ALONE:
        for face, picture in enumerate(recipe.draw(0, n)):
            items[face] = picture
            told()
        return items
    workers = min(os.cpu_count() or 1, 8, -(-n // ALONE))
    edges = np.linspace(0, n, workers + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, pairwise(edges)))
    return items


def _elsewhere(recipe: Recipe, start: int, stop: int) -> Iterator[UInt8[Array, "h w 3"]]:
    """Faces drawn by another process, as they come."""
    command = [sys.executable, "-m", "latentstore.datasets.faces"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    shape = (recipe.size, recipe.size, 3)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:  # noqa: S603
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(json.dumps({**asdict(recipe), "start": start, "stop": stop}).encode())
        process.stdin.close()
        for face in range(start, stop):
            got = process.stdout.read(int(np.prod(shape)))
            if len(got) < np.prod(shape):
                told = process.stderr.read().decode(errors="replace").strip()[-500:]
                raise NotSupported(f"face {face} could not be drawn: {told}")
            yield np.frombuffer(got, np.uint8).reshape(shape)


def _kept(path: Path, shape: tuple[int, ...]) -> UInt8[Array, "n h w 3"] | None:
    """What was drawn before, if it is whole."""
    try:
        expected = path.with_suffix(".sha256").read_text().strip()
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) != np.prod(shape) or sha256(content).hexdigest() != expected:
        return None
    return np.frombuffer(content, np.uint8).reshape(shape)


def _keep(path: Path, items: UInt8[Array, "n h w 3"]) -> None:
    """Write beside, then in place: another process may draw the same."""
    content = items.tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, written in ((path, content), (path.with_suffix(".sha256"), sha256(content).hexdigest().encode())):
            temporary = target.with_name(f".{target.name}.{uuid4().hex}")
            temporary.write_bytes(written)
            temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot keep drawn faces in {path.parent}: {error.strerror or error}; name another folder"
        ) from error
