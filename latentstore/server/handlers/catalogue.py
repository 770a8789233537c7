"""What there is: spaces, items, maps, concepts, versions."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from latentstore.errors import ConfigInvalid, UnknownItem
from latentstore.server.calls import Call, Content, Tabular
from latentstore.server.wire import Diffed, GetAsked, Item, Pictures, PicturesAsked, SpaceAbout
from latentstore.types import whole_number

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace

SHOWN = 1_000  # ids of each kind of change


def spaces(call: Call) -> list[SpaceAbout]:
    """All spaces as they are served."""
    return [_about(call, one.space, one.followed) for _, one in sorted(call.service.spaces.served.items())]


def space(call: Call) -> SpaceAbout:
    """One space: what it is, its columns, maps and attributes, and what to run."""
    opened = call.space()
    served = call.service.spaces.served[opened.name]
    return _about(call, opened, served.followed if opened is served.space else opened.version)


def _about(call: Call, space: EmbeddingSpace, followed: int | str | None) -> SpaceAbout:
    status = space.status()
    spec = _spec(call, space)
    return SpaceAbout(
        name=space.name,
        version=space.version,
        follows=followed,
        rows=len(space),
        dim=space.dim,
        metric=space.metric,
        encoder=space.fingerprint,
        kind=spec.get("kind"),
        item_shape=spec.get("item_shape"),
        columns={name: str(kind) for name, kind in space.snapshot.column_types.items()},
        tags=status.tags,
        index=status.index,
        unindexed=status.unindexed,
        maps={
            one.name: {"dim": one.properties["dim"], "method": one.properties["method"]}
            for one in space.snapshot.manifest.maps
        },
        attributes=space.attributes["name"].to_pylist(),
        labels=space.centroids["label"].to_pylist(),
        artefacts=[asdict(one) | {"stale": one.stale} for one in status.artefacts],
        advice=list(status.advice),
    )


def _spec(call: Call, space: EmbeddingSpace) -> dict[str, Any]:
    """The encoder's description, read without loading it."""
    if space.fingerprint is None:
        return {}
    path = call.service.spaces.store.files.encoder_folder(space.fingerprint) / "spec.json"
    spec: dict[str, Any] = json.loads(path.read_bytes())["spec"]
    return spec


def versions(call: Call) -> Tabular:
    """The versions that still exist, oldest first."""
    import pyarrow as pa

    space = call.space()
    listed = [
        {"version": one.version, "rows": one.live, "operation": one.operation, "created": one.created}
        for one in space.versions()
    ]
    return Tabular(pa.Table.from_pylist(listed), {"space": space.name, "version": space.version})


def diff(call: Call) -> Diffed:
    """What was added, deleted and changed from one version (`?old=`) to another (`?new=`; else the served one)."""
    space = call.space()
    if "old" not in call.query:
        raise ConfigInvalid("no version to compare with is given; add ?old=VERSION, a number or a tag")
    found = space.diff(call.query["old"], call.query.get("new"))
    return Diffed(
        space=space.name,
        old=found.old,
        new=found.new,
        added=found.added,
        deleted=found.deleted,
        changed=found.changed,
        columns_added=list(found.columns_added),
        columns_dropped=list(found.columns_dropped),
        ids={change: found.ids(change)[:SHOWN] for change in ("added", "deleted", "changed")},
    )


def item(call: Call) -> Item:
    """One item: its metadata and latent."""
    space, name = call.space(), call.path["id"]
    row = space.get(name).to_pylist()[0]
    latent, _ = row.pop("vector"), row.pop("id")
    return Item(space=space.name, version=space.version, id=name, metadata=row, latent=latent)


def rows(call: Call) -> Tabular:
    """Rows of ids, in that order: id, metadata, vector."""
    asked: GetAsked = call.body
    call.limits.check("rows", len(asked.ids), "rows")
    space = call.space()
    return Tabular(space.get(asked.ids, asked.columns), {"space": space.name, "version": space.version})


def image(call: Call) -> Content:
    """The picture of an item as PNG; what the decoder makes of its latent, where the dataset is gone."""
    space = call.space()
    (picture,), own = call.service.pictures.of(space, [call.path["id"]])
    fixed = whole_number(call.query.get("at", "")) is not None  # else another version may show another picture
    headers = (
        (b"cache-control", b"private, max-age=3600" if fixed else b"no-cache"),
        (b"x-latentstore-picture", b"item" if own else b"decoded"),
        (b"x-latentstore-version", str(space.version).encode()),
    )
    return Content(picture, "image/png", headers)


def pictures(call: Call) -> Pictures:
    """The pictures of several items."""
    asked: PicturesAsked = call.body
    call.limits.check("batch", len(asked.ids), "pictures")
    space = call.space()
    if not asked.ids:
        raise UnknownItem("no ids are given; name at least one")
    drawn, _ = call.service.pictures.of(space, asked.ids)
    return Pictures(space=space.name, version=space.version, pictures=[b64encode(one).decode() for one in drawn])


def map_(call: Call) -> Tabular:
    """A map: id and coordinates of each item, with the metadata columns of `?columns=a,b`."""
    space = call.space()
    table = space.map(call.path["map"])
    names = [name for name in call.query.get("columns", "").split(",") if name]
    space.check_columns(names)
    if names:
        found = space.snapshot.columns(space.rows_of(table["id"].to_pylist()), names)
        for name in names:
            table = table.append_column(name, found[name])
    return Tabular(table, {"space": space.name, "version": space.version})


def centroids(call: Call) -> Tabular:
    """Mean latents by label."""
    space = call.space()
    return Tabular(space.centroids, {"space": space.name, "version": space.version})


def attributes(call: Call) -> Tabular:
    """Attribute vectors and how good they are."""
    space = call.space()
    return Tabular(space.attributes, {"space": space.name, "version": space.version})


def evaluations(call: Call) -> Tabular:
    """What was measured of this version and of those before it, a metric a row."""
    space = call.space()
    return Tabular(space.evaluations(), {"space": space.name, "version": space.version})


def matching(call: Call) -> Tabular:
    """Ids of the items that satisfy `?where=`."""
    import pyarrow as pa

    space = call.space()
    rows = space.matching(call.query.get("where", "true"))
    return Tabular(
        pa.table({"id": pa.array(space.snapshot.ids(rows).tolist(), pa.string())}),
        {"space": space.name, "version": space.version},
    )
