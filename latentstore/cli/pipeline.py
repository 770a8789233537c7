"""Commands that run flows: run, train, embed, index, concepts, map, evaluate, schedule, quickstart."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentstore.cli.app import PIPELINE, ConfigFile, Json, app
from latentstore.cli.output import Output, print_table, progress_bars
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from flows.outcome import Refreshed
    from flows.quickstart import Quickstart


@app.command(rich_help_panel=PIPELINE)
def run(config: ConfigFile, json: Json = False) -> None:
    """Refresh a space: train, embed, index, concepts, maps, evaluate, and publish if the gate opens."""
    done: Refreshed = _flow("refresh", config)
    output = Output(json)
    if json:
        output.write_json(**_refreshed(done))
        return
    print_table(["step", "seconds", "did"], [[step.name, f"{step.seconds:.1f}", step.did] for step in done.steps])
    output.say(f"{done.space} version {done.version}: {done.verdict}")


@app.command(rich_help_panel=PIPELINE)
def train(config: ConfigFile, json: Json = False) -> None:
    """Train the encoder, unless the store has it."""
    _step("train", config, json)


@app.command(rich_help_panel=PIPELINE)
def embed(config: ConfigFile, json: Json = False) -> None:
    """Embed new and changed items, delete vanished ones."""
    _step("embed", config, json)


@app.command(rich_help_panel=PIPELINE)
def index(config: ConfigFile, json: Json = False) -> None:
    """Build the search index, unless it is fresh."""
    _step("index", config, json)


@app.command(rich_help_panel=PIPELINE)
def concepts(config: ConfigFile, json: Json = False) -> None:
    """Fit the centroids and attribute vectors that are not fresh."""
    _step("concepts", config, json)


@app.command(rich_help_panel=PIPELINE)
def generators(config: ConfigFile, json: Json = False) -> None:
    """Fit the mixture and train the flow that samples are drawn from, those that are not fresh."""
    _step("generators", config, json)


@app.command("map", rich_help_panel=PIPELINE)
def map_(config: ConfigFile, json: Json = False) -> None:
    """Fit the maps that are not fresh."""
    _step("maps", config, json)


@app.command(rich_help_panel=PIPELINE)
def evaluate(config: ConfigFile, json: Json = False) -> None:
    """Measure the newest version: encoder beside PCA, index, maps."""
    _step("evaluate", config, json)


@app.command(rich_help_panel=PIPELINE)
def repeat(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one store per seed.")],
    seeds: Annotated[str, typer.Option(metavar="N,N,…", help="Each is a whole run.")] = "0,1,2",
    json: Json = False,
) -> None:
    """Run a recipe with several seeds, and show what was measured with each, and the medians."""
    from flows.config import load_config

    checked, chosen = load_config(config), _seeds(seeds)
    with _quiet_flows() as progress:
        from flows.repeat import repeat as again

        done = again(checked, chosen, out, progress=progress)
    output, gate = Output(json), checked.gate.metrics
    if json:
        output.write_json(space=done.space, seeds=list(done.seeds), metrics=done.metrics, medians=done.medians)
        return
    rows = [
        [name, *(f"{one:.5g}" for one in (*values, done.medians[name])), gate[name].words if name in gate else ""]
        for name, values in done.metrics.items()
    ]
    print_table(["metric", *(f"seed {seed}" for seed in done.seeds), "median", "gate"], rows)


@app.command(rich_help_panel=PIPELINE)
def schedule(
    config: ConfigFile,
    cron: Annotated[str | None, typer.Option(metavar="'M H D M W'", help="When to run, UTC.")] = None,
    every: Annotated[str | None, typer.Option(metavar="SPAN", help="How often to run: 30s, 15m, 6h, 1d.")] = None,
) -> None:
    """Refresh on a schedule, until interrupted; needs a running `prefect server start`."""
    from flows.deploy import schedule as serve

    serve(config, cron=cron, every=every)


@app.command(rich_help_panel=PIPELINE)
def quickstart(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the store, the report and its pictures.")],
    limit: Annotated[int | None, typer.Option(help="Use only this many items; the gate is then off.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the report in a browser at the end.")] = False,
    json: Json = False,
) -> None:
    """Fashion-MNIST from pictures to a queryable latent space: three encoders, a store, a report."""
    with _quiet_flows() as progress:
        from flows.quickstart import quickstart as start

        done = start(out, limit=limit, program=_program(), progress=progress)
    output = Output(json)
    if json:
        output.write_json(
            seconds=done.seconds,
            report=str(done.report),
            store=str(done.store),
            spaces=[_refreshed(one) for one in done.refreshed],
            next=list(done.commands),
        )
    else:
        _summary(output, done)
    if open_:
        typer.launch(str(done.report))


def _step(name: str, config: Path, json: bool) -> None:
    outcome = _flow(name, config)
    output = Output(json)
    if json:
        output.write_json(step=name, did=outcome.did, changed=outcome.changed)
    output.say(outcome.did)


def _seeds(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise ConfigInvalid(f"seeds {text!r} are not understood; write whole numbers, like 0,1,2") from None


def _flow(name: str, path: Path) -> Any:
    """Run the flow `flows.<name>.<name>` on a configuration that was checked before Prefect is loaded."""
    from flows.config import load_config

    config = load_config(path)
    with _quiet_flows():
        return getattr(import_module(f"flows.{name}"), name)(config)


@contextmanager
def _quiet_flows() -> Iterator[Callable[[str, float], None] | None]:
    """Flows report by progress bars and by what they return; Prefect's log goes to its server, not to the terminal."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")  # the first start fills a database
    from flows.reporting import listening
    from flows.running import quietly

    try:
        with quietly(), progress_bars() as bars, listening(bars):
            yield bars
    except RuntimeError as error:
        if "API" not in str(error):
            raise
        raise ConfigInvalid(
            f"Prefect's server does not answer: {error}; start it again, or unset PREFECT_API_URL to run without one"
        ) from error


def _program() -> str:
    """How this process was called, so that a line to try next can be pasted as it stands."""
    return sys.argv[0] if Path(sys.argv[0]).name == "latentstore" else "latentstore"


def _refreshed(done: Refreshed) -> dict[str, Any]:
    return {
        "space": done.space,
        "version": done.version,
        "changed": done.changed,
        "verdict": done.verdict,
        "steps": [{"name": s.name, "seconds": s.seconds, "did": s.did, "changed": s.changed} for s in done.steps],
        "metrics": done.evaluation.metrics if done.evaluation else {},
    }


def _summary(output: Output, done: Quickstart) -> None:
    print_table(
        ["step", *(one.space for one in done.refreshed)],
        [[name, *(f"{seconds:.1f} s" for seconds in row)] for name, row in done.step_seconds()],
    )
    print_table(["space", "on test items", "encoder", "PCA"], [list(row) for row in done.metric_rows()])
    seconds = f"{done.seconds:.0f} s in all"
    if done.training:
        seconds += f", {done.training_seconds:.0f} s of them training"
    wrote = f"written in {done.report_seconds:.1f} s" if done.report_seconds else "still true"
    output.say(f"Report: {done.report} ({wrote})\nStore:  {done.store}\nTime:   {seconds}\n\nTry next:")
    for command in done.commands:
        output.say(f"  {command}")
