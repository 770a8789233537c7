"""Commands that change rows: update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentstore.cli.app import UPKEEP, Json, Space, Store, app
from latentstore.cli.output import Output
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace


@app.command(rich_help_panel=UPKEEP)
def update(
    store: Store,
    space: Space,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Which items; or use --where.")] = None,
    where: Annotated[str | None, typer.Option(metavar="PREDICATE", help="Items that satisfy this instead.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="A new value; may be repeated.")
    ] = None,
    clear: Annotated[
        list[str] | None, typer.Option("--null", metavar="COLUMN", help="Make it null; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Change metadata of items; vectors and index stay as they are."""
    from latentstore.store import open_store

    opened, output = open_store(store).space(space), Output(json)
    values: dict[str, Any] = dict(_value(opened, one) for one in assign or ())
    values |= dict.fromkeys(clear or ())
    if not values:
        raise ConfigInvalid("there is nothing to change; say --set COLUMN=VALUE or --null COLUMN")
    if bool(ids) == (where is not None):
        raise ConfigInvalid("which items? Name their ids, or say --where PREDICATE, not both")
    before = opened.version
    version = opened.update(ids or None, values, where=where)
    if json:
        output.write_json(space=space, version=version, changed=version != before)
    output.say(f"{space} version {version}" if version != before else f"{space}: no item satisfies {where}")


def _value(space: EmbeddingSpace, text: str) -> tuple[str, Any]:
    """A column and the value that a text stands for in its type."""
    import pyarrow as pa

    name, given, value = text.partition("=")
    if not given:
        raise ConfigInvalid(f"--set {text!r} has no value; write COLUMN=VALUE")
    space.check_columns([name])
    kind = space.snapshot.column_types[name]
    if pa.types.is_null(kind):
        return name, value
    try:
        return name, pa.scalar(value, pa.string()).cast(kind)
    except pa.ArrowException as error:
        raise ConfigInvalid(f"--set {text!r}: column {name!r} has type {kind} ({error}); write such a value") from error
