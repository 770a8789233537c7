"""Chains of attributes: the same in any order, undone exactly; and what is said of where they lead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import latentstore as ls
from latentstore.errors import (
    InputError,
    NotSupported,
)
from tests.unit.space.faces import D, filled, fit


@pytest.fixture
def store(tmp_path):
    return ls.open(tmp_path / "s.store")


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    space = filled(ls.open(tmp_path_factory.mktemp("chains") / "s.store"))
    fit(space)
    fit(space, "hat", "hat", "not hat")
    space.fit_directions(count=2, resamples=0)
    return space


moves = st.lists(
    st.tuples(st.sampled_from(["smile", "hat", "pc1", "pc2"]), st.floats(-3, 3, allow_nan=False)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves, st.randoms(use_true_random=False))
def test_a_chain_is_the_same_in_any_order_and_undone_exactly(chained, chain, random):
    start = chained.latent("'i5'")
    there = start
    for name, strength in chain:
        there = there + strength * chained.latent(name)
    shuffled = list(chain)
    random.shuffle(shuffled)
    other = start
    for name, strength in shuffled:
        other = other + strength * chained.latent(name)
    assert np.array_equal(other.vector, there.vector)
    written = [chained.latent("'i5'" + "".join(f" + {s!r} * {n}" for n, s in one)) for one in (chain, shuffled)]
    assert np.allclose(written[0].vector, written[1].vector, atol=1e-5)
    assert np.allclose(written[0].vector, there.vector, atol=1e-5)
    by_hand = start.vector + sum(s * chained.latent(n).vector.astype(float) for n, s in chain)
    assert np.allclose(there.vector, by_hand, atol=1e-5 * (1 + abs(by_hand).max()))
    back = there
    for name, strength in shuffled:
        back = back - strength * chained.latent(name)
    assert np.array_equal(back.vector, start.vector)
    assert all(weight == 0 for atom, weight in back.expression.terms[1:])
    # the same with plain vectors, rounded to float32 after each move
    plain = chained.latent(start.vector)
    for name, strength in chain:
        plain = plain + strength * chained.latent(chained.latent(name).vector)
    assert np.allclose(plain.vector, there.vector, atol=1e-5)
    for name, strength in shuffled:
        plain = plain - strength * chained.latent(chained.latent(name).vector)
    assert np.allclose(plain.vector, start.vector, atol=1e-5)


def test_weights_that_floats_would_leave_over_cancel(chained):
    assert 0.1 + 0.2 - 0.1 - 0.2 != 0, "control"
    smile = chained.latent("smile")
    left = chained.latent("'i5'") + 0.1 * smile + 0.2 * smile - 0.1 * smile - 0.2 * smile
    assert [weight for _, weight in left.expression.terms] == [1.0, 0.0]
    third = (chained.latent("'i5'") + smile / 3) * 3 - smile - 2 * chained.latent("'i5'")
    assert np.array_equal(third.vector, chained.latent("'i5'").vector)
    with pytest.raises(InputError, match="multiplied by nan"):
        smile * float("nan")
    with pytest.raises(InputError, match="beyond float32"):
        smile * 1e300


def test_steps_lead_from_the_points_to_the_end(chained):
    latent = chained.latent("1.5 * smile + ('i5' + 'i6') / 2 - hat")
    steps = latent.steps()
    assert [words for words, _ in steps] == ["0.5 * 'i5' + 0.5 * 'i6'", "+ 1.5 * smile", "- hat"]
    assert np.allclose(steps[0][1].vector, chained.latent("('i5' + 'i6') / 2").vector)
    assert np.allclose(steps[1][1].vector, chained.latent("('i5' + 'i6') / 2 + 1.5 * smile").vector)
    assert np.allclose(steps[-1][1].vector, latent.vector, atol=1e-6)
    assert [words for words, _ in chained.latent("smile - hat").steps()] == ["smile", "- hat"]
    assert len(chained.latent("'i5'").steps()) == len(chained.latent(np.zeros(D)).steps()) == 1


def test_a_report_says_when_a_latent_left_the_data(chained):
    inside, outside = chained.latent("'i5'").report(), chained.latent("'i5' + 40 * smile").report()
    assert (inside.nearest, inside.distance, inside.left_data) == ("i5", 0.0, False)
    assert inside.label == chained.get("i5")["label"].to_pylist()[0]
    assert f"realism {inside.realism:.2f}: within the data, beyond " in str(inside)
    assert f"nearest to i5 ({inside.label})" in str(inside)
    assert outside.realism == 0
    assert outside.left_data
    assert str(outside).startswith("realism 0.00: beyond all of the data; nearest to ")
    rims = [chained.latent("'i5'").report().__class__(r, "i5", 0.0, None) for r in (0.01, 0.004, 0.3)]
    assert [str(one).split(";")[0] for one in rims] == [
        "realism 0.01: beyond 99 % of the data",
        "realism 0.00: beyond 99 % of the data",
        "realism 0.30: within the data, beyond 70 % of it",
    ]


def test_a_space_of_few_items_reports_what_it_can(store):
    few = store.create_space("few", dim=2)
    with pytest.raises(NotSupported, match="no items"):
        few.latent([0.0, 0]).report()
    few.add(["a"], [[1.0, 0]])
    assert str(few.latent([0.0, 0]).report()) == "too few items to say how real; nearest to a"
