"""An ivf index takes new rows without training: when asked, and by itself when they are many."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

import latentstore as ls
from latentstore.errors import ChecksumMismatch, CommitConflict, NotSupported, UnknownVersion
from latentstore.space import growing

D = 32


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, size=(40, D))
    return (centres[generator.integers(0, 40, 10_200)] + generator.normal(size=(10_200, D))).astype("f4")


@pytest.fixture
def space(tmp_path, vectors):
    made = ls.open(tmp_path / "a.store").create_space("grows", dim=D, metric="cosine")
    made.add([f"i{i}" for i in range(8000)], vectors[:8000])
    made.build_index("ivf", target_recall=0.95)
    return made


def recall(space, queries):
    found, truth = space.search(queries, 10), space.search(queries, 10, recall=1.0)
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, truth.ids, strict=True)])


def test_grows_when_asked(tmp_path, space, vectors):
    with pytest.raises(NotSupported, match="no index"):
        space_without = ls.open(tmp_path / "a.store").create_space("bare", dim=D)
        space_without.extend_index()
    built = space.snapshot.manifest.index[0].files["faiss"]
    unchanged = space.version
    assert space.extend_index() == unchanged  # nothing to add
    for start in range(8000, 10_000, 250):
        space.add([f"i{i}" for i in range(start, start + 250)], vectors[start : start + 250])
        assert space.status().unindexed == 250
        assert any("extend_index" in advice for advice in space.status().advice)
        space.extend_index()
        assert space.status().unindexed == 0
    record = space.snapshot.manifest.index[0]
    assert record.files["faiss"] == built
    assert sum(record.properties["parts"]) == 10_000
    assert len(record.properties["parts"]) <= 4  # merged in tiers
    assert record.properties["measured_rows"] > 9_000
    space.delete([f"i{i}" for i in range(8100, 8200)])
    space.compact()
    assert recall(space, vectors[10_000:]) >= 0.93
    assert not {f"i{i}" for i in range(8100, 8200)} & set(space.search(vectors[10_000:], 10).ids.ravel())
    assert space.search(vectors[9_900], 1).ids.tolist() == ["i9900"]
    assert ls.open(tmp_path / "a.store").verify() == []


def test_grows_by_itself_and_readers_keep_what_they_have_open(tmp_path, space, vectors, monkeypatch):
    monkeypatch.setattr(growing, "TAIL_ROWS", 0)
    monkeypatch.setattr(growing, "TAIL_FLOATS", 200 * D)
    reader = ls.open(tmp_path / "a.store", mode="r").space("grows")
    opened = reader.searcher.index.built.faiss_index
    versions = []
    for start in range(8000, 10_000, 100):
        versions.append(space.add([f"i{i}" for i in range(start, start + 100)], vectors[start : start + 100]))
        assert versions[-1] == space.version
        assert space.status().unindexed <= 200
        new = f"i{start + 7}"
        for where in (None, f"id = '{new}' or id = 'i5'"):
            assert space.search(vectors[start + 7], 1, where=where).ids.tolist() == [new]
            assert reader.refresh().search(vectors[start + 7], 1, where=where).ids.tolist() == [new]
    assert set(np.diff(versions)) == {1, 2}  # every third one extended the index
    assert reader.searcher.index.built.faiss_index is opened
    assert len(reader.searcher.index.whole.layers) == 2
    assert recall(space, vectors[10_000:]) >= 0.93
    replaced = [f"i{i}" for i in range(0, 300)]
    space.upsert(replaced, vectors[300:600])  # the index holds their old rows still
    assert space.status().unindexed == 0
    assert set(space.search(vectors[300], 2).ids) == {"i0", "i300"}
    explained = space.search(vectors[0], 10, explain=True).explanation
    assert explained.strategy == "index"
    assert explained.compared < len(space) / 2
    assert recall(space, vectors[10_000:]) >= 0.93
    half = "id like '%1' or id like '%2' or id like '%3' or id like '%4' or id like '%5'"
    truth = space.search(vectors[:50], 10, where=half, recall=1.0)
    monkeypatch.setattr("latentstore.index.planner.GATHER_FLOATS", 0)
    found = ls.open(tmp_path / "a.store").space("grows").search(vectors[:50], 10, where=half, explain=True)
    assert found.explanation.strategy == "index"
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, truth.ids, strict=True)]) >= 0.93
    assert ls.open(tmp_path / "a.store").verify() == []


def test_grows_to_many_times_what_was_built(tmp_path, vectors):
    space = ls.open(tmp_path / "a.store").create_space("grows", dim=D)
    space.add([f"i{i}" for i in range(1000)], vectors[:1000])
    space.build_index("ivf", target_recall=0.95)
    trained = {}
    for start in range(1000, 10_000, 500):
        space.add([f"i{i}" for i in range(start, start + 500)], vectors[start : start + 500])
        space.extend_index()
        properties = space.snapshot.manifest.index[0].properties
        first, *grown = properties["parts"]
        assert first >= sum(grown)
        assert first + sum(grown) == len(space)
        assert properties["wanted"] == "ivf"
        trained[properties["built_rows"]] = space.searcher.index.built.faiss_index.nlist
    built = np.array(list(trained))  # so often were lists made
    assert built[0] == 1000
    assert ((built[1:] >= 2 * built[:-1]) & (built[1:] <= 2 * built[:-1] + 500)).all()
    assert len(space) < 2 * built[-1] + 500
    lists = np.array(list(trained.values()))
    assert lists == pytest.approx(lists[0] * np.sqrt(built / built[0]), rel=0.42)  # the nearest power of two
    assert recall(space, vectors[10_000:]) >= 0.93
    assert space.search(vectors[9_900], 1).ids.tolist() == ["i9900"]
    again = ls.open(tmp_path / "a.store")
    assert again.verify() == []
    assert again.space("grows").search(vectors[:50], 5).ids.tolist() == space.search(vectors[:50], 5).ids.tolist()


def test_parts_together_propose_as_much_as_one_would(space, vectors, monkeypatch):
    monkeypatch.setattr(growing, "GROWTH", 1)  # not measured again: the operating points stay
    alone = space.search(vectors[10_000], 10, explain=True).explanation.ranked
    space.add([f"i{i}" for i in range(8000, 10_000)], vectors[8000:10_000])
    space.extend_index()
    assert len(space.searcher.index.whole.layers) == 2
    assert space.search(vectors[10_000], 10, explain=True).explanation.ranked == alone
    assert recall(space, vectors[8000:10_000]) >= 0.93


def test_rows_are_stored_though_the_index_cannot_take_them(space, vectors, monkeypatch):
    monkeypatch.setattr(growing, "TAIL_ROWS", 0)
    monkeypatch.setattr(growing, "TAIL_FLOATS", 200 * D)
    trained = space.files.folder / space.snapshot.manifest.index[0].files["trained"].name
    content = trained.read_bytes()
    trained.unlink()
    with pytest.warns(UserWarning, match=r"are stored, but could not be added to the index: .*missing.*extend_index"):
        space.add([f"i{i}" for i in range(8000, 8300)], vectors[8000:8300])
    assert space.status().unindexed == 300
    assert space.search(vectors[8100], 1).ids.tolist() == ["i8100"]
    trained.write_bytes(content)
    space.add(["late"], vectors[9000:9001])
    assert space.status().unindexed == 0


@pytest.mark.parametrize("codes", ["PQ16x4fs", "SQ8"])
def test_an_index_of_an_earlier_release_grows(tmp_path, vectors, monkeypatch, codes):
    """It has no file of its own for what was trained."""
    monkeypatch.setattr("latentstore.index.tuning.factories", lambda *_: [f"IVF64,{codes}"])
    space = ls.open(tmp_path / "a.store").create_space("grows", dim=D)
    space.add([f"i{i}" for i in range(8000)], vectors[:8000])
    space.build_index("ivf", target_recall=0.95)
    record = space.snapshot.manifest.index[0]
    del record.files["trained"]
    space.files.put_artefacts(space.version, index=[record])
    space.refresh()
    monkeypatch.setattr(growing, "TAIL_ROWS", 0)
    monkeypatch.setattr(growing, "TAIL_FLOATS", 200 * D)
    space.add([f"i{i}" for i in range(8000, 8300)], vectors[8000:8300])
    assert space.status().unindexed == 0
    assert recall(space, vectors[8000:8300]) >= 0.93
    assert "trained" in space.snapshot.manifest.index[0].files  # from now on no reader needs the first part for it
    assert ls.open(tmp_path / "a.store").verify() == []


def test_a_damaged_file_of_what_was_trained_is_refused(space, vectors):
    trained = space.files.folder / space.snapshot.manifest.index[0].files["trained"].name
    content = bytearray(trained.read_bytes())
    content[len(content) // 2] ^= 4
    trained.write_bytes(content)
    space.add(["late"], vectors[9000:9001])
    with pytest.raises(ChecksumMismatch, match=r"trained\.faiss"):
        space.extend_index()
    assert space.status().unindexed == 1


def test_a_grown_index_is_not_searched_without_what_was_trained(tmp_path, space, vectors):
    space.add([f"i{i}" for i in range(8000, 8300)], vectors[8000:8300])
    space.extend_index()
    (space.files.folder / space.snapshot.manifest.index[0].files["trained"].name).unlink()
    with pytest.raises(ChecksumMismatch, match=r"trained\.faiss"):
        ls.open(tmp_path / "a.store", mode="r").space("grows").search(vectors[0])


@pytest.mark.parametrize("d", [64, 97])  # packed codes, and scalar ones
def test_lists_beyond_all_distances_are_passed_over(tmp_path, d):
    """Between two far clusters a squared distance is beyond float32, and FAISS names no list."""
    vectors = np.random.default_rng(1).normal(size=(9000, d)).astype("f4")
    vectors /= 20 * np.linalg.norm(vectors, axis=1)[:, None]
    vectors[:, 0] += np.where(np.arange(9000) % 2 == 0, 1, -1)
    vectors *= np.float32(1.5e19)
    space = ls.open(tmp_path / "a.store").create_space("far", dim=d)
    space.add([f"i{i}" for i in range(6000)], vectors[:6000])
    space.build_index("ivf", target_recall=0.9)
    space.add([f"i{i}" for i in range(6000, 9000)], vectors[6000:])
    space.extend_index()
    assert len(space.searcher.index.whole.layers) == 2
    for query in vectors[:30]:
        found = [one for one in space.search(query, 2500).ids if one is not None]
        assert len(found) == len(set(found))


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_few_neighbours_are_found_as_surely_as_ten(space, vectors, k):
    queries = vectors[8000:]
    found, truth = (space.search(queries, k, recall=recall).ids for recall in (None, 1.0))
    assert np.mean([len(set(a) & set(b)) / k for a, b in zip(found, truth, strict=True)]) >= 0.94


def test_rows_that_are_replaced_again_and_again_do_not_fill_the_index(space, vectors, monkeypatch):
    monkeypatch.setattr(growing, "TAIL_ROWS", 0)
    monkeypatch.setattr(growing, "TAIL_FLOATS", 0)
    ids = [f"i{i}" for i in range(1500)]
    for turn in range(20):
        space.upsert(ids, vectors[turn * 100 : turn * 100 + 1500])
        assert space.status().unindexed == 0
    held = sum(space.snapshot.manifest.index[0].properties["parts"])
    assert held <= 2 * len(space), "20 times 1,500 would be 38,000"
    assert recall(space, vectors[10_000:]) >= 0.93
    space.delete([f"i{i}" for i in range(1, 8000)])
    space.upsert(["i0"], vectors[5:6])  # one live row: there is nothing to measure
    assert space.search(vectors[5], 3).ids.tolist() == ["i0"]


def test_rows_from_elsewhere_are_found_by_more_effort(tmp_path, vectors):
    space = ls.open(tmp_path / "a.store").create_space("grows", dim=D)
    space.add([f"i{i}" for i in range(6000)], vectors[:6000])
    space.build_index("ivf", target_recall=0.9)
    before = [point["effort"] for point in space.snapshot.manifest.index[0].properties["curve"]]
    strange = np.random.default_rng(5).normal(0, 4, size=(4000, D)).astype("f4")
    space.add([f"s{i}" for i in range(4000)], strange)
    space.extend_index()
    explanation = space.search(strange[7], 10, explain=True).explanation
    assert explanation.strategy == "index"
    assert explanation.effort > min(before)
    # The target is a mean over all rows; how strange ones and the rest share it is up to the times measured.
    assert recall(space, np.concatenate([vectors[:300], strange[:200]])) >= 0.88


def test_another_index_is_not_overwritten(tmp_path, space, vectors):
    space.add(["late"], vectors[9000:9001])
    stale = space.snapshot
    ls.open(tmp_path / "a.store").space("grows").build_index("ivf", target_recall=0.9)
    before = set((space.files.folder / "index").iterdir())
    with pytest.raises(CommitConflict, match="another index"):
        growing.extend_index(space.files, stale)
    assert set((space.files.folder / "index").iterdir()) == before
    assert space.extend_index() == space.version  # asked of the newest version, which has nothing to add
    assert space.status().unindexed == 0


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("n", [0, 1, 3, 63, 64])
def test_a_few_rows_are_indexed_or_compared(tmp_path, vectors, kind, n):
    space = ls.open(tmp_path / "a.store").create_space("grows", dim=D)
    if n:
        space.add([f"i{i}" for i in range(n)], vectors[:n])
    space.build_index(kind, target_recall=0.9)
    assert space.status().index == (kind if n == 64 else "flat")
    space.add(["late"], vectors[100:101])
    assert space.search(vectors[100], 3).ids.tolist()[0] == "late"


def test_a_space_that_was_too_small_for_an_index_says_when_one_pays(tmp_path, vectors):
    space = ls.open(tmp_path / "a.store").create_space("grows", dim=D)
    space.add([f"i{i}" for i in range(100)], vectors[:100])
    space.build_index()
    assert space.status().index == "flat"
    assert not space.status().advice
    more = 500_000 // D
    space.add([f"j{i}" for i in range(more)], vectors[np.arange(more) % len(vectors)])
    assert any("run build_index()" in advice for advice in space.status().advice)
    space.build_index("flat")  # asked for by name
    assert not space.status().advice


def test_a_reader_whose_version_was_vacuumed_is_told_so(tmp_path, space, vectors):
    opened, late = (ls.open(tmp_path / "a.store", mode="r").space("grows") for _ in range(2))
    found = opened.search(vectors[8100], 3).ids.tolist()
    space.delete(["i0"])
    space.build_index("ivf", target_recall=0.9)
    now = timedelta(0)
    space.files.vacuum(now, grace=now)
    assert opened.search(vectors[8100], 3).ids.tolist() == found, "what it has open stays"
    with pytest.raises(UnknownVersion, match=f"version {late.version} was vacuumed while it was open"):
        late.search(vectors[8100], 3)
    assert late.get("i0").num_rows == 1, "rows are held from the start"
    assert late.refresh().search(vectors[8100], 3).shortfall == 0
