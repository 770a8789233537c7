"""What a run leaves in Prefect's UI: a table of metrics, pictures, and a summary. Outside of a run: nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect.context import FlowRunContext, TaskRunContext

from latentstore.storage.evaluations import Evaluation, read_evaluation

if TYPE_CHECKING:
    from flows.outcome import Refreshed
    from flows.workspace import Workspace

BASELINE = "pca_"


def show_metrics(work: Workspace, evaluation: Evaluation) -> None:
    """A table artifact: each metric, of PCA at the same width, and of what serves now."""
    if not _in_run():
        return
    from prefect.artifacts import create_table_artifact

    space, tag = work.made_space, work.config.gate.tag
    serving = space.files.tags().get(tag)
    before = None if serving is None else read_evaluation(space.files.folder, serving)
    create_table_artifact(
        key=_key(work.config.space, "metrics"),
        table=metric_rows(evaluation.metrics, {} if before is None else before.metrics, tag),
        description=f"Space `{work.config.space}`, version {evaluation.version}, {evaluation.rows} items.",
    )


def metric_rows(
    metrics: Mapping[str, float], before: Mapping[str, float], tag: str
) -> list[dict[str, str | float | None]]:
    """One row per metric, baselines beside what they are the baseline of; metrics by class are left to the report."""
    baselines = {BASELINE + name for name in metrics}  # a map called pca has metrics of that prefix, too
    names = [name for name in metrics if name not in baselines and "/" not in name]
    return [
        {
            "metric": name,
            "value": _rounded(metrics[name]),
            "PCA": _rounded(metrics.get(BASELINE + name)),
            tag: _rounded(before.get(name)),
        }
        for name in names
    ]


def show_picture(space: str, name: str, title: str, png: bytes) -> None:
    """A markdown artifact with the picture inside, so that the UI needs no other host to show it."""
    if not _in_run():
        return
    from prefect.artifacts import create_markdown_artifact

    data = base64.b64encode(png).decode()
    create_markdown_artifact(
        key=_key(space, name), markdown=f"## {title}\n\n![{title}](data:image/png;base64,{data})\n", description=title
    )


def show_summary(refreshed: Refreshed) -> None:
    """A markdown artifact: what a refresh did, step by step, and whether it was published."""
    if not _in_run():
        return
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(
        key=_key(refreshed.space, "refresh"), markdown=summary(refreshed), description=refreshed.verdict
    )


def summary(refreshed: Refreshed) -> str:
    """The summary as markdown."""
    rows = [f"| {one.name} | {one.seconds:.1f} | {one.did} |" for one in refreshed.steps]
    return "\n".join(
        [
            f"# {refreshed.space}: {refreshed.verdict}",
            "",
            "| step | seconds | did |",
            "|---|---:|---|",
            *rows,
            "",
        ]
    )


def _in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def _key(space: str, name: str) -> str:
    return f"{space}-{name}".replace("_", "-")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
