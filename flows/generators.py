"""`generators`: the mixture and the flow that a space's samples are drawn from, those that are not fresh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, task

from flows.config import Config, as_config
from flows.fresh import is_fresh
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.workspace import Workspace, opened

if TYPE_CHECKING:
    from latentstore.evaluate import GenerationMeasures, Judge
    from latentstore.space import EmbeddingSpace


def fit_generators(work: Workspace) -> Outcome:
    """Fit the generators that are wanted and the space lacks: the mixture first, which the flow starts from."""
    space, fitted, wanted = work.made_space, list[str](), work.config.generation
    with work.config.blame("generation"):
        for name in sorted(wanted, key=("gmm", "flow").index):
            section, manifest = wanted[name], space.snapshot.manifest
            column = section.column or None
            if name == "gmm":
                if not is_fresh(manifest, manifest.concepts, "generation/gmm", column=column):
                    space.fit_mixture(column=column)
                    fitted.append(name)
                continue
            told = {"column": column, "seed": section.seed, "options": section.options}
            if not is_fresh(manifest, manifest.concepts, "generation/flow", **told):
                space.fit_flow(
                    column=column,
                    seed=section.seed,
                    progress=lambda done: work.report("generators", min(done, 0.999)),
                    **section.options,
                )
                fitted.append(name)
    if wanted:
        work.report("generators", 1.0)
    if not fitted:
        return Outcome("all generators are fresh" if wanted else "no generators wanted", False)
    return Outcome(f"version {space.version}: {', '.join(fitted)}", True)


def measured_generation(work: Workspace, space: EmbeddingSpace, judge: Judge | None) -> GenerationMeasures:
    """What samples of the space are worth beside the training and test items."""
    from latentstore.evaluate import generation_metrics

    train, test = work.training, work.testing
    latents = [
        space.snapshot.vectors(space.snapshot.find(part.dataset.ids[part.positions].tolist())) for part in (train, test)
    ]
    section = work.config.evaluate
    return generation_metrics(
        space, latents[0], latents[1], train, test, judge, samples=section.samples, seed=section.seed
    )


generators_step = task(fit_generators, **step("generators"))


@flow(name="generators", flow_run_name=run_name("generators"))
def generators(config: Config | Path | str) -> Outcome:
    """Fit the generators of a space that are not fresh."""
    with opened(as_config(config)) as work:
        return generators_step(work)
