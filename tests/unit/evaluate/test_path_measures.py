"""Measures of interpolation where they are known: a linear decoder, and moons that the straight line leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import ConfigInvalid, InputError
from latentstore.evaluate import path_metrics
from latentstore.evaluate.paths import WALKS, cross_pairs
from latentstore.geometry import slerp
from latentstore.space import EmbeddingSpace


@pytest.fixture
def moon(tmp_path: Path) -> EmbeddingSpace:
    """A thin half circle whose left half has another label than its right."""
    angle = np.random.default_rng(0).uniform(0, np.pi, 1500)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.01 * np.random.default_rng(1).normal(size=(1500, 2))
    space = ls.open(tmp_path / "m.store").create_space("moon", dim=2)
    sides = pa.table({"label": np.where(angle > np.pi / 2, "left", "right"), "one": ["same"] * 1500})
    space.add([str(i) for i in range(1500)], vectors, sides)
    return space


def test_the_graph_is_realistic_where_the_line_is_not(moon: EmbeddingSpace) -> None:
    found = {one.name: one for one in path_metrics(moon, pairs=60)}
    assert list(found) == [name for name in WALKS if name != "geodesic"]  # no decoder
    assert all(one.energy is None and one.length is None for one in found.values())
    assert found["graph"].realistic > 0.9
    assert found["graph"].even == 1
    assert found["lerp"].realistic < 0.3
    assert found["slerp"].realistic > found["lerp"].realistic  # the moon is about the origin
    assert found["lerp"].evenness == pytest.approx(1, rel=1e-4)


def test_a_realistic_frame_is_one_that_95_percent_of_the_items_are(moon: EmbeddingSpace) -> None:
    rows = cross_pairs(moon, 60, "label", None, 0)
    a, b = (moon.snapshot.vectors(rows[:, side]) for side in (0, 1))
    frames = slerp(a, b, np.linspace(0, 1, 9))[:, 1:-1].reshape(-1, 2)
    share = float((moon.realism(frames) >= 0.05).mean())
    measured = next(one for one in path_metrics(moon, pairs=60) if one.name == "slerp")
    assert measured.realistic == pytest.approx(share, abs=1e-9)
    everyone = moon.realism(moon.snapshot.vectors(moon.snapshot.live_rows()))
    assert (everyone >= 0.05).mean() == pytest.approx(0.95, abs=0.02)


def test_pairs_are_of_two_labels_and_the_seed_repeats_them(moon: EmbeddingSpace) -> None:
    rows = cross_pairs(moon, 300, "label", None, 7)
    labels = np.array(moon.snapshot.columns(moon.snapshot.live_rows(), ["label"])["label"].to_pylist())
    assert rows.shape == (300, 2)
    assert (labels[rows[:, 0]] != labels[rows[:, 1]]).all()
    assert np.array_equal(rows, cross_pairs(moon, 300, "label", None, 7))
    assert not np.array_equal(rows, cross_pairs(moon, 300, "label", None, 8))


def test_a_label_that_one_item_has_is_paired_too(moon: EmbeddingSpace) -> None:
    moon.update(["7"], {"label": ["rare"]})
    rows = cross_pairs(moon, 2000, "label", "label in ('left', 'rare')", 0)
    rare = moon.snapshot.find(["7"])[0]
    assert (rows == rare).any(axis=1).all(), "no two others differ"
    assert not (rows == rare).all(axis=1).any()


def test_a_way_that_cannot_be_gone_is_said_and_left_out(moon: EmbeddingSpace) -> None:
    moon.upsert([str(i) for i in range(1500)], np.where(np.arange(1500) % 2, 1, -1)[:, None] * [[1.0, 0.0]],
                {"label": np.where(np.arange(1500) % 2, "right", "left"), "one": ["same"] * 1500})  # fmt: skip
    with pytest.raises(InputError, match="opposite directions"):
        path_metrics(moon, pairs=20)
    told: dict[str, str] = {}
    found = path_metrics(moon, pairs=20, unwalkable=lambda name, error: told.update({name: str(error)}))
    assert list(told) == ["slerp"] and "opposite directions" in told["slerp"]
    assert "slerp" not in [one.name for one in found] and "lerp" in [one.name for one in found]


def test_mistakes_are_refused(moon: EmbeddingSpace) -> None:
    with pytest.raises(InputError, match="one value of 'one'"):
        path_metrics(moon, column="one")
    with pytest.raises(ConfigInvalid, match="did you mean 'label'"):
        path_metrics(moon, column="labels")
    with pytest.raises(InputError, match="0 pairs"):
        path_metrics(moon, pairs=0)
    with pytest.raises(InputError, match="of 2 steps"):
        path_metrics(moon, steps=2)
