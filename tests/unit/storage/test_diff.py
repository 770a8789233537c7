"""The difference of two versions against a comparison of dicts, whatever was merged in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentstore.errors import UnknownVersion
from latentstore.storage import Segment, Snapshot, SpaceFiles


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    return SpaceFiles.create(tmp_path / "space", space="space", dim=2, metric="l2")


def rows(snapshot: Snapshot) -> dict[str, int]:
    live = snapshot.live_rows()
    return dict(zip(snapshot.ids(live).tolist(), live.tolist(), strict=True))


def test_every_pair_of_versions_against_dicts(space: SpaceFiles) -> None:
    rng = np.random.default_rng(0)
    for step in range(18):
        ids = [f"i{n}" for n in rng.choice(40, rng.integers(1, 12), replace=False)]
        known = [one for one in ids if one in rows(space.snapshot())]
        if step % 3 == 2 and known:
            space.delete(known)
        else:
            space.upsert(ids, rng.standard_normal((len(ids), 2)))
        if step % 6 == 5:
            space.compact()
        if step == 14:
            space.restore(5)
    held = {manifest.version: rows(space.snapshot(manifest.version)) for manifest in space.versions()}
    for old, before in held.items():
        for new, after in held.items():
            found = space.diff(old, new)
            table = found.table.to_pylist()
            wanted = {one: ("added", None, after[one]) for one in after.keys() - before.keys()}
            wanted |= {one: ("deleted", before[one], None) for one in before.keys() - after.keys()}
            both = before.keys() & after.keys()
            wanted |= {one: ("changed", before[one], after[one]) for one in both if before[one] != after[one]}
            assert {row["id"]: (row["change"], row["old_row"], row["new_row"]) for row in table} == wanted
            assert len(table) == len(wanted) == found.added + found.deleted + found.changed
            assert set(found.ids("changed")) == {one for one, what in wanted.items() if what[0] == "changed"}
            assert bool(found) == bool(wanted)


def test_no_vector_and_no_shared_segment_is_opened(space: SpaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    space.add([f"a{i}" for i in range(5000)], np.ones((5000, 2)), {"x": np.arange(5000)})
    space.add(["b"], np.ones((1, 2)), {"x": [1], "new": ["text"]})
    fresh, opened = SpaceFiles(space.folder, "r"), []
    read = Segment._read

    def watched(self: Segment, record, how):  # type: ignore[no-untyped-def]
        opened.append((self.record.count, record.name.rpartition(".")[2]))
        return read(self, record, how)

    monkeypatch.setattr(Segment, "_read", watched)
    found = fresh.diff(2)
    assert found.ids("added") == ["b"]
    assert found.columns_added == ("new",)
    assert set(opened) == {(1, "sums"), (1, "ids")}


def test_columns_and_unknown_versions(space: SpaceFiles) -> None:
    space.add(["a"], np.ones((1, 2)), {"x": [1]})
    assert space.diff(2, 1).columns_dropped == ("x",)
    with pytest.raises(UnknownVersion, match="no version 9"):
        space.diff(9)
    with pytest.raises(UnknownVersion, match="no tag 'live'"):
        space.diff(1, "live")
