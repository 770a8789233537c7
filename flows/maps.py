"""`maps`: projections of a space to two dimensions, those that are not fresh."""

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
            manifest, method = space.snapshot.manifest, section.method or name
            if not is_fresh(manifest, manifest.maps, name, method=method, seed=section.seed, dim=2):
                space.fit_map(method, seed=section.seed, name=name)
                fitted.append(name)
                work.report("maps", min(len(fitted) / len(work.config.maps), 0.999))
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
