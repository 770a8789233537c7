"""The OpenAPI 3.1 document, made from the list of routes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from latentstore import __version__
from latentstore.server.guard import PUBLIC
from latentstore.server.refusals import STATUSES, ErrorBody
from latentstore.server.routes import ARROW, JSON, ROUTES, Route

_REFERENCE = "#/components/schemas/{name}"
_NAMES = {
    "space": "Name of an embedding space.",
    "id": "An item's id; slashes in it may stand as they are.",
    "map": "Name of a map.",
    "name": "Name of a file.",
    "at": "Version or tag to answer from, instead of the one that is served.",
    "where": "Predicate over the metadata columns, as in SQL.",
    "columns": "Metadata columns, separated by commas.",
    "k": "How many neighbours.",
    "old": "Version or tag to compare from.",
    "new": "Version or tag to compare to, instead of the one that is served.",
}


def document() -> dict[str, Any]:
    """All routes with their bodies, answers and errors."""
    kinds = [kind for route in ROUTES for kind in (route.body, route.answer) if kind is not None]
    _, components = msgspec.json.schema_components([*kinds, ErrorBody], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        path = re.sub(r"\{(\w+)\*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "latentstore",
            "version": __version__,
            "description": "Search, edit, decode and explain the latent spaces of a store.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    named = re.findall(r"\{(\w+)\*?\}", route.path)
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.handler.__name__.strip('_')}",
        "tags": [route.handler.__module__.rsplit(".", 1)[1]],
        "security": [] if route.right == PUBLIC else [{"key": []}],
        "parameters": [
            *(_parameter(name, "path") for name in named),
            *(_parameter(name, "query") for name in sorted(route.parameters)),
        ],
        "responses": {
            "200": {"description": "Done.", "content": _content(route)},
            **{str(status): _ERROR for status in STATUSES},
        },
    }
    if route.body is not None or route.uploads:
        content: dict[str, Any] = {one: {"schema": _BYTES} for one in route.uploads}
        if route.body is not None:
            content[JSON] = {"schema": _schema(route.body)}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(name: str, where: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": _NAMES[name],
        "schema": {"type": "string", "minLength": 1} if where == "path" else {"type": "string"},
    }


def _content(route: Route) -> dict[str, Any]:
    return {
        media: {"schema": _schema(route.answer) if media == JSON and route.answer else _any(media)}
        for media in route.media
    }


def _schema(kind: Any) -> Any:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema


def _any(media: str) -> dict[str, Any]:
    if media == JSON:
        return {"type": "object"}
    return _BYTES if media in (ARROW, "image/png", "image/gif", "video/mp4") else {"type": "string"}


_BYTES = {"type": "string", "format": "binary"}
_ERROR = {
    "description": "Refused; the body says why and what to do.",
    "content": {JSON: {"schema": {"$ref": _REFERENCE.format(name="ErrorBody")}}},
}
