"""Search, and points of the algebra."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.errors import NotSupported
from latentstore.server.answers import lists_of, named
from latentstore.server.calls import Call, Either
from latentstore.server.pictures import decoded, pngs, read_upload
from latentstore.server.wire import (
    DecodeAsked,
    Decoded,
    EditAsked,
    Edited,
    Encoded,
    Found,
    PlaceAsked,
    Placed,
    SearchAsked,
)
from latentstore.types import whole_number

if TYPE_CHECKING:
    from latentstore.server.calls import Service
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array, Neighbours


SCANNED_FLOATS = 1 << 22  # of a space without an index: a millisecond


def plain_search(service: Service, space: EmbeddingSpace, asked: SearchAsked) -> asyncio.Future[bytes] | None:
    """The encoded `Found` of a search for one point and nothing special; None for any other."""
    query = asked.query
    if not asked.plain or query is None or (isinstance(query, list) and not _is_vector(query)):
        return None
    if not is_short(space):
        return None
    service.limits.check("k", asked.k, "neighbours")
    point: Any = space.latent(query).vector if isinstance(query, str) else query
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def told(found: bytes | Exception) -> None:
        if answer.done():
            return  # whoever asked went away
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    service.batcher.search(space, point, asked.k, told)
    return answer


def is_short(space: EmbeddingSpace) -> bool:
    """Whether a search is so short that the event loop may do it: a longer one would keep all others waiting."""
    return space.searcher.index is not None or len(space) * space.dim <= SCANNED_FLOATS


def search(call: Call) -> Either:
    """Find the nearest items."""
    asked: SearchAsked = call.body
    space = call.space()
    call.limits.check("k", (asked.k + asked.offset) * asked.group_size, "neighbours")
    if isinstance(asked.query, list) and not _is_vector(asked.query):
        call.limits.check("batch", len(asked.query), "queries")
    call.limits.check("batch", len(asked.positive) + len(asked.negative), "examples")
    options: dict[str, Any] = {
        name: getattr(asked, name)
        for name in (
            "where", "columns", "recall", "radius", "offset", "group_by", "group_size", "diversity", "positive",
            "negative", "explain",
        )
    }  # fmt: skip
    found = space.search(asked.query, asked.k, **options)
    about = {"space": space.name, "version": found.version, "metric": found.metric}
    if found.explanation is not None:
        about["explanation"] = json.dumps(found.explanation.to_json())
    return Either(found.to_arrow(), about, lambda: _found(space, found))


def _found(space: EmbeddingSpace, found: Neighbours) -> Found:
    single = found.rows.ndim == 1
    columns: dict[str, list[Any]] | None = None
    if single:
        ids, distances = found.ids.tolist(), found.distances.tolist()
    else:
        lists = lists_of(found)
        ids, distances = [one for one, _ in lists], [far for _, far in lists]
    if found.columns is not None:
        columns = {name: found.columns[name].to_pylist() for name in found.columns.column_names}
        if not single:
            ends = np.cumsum([len(one) for one in ids]).tolist()
            columns = {
                name: [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]
                for name, values in columns.items()
            }
    short = found.shortfall
    return Found(
        space=space.name,
        version=found.version,
        metric=found.metric,
        k=found.k,
        ids=ids,
        **named(space, distances),
        shortfall=short if isinstance(short, int) else short.tolist(),
        columns=columns,
        explanation=None if found.explanation is None else found.explanation.to_json(),
    )


def edit(call: Call) -> Edited:
    """Compute a point by the latent algebra: its picture, its realism, its nearest items."""
    asked: EditAsked = call.body
    call.limits.check("k", asked.k, "neighbours")
    space = call.space()
    latent = space.latent(asked.query)
    found = space.search(latent.vector, asked.k)
    return Edited(
        space=space.name,
        version=space.version,
        expression=None if latent.expression is None else str(latent.expression),
        latent=latent.vector.tolist(),
        realism=first(realism(space, latent.vector[None])),
        ids=found.ids.tolist(),
        **named(space, found.distances.tolist()),
        picture=first(decoded(space, latent.vector[None])) if asked.pictures else None,
    )


def decode(call: Call) -> Either:
    """Draw latents, points of the algebra, or places on a map; as Arrow, the items in numbers."""
    asked: DecodeAsked = call.body
    space = call.space()
    given = [one for one in (asked.latents, asked.query, asked.points) if one is not None]
    if len(given) != 1:
        raise NotSupported(f"{len(given)} of latents, query and points are given; give one of them")
    if isinstance(given[0], list) and given[0] and isinstance(given[0][0], list | str):
        call.limits.check("batch", len(given[0]), "latents")
    if asked.points is not None:
        latents = np.atleast_2d(space.from_map(asked.points, asked.map))
    else:
        latents, _ = space._queries(given[0])
    items = space.decode(latents)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(items.ravel(), pa.float32()), items[0].size if len(items) else 1)
    about = {"space": space.name, "version": space.version, "shape": ",".join(map(str, items.shape[1:]))}
    return Either(
        pa.table({"item": flat}),
        about,
        lambda: Decoded(
            space=space.name,
            version=space.version,
            pictures=pngs(items),
            latents=latents.tolist(),
            realism=realism(space, latents),
        ),
    )


def place(call: Call) -> Placed:
    """Where latents lie on a map."""
    asked: PlaceAsked = call.body
    if isinstance(asked.query, list) and not _is_vector(asked.query):
        call.limits.check("batch", len(asked.query), "latents")
    space = call.space()
    points = np.atleast_2d(space.place(asked.query, asked.map))
    return Placed(space=space.name, version=space.version, map=asked.map, points=points.tolist())


def encode(call: Call) -> Encoded:
    """Encode an uploaded image, find its neighbours and its place on a map (`?k=`, `?map=`)."""
    space = call.space()
    k = whole_number(call.query.get("k", "10")) or 0
    call.limits.check("k", k, "neighbours")
    latent = space.encode(read_upload(call.body, space, call.limits.pixels))
    found = space.search(latent[0], k)
    name = call.query.get("map")
    return Encoded(
        space=space.name,
        version=space.version,
        latent=latent[0].tolist(),
        realism=first(realism(space, latent)),
        ids=found.ids.tolist(),
        **named(space, found.distances.tolist()),
        picture=first(decoded(space, latent)),
        point=None if name is None else space.place(latent, name)[0].tolist(),
    )


def realism(space: EmbeddingSpace, latents: Array) -> list[float] | None:
    """How near to real data each latent is; None in a space of too few items to say."""
    with contextlib.suppress(NotSupported):
        scores: list[float] = space.realism(latents).tolist()
        return scores
    return None


def first(values: list[Any] | None) -> Any:
    """The first of them, None of none."""
    return values[0] if values else None


def _is_vector(query: list[Any]) -> bool:
    return not query or not isinstance(query[0], list | str)
