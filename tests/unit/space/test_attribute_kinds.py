"""Attributes of every kind in a space: what is stored, read again, leaked, repaired, refused; kinds, erasure."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.encoders import train
from latentstore.errors import (
    ConfigInvalid,
    FilterRefused,
    InputError,
    NotSupported,
    UnknownAttribute,
    UnknownItem,
    UnknownLabel,
)
from latentstore.space.concepts import concept_record
from tests.unit.space.faces import D, N, filled, fit, unit


@pytest.fixture
def store(tmp_path):
    return ls.open(tmp_path / "s.store")


@pytest.fixture
def space(store):
    return filled(store)


def test_balanced_and_conditional_leave_the_hat_alone_where_the_mean_difference_does_not(space):
    fit(space, "hat", "hat", "not hat", method="balanced", balance=["smile"])
    plain = fit(space)
    equal = fit(space, "equal", method="balanced", balance=["hat"])
    apart = fit(space, "apart", method="conditional", orthogonal_to=["hat"])
    leaked = {(r["attribute"], r["other"]): r["effect"] for r in space.leakage().to_pylist()}
    assert abs(plain["vector"][1]) > 3, "control"
    assert leaked["smile", "hat"] > 0.5, "control"
    assert abs(equal["vector"][1]) < 0.2
    assert abs(leaked["equal", "hat"]) < 0.05
    assert leaked["apart", "hat"] == pytest.approx(0, abs=1e-6)
    assert (equal["balance"], equal["orthogonal_to"]) == (["hat"], None)
    assert (apart["balance"], apart["orthogonal_to"]) == (None, ["hat"])
    assert len(leaked) == 4 * 3
    move = space.latent("'i0' + apart").vector - space.latent("'i0'").vector
    assert unit({"vector": space.latent("hat").vector}) @ move == pytest.approx(0, abs=1e-5)


def test_what_is_stored_says_how_far_to_trust_it(space):
    good = fit(space)
    chance = fit(space, "chance", "id like '%0'", "id like '%1'")
    assert good["stability_low"] > 0.99 > 0.9 > chance["stability"]
    assert good["p_value"] == 1 / 20 < chance["p_value"]
    bare = fit(space, "bare", resamples=0, permutations=0)
    assert (bare["stability"], bare["stability_low"], bare["p_value"]) == (None, None, None)
    assert bare["vector"] == good["vector"]


def test_lists_of_examples_are_as_good_as_a_predicate_and_refitted_by_repair(space, store):
    ids = space.snapshot.ids(space.matching("smile")).tolist()
    others = space.snapshot.ids(space.matching("not smile")).tolist()
    by_ids, by_clause = fit(space, "by_ids", ids, others), fit(space)
    assert by_ids["vector"] == by_clause["vector"]
    assert by_ids["positive"].startswith(f"id in ('{ids[0]}', '{ids[1]}', ")
    assert f"{len(ids)} ids, sha256" in by_ids["positive"]
    few = fit(space, "few", ["i0", "i1"], ["i2"])
    assert few["positive"] == "id in ('i0', 'i1')"
    assert np.isfinite(few["vector"]).all()
    record = next(r for r in space.snapshot.manifest.concepts if r.name == "attribute/by_ids")
    assert len(str(record.properties)) < 600  # a manifest is read by everybody: the ids are in a file of their own
    space.files.layout.file(record.files["parquet"].name).write_bytes(b"damaged")
    report = store.repair()
    assert any("attribute/by_ids" in one.what and "anew" in one.what for one in report.mended)
    again = next(r for r in store.space("faces").attributes.to_pylist() if r["name"] == "by_ids")
    assert again["vector"] == by_clause["vector"]


def test_directions_are_named_stored_and_have_the_units_of_the_data(space, store):
    version = space.version
    assert space.fit_directions("principal", count=3, resamples=10) == version + 1
    rows = {row["name"]: row for row in space.attributes.to_pylist()}
    assert list(rows) == ["pc1", "pc2", "pc3"]
    x = space.snapshot.vectors(space.snapshot.live_rows()).astype(float)
    axes = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    for k, row in enumerate(rows.values()):
        assert abs(unit(row) @ axes[k]) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(row["vector"]) == pytest.approx((x @ unit(row)).std(), rel=1e-4)
        assert (row["auc"], row["p_value"], row["negatives"]) == (None, None, None)
        assert row["stability"] > 0.9
    moved = space.latent("'i3' + 2 * pc1").vector - space.latent("'i3'").vector
    assert np.allclose(moved, 2 * np.array(rows["pc1"]["vector"]), atol=1e-5)
    space.fit_directions("principal", count=1, name="of_b_", where="label = 'b'", resamples=0)
    of_b = next(row for row in space.attributes.to_pylist() if row["name"] == "of_b_1")
    b = space.snapshot.vectors(space.matching("label = 'b'")).astype(float)
    axis = np.linalg.svd(b - b.mean(0), full_matrices=False)[2][0]
    assert abs(unit(of_b) @ axis) == pytest.approx(1, abs=1e-5)
    assert abs(unit(of_b) @ axes[0]) < 0.99, "control"
    assert of_b["positive"] == "label = 'b'"
    record = next(r for r in space.snapshot.manifest.concepts if r.name == "attribute/pc2")
    space.files.layout.file(record.files["parquet"].name).write_bytes(b"damaged")
    store.repair()
    again = next(r for r in store.space("faces").attributes.to_pylist() if r["name"] == "pc2")
    assert again["vector"] == rows["pc2"]["vector"]


def test_sensitive_directions_are_the_singular_vectors_of_a_linear_decoder(store):
    """PCA decodes by orthonormal axes, so all directions are alike; scaled, the decoder listens to the largest."""
    rng = np.random.default_rng(1)
    items = rng.normal(size=(400, 8)) * [5, 3, 2, 1, 1, 1, 1, 1]
    encoder, _ = train("pca", items.astype(np.float32), dim=3)
    space = store.create_space("linear", dim=3, encoder=store.add_encoder(encoder, {}))
    space.add([f"i{i}" for i in range(400)], encoder.encode(items.astype(np.float32)))
    space.fit_directions("sensitive", count=3, resamples=20)
    rows = space.attributes.to_pylist()
    zero = encoder.decode(np.zeros((1, 3), np.float32))[0]
    jacobian = (encoder.decode(np.eye(3, dtype=np.float32)) - zero).T  # of a linear map
    values = np.sort(np.linalg.svd(jacobian)[1] ** 2)[::-1]
    # 4,096 probes: a share is off by about √(2/4096)
    np.testing.assert_allclose([row["share"] for row in rows], values / values.sum(), atol=0.05)
    with pytest.raises(NotSupported, match="use 'principal'"):
        filled(store).fit_directions("sensitive")


def test_an_old_store_is_read_with_nulls(space):
    """As the release before wrote them: without the columns and properties that came since."""
    row = {"name": "old", "method": "mean_difference", "positive": "smile", "negative": "not smile", "positives": 2,
           "negatives": 3, "auc": 0.9, "accuracy": 0.8, "midpoint": 1.0, "seed": 0, "version": 1}  # fmt: skip
    columns = {key: [value] for key, value in row.items()}
    table = pa.table({**columns, "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.eye(D)[0], pa.float32()), D)})
    told = {"positive": "smile", "negative": "not smile", "method": "mean_difference", "seed": 0}
    record = concept_record(space, "attribute/old", "attribute", table, told)
    space.files.put_artefacts(space.version, concepts=[record])
    space.refresh()
    fit(space)
    old, new = space.attributes.to_pylist()
    assert (old["auc"], old["stability"], old["p_value"], old["balance"]) == (0.9, None, None, None)
    assert new["stability"] is not None
    assert np.array_equal(space.latent("old").vector, np.eye(D)[0])
    written = pq.read_schema(io.BytesIO(space.snapshot.read(record.files["parquet"])))
    assert "stability" not in written.names, "control: it really is an old file"


def test_sql_has_the_leakage(space, store):
    fit(space)
    fit(space, "hat", "hat", "not hat")
    found = store.sql("SELECT * FROM faces.leakage ORDER BY attribute", sandbox=False).to_pylist()
    assert found == sorted(space.leakage().to_pylist(), key=lambda row: row["attribute"])
    assert [row["attribute"] for row in found] == ["hat", "smile"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: fit(s, method="balanced"), ConfigInvalid, "name some in balance"),
        (lambda s: fit(s, balance=["hat"]), ConfigInvalid, "use method='balanced'"),
        (lambda s: fit(s, balance="hat", method="balanced"), ConfigInvalid, "pass a list of names"),
        (lambda s: fit(s, method="balanced", balance=["hut"]), ConfigInvalid, "did you mean 'hat'"),
        (lambda s: fit(s, method="balanced", balance=["smile"]), InputError, "balance fewer columns"),
        (lambda s: fit(s, method="conditional"), ConfigInvalid, "name some in orthogonal_to"),
        (lambda s: fit(s, method="conditional", orthogonal_to=["hat"]), UnknownAttribute, "cannot be orthogonal to"),
        (lambda s: fit(s, method="principal"), ConfigInvalid, "fit_directions"),
        (lambda s: fit(s, positive=["i0", "nobody"]), UnknownItem, "nobody"),
        (lambda s: fit(s, positive=[]), InputError, "list of examples is empty"),
        (lambda s: fit(s, positive=["i0"], negative=["i1", "i0"]), InputError, "match both"),
        (lambda s: fit(s, resamples=-1), InputError, "resamples is -1"),
        (lambda s: s.fit_directions("pca"), ConfigInvalid, "principal"),
        (lambda s: s.fit_directions(count=7), InputError, "count is 7 in 6 dimensions"),
        (lambda s: s.fit_directions(where="label = 'x'"), InputError, "0 items match"),
        (lambda s: s.fit_directions(name="x" * 200), ConfigInvalid, "200 characters"),
        (lambda s: s.subclusters("label = 'x'"), InputError, "0 items match"),
        (lambda s: s.subclusters("lable = 'x'"), FilterRefused, "did you mean 'label'"),
        (lambda s: s.subclusters("smile", 1), InputError, "count is 1"),
        (lambda s: s.erase("label = 'x'"), InputError, "nothing to erase"),
        (lambda s: s.erase("lable"), FilterRefused, "lable"),
        (lambda s: s.erase("label", where="label = 'a'"), InputError, "the same for all"),
        (lambda s: s.erase("id"), FilterRefused, "not true or false"),
        (lambda s: s.counterfactual("'i0'", label="x"), UnknownLabel, "known"),
        (lambda s: s.counterfactual("'i0'", label="a", column="lable"), ConfigInvalid, "did you mean 'label'"),
        (lambda s: s.counterfactual("'i0'", label="a", confidence=1.0), InputError, "confidence is 1"),
        (lambda s: s.counterfactual("'nobody'", label="a"), UnknownItem, "nobody"),
    ],
)
def test_bad_input_says_what_and_changes_nothing(space, call, error, message):
    before = space.version
    with pytest.raises(error, match=message):
        call(space)
    assert space.files.newest_version() == before


# Kinds, erasure, counterfactuals


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_kinds_inside_a_class_are_found_and_told_apart_by_an_attribute(store, metric):
    space = filled(store, metric=metric)
    found = space.subclusters("label = 'b'", 2 if metric == "cosine" else None)
    if metric != "cosine":  # unit vectors part by hat and smile as well
        truth = space.get(found[1].ids.tolist(), ["kind"])["kind"].to_pylist()
        assert len(found) >= 2
        assert sum(map(len, found)) == len(space.matching("label = 'b'"))
        assert set(truth) <= {True, False}
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    table = found.to_arrow().to_pylist()
    assert [row["items"] for row in table] == [len(one) for one in found]
    assert sum(row["share"] for row in table) == pytest.approx(1)
    assert found[0].medoid == found[0].exemplars[0] == table[0]["medoid"]
    row = fit(space, "kind", found[0].ids.tolist(), found[1].ids.tolist())
    assert row["auc"] > 0.95


def test_the_medoid_and_the_spread_are_those_of_the_members(space):
    part = space.subclusters("label = 'b'", 3)[0]
    x = space.snapshot.vectors(space.rows_of(part.ids.tolist())).astype(float)
    assert np.allclose(part.centre, x.mean(0), atol=1e-5)
    assert part.spread == pytest.approx(np.sqrt(np.square(x - x.mean(0)).sum(1).mean()), rel=1e-5)
    total = [np.square(x - one).sum() for one in x]
    assert int(np.argmin(total)) == 0  # the first id is the medoid


@pytest.mark.parametrize("by", ["label", "hat", "smile or hat", "size"])
def test_what_is_erased_has_no_trace_in_the_means(space, by):
    eraser = space.erase(by)
    x = space.snapshot.vectors(space.snapshot.live_rows())
    values = np.array(space.to_arrow()["label" if by == "label" else "size" if by == "size" else "hat"].to_pylist())
    if by == "smile or hat":
        values = np.isin(space.snapshot.live_rows(), space.matching(by))
    erased = eraser.apply(x).astype(float)
    if by == "size":
        correlation = np.abs(((erased - erased.mean(0)) * (values - values.mean())[:, None]).mean(0))
        before = np.abs(((x - x.mean(0)) * (values - values.mean())[:, None]).mean(0))
    else:
        correlation, before = (
            np.ptp([one[values == value].mean(0) for value in np.unique(values)], axis=0) for one in (erased, x)
        )
    assert before.max() > 0.1, "control"
    np.testing.assert_allclose(correlation, 0, atol=1e-5)
    assert eraser.rank == (2 if by == "label" else 1)


def test_an_erased_space_is_searched_and_does_not_mix(space, store):
    made = store.create_erased_space("blind", "faces", "label", where="id like '%1'")
    eraser = space.erase("label", where="id like '%1'")
    assert (len(made), made.columns, made.fingerprint) == (N, space.columns, None)
    expected = eraser.apply(space.latent("'i7'").vector)
    assert np.allclose(made.latent("'i7'").vector, expected, atol=1e-6)
    assert made.search("'i7'", 1).ids[0] == "i7"
    assert made.get("i7").to_pylist()[0]["label"] == space.get("i7").to_pylist()[0]["label"]
    with pytest.raises(ls.errors.SpaceMismatch):
        made.latent("'i7'") + space.latent("'i7'")
    with pytest.raises(ls.errors.AlreadyExists):
        store.create_erased_space("blind", "faces", "label")
    with pytest.raises(InputError, match="nothing to erase"):
        store.create_erased_space("other", "faces", "label = 'x'")
    assert store.spaces == ["blind", "faces"]


def test_nulls_are_erased_like_all_but_not_fitted_to(store):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 3))
    label = np.where(rng.random(200) < 0.5, "a", "b").astype(object)
    x[label == "a", 0] += 4
    label[:50] = None
    space = store.create_space("gaps", dim=3)
    space.add([f"i{i}" for i in range(200)], x, pa.table({"label": pa.array(label, pa.string())}))
    eraser = space.erase("label")
    kept = eraser.apply(x[50:].astype(np.float32))
    means = [kept[label[50:] == one].mean(0) for one in "ab"]
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)


def test_a_counterfactual_is_the_smallest_move_of_the_classifier_it_names(space):
    one = space.snapshot.ids(space.matching("label = 'a'"))[0]
    found = space.counterfactual(f"'{one}'", label="c", confidence=0.95)
    assert found.before == "a"
    classifier = space.latent_classifier("label")
    c = [str(name) for name in classifier.model.names].index("c")
    assert classifier.accuracy > 0.95
    assert found.confidence == pytest.approx(0.95, abs=1e-4)
    assert classifier.model.probabilities(found.latent.vector[None])[0, c] == pytest.approx(0.95, abs=1e-3)
    assert found.length == pytest.approx(np.linalg.norm(found.latent.vector - found.start.vector), rel=1e-4)
    assert space.get(found.nearest, ["label"])["label"].to_pylist() == ["c"]
    rows = space.matching("label = 'c'")
    far = np.linalg.norm(space.snapshot.vectors(rows) - found.latent.vector, axis=1)
    assert found.distance == pytest.approx(far.min(), rel=1e-4)
    b = [str(name) for name in classifier.model.names].index(found.before)
    assert found.relative == pytest.approx(
        found.length / np.linalg.norm(classifier.means[c] - classifier.means[b]), rel=1e-6
    )
    assert found.residual <= 1e-8
    rng = np.random.default_rng(0)
    for _ in range(200):  # no latent at .98 of the length is called so
        step = found.latent.vector - found.start.vector + 0.5 * rng.normal(size=D)
        other = found.start.vector + 0.98 * found.length * step / np.linalg.norm(step)
        assert classifier.model.probabilities(other[None])[0, c] < 0.95
    same = space.counterfactual(found.latent, label="c", confidence=0.9)
    assert (same.length, same.before) == (0.0, "c")
