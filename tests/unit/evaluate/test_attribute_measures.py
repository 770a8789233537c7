"""What is measured of attributes, on planted data whose edits, pairs and labels are known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.encoders import train
from latentstore.errors import InputError, UnknownAttribute
from latentstore.evaluate import (
    Vote,
    counterfactual_metrics,
    edit_metrics,
    erasure_metrics,
    pair_aucs,
    undo_error,
)

D, N = 5, 1200
LABELS = np.array(["flat", "high", "near"])


class Truth:
    """Reads the pixels that made an item, as a classifier that is always right would."""

    names = {"hat": [False, True], "label": ["flat", "high"]}  # noqa: RUF012

    def predictions(self, items):
        label, hat = items.reshape(len(items), -1)[:, :2].T > 0.5
        return {"hat": hat.astype(object), "label": np.where(label, "high", "flat").astype(object)}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """Pixel 0 is bright in items labelled high, pixel 1 in those with a hat, who are mostly high; PCA keeps both."""
    rng = np.random.default_rng(0)
    high, hat = rng.random(N) < 0.5, np.zeros(N, bool)
    hat[:] = rng.random(N) < np.where(high, 0.8, 0.2)
    pixels = 0.1 + 0.05 * rng.random((N, 3, 3, 1))
    pixels[:, 0, 0, 0] += 0.7 * high
    pixels[:, 0, 1, 0] += 0.7 * hat
    store = ls.open(tmp_path_factory.mktemp("judged") / "s.store")
    encoder, _ = train("pca", pixels.astype(np.float32), dim=D)
    space = store.create_space("items", dim=D, encoder=store.add_encoder(encoder, {}))
    table = pa.table({"label": np.where(high, "high", "flat"), "hat": hat})
    space.add([f"i{i}" for i in range(N)], encoder.encode(pixels.astype(np.float32)), table)
    options = {"positive": "label = 'high'", "negative": "label = 'flat'", "resamples": 0, "permutations": 0}
    space.fit_attribute("tall", **options)
    space.fit_attribute("tall_only", **options, method="balanced", balance=["hat"])
    space.fit_attribute("hatted", positive="hat", negative="not hat", resamples=0, permutations=0)
    space.fit_attribute("some", positive=[f"i{i}" for i in range(9)], negative=["i20"], resamples=0, permutations=0)
    space.fit_directions(count=1, resamples=0)
    return space


def effects(space, judge=None, **options):
    found = edit_metrics(space, judge or Truth(), **{"strengths": (0.0, 1.0, 1.5, 2.0), "items": 100, **options})
    return {one.aim.attribute: one for one in found.edits}, found


def test_balanced_attributes_flip_nothing_where_plain_ones_do(space):
    edits, _ = effects(space)
    tall, only = edits["tall"], edits["tall_only"]
    assert (tall.aim.column, tall.aim.value, tall.items) == ("label", "high", 100)
    assert (tall.effects[0.0].success, tall.effects[1.0].success, only.effects[1.0].success) == (0.0, 1.0, 1.0)
    # the plain mean difference takes .6 of a hat along: pixel 1 rises by .42 s, and is above .5 from about s = .9
    assert tall.effects[2.0].flipped_by["hat"] > 0.7
    assert only.effects[1.5].flipped_by["hat"] == 0.0, "what balancing is for"


def test_settled_edits_are_real_and_still_succeed(space):
    edits, found = effects(space)
    tall, hatted = edits["tall"], edits["hatted"]
    assert tall.effects[2.0].realistic < 0.5 < tall.effects[0.0].realistic
    assert tall.effects[2.0].settled_realistic >= tall.effects[2.0].realistic
    flat = space.snapshot.vectors(space.matching("label = 'flat'"))
    moved = flat + 2 * space.latent("tall").vector
    assert tall.effects[2.0].realism == pytest.approx(np.median(space.realism(moved)), abs=0.1)
    assert tall.effects[2.0].realistic == pytest.approx((space.realism(moved) >= 0.05).mean(), abs=0.15)
    settled = space.settle(moved)
    rows = space.search(moved, 10).rows
    means = np.stack([space.snapshot.vectors(np.sort(row)).astype(float).mean(0) for row in rows])
    np.testing.assert_allclose(settled, (moved + means) / 2, atol=1e-5)
    assert tall.effects[2.0].settled_realistic == pytest.approx((space.realism(settled) >= 0.05).mean(), abs=0.15)
    metrics = found.metrics()
    for name, one in (("tall", tall), ("hatted", hatted)):
        usable = [e.settled_success for e in one.effects.values() if e.settled_realistic >= 0.93]
        assert metrics[f"edit_{name}_usable_settled"] == max(usable, default=0.0)
        assert metrics[f"edit_{name}_settled_success@1"] == one.effects[1.0].settled_success
    with pytest.raises(InputError, match="amount is -1"):
        space.settle(moved, -1)
    assert np.array_equal(space.settle(moved, 0), moved)


def test_only_the_negative_group_is_edited_and_what_has_no_predicates_is_left_out(space):
    edits, _ = effects(space)
    assert list(edits) == ["tall", "tall_only", "hatted"]  # neither the list of examples nor pc1
    bare = space.snapshot.ids(space.matching("label = 'flat' and not hat"))[:30].tolist()
    edits, _ = effects(space, ids=bare)
    assert {name: one.items for name, one in edits.items()} == {"tall": 30, "tall_only": 30, "hatted": 30}
    space.fit_attribute("tall_bare", positive="label = 'high'", negative="label = 'flat' and not hat",
                        resamples=0, permutations=0)  # fmt: skip
    try:
        hats = space.snapshot.ids(space.matching("hat"))[:50].tolist()
        told = []
        edits, _ = effects(space, ids=hats, untried=lambda name, _: told.append(name))
        assert "tall_bare" in told  # all of these are outside of its negative group
    finally:
        space.files.put_artefacts(space.version, remove=[("concepts", "attribute/tall_bare")])
        space.refresh()


def test_without_a_judge_neighbours_vote(space):
    vote = Vote(space, ["label"])
    centres = np.stack([space.snapshot.vectors(space.matching(f"label = '{one}'")).mean(0) for one in ("flat", "high")])
    assert vote.predictions_at(centres)["label"].tolist() == ["flat", "high"]
    edits, found = effects(space, vote)
    assert [one.success for one in edits["tall"].effects.values()] == [0.0, 1.0, 1.0, 1.0]
    metrics = found.metrics()
    assert metrics["vote_tall_success@1"] == 1.0
    assert not any(name.startswith(("edit_", "told_")) for name in metrics)
    assert "hatted" not in edits  # no column that is voted on tells who has a hat
    ties = Vote(space, ["hat"])
    rows = space.search(centres, 10).rows
    for row, said in zip(rows, ties.predictions_at(centres)["hat"], strict=True):
        values = space.snapshot.columns(np.sort(row), ["hat"])["hat"].to_pylist()
        assert values.count(said) >= 5


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    rng = np.random.default_rng(1)
    number = rng.integers(0, 3, 900)
    x = rng.normal(size=(900, 4)) + 8 * np.eye(3, 4)[number]
    x[number == 2] -= [0, 0, 8, 0]  # "near" lies around 0 …
    x[number == 1] *= [1, 0.02, 1, 1]  # … as "high" does: nothing parts them
    space = ls.open(tmp_path_factory.mktemp("apart") / "s.store").create_space("apart", dim=4)
    space.add([f"i{i}" for i in range(900)], x, pa.table({"label": LABELS[number], "one": ["x"] * 900}))
    return space


@pytest.mark.parametrize("method", ["logistic", "mean_difference"])
def test_pairs_of_labels_have_the_auc_of_their_attribute(apart, method):
    found = pair_aucs(apart, method=method)
    assert list(found) == [("flat", "high"), ("flat", "near"), ("high", "near")]
    assert found["flat", "high"] > 0.99
    assert abs(found["high", "near"] - 0.5) < 0.15, "control: these lie on each other"
    assert len(pair_aucs(apart, pairs=2)) == 2
    assert pair_aucs(apart, method=method, items=5)["flat", "high"] in (0.0, 1.0)  # one of each is held out
    assert pair_aucs(apart, "one") == {}
    with pytest.raises(InputError, match="unknown method"):
        pair_aucs(apart, method="best")


def test_erasure_brings_the_probe_to_the_majority(apart):
    rows = apart.snapshot.live_rows()
    found = erasure_metrics(apart, "label", rows[:600], rows[600:])
    assert found["erasure_excess"] == found["erasure_probe"] - found["erasure_majority"]
    assert abs(found["erasure_excess"]) < 0.1
    assert 0.3 < found["erasure_lost"] < 1
    with pytest.raises(InputError, match="1 values"):
        erasure_metrics(apart, "one", rows[:600], rows[600:])


def test_counterfactuals_are_counted(apart, space):
    found = counterfactual_metrics(apart, Vote(apart, ["label"]), items=30)
    assert found["counterfactual_solved"] > 0.5
    assert found["counterfactual_length"] > 0
    sure = counterfactual_metrics(space, Truth(), items=20, confidence=0.999)
    assert sure["counterfactual_solved"] == 1.0
    assert sure["counterfactual_success"] == 1.0
    assert 0.5 < sure["counterfactual_length"] < 2  # there the labels' means are what parts them


def test_undoing_is_exact_to_rounding(space, apart):
    error = undo_error(space, chains=50)
    assert 0 < error < 1e-5
    assert error == undo_error(space, chains=50)
    with pytest.raises(UnknownAttribute, match="no attribute to move along"):
        undo_error(apart)
