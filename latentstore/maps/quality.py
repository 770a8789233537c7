"""How far a map can be trusted: what of the neighbourhoods, the order of distances and the classes it kept.

Sources: Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001 (trustworthiness,
continuity);
Wang, Huang, Rudin, Shaposhnik, "Understanding how dimension reduction tools work", JMLR 22, 2021 (triplets).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid, ShapeMismatch
from latentstore.maps.nearest import smallest, squared_distances
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64, Num

_TRIPLETS = 25  # per query
_CELLS = 1_000_000  # distances looked at together: they are read a dozen times, so they should stay in the cache


def quality(
    latents: Num[Array, "n d"],
    coordinates: Num[Array, "n dim"],
    labels: Sequence[Any] | Array | None = None,
    *,
    k: int = 10,
    sample: int | None = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Measure a map against the latents it shows.

    Args:
        latents: Shape (n, d).
        coordinates: Shape (n, dim), the same items in the same order.
        labels: One per item, None where an item has none; adds the two accuracies.
        k: Neighbours.
        sample: This many items ask, all n answer: O(sample · n). None: all ask.
        seed: Of the sample and the triplets.

    Returns:
        Each from 0 to 1, larger is better:
        `trustworthiness`: neighbours on the map are near in the space;
        `continuity`: neighbours in the space are near on the map;
        `neighbour_preservation`: share of the k nearest that are the same;
        `triplet_accuracy`: share of random triplets i, j, l whose nearer pair is the same (chance is 0.5);
        and with labels `map_knn_accuracy` and `latent_knn_accuracy`: majority of the k nearest, the item left out.

    Raises:
        ShapeMismatch: Different numbers of latents, coordinates and labels.
        ConfigInvalid: k is not from 1 to below n / 2, where the measures are defined, or sample < 1.
    """
    spaces = [np.asarray(latents, np.float64), np.asarray(coordinates, np.float64)]
    n = len(spaces[0])
    if any(space.ndim != 2 or len(space) != n for space in spaces):
        raise ShapeMismatch(f"latents {spaces[0].shape} and coordinates {spaces[1].shape} need the same number of rows")
    if labels is not None and len(labels) != n:
        raise ShapeMismatch(f"{len(labels)} labels for {n} latents; give one per latent, None where there is none")
    if not 1 <= k < n / 2:
        raise ConfigInvalid(f"k={k!r} must be at least 1 and below half of the {n} latents")
    if sample is not None and sample < 1:
        raise ConfigInvalid(f"sample={sample!r} must be at least 1; None asks from every latent")
    rng = np.random.default_rng(seed)
    queries = np.arange(n) if sample is None or sample >= n else np.sort(rng.choice(n, sample, replace=False))
    codes = None if labels is None else _codes(labels)
    intrusions = extrusions = 0.0
    kept = ordered = triplets = 0
    votes: list[list[Bool[Array, " _"]]] = [[], []]
    drawn = rng.integers(0, n - 1, (2, len(queries), _TRIPLETS))
    chunks = (squared_distances(space[queries], space, cells=_CELLS) for space in spaces)
    for (part, far), (_, far_on_map) in zip(*chunks, strict=True):
        asking = queries[part]
        own = np.arange(len(asking))
        pairs = drawn[:, part]
        pairs += pairs >= asking[:, None]  # never the query itself
        j, l = pairs  # noqa: E741 -- triplet (i, j, l) as in the docstring
        differ = (j != l) & (far[own[:, None], j] != far[own[:, None], l])
        same = (far[own[:, None], j] < far[own[:, None], l]) == (
            far_on_map[own[:, None], j] < far_on_map[own[:, None], l]
        )
        ordered, triplets = ordered + int((same & differ).sum()), triplets + int(differ.sum())
        for distances in (far, far_on_map):
            distances[own, asking] = np.inf
        near, near_on_map = smallest(far, k), smallest(far_on_map, k)
        kept += int((near[:, :, None] == near_on_map[:, None, :]).sum())
        intrusions += _excess_rank(far, near_on_map)
        extrusions += _excess_rank(far_on_map, near)
        if codes is not None:
            votes[0].append(_correct(codes, asking, near_on_map))
            votes[1].append(_correct(codes, asking, near))
    # The largest possible sum of excess ranks makes 1 (Venna and Kaski, eq. 1).
    scale = 2 / (len(queries) * k * (2 * n - 3 * k - 1))
    measured = {
        "trustworthiness": 1 - scale * intrusions,
        "continuity": 1 - scale * extrusions,
        "neighbour_preservation": kept / (len(queries) * k),
        "triplet_accuracy": ordered / triplets if triplets else 1.0,
    }
    if codes is not None:
        for name, correct in zip(("map_knn_accuracy", "latent_knn_accuracy"), votes, strict=True):
            answered = np.concatenate(correct)
            measured[name] = float(answered.mean()) if len(answered) else 0.0
    return {name: float(value) for name, value in measured.items()}


def _excess_rank(distances: Float64[Array, "m n"], others: Int64[Array, "m k"]) -> float:
    """Σ max(0, rank − k) of the named points, rank 1 is the nearest."""
    k = others.shape[1]
    reach = np.take_along_axis(distances, others, axis=1)
    closer = np.stack([(distances < reach[:, i, None]).sum(axis=1) for i in range(k)], axis=1)
    return float(np.maximum(closer + 1 - k, 0).sum())


def _codes(labels: Sequence[Any] | Array) -> Int64[Array, " n"]:
    """Labels as numbers in sorted order of their text; −1 for None."""
    texts = [None if label is None else str(label) for label in labels]
    number = {text: i for i, text in enumerate(sorted({text for text in texts if text is not None}))}
    return np.array([-1 if text is None else number[text] for text in texts], np.int64)


def _correct(codes: Int64[Array, " n"], queries: Int64[Array, " m"], nearest: Int64[Array, "m k"]) -> Bool[Array, " _"]:
    """For each query that has a label: whether the majority of its labelled neighbours has it, the first of a tie."""
    asking = codes[queries] >= 0
    voters = codes[nearest[asking]]
    counts = np.zeros((len(voters), codes.max(initial=0) + 2), np.int64)  # the last column takes those without a label
    np.add.at(counts, (np.arange(len(voters))[:, None], voters), 1)
    counts[:, -1] = 0
    correct: Array = counts.argmax(axis=1) == codes[queries[asking]]
    return correct & counts.any(axis=1)
