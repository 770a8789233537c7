from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from days import changed, every

from flows.config import Config, parse_config
from flows.embed import embed_items
from flows.train import train_encoder
from flows.workspace import Workspace
from latentstore.datasets import InMemory
from latentstore.errors import ShapeMismatch, SpaceMismatch, UnknownEncoder
from latentstore.store import open_store

Make = Callable[..., Workspace]


def rows_by_id(work: Workspace) -> dict[str, int]:
    snapshot = work.made_space.snapshot
    live = snapshot.live_rows()
    return dict(zip(snapshot.ids(live), live.tolist(), strict=True))


def assert_space_is(work: Workspace, dataset: InMemory) -> None:
    """The oracle: every item of the dataset, nothing else, encoded by the bare encoder."""
    space = work.made_space
    snapshot = space.snapshot
    rows = snapshot.find(dataset.ids.tolist())
    assert (rows >= 0).all()
    assert len(snapshot) == len(dataset)
    assert space.encoder is not None
    np.testing.assert_allclose(snapshot.vectors(rows), space.encoder.encode(dataset.items), atol=1e-5, rtol=1e-5)
    assert snapshot.columns(rows, ["content_hash"])["content_hash"].to_pylist() == dataset.content_hashes()
    assert snapshot.columns(rows, ["label"])["label"].to_pylist() == dataset.metadata["label"].to_pylist()


def test_all_items_in_one_commit(workspace: Make, fashion: InMemory) -> None:
    with workspace() as work:
        train_encoder(work)
        done = embed_items(work)
        assert (done.encoded, done.resumed, done.carried, done.deleted) == (700, 0, 0, 0)
        assert [one.operation for one in work.made_space.versions()] == ["create", "embed"]
        assert_space_is(work, fashion)
        assert work.made_space.files.staging_keys() == []


def test_only_what_changed_is_embedded(workspace: Make, fashion: InMemory) -> None:
    first = changed(fashion, every(fashion)[:690])
    with workspace(first) as work:
        train_encoder(work)
        embed_items(work)
        before = rows_by_id(work)
    items = fashion.items.copy()
    items[[3, 5, 7]] = 255 - items[[3, 5, 7]]
    labels = fashion.metadata["label"].to_pylist()
    labels[11] = labels[12] = "Cape"
    metadata = fashion.metadata.set_column(0, "label", pa.array(labels))
    second = changed(fashion, every(fashion)[2:], items=items, metadata=metadata)
    with workspace(second) as work:
        done = embed_items(work)
        assert (done.encoded, done.carried, done.deleted) == (10 + 3, 2, 2)
        assert_space_is(work, second)
        after = rows_by_id(work)
        touched = {second.ids[i] for i in (1, 3, 5)} | set(fashion.ids[690:])  # relabelled rows stay where they are
        assert {name for name in after if after[name] != before.get(name)} == touched
        assert len(work.made_space.versions()) == 3


def test_nothing_changed_commits_nothing_and_loads_no_encoder(workspace: Make) -> None:
    with workspace() as work:
        train_encoder(work)
        embed_items(work)
    with workspace() as work:
        version = work.made_space.version
        assert not train_encoder(work).changed
        assert not embed_items(work).changed
        assert work.made_space.version == version
        assert work.store._encoders == {}


def test_another_encoder_replaces_every_row_in_one_commit(
    workspace: Make, fashion: InMemory, document: dict[str, Any]
) -> None:
    with workspace() as work:
        train_encoder(work)
        embed_items(work)
        work.made_space.fit_centroids("label")
        before = work.made_space.version
    wider = parse_config({**document, "encoder": {"kind": "pca", "dim": 12}})
    with workspace(config=wider) as work:
        trained = train_encoder(work)
        assert trained.changed
        done = embed_items(work)
        assert (done.encoded, done.version) == (700, before + 1)
        assert work.made_space.dim == 12
        assert work.made_space.fingerprint == trained.fingerprint
        assert_space_is(work, fashion)
        # The old version is whole, with its own encoder; the new one has nothing that the old encoder made.
        old = work.store.space("small", at=before)
        assert (old.dim, old.fingerprint != trained.fingerprint, len(old.centroids)) == (8, True, 10)
        assert len(work.made_space.centroids) == 0


