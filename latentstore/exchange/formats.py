"""Formats by name: which function writes or reads which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from latentstore.errors import ConfigInvalid, InputError, suggest
from latentstore.exchange import delta, folders, parquet, projector
from latentstore.exchange.incoming import Source
from latentstore.exchange.outgoing import Exported, Outgoing

_WRITERS: dict[str, Callable[[Outgoing, Path, bool], Exported]] = {
    "parquet": parquet.write,
    "numpy": folders.write_numpy,
    "faiss": folders.write_faiss,
    "delta": delta.write,
    "projector": projector.write,
}
_READERS: dict[str, Callable[[Path, str, str], Source]] = {
    "parquet": parquet.read,
    "numpy": lambda path, *_: folders.read_numpy(path),
    "faiss": lambda path, *_: folders.read_faiss(path),
    "delta": delta.read,
}
FORMATS, READABLE = tuple(_WRITERS), tuple(_READERS)


def export(outgoing: Outgoing, path: str | Path, form: str | None = None, *, overwrite: bool = False) -> Exported:
    """Write rows to a file or folder that appears whole.

    Args:
        outgoing: The rows.
        path: Where.
        form: parquet (one file), numpy, faiss, delta or projector (folders); None: parquet for a name in .parquet.
        overwrite: Replace what is there.

    Raises:
        ConfigInvalid: Unknown format.
        AlreadyExists: Something is there.
        NotSupported: The format needs a package that is not installed.
    """
    path = Path(path)
    if form is None and path.suffix == ".parquet":
        form = "parquet"
    if form not in _WRITERS:
        raise ConfigInvalid(f"format {form!r} of {path} is unknown; {suggest(str(form), FORMATS)}")
    return _WRITERS[form](outgoing, path, overwrite)


def open_source(
    path: str | Path, form: str | None = None, *, id_column: str = "id", vector_column: str = "vector"
) -> Source:
    """Open a file or folder of rows; nothing but its description is read yet.

    Args:
        path: What `export` wrote, or a Parquet file or Delta table of others.
        form: One of `READABLE`; None looks at the file.
        id_column: Its column of ids, text.
        vector_column: Its column of vectors, lists of numbers.

    Raises:
        InputError: It is missing, or no file of the format.
        ConfigInvalid: Unknown format.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    form = form or _recognised(path)
    if form not in _READERS:
        raise ConfigInvalid(f"format {form!r} of {path} cannot be read; {suggest(str(form), READABLE)}")
    return _READERS[form](path, id_column, vector_column)


def _recognised(path: Path) -> str:
    if path.is_file():
        return "parquet" if path.suffix != ".faiss" else "faiss"
    for form, mark in (("numpy", "vectors.npy"), ("faiss", "index.faiss"), ("delta", "_delta_log")):
        if (path / mark).exists():
            return form
    raise InputError(f"{path} is a folder of no format known here; pass the format ({', '.join(READABLE)})")
