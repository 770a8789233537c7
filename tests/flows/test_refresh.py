"""The whole way: train, embed, index, concepts, maps, evaluate, publish; then nothing; then a gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.config import Config, parse_config
from flows.gate import GateClosed
from flows.lock import Busy
from flows.outcome import Refreshed
from flows.reporting import listening
from flows.running import is_transient, step
from flows.workspace import Workspace, refresh_lock
from latentstore.errors import (
    ChecksumMismatch,
    CommitConflict,
    ConfigInvalid,
    FilterRefused,
    ManifestInvalid,
    ShapeMismatch,
    StorageError,
    UnknownEncoder,
)
from latentstore.space import EmbeddingSpace
from latentstore.storage.evaluations import read_evaluation, read_evaluations
from latentstore.store import open_store

pytestmark = pytest.mark.usefixtures("prefect_server")

STEPS = ["train", "embed", "index", "concepts", "generators", "maps", "evaluate", "publish"]


def run(config: Config) -> Refreshed:
    from flows.refresh import refresh

    return refresh(config)


def space_of(config: Config, at: str | None = None) -> EmbeddingSpace:
    return open_store(config.store).space(config.space, at=at)


def last_flow_run(name: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
        return client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC)[0]


def artifacts_of(flow_run: Any) -> dict[str, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as client:
        ours = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ours)}


def test_refresh_publishes_then_does_nothing_then_holds_the_gate(document: dict[str, Any]) -> None:
    document["generation"] = {"gmm": {}}  # every step has something to do
    config = parse_config(document)
    told: list[tuple[str, float]] = []
    with listening(lambda name, fraction: told.append((name, fraction))):
        first = run(config)
    assert [one.name for one in first.steps] == STEPS
    assert all(one.changed for one in first.steps)
    assert {name for name, fraction in told if fraction == 1} >= set(STEPS) - {"publish"}
    published = space_of(config, at="production")
    assert published.version == first.version == space_of(config).version
    assert published.status().unindexed == len(published) == 700  # small: searched exactly, so nothing is indexed
    assert not any(artefact.stale for artefact in published.status().artefacts)
    assert (len(published.centroids), len(published.attributes), len(published.map("pca"))) == (10, 1, 700)
    record = read_evaluation(published.files.folder, published.version)
    assert record == first.evaluation
    assert record is not None
    # At equal width and the same fit, PCA and its baseline are one: the metrics are measured, not made up.
    assert record.metrics["mse"] == pytest.approx(record.metrics["pca_mse"], rel=1e-3)
    assert record.metrics["index_recall"] == 1
    assert 0 < record.metrics["pca_trustworthiness"] <= 1

    flow_run = last_flow_run("refresh small")
    assert flow_run.state.is_completed()
    shown = artifacts_of(flow_run)
    assert {"small-metrics", "small-refresh", "small-reconstructions"} <= set(shown)
    assert '"mse"' in shown["small-metrics"].data
    assert '"pca_trustworthiness"' in shown["small-metrics"].data, "a map's metric is no baseline"
    assert '"pca_mse"' not in shown["small-metrics"].data
    assert "nothing to do" not in shown["small-refresh"].data
    assert "data:image/png;base64," in shown["small-reconstructions"].data

    second = run(config)
    assert not second.changed
    assert second.verdict == "nothing to do"
    assert space_of(config).version == first.version
    assert "nothing to do" in artifacts_of(last_flow_run("refresh small"))["small-refresh"].data

    # Another, worse encoder: everything is made, nothing is published.
    worse = parse_config(
        {**document, "encoder": {"kind": "pca", "dim": 2}, "gate": {"metrics": {"mse": {"max_rise": 0.001}}}}
    )
    with pytest.raises(GateClosed) as caught:
        run(worse)
    (breach,) = caught.value.breaches
    assert (breach.metric, breach.rule, breach.old) == ("mse", "max_rise", record.metrics["mse"])
    assert f"{breach.value:.6g}" in str(caught.value)
    assert f"old {record.metrics['mse']:.6g}" in str(caught.value)
    newest = space_of(config)
    assert newest.dim == 2
    assert newest.version > first.version
    serving = space_of(config, at="production")
    assert (serving.version, serving.dim) == (first.version, 8)
    assert len(serving.search("'test/7'", k=5)) == 5, "what serves goes on serving, encoder and all"
    failed = last_flow_run("refresh small")
    assert failed.state.is_failed()
    assert "mse is" in failed.state.message
    assert "not published" in artifacts_of(failed)["small-refresh"].data

    # Again: nothing is made anew, and it is still refused.
    with pytest.raises(GateClosed):
        run(worse)
    assert space_of(config).version == newest.version

    # Control: with a limit it meets, the very same version is published.
    allowed = parse_config(
        {**document, "encoder": {"kind": "pca", "dim": 2}, "gate": {"metrics": {"mse": {"max_rise": 0.5}}}}
    )
    third = run(allowed)
    assert [one.name for one in third.steps if one.changed] == ["publish"]
    assert space_of(config, at="production").version == newest.version
    assert [one.version for one in read_evaluations(newest.files.folder)] == [first.version, newest.version]


def test_each_flow_works_alone(document: dict[str, Any], tmp_path: Path) -> None:
    from flows.concepts import concepts
    from flows.embed import embed
    from flows.evaluate import evaluate
    from flows.index import index
    from flows.maps import maps
    from flows.train import train

    config = parse_config(document)
    with pytest.raises(UnknownEncoder, match="run train first"):
        embed(config)
    for flow in (train, embed, index, concepts, maps, evaluate):
        assert flow(config).changed, flow.name
        assert not flow(config).changed, flow.name
        assert last_flow_run(f"{flow.name} small").state.is_completed()
    assert space_of(config).files.tags() == {}, "only refresh publishes"
    assert not any(one.changed for one in run(config).steps[:-1])


def test_concepts_and_maps_follow_their_parameters(document: dict[str, Any]) -> None:
    from flows.concepts import fit_concepts
    from flows.embed import embed_items
    from flows.maps import fit_maps
    from flows.train import train_encoder

    with Workspace(parse_config(document)) as work:
        train_encoder(work)
        embed_items(work)
        assert fit_concepts(work).did.endswith("centroids/label, attribute/formal")
        assert fit_maps(work).did.endswith("pca")
    formal = {"positive": "label = 'Ankle boot'", "negative": "label = 'Sneaker'"}
    other = {**document, "concepts": {"centroids": ["label"], "attributes": {"formal": formal}}}
    with Workspace(parse_config({**other, "maps": {"pca": {"seed": 1}}})) as work:
        assert fit_concepts(work).did.endswith(": attribute/formal"), "only what changed"
        assert work.made_space.attributes["negative"].to_pylist() == ["label = 'Sneaker'"]
        assert fit_maps(work).did.endswith(": pca")
        assert not fit_concepts(work).changed
        assert not fit_maps(work).changed


def test_maps_of_every_method_and_dimension_are_fitted_measured_and_drawn(document: dict[str, Any]) -> None:
    from flows.embed import embed_items
    from flows.evaluate import measure
    from flows.maps import fit_maps
    from flows.train import train_encoder

    maps = {
        "tsne": {"perplexity": 12.0, "iterations": 60},
        "cube": {"method": "tsne", "dim": 3, "iterations": 60},
        "umap": {"epochs": 40},
    }
    document |= {"maps": maps, "evaluate": {"map_images": 40, "umap_inverse": 20}}
    told: list[float] = []
    with (
        listening(lambda name, fraction: told.append(fraction) if name == "maps" else None),
        Workspace(parse_config(document)) as work,
    ):
        train_encoder(work)
        embed_items(work)
        assert fit_maps(work).did.endswith("tsne, cube, umap")
        assert told == sorted(told)
        assert len(told) > 10, "t-SNE says how far it is"
        assert not fit_maps(work).changed
        space, found = work.made_space, measure(work).evaluation.metrics
    assert space.map("cube").column_names == ["id", "x", "y", "z"]
    for name in maps:
        stored = space.map_quality(name)
        assert {what: found[f"{name}_{what}"] for what in stored} == stored
        assert stored["trustworthiness"] > 0.85
        assert found[f"{name}_image_floor_mse"] < found[f"{name}_image_mse"] < 0.1
    assert 0 < found["umap_image_mse_umap_inverse"] < 0.12
    assert "tsne_image_mse_umap_inverse" not in found
    # PCA of 28 x 28 pixels to 8 numbers: fewer directions than numbers, more than a plane.
    assert 2 < found["dimension_mle"] < 8
    maps["tsne"]["perplexity"] = 15.0
    with Workspace(parse_config(document)) as work:
        assert fit_maps(work).did.endswith(": tsne"), "only what changed"
        # Items that the maps have not seen are not asked for.
        work.made_space.delete([f"test/{i}" for i in range(50)])
        fit_maps(work)
        embed_items(work)
        assert len(work.made_space.map("tsne")) == 650 < len(work.made_space)
        assert 0 < measure(work).evaluation.metrics["tsne_image_mse"] < 0.1


def test_mistakes_are_blamed_on_the_file_and_not_retried(document: dict[str, Any], tmp_path: Path) -> None:
    document["encoder"]["epocs"] = 3
    with pytest.raises(ConfigInvalid, match=r"a\.toml: \[encoder\] unknown option 'epocs'"):
        run(parse_config(document, where="a.toml"))
    del document["encoder"]["epocs"]
    document["dataset"]["limt"] = 3
    with pytest.raises(ConfigInvalid, match=r"a\.toml: \[dataset\].*'limt'.*'limit'"):
        run(parse_config(document, where="a.toml"))
    del document["dataset"]["limt"]
    document["concepts"]["attributes"]["formal"]["negative"] = "lable = 'Sandal'"
    with pytest.raises(FilterRefused, match=r"a\.toml: \[concepts\].*lable"):
        run(parse_config(document, where="a.toml"))
    assert last_flow_run("refresh small").run_count == 1


def test_a_long_step_shows_its_progress(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.embed import embed
    from flows.train import train

    train(parse_config(document))
    assert not [key for key in artifacts_of(last_flow_run("train small")) if "progress" in key], "it took a moment"
    monkeypatch.setattr("flows.reporting.EVERY", 0.0)
    embed(parse_config(document))
    shown = artifacts_of(last_flow_run("embed small"))["small-embed-progress"]
    assert (shown.type, float(shown.data)) == ("progress", 100)


def test_two_at_once_are_refused(config: Config) -> None:
    with Workspace(config), pytest.raises(Busy, match="a run on space 'small'"):
        run(config)
    assert refresh_lock(config).exists()


def test_an_idle_refresh_loads_no_torch(document: dict[str, Any]) -> None:
    """In a process of its own, without Prefect's server: the steps are plain functions."""
    script = (
        "import json, sys\n"
        "from flows.config import parse_config\n"
        "from flows.workspace import Workspace\n"
        "from flows.train import train_encoder\nfrom flows.embed import embed_items\n"
        "from flows.index import build_index\nfrom flows.concepts import fit_concepts\n"
        "from flows.maps import fit_maps\nfrom flows.evaluate import measure\nfrom flows.refresh import publish\n"
        "with Workspace(parse_config(json.loads(sys.argv[1]))) as work:\n"
        "    steps = [train_encoder, embed_items, build_index, fit_concepts, fit_maps, measure]\n"
        "    done = [one(work) for one in steps]\n"
        "    done.append(publish(work, done[-1].evaluation))\n"
        "print(sum(one.changed for one in done), 'torch' in sys.modules)\n"
    )
    import json

    command = [sys.executable, "-c", script, json.dumps(document)]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert (first.strip(), second.strip()) == ("7 True", "0 False")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(5, "Input/output error"), True),
        (ConnectionResetError(), True),
        (StorageError("the disk hiccuped"), True),
        (CommitConflict("another writer won"), True),
        (OSError(28, "No space left on device"), False),
        (FileNotFoundError(2, "No such file"), False),
        (ChecksumMismatch("damaged"), False),
        (ManifestInvalid("damaged"), False),
        (ConfigInvalid("misspelt"), False),
        (ShapeMismatch("another size"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_what_may_pass_is_retried(error: Exception, expected: bool) -> None:
    from prefect import flow, task

    assert is_transient(error) is expected
    tried = []

    @task(**{**step("fragile"), "retry_delay_seconds": 0})
    def fragile() -> int:
        tried.append(1)
        if len(tried) < 3:
            raise error
        return 7

    @flow(name="fragile")
    def once() -> int:
        return fragile()

    if expected:
        assert once() == 7
        assert len(tried) == 3
    else:
        with pytest.raises(type(error)):
            once()
        assert len(tried) == 1
