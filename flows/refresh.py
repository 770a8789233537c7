"""`refresh`: everything for one space from one TOML file, published only if it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefect import flow, task

from flows.artifacts import show_metrics, show_summary
from flows.concepts import concepts_step
from flows.config import Config, as_config
from flows.embed import embed_step
from flows.evaluate import evaluate_step
from flows.gate import judge, require_open
from flows.generators import generators_step
from flows.index import index_step
from flows.maps import maps_step
from flows.outcome import Outcome, Refreshed, verdict
from flows.running import run_name, step
from flows.train import train_step
from flows.workspace import Workspace, opened
from latentstore.storage.evaluations import Evaluation, read_evaluation


@dataclass(frozen=True)
class Published(Outcome):
    """Which version the tag names now, and which before; None when there was no tag."""

    version: int
    before: int | None


def publish(work: Workspace, evaluation: Evaluation) -> Published:
    """Move the tag to the evaluated version, if its metrics are within the gate.

    Compare-and-swap: the tag moves only from the version whose metrics were compared.

    Raises:
        GateClosed: A metric fell short; the tag stays.
    """
    space, gate, version = work.made_space, work.config.gate, evaluation.version
    before = space.files.tags().get(gate.tag)
    if before == version:
        return Published(f"{gate.tag} is version {version} already", False, version, before)
    serving = None if before is None else read_evaluation(space.files.folder, before)
    breaches = judge(gate.metrics, evaluation.metrics, None if serving is None else serving.metrics)
    require_open(breaches, space=space.name, version=version, tag=gate.tag)
    space.files.tag(gate.tag, version, expected=before)
    return Published(f"{gate.tag} is version {version}, was {before or 'none'}", True, version, before)


publish_step = task(publish, **step("publish"))


@flow(name="refresh", flow_run_name=run_name("refresh"))
def refresh(config: Config | Path | str) -> Refreshed:
    """Train, embed, index, fit concepts, generators and maps, evaluate; then publish, if the gate opens.

    Steps whose result is there already do nothing; when all are, no version is committed.

    Raises:
        GateClosed: The new version is not good enough: it stays unpublished, the tag where it was.
        Busy: Another run writes to this space.
    """
    with opened(as_config(config)) as work, verdict(Refreshed(work.config.space), show_summary) as done:
        done.run("train", train_step, work)
        done.run("embed", embed_step, work)
        done.run("index", index_step, work)
        done.run("concepts", concepts_step, work)
        done.run("generators", generators_step, work)
        done.run("maps", maps_step, work)
        evaluation = done.run("evaluate", evaluate_step, work).evaluation
        done.version, done.evaluation = evaluation.version, evaluation
        show_metrics(work, evaluation)
        done.run("publish", publish_step, work, evaluation)
    return done
