"""`concepts`: centroids and attribute vectors of a space, those that are not fresh."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from flows.config import Config, as_config
from flows.fresh import is_fresh
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened


def fit_concepts(work: Workspace) -> Outcome:
    """Fit what the configuration names and the space lacks."""
    section, space = work.config.concepts, work.made_space
    fitted: list[str] = []
    wanted = len(section.centroids) + len(section.attributes)

    def tell(name: str) -> None:
        fitted.append(name)
        work.report("concepts", min(len(fitted) / wanted, 0.999))

    with work.config.blame("concepts"):
        for column in section.centroids:
            manifest = space.snapshot.manifest
            if not is_fresh(manifest, manifest.concepts, f"centroids/{column}", column=column):
                space.fit_centroids(column)
                tell(f"centroids/{column}")
        for name, attribute in section.attributes.items():
            manifest = space.snapshot.manifest
            parameters = attribute.model_dump()
            if not is_fresh(manifest, manifest.concepts, f"attribute/{name}", **parameters):
                space.fit_attribute(name, **parameters)
                tell(f"attribute/{name}")
    if wanted:
        work.report("concepts", 1.0)
    if not fitted:
        return Outcome("all concepts are fresh" if wanted else "no concepts wanted", False)
    return Outcome(f"version {space.version}: {', '.join(fitted)}", True)


concepts_step = task(fit_concepts, **step("concepts"))


@flow(name="concepts", flow_run_name=run_name("concepts"))
def concepts(config: Config | Path | str) -> Outcome:
    """Fit the centroids and attribute vectors of a space that are not fresh."""
    with opened(as_config(config)) as work:
        return concepts_step(work)
