"""`maps`: projections of a space to two or three dimensions, those that are not fresh."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from flows.config import Config, as_config
from flows.fresh import is_fresh
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened


def fit_maps(work: Workspace) -> Outcome:
    """Fit the maps that the configuration names and the space lacks."""
    space, fitted = work.made_space, list[str]()
    with work.config.blame("maps"):
        for name, section in work.config.maps.items():
            manifest, method, options = space.snapshot.manifest, section.method or name, section.options
            wanted = {"method": method, "dim": section.dim, "seed": section.seed, "options": options or None}
            if is_fresh(manifest, manifest.maps, name, **wanted):
                continue

            def told(fraction: float, done: int = len(fitted)) -> None:
                work.report("maps", min((done + fraction) / len(work.config.maps), 0.999))

            column = work.config.evaluate.label if work.config.evaluate.label in space.columns else None
            space.fit_map(
                method, dim=section.dim, seed=section.seed, name=name, column=column, progress=told, **options
            )
            fitted.append(name)
            told(0.0, len(fitted))
    if work.config.maps:
        work.report("maps", 1.0)
    if not fitted:
        return Outcome("all maps are fresh" if work.config.maps else "no maps wanted", False)
    return Outcome(f"version {space.version}: {', '.join(fitted)}", True)


maps_step = task(fit_maps, **step("maps"))


@flow(name="maps", flow_run_name=run_name("maps"))
def maps(config: Config | Path | str) -> Outcome:
    """Fit the maps of a space that are not fresh."""
    with opened(as_config(config)) as work:
        return maps_step(work)
