"""The command `judge`: what edits do, by a classifier that never saw a latent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentstore.cli.app import QUERIES, ConfigFile, Json, app
from latentstore.cli.output import Output, print_table
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from latentstore.evaluate import Edits


@app.command(rich_help_panel=QUERIES)
def judge(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture (.png) of edited items.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Add each attribute to test items and ask an independent classifier what it sees; train that if need be."""
    from flows.config import load_config
    from flows.judging import edits_of, edits_picture
    from flows.workspace import Workspace

    if out is not None and out.suffix.lower() != ".png":
        raise ConfigInvalid(f"{out} is no .png; pictures of edits are")
    with Workspace(load_config(config)) as work:
        space, asked = work.made_space, work.judge()
        if asked is None:
            raise ConfigInvalid(f'{config} names no columns to judge; add judge = ["…"] to [evaluate]')
        edits = edits_of(work, space, asked)
        if out is not None:
            out.write_bytes(edits_picture(work, space, asked, edits))
    output = Output(json)
    rows = list(_rows(edits))
    if json:
        output.write_json(edits=rows, told=dict(edits.told), **({"picture": str(out)} if out else {}))
        return
    print_table(
        ["attribute", "strength", "items", "success", "others flipped", "realism"],
        [[row["attribute"], *_words(row)] for row in rows],
    )
    if out is not None:
        output.say(f"wrote {out}")


def _rows(edits: Edits) -> list[dict[str, Any]]:
    rows = [
        {
            "attribute": one.aim.attribute,
            "strength": strength,
            "best": strength == one.best,
            "items": one.items,
            "success": effect.success,
            "flipped": effect.flipped,
            "realism": effect.realism,
        }
        for one in edits.edits
        for strength, effect in one.effects.items()
    ]
    if edits.chain is not None:
        effect = edits.chain.effect
        name = " + ".join(aim.attribute for aim in edits.chain.aims)
        about = {"attribute": name, "strength": list(edits.chain.strengths), "best": True, "items": edits.chain.items}
        rows.append({**about, "success": effect.success, "flipped": effect.flipped, "realism": effect.realism})
    return rows


def _words(row: dict[str, Any]) -> list[str]:
    strength = row["strength"]
    told = ", ".join(f"{one:g}" for one in strength) if isinstance(strength, list) else f"{strength:g}"
    shares = [f"{row[name]:.1%}" for name in ("success", "flipped")]
    return [told + (" *" if row["best"] else ""), f"{row['items']:,}", *shares, f"{row['realism']:.2f}"]
