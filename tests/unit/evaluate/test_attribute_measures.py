"""What is measured of attributes, on planted data whose edits, pairs and labels are known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.encoders import train
from latentstore.errors import InputError, UnknownAttribute
from latentstore.evaluate import (
    Verdicts,
    counterfactual_metrics,
    edit_measures,
    erasure_metrics,
    judgeable,
    pair_aucs,
    undo_error,
)

D, N = 5, 1200
LABELS = np.array(["flat", "high", "near"])


class Truth:
    """Judges decoded items by the pixels that made them, as an independent classifier would that is always right."""

    names = {"label": ["flat", "high"], "hat": [False, True]}  # noqa: RUF012

    def predict(self, items, column):
        pixel = items.reshape(len(items), -1)[:, 0 if column == "label" else 1]
        found = np.where(pixel > 0.5, *(("high", "flat") if column == "label" else (True, False)))
        return found.astype(object)


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


def test_edits_are_judged_by_what_is_decoded(space):
    found = {one.strength: one for one in edit_measures(space, Verdicts(space, Truth(), []), "tall", items=100)}
    assert [one.column for one in found.values()] == ["label"] * 5
    assert all(one.judged and one.items == 100 for one in found.values())
    assert (found[0.0].success, found[1.0].success) == (0.0, 1.0)
    assert found[0.0].flipped == {"hat": 0.0}
    # the plain mean difference takes .6 of a hat along: pixel 1 rises by .42 s, and is above .5 from about s = .9
    assert found[2.0].flipped["hat"] > 0.7
    balanced = {one.strength: one for one in edit_measures(space, Verdicts(space, Truth(), []), "tall_only", items=100)}
    assert balanced[1.0].success == 1.0
    assert balanced[1.5].flipped["hat"] == 0.0, "what balancing is for"
    start = space.snapshot.vectors(np.intersect1d(space.matching("label = 'flat'"), space.snapshot.live_rows()))
    assert found[0.0].realism == pytest.approx(np.median(space.realism(start)), abs=0.1)
    assert found[2.0].realistic < 0.5 < found[0.0].realistic
    assert found[2.0].settled_realistic >= found[2.0].realistic


def test_edits_choose_the_column_that_the_groups_differ_in_and_the_rows_asked_for(space):
    judge = Verdicts(space, Truth(), [])
    (one,) = edit_measures(space, judge, "hatted", strengths=[1.0], among=space.matching("label = 'flat'"), items=50)
    assert (one.column, set(one.flipped)) == ("hat", {"label"})
    assert edit_measures(space, judge, "hatted", among=space.matching("hat"), items=50) == []
    assert judgeable(space) == ["tall", "tall_only", "hatted"]
    for name, message in (("some", "not fitted with two predicates"), ("pc1", "predicates"), ("tal", "did you mean")):
        with pytest.raises(UnknownAttribute, match=message):
            edit_measures(space, judge, name)


def test_without_a_judge_neighbours_vote(space):
    votes = Verdicts(space, None, ["label"])
    assert not votes.judged
    centres = np.stack([space.snapshot.vectors(space.matching(f"label = '{one}'")).mean(0) for one in ("flat", "high")])
    assert votes.of(centres)["label"].tolist() == ["flat", "high"]
    found = edit_measures(space, votes, "tall", strengths=[0.0, 1.0], items=60)
    assert [one.success for one in found] == [0.0, 1.0]
    assert not found[0].judged
    assert edit_measures(space, Verdicts(space, None, []), "tall") == []


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
    found = counterfactual_metrics(apart, Verdicts(apart, None, ["label"]), items=30)
    assert found["counterfactual_solved"] > 0.5
    assert found["counterfactual_length"] > 0
    sure = counterfactual_metrics(space, Verdicts(space, Truth(), []), items=20, confidence=0.999)
    assert sure["counterfactual_solved"] == 1.0
    assert sure["counterfactual_success"] == 1.0
    assert 0.5 < sure["counterfactual_length"] < 2  # there the labels' means are what parts them


def test_undoing_is_exact_to_rounding(space, apart):
    error = undo_error(space, chains=50)
    assert 0 < error < 1e-5
    assert error == undo_error(space, chains=50)
    with pytest.raises(UnknownAttribute, match="no attribute to move along"):
        undo_error(apart)
