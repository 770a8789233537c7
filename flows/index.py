"""`index`: the search structure of a space, unless it covers these very rows already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task

from flows.config import Config, as_config
from flows.fresh import is_fresh
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened
from latentstore.space.indexing import current_index

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace


def build_index(work: Workspace) -> Outcome:
    """Build the index, unless it is fresh."""
    section, space = work.config.index, work.made_space
    manifest, wanted = space.snapshot.manifest, {"wanted": section.kind}
    tuned = wanted | {"target_recall": section.target_recall}
    exact = wanted | {"kind": "flat"}  # finds everything, whatever the target
    if any(is_fresh(manifest, manifest.index, "index", **parameters) for parameters in (tuned, exact)):
        return Outcome("the index covers all rows", False)
    if can_extend(space, **tuned):
        before = sum(space.snapshot.manifest.index[0].properties["parts"])
        version = space.extend_index()
        added = sum(space.snapshot.manifest.index[0].properties["parts"]) - before
        return Outcome(f"version {version}: {added} rows added to the index", True)
    version = space.build_index(section.kind, target_recall=section.target_recall, seed=section.seed)
    work.report("index", 1.0)
    kind = space.snapshot.manifest.index[0].kind
    return Outcome(f"version {version}: {kind} index over {len(space)} rows", True)


def can_extend(space: EmbeddingSpace, **parameters: Any) -> bool:
    """Whether there is an index with these parameters that new rows can join, and building anew does not pay yet."""
    record = current_index(space.snapshot.manifest)
    if record is None or record.kind != "ivf" or any(record.properties.get(k) != v for k, v in parameters.items()):
        return False
    return not any("build_index" in advice for advice in space.status().advice)


index_step = task(build_index, **step("index"))


@flow(name="index", flow_run_name=run_name("index"))
def index(config: Config | Path | str) -> Outcome:
    """Build the index of a space, unless it is fresh."""
    with opened(as_config(config)) as work:
        return index_step(work)
