"""Commands that look after a store: status, versions, tag, verify, compact, vacuum."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from latentstore.cli.app import UPKEEP, Arrow, At, Json, Space, Store, app, duration
from latentstore.cli.output import Output
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from latentstore.space.status import Status

OneSpace = Annotated[
    str | None, typer.Argument(metavar="[SPACE]", help="One space; all of them by default.", show_default=False)
]


@app.command(rich_help_panel=UPKEEP)
def status(store: Store, space: OneSpace = None, at: At = None, json: Json = False, arrow: Arrow = None) -> None:
    """Show how a store stands: versions, rows, index, what is stale, what to run."""
    from latentstore.store import open_store

    opened, output = open_store(store, mode="r"), Output(json, arrow)
    if at is not None and space is None:
        raise ConfigInvalid(f"--at {at} needs a SPACE: versions are counted per space")
    found = [opened.space(name, at=at).status() for name in ([space] if space else opened.spaces)]
    if json:
        output.write_json(store=str(store), spaces=[asdict(one) for one in found])
        return
    columns = ("space", "version", "rows", "dead", "segments", "dim", "metric", "index", "unindexed", "encoder")
    rows = [{name: getattr(one, name) for name in columns} | {"tags": _tags(one.tags)} for one in found]
    output.write(rows)
    for one in found:
        _details(output, one, with_artefacts=space is not None)


def _tags(tags: dict[str, int]) -> str:
    return ", ".join(f"{name} = {version}" for name, version in tags.items())


def _details(output: Output, one: Status, *, with_artefacts: bool) -> None:
    if with_artefacts and one.artefacts and output.for_people:
        listed = [{**asdict(artefact), "stale": artefact.stale} for artefact in one.artefacts]
        Output().write([{name: value for name, value in row.items() if name != "quality"} for row in listed])
        measured = [artefact for artefact in one.artefacts if artefact.quality]
        if measured:
            names = list(dict.fromkeys(name for artefact in measured for name in artefact.quality))
            Output().write(
                [{"map": a.name} | {name.replace("_", " "): a.quality.get(name) for name in names} for a in measured]
            )
    for line in one.advice:
        output.say(f"{one.space}: {line}")


@app.command(rich_help_panel=UPKEEP)
def versions(store: Store, space: Space, json: Json = False, arrow: Arrow = None) -> None:
    """List the versions that still exist, what made each, and its tags."""
    from latentstore.store import open_store

    opened = open_store(store, mode="r").space(space)
    tags = opened.files.tags()
    rows = [
        {
            "version": manifest.version,
            "created": manifest.created,
            "operation": manifest.operation,
            "rows": sum(segment.live for segment in manifest.segments),
            "encoder": manifest.encoder,
            "tags": ", ".join(name for name, version in tags.items() if version == manifest.version),
        }
        for manifest in opened.versions()
    ]
    Output(json, arrow).write(rows, name="versions", space=space)


@app.command(rich_help_panel=UPKEEP)
def tag(
    store: Store,
    space: Space,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The tag; without it, list tags.")] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="A version or another tag; the newest by default.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the tag; versions stay.")] = False,
    json: Json = False,
) -> None:
    """Name a version, move a name, or list the names."""
    from latentstore.store import open_store

    reading = name is None
    files, output = open_store(store, mode="r" if reading else "rw").space(space).files, Output(json)
    if name is not None and delete:
        files.delete_tag(name)
        output.say(f"tag {name!r} is gone")
    elif name is not None:
        tagged = files.tag(name, None if version is None else files.resolve(version))
        output.say(f"tag {name!r} is version {tagged}")
    elif delete:
        raise ConfigInvalid("--delete needs the NAME of a tag")
    if reading or json:
        output.write([{"tag": one, "version": it} for one, it in files.tags().items()], name="tags", space=space)


@app.command(rich_help_panel=UPKEEP)
def verify(
    store: Store,
    shallow: Annotated[bool, typer.Option("--shallow", help="Compare checksums only; do not decode rows.")] = False,
    json: Json = False,
) -> None:
    """Check every file of every version; exit code 1 if anything is damaged."""
    from latentstore.store import open_store

    output = Output(json)
    problems = open_store(store, mode="r").verify(deep=not shallow)
    if json:
        output.write_json(store=str(store), sound=not problems, problems=[asdict(problem) for problem in problems])
    elif problems:
        output.write([asdict(problem) for problem in problems])
    else:
        output.say(f"{store} is sound")
    if problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=UPKEEP)
def compact(store: Store, space: Space, json: Json = False) -> None:
    """Merge small segments and drop dead rows; the old version stays until vacuum."""
    from latentstore.store import open_store

    opened, output = open_store(store).space(space), Output(json)
    before = opened.status()
    version = opened.compact()
    after = opened.status()
    if json:
        output.write_json(space=space, version=version, segments=after.segments, dropped=before.dead - after.dead)
    segments, dropped = (
        f"{before.segments} → {after.segments} segments",
        f"{before.dead - after.dead} dead rows dropped",
    )
    output.say(f"{space} version {version}: {segments}, {dropped}")


@app.command(rich_help_panel=UPKEEP)
def vacuum(
    store: Store,
    space: OneSpace = None,
    older_than: Annotated[
        str, typer.Option(metavar="SPAN", help="Drop versions older than this, unless tagged: 90s, 15m, 6h, 7d.")
    ] = "7d",
    grace: Annotated[
        str,
        typer.Option(metavar="SPAN", help="Keep unnamed files younger than this: a writer may be about to name them."),
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: Json = False,
) -> None:
    """Delete old versions and the files that nothing needs any more."""
    from latentstore.store import open_store

    retention, kept = duration(older_than), duration(grace)
    opened, output = open_store(store, mode="r" if dry_run else "rw"), Output(json)
    done = {
        name: opened.files.space(name).vacuum(retention, grace=kept, dry_run=dry_run)
        for name in ([space] if space else opened.spaces)
    }
    if json:
        output.write_json(dry_run=dry_run, spaces={name: asdict(report) for name, report in done.items()})
    for name, report in done.items():
        verb = "would drop" if dry_run else "dropped"
        freed = report.bytes / 1e6
        output.say(f"{name}: {verb} {len(report.versions)} versions and {len(report.files)} files, {freed:,.1f} MB")