def test_a_new_metadata_column_keeps_latents(workspace: Make, fashion: InMemory) -> None:
    with workspace() as work:
        train_encoder(work)
        embed_items(work)
    metadata = fashion.metadata.append_column("note", pa.array([None if i % 2 else str(i) for i in range(700)]))
    wider = changed(fashion, every(fashion), metadata=metadata)
    with workspace(wider) as work:
        done = embed_items(work)
        assert (done.encoded, done.carried) == (0, 700)
        assert work.store._encoders == {}
        assert_space_is(work, wider)
        assert not embed_items(work).changed


def test_a_vae_keeps_the_posterior_variance(workspace: Make, fashion: InMemory, document: dict[str, Any]) -> None:
    encoder = {"kind": "vae", "dim": 4, "epochs": 1}
    with workspace(config=parse_config({**document, "encoder": encoder})) as work:
        train_encoder(work)
        embed_items(work)
        space = work.made_space
        assert space.encoder is not None
        mean, variance = space.encoder.posterior(fashion.items)
        rows = space.snapshot.find(fashion.ids.tolist())
        stored = np.array(space.snapshot.columns(rows, ["variance"])["variance"].to_pylist())
        np.testing.assert_allclose(space.snapshot.vectors(rows), mean, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(stored, variance, atol=1e-5, rtol=1e-5)
        assert (stored > 0).all()
        assert not embed_items(work).changed
    labels = pa.array(["Cape", *fashion.metadata["label"].to_pylist()[1:]])
    relabelled = changed(fashion, every(fashion), metadata=fashion.metadata.set_column(0, "label", labels))
    with workspace(relabelled, config=parse_config({**document, "encoder": encoder})) as work:
        assert embed_items(work).carried == 1
        row = work.made_space.snapshot.find([fashion.ids[0]])
        kept = work.made_space.snapshot.columns(row, ["variance", "label"]).to_pylist()[0]
        np.testing.assert_allclose(kept["variance"], variance[0], atol=1e-5, rtol=1e-5)
        assert kept["label"] == "Cape"


def test_ready_vectors_are_taken_as_they_are(workspace: Make, fashion: InMemory, document: dict[str, Any]) -> None:
    vectors = fashion.items.reshape(700, -1)[:, 200:216].astype(np.float32) / 255
    ready = InMemory(fashion.name, {"name": "table", "file": "x"}, fashion.ids, fashion.metadata, vectors)
    del document["encoder"]
    with workspace(ready, config=parse_config(document)) as work:
        assert not train_encoder(work).changed
        assert embed_items(work).encoded == 700
        space = work.made_space
        assert (space.fingerprint, space.dim) == (None, 16)
        rows = space.snapshot.find(fashion.ids.tolist())
        np.testing.assert_array_equal(space.snapshot.vectors(rows), vectors)


def test_embed_without_train_says_so(workspace: Make) -> None:
    with workspace() as work, pytest.raises(UnknownEncoder, match="has no pca of this recipe; run train first"):
        embed_items(work)


def test_a_space_made_by_hand_is_not_emptied(workspace: Make, config: Config) -> None:
    space = open_store(config.store).create_space("small", dim=8)
    space.add(["mine"], np.ones((1, 8), np.float32))
    with workspace() as work:
        train_encoder(work)
        with pytest.raises(SpaceMismatch, match="holds 1 rows that came from no dataset"):
            embed_items(work)
        assert len(work.made_space) == 1


def test_another_metric_is_refused(workspace: Make, document: dict[str, Any]) -> None:
    with workspace() as work:
        train_encoder(work)
        embed_items(work)
    refused = pytest.raises(SpaceMismatch, match="measures l2, the configuration says cosine")
    with workspace(config=parse_config({**document, "metric": "cosine"})) as work, refused:
        embed_items(work)


def test_items_of_another_size_are_refused_and_the_space_stays(workspace: Make, fashion: InMemory) -> None:
    with workspace() as work:
        train_encoder(work)
        version = embed_items(work).version
    small = InMemory(fashion.name, fashion.source, fashion.ids, fashion.metadata, fashion.items[:, :20, :20])
    with workspace(small) as work:
        with pytest.raises(ShapeMismatch, match=r"\(20, 20, 1\).*\(28, 28, 1\)"):
            embed_items(work)
        assert work.made_space.version == version


def test_the_store_folder_is_checked_before_a_lock_is_put_into_it(workspace: Make, config: Config) -> None:
    config.store.mkdir()
    (config.store / "letters.txt").write_text("mine")
    with pytest.raises(Exception, match="is not a store"), workspace():
        pass
    assert [path.name for path in Path(config.store).iterdir()] == ["letters.txt"]
