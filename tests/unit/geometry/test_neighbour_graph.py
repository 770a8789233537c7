"""A ring, two moons and random graphs, where shortest paths are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import floyd_warshall

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import NeighbourGraph, lerp, pairwise_distances, polyline_length, resample


def joined(points: np.ndarray, k: int, **options: object) -> NeighbourGraph:
    nearest = pairwise_distances(points, points).argsort(axis=1)[:, : k + 1]
    return NeighbourGraph.join(points.astype(np.float32), nearest, **options)


def ring(n: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_on_a_ring_the_shortest_path_goes_round_the_shorter_side():
    graph = joined(ring(100), 2)
    (walk,) = graph.shortest(np.array([0]), np.array([30]))
    assert walk.tolist() == list(range(31))
    assert polyline_length(graph.nodes[walk]) == pytest.approx(30 * 2 * np.sin(np.pi / 100), rel=1e-6)
    (back,) = graph.shortest(np.array([0]), np.array([80]))
    assert back.tolist() == [0, *range(99, 79, -1)]
    assert graph.bridges == 0


def test_a_walk_between_the_tips_of_a_moon_stays_on_it():
    angle = np.random.default_rng(0).uniform(0, np.pi, 600)
    moons = np.concatenate([
        np.stack([np.cos(angle), np.sin(angle)], axis=1), np.stack([1 - np.cos(angle), 0.4 - np.sin(angle)], axis=1)
    ])  # fmt: skip
    graph = joined(moons, 6)
    ends = np.array([[-1.0, 0]], np.float32), np.array([[1.0, 0]], np.float32)
    (line,) = graph.polylines(*ends)
    frames = resample(line, 30)
    off = pairwise_distances(frames, moons).min(axis=1)
    assert off.max() < 0.03
    straight = lerp(ends[0][0], ends[1][0], np.linspace(0, 1, 30))
    assert pairwise_distances(straight, moons).min(axis=1).max() > 0.3, "control: the straight line leaves the moon"
    assert (frames[[0, -1]] == np.concatenate(ends)).all()


def test_lengths_are_those_of_every_other_algorithm():
    points = np.random.default_rng(1).normal(size=(80, 3))
    graph = joined(points, 4)
    truth = floyd_warshall(graph.edges, directed=False)
    starts, ends = np.random.default_rng(2).integers(0, len(graph.nodes), (2, 300))
    for start, end, walk in zip(starts, ends, graph.shortest(starts, ends), strict=True):
        assert (walk[0], walk[-1]) == (start, end)
        assert polyline_length(graph.nodes[walk]) == pytest.approx(truth[start, end], rel=1e-5)


def test_what_is_left_out_is_on_no_path():
    points = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [1, 0.9], [2, 0.9]])
    assert joined(points, 3).shortest(np.array([0]), np.array([3]))[0].tolist() != [0, 4, 5, 3], "control"
    graph = joined(points, 3, leave_out=np.arange(6) == 1)
    assert 1 not in graph.positions
    line = graph.polylines(points[[0]].astype(np.float32), points[[3]].astype(np.float32))[0]
    assert not (line == points[1]).all(axis=1).any()


def test_parts_are_bridged_where_they_are_nearest():
    generator = np.random.default_rng(3)
    left, right = generator.uniform(0, 1, (60, 2)), generator.uniform([5, 0], [6, 1], (40, 2))
    points = np.concatenate([left, right])
    graph = joined(points, 4)
    between = pairwise_distances(left, right)
    i, j = divmod(int(between.argmin()), 40)
    assert graph.bridges == 1
    assert graph.edges[i, 60 + j] == pytest.approx(between[i, j], rel=1e-6)
    (walk,) = graph.shortest(np.array([0]), np.array([99]))
    assert ((walk[:-1] == i) & (walk[1:] == 60 + j)).sum() == 1


def test_a_few_odd_items_are_no_part_of_their_own():
    crowd = np.random.default_rng(4).normal(size=(400, 2))
    graph = joined(np.concatenate([crowd, [[50, 50], [50, 50.1]]]), 1)
    assert not {400, 401} & set(graph.positions.tolist())


def test_twins_do_not_break_the_chain():
    points = np.repeat(np.arange(6.0)[:, None], 2, axis=0)
    graph = joined(points, 3)
    (walk,) = graph.shortest(np.array([0]), np.array([11]))
    assert polyline_length(graph.nodes[walk]) == 5


def test_nearest_by_angle_is_not_nearest_by_distance():
    graph = joined(np.array([[1.0, 0.1], [10, 0], [9, 4]]), 2)
    point = np.array([[1.0, 0]], np.float32)
    assert graph.nearest(point).tolist() == [0]
    assert graph.nearest(point, cosine=True).tolist() == [1]


def test_refusals():
    with pytest.raises(ShapeMismatch, match="3 latents with neighbours"):
        NeighbourGraph.join(np.zeros((3, 2), np.float32), np.zeros((2, 1), np.int64))
    with pytest.raises(InputError, match="none is left"):
        joined(ring(5), 2, leave_out=np.ones(5, bool))
