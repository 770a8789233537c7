"""`concepts`: centroids and attribute vectors of a space, those that are not fresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, task

from flows.config import Config, as_config
from flows.fresh import is_fresh
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened
from latentstore.space.attributes import clause_text

if TYPE_CHECKING:
    from latentstore.storage import Manifest


def fit_concepts(work: Workspace) -> Outcome:
    """Fit what the configuration names and the space lacks."""
    section, space = work.config.concepts, work.made_space
    fitted: list[str] = []
    wanted = len(section.centroids) + len(section.attributes) + len(section.directions)

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
            arguments = attribute.arguments()
            told = {**arguments, **{side: clause_text(arguments[side]) for side in ("positive", "negative")}}
            if not (is_fresh(manifest, manifest.concepts, f"attribute/{name}", **told) and _after(
                manifest, f"attribute/{name}", attribute.orthogonal_to
            )):  # fmt: skip
                space.fit_attribute(name, **arguments)
                tell(f"attribute/{name}")
        for name, directions in section.directions.items():
            manifest, told = space.snapshot.manifest, directions.model_dump(mode="json")
            names = [f"attribute/{name}{order}" for order in range(1, directions.count + 1)]
            if not all(is_fresh(manifest, manifest.concepts, one, **told) for one in names):
                space.fit_directions(name=name, **told)
                tell(f"attribute/{name}1…{directions.count}")
    if wanted:
        work.report("concepts", 1.0)
    if not fitted:
        return Outcome("all concepts are fresh" if wanted else "no concepts wanted", False)
    return Outcome(f"version {space.version}: {', '.join(fitted)}", True)


def _after(manifest: Manifest, name: str, others: Sequence[str]) -> bool:
    """Whether an artefact was computed from a version that had the others as they are now."""
    versions = {record.name: record.version for record in manifest.concepts}
    return all(versions.get(f"attribute/{other}", manifest.version) < versions[name] for other in others)


concepts_step = task(fit_concepts, **step("concepts"))


@flow(name="concepts", flow_run_name=run_name("concepts"))
def concepts(config: Config | Path | str) -> Outcome:
    """Fit the centroids and attribute vectors of a space that are not fresh."""
    with opened(as_config(config)) as work:
        return concepts_step(work)
