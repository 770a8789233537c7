"""Every route of the service: what it takes, what it answers, and which right it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from latentstore.server import wire
from latentstore.server.guard import PUBLIC
from latentstore.server.handlers import catalogue, health, pages, queries, sql, walks, writes

JSON, ARROW, PNG, HTML = "application/json", "application/vnd.apache.arrow.stream", "image/png", "text/html"
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
COMMON, SQL, SAMPLING = "common", "sql", "sampling"  # pools of threads
AT = "at"  # in the query string of what has no body


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: With `{name}` for what varies; `{name*}` may hold slashes.
        handler: A function of a `Call`.
        answer: What it returns, for the documentation; None where it is bytes.
        right: "read", "write" or "sql"; "public" tells nothing of the store.
        body: Type of the JSON body; None without.
        uploads: Further media types of the body, which is then handed on as bytes.
        parameters: Names in the query string.
        media: Types it can answer with.
        inline: So quick that it is answered in the event loop.
        pool: Whose threads answer it otherwise.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    answer: Any
    right: str = "read"
    body: type | None = None
    uploads: tuple[str, ...] = ()
    parameters: frozenset[str] = frozenset()
    media: tuple[str, ...] = (JSON,)
    inline: bool = False
    pool: str = COMMON
    pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", self.path)
        object.__setattr__(self, "pattern", re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)))

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return str(self.handler.__doc__).strip().splitlines()[0]


SPACE = "/v1/spaces/{space}"
BOTH = (JSON, ARROW)
_at = frozenset({AT})

ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", health.healthz, wire.Health, right=PUBLIC, inline=True),
    Route("GET", "/readyz", health.readyz, wire.Health, inline=True),
    Route("GET", "/metrics", health.metrics, None, media=("text/plain",)),
    Route("GET", "/docs", pages.docs, None, right=PUBLIC, media=(HTML,), inline=True),
    Route("GET", "/openapi.json", pages.openapi, None, right=PUBLIC, inline=True),
    Route("GET", "/", pages.explorer, None, right=PUBLIC, media=(HTML,), inline=True),
    Route("GET", "/static/{name*}", pages.static, None, right=PUBLIC, media=("*/*",), inline=True),
    Route("GET", "/v1/spaces", catalogue.spaces, list[wire.SpaceAbout]),
    Route("GET", SPACE, catalogue.space, wire.SpaceAbout, parameters=_at),
    Route("GET", f"{SPACE}/versions", catalogue.versions, wire.Table, media=BOTH),
    Route("GET", f"{SPACE}/evaluations", catalogue.evaluations, wire.Table, parameters=_at, media=BOTH),
    Route("GET", f"{SPACE}/diff", catalogue.diff, wire.Diffed, parameters=frozenset({"old", "new"})),
    Route("POST", f"{SPACE}/search", queries.search, wire.Found, body=wire.SearchAsked, media=BOTH),
    Route("POST", f"{SPACE}/edit", queries.edit, wire.Edited, body=wire.EditAsked),
    Route("POST", f"{SPACE}/decode", queries.decode, wire.Decoded, body=wire.DecodeAsked, media=BOTH),
    Route("POST", f"{SPACE}/place", queries.place, wire.Placed, body=wire.PlaceAsked),
    Route(
        "POST", f"{SPACE}/encode", queries.encode, wire.Encoded, uploads=IMAGES,
        parameters=frozenset({AT, "k", "map"}),
    ),
    Route("POST", f"{SPACE}/interpolate", walks.interpolate, wire.Walked, body=wire.InterpolateAsked),
    Route(
        "POST", f"{SPACE}/interpolate/film", walks.film, None, body=wire.FilmAsked, media=tuple(walks.FILMS.values())
    ),
    Route("POST", f"{SPACE}/grid", walks.grid, wire.Gridded, body=wire.GridAsked),
    Route("POST", f"{SPACE}/sample", walks.sample, wire.Sampled, body=wire.SampleAsked, pool=SAMPLING),
    Route("POST", f"{SPACE}/barycenter", walks.barycenter, wire.Mixed, body=wire.BarycenterAsked),
    Route("POST", f"{SPACE}/rows", catalogue.rows, wire.Table, body=wire.GetAsked, media=BOTH),
    Route("POST", f"{SPACE}/pictures", catalogue.pictures, wire.Pictures, body=wire.PicturesAsked),
    Route("GET", f"{SPACE}/items/{{id*}}/image", catalogue.image, None, parameters=_at, media=(PNG,)),
    Route("GET", f"{SPACE}/items/{{id*}}", catalogue.item, wire.Item, parameters=_at),
    Route("GET", f"{SPACE}/items", catalogue.matching, wire.Table, parameters=frozenset({AT, "where"}), media=BOTH),
    Route(
        "GET", f"{SPACE}/maps/{{map}}", catalogue.map_, wire.Table, parameters=frozenset({AT, "columns"}), media=BOTH
    ),
    Route("GET", f"{SPACE}/centroids", catalogue.centroids, wire.Table, parameters=_at, media=BOTH),
    Route("GET", f"{SPACE}/attributes", catalogue.attributes, wire.Table, parameters=_at, media=BOTH),
    Route(
        "POST", f"{SPACE}/attributes", writes.fit_attribute, wire.Written, right="write", body=wire.AttributeAsked
    ),
    Route(
        "POST", f"{SPACE}/items", writes.upsert, wire.Written, right="write", body=wire.RowsAsked, uploads=(ARROW,)
    ),
    Route("DELETE", f"{SPACE}/items", writes.delete, wire.Written, right="write", body=wire.DeleteAsked),
    Route("POST", "/v1/sql", sql.sql, wire.Table, right="sql", body=wire.SqlAsked, media=BOTH, pool=SQL),
)  # fmt: skip

KEPT, SHORT = 4096, 200  # addresses whose route is known, of so many bytes at most


class Router:
    """Finds the route of a method and an address."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._known: dict[tuple[str, bytes], tuple[Route, dict[str, str]]] = {}

    def find(self, method: str, raw: bytes) -> tuple[Route, dict[str, str]] | list[str]:
        """The route and what varies in the path; else the methods that the path has, none of an unknown one.

        Args:
            method: HTTP method.
            raw: The path as it was sent, percent-encoded; an encoded slash separates nothing.
        """
        known = self._known.get((method, raw))
        if known is not None:
            return known
        allowed = []
        for route in self._routes:
            match = route.pattern.fullmatch(raw.decode("latin-1"))
            if match is None:
                continue
            if route.method != method:
                allowed.append(route.method)
                continue
            try:
                path = {name: unquote_to_bytes(value).decode() for name, value in match.groupdict().items()}
            except UnicodeDecodeError:
                return []
            if len(raw) <= SHORT:  # whoever asks, key or not, may not fill the memory
                if len(self._known) >= KEPT:
                    self._known.clear()
                self._known[method, raw] = route, path
            return route, path
        return allowed
