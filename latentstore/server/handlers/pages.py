"""The explorer, the documentation, and what they are made of; nothing is loaded from another host."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

import msgspec

from latentstore.errors import NotFound
from latentstore.server.calls import Call, Content

# Strict: scripts and styles of this service only. Pictures may be data, as the JSON has them; plotly.js sets styles.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def explorer(_: Call) -> Content:
    """The page where people walk the space."""
    return _file("explorer.html")


def docs(_: Call) -> Content:
    """The documentation of the routes, to read and try."""
    return _file("docs.html")


def static(call: Call) -> Content:
    """A part of these pages."""
    return _file(call.path["name"])


def openapi(_: Call) -> Content:
    """The OpenAPI document."""
    return Content(_document(), "application/json", ((b"cache-control", b"no-store"),))


@cache
def _document() -> bytes:
    from latentstore.server.openapi import document

    return bytes(msgspec.json.encode(document()))


@cache
def _listed() -> dict[str, str]:
    """The names that may be asked for, and their media types: what the package holds, and nothing else."""
    return {name: _MEDIA[PurePosixPath(name).suffix] for name in (*_names(_folder()), "plotly.min.js")}


def _names(folder: resources.abc.Traversable, above: str = "") -> Iterator[str]:
    for one in folder.iterdir():
        name = above + one.name
        if one.is_dir():
            yield from _names(one, f"{name}/")
        elif one.is_file():
            yield name


def _file(name: str) -> Content:
    media = _listed().get(name)
    if media is None:
        raise NotFound(f"there is no page {name[:100]!r}; begin at /")
    return Content(_read(name), media, _HEADERS)


@cache
def _read(name: str) -> bytes:
    if name == "plotly.min.js":
        return (resources.files("plotly") / "package_data" / name).read_bytes()
    return _folder().joinpath(*name.split("/")).read_bytes()


def _folder() -> resources.abc.Traversable:
    return resources.files("latentstore.server") / "static"
