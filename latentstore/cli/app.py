"""The typer application that commands register with, and the options they share."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from latentstore.errors import ConfigInvalid

PIPELINE, QUERIES, UPKEEP = "Pipeline (one TOML file)", "Queries", "Versions and upkeep"
SERVICE = "Service"

app = typer.Typer(
    name="latentstore",
    help="A database of latent spaces: train, embed, search, edit, decode, explain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.", show_default=False)]
Space = Annotated[str, typer.Argument(metavar="SPACE", help="Name of the embedding space.", show_default=False)]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The TOML file.", show_default=False)]
At = Annotated[str | None, typer.Option(metavar="VERSION", help="Read this version or tag instead of the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Arrow = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write an Arrow IPC file; - for standard output.", show_default=False),
]
K = Annotated[int, typer.Option("-k", help="How many neighbours.")]
Picture = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Picture to write.", show_default=False)]
Npy = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the latents as .npy, shape (n, d).")]
Columns = Annotated[
    str | None, typer.Option(metavar="A,B", help="Metadata columns to show; all but lists by default, '' for none.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same answer.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """A span of time from "90s", "15m", "6h" or "7d".

    Raises:
        ConfigInvalid: Something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise ConfigInvalid(f"{text!r} is no span of time; write 90s, 15m, 6h or 7d")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})
