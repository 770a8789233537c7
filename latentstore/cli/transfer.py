"""Commands that compare, go back, mend and move: diff, restore, repair, backup, export, import."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from latentstore.cli.app import UPKEEP, Arrow, At, Json, Space, Store, app
from latentstore.cli.output import Output
from latentstore.errors import ConfigInvalid

Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version or a tag.", show_default=False)]
InSpace = Annotated[str | None, typer.Option(metavar="SPACE", help="One space; without it, the whole store.")]
SHOWN = 20  # changed items in the table for people


@app.command(rich_help_panel=UPKEEP)
def diff(
    store: Store,
    space: Space,
    old: Version,
    new: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Compared with it; the newest by default."),
    ] = None,
    json: Json = False,
    arrow: Arrow = None,
) -> None:
    """Show which items a version added, deleted and changed since another."""
    from latentstore.store import open_store

    found, output = open_store(store, mode="r").space(space).files.diff(old, new), Output(json, arrow)
    counts = {"added": found.added, "deleted": found.deleted, "changed": found.changed}
    columns = {"columns_added": found.columns_added, "columns_dropped": found.columns_dropped}
    if json or arrow is not None:
        rows = found.table.to_pylist()
        about = {"space": space, "old": found.old, "new": found.new, **counts, **columns}
        output.write(rows, name="items", table=lambda: found.table, **about)
        return
    output.say(f"{space} version {found.old} → {found.new}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    for what, names in columns.items():
        if names:
            output.say(f"{what.replace('_', ' ')}: {', '.join(names)}")
    if len(found.table):
        output.write(found.table.slice(0, SHOWN).select(["change", "id"]).to_pylist())
    if len(found.table) > SHOWN:
        output.say(f"and {len(found.table) - SHOWN} more; --json or --arrow FILE has them all")


@app.command(rich_help_panel=UPKEEP)
def restore(store: Store, space: Space, version: Version, json: Json = False) -> None:
    """Make the contents of an old version the newest one; the versions between stay."""
    from latentstore.store import open_store

    output = Output(json)
    made = open_store(store).files.space(space).restore(version)
    if json:
        output.write_json(space=space, version=made.version, rows=made.live)
    output.say(f"{space} version {made.version} holds what {version} held: {made.live} items")


@app.command(rich_help_panel=UPKEEP)
def repair(store: Store, json: Json = False) -> None:
    """Rebuild what is damaged and can be rebuilt; name the rest with its remedy. Exit code 1 if something is left."""
    from latentstore.store import repair_store

    output, report = Output(json), repair_store(store)
    if json:
        output.write_json(store=str(store), **asdict(report))
    for mended in report.mended:
        output.say(f"mended {mended.path}: {mended.what}")
    for problem in report.left:
        output.say(f"left {problem.path}: {problem.what}; {problem.remedy}")
    if not report.mended and not report.left:
        output.say(f"{store} is sound: nothing to do")
    if report.left:
        raise typer.Exit(1)


@app.command(rich_help_panel=UPKEEP)
def backup(
    store: Store,
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder, or an earlier backup of this store.")],
    check: Annotated[bool, typer.Option("--check", help="Read what is there and replace what is damaged.")] = False,
    json: Json = False,
) -> None:
    """Copy a store while others write; only what is new, if DEST is an earlier backup. DEST is a store itself."""
    from latentstore.store import open_store

    output, report = Output(json), open_store(store, mode="r").backup(folder, check=check)
    if json:
        output.write_json(**asdict(report))
    spaces = ", ".join(f"{name} version {version}" for name, version in report.spaces.items())
    copied = f"{report.copied} files, {report.bytes / 1e6:,.1f} MB copied, {report.kept} were there"
    output.say(f"{folder}: {spaces or 'no spaces'}; {copied}")


@app.command(name="export", rich_help_panel=UPKEEP)
def export_(
    store: Store,
    path: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to make.", show_default=False)],
    space: InSpace = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="parquet, numpy, faiss, delta or projector (TensorBoard); by default parquet for OUT.parquet.",
        ),
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Only items that satisfy it.")] = None,
    at: At = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json: Json = False,
) -> None:
    """Write one space in a format of other tools, or pack the whole store into one file."""
    from latentstore.store import open_store

    opened, output = open_store(store, mode="r"), Output(json)
    if space is None:
        for name, value in (("--format", form), ("--where", where), ("--at", at)):
            if value is not None:
                raise ConfigInvalid(f"{name} {value} needs --space: a whole store is packed as it is")
        packed = opened.export(path, overwrite=overwrite)
        if json:
            output.write_json(**asdict(packed))
        output.say(f"{path}: {', '.join(packed.spaces)}; {packed.files} files, {packed.bytes / 1e6:,.1f} MB")
        return
    done = opened.space(space, at=at).export(path, form, where=where, overwrite=overwrite)
    if json:
        output.write_json(**asdict(done))
    output.say(f"{path}: {done.rows} items as {done.format}" + (f" ({done.note})" if done.note else ""))


@app.command(name="import", rich_help_panel=UPKEEP)
def import_(
    store: Store,
    path: Annotated[Path, typer.Argument(metavar="SOURCE", help="What export wrote, or a Parquet file.")],
    space: InSpace = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="parquet, numpy, faiss or delta; by default the file is looked at."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Of a new space; what the file says, else l2.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace items whose id exists.")] = False,
    id_column: Annotated[str, typer.Option(metavar="NAME", help="The file's column of ids.")] = "id",
    vector_column: Annotated[str, typer.Option(metavar="NAME", help="The file's column of vectors.")] = "vector",
    without_encoder: Annotated[bool, typer.Option("--without-encoder", help="Take latents as ready vectors.")] = False,
    json: Json = False,
) -> None:
    """Read rows into a space, new or there, all or none; without --space, unpack a store's archive as STORE."""
    from latentstore.store import import_store, open_store

    output = Output(json)
    if space is None:
        unpacked = import_store(path, store)
        if json:
            output.write_json(store=str(store), spaces=unpacked.spaces)
        output.say(f"{store}: {', '.join(unpacked.spaces) or 'no spaces'}")
        return
    opened, columns = open_store(store), {"id_column": id_column, "vector_column": vector_column}
    if space in opened.spaces:
        if metric is not None:
            raise ConfigInvalid(f"--metric {metric} is for a new space; {space!r} exists and keeps its own")
        made = opened.space(space)
        made.import_rows(path, form, replace=replace, **columns)
    else:
        made = opened.import_space(space, path, form, metric=metric, keep_encoder=not without_encoder, **columns)
    if json:
        output.write_json(space=space, version=made.version, rows=len(made))
    output.say(f"{space} version {made.version}: {len(made)} items")
