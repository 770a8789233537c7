"""The figures of one space: what is shown of it, chosen by seed and searched, decoded and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.evaluate import charts, pictures
from latentstore.evaluate.report import Figure

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    from latentstore.datasets import Dataset
    from latentstore.encoders import Encoder
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

NEIGHBOURS = 10
VOTERS = 10  # real neighbours that name an edited latent
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
STEPS = 9
GRID = 20


@dataclass(frozen=True, eq=False)
class Portrait:
    """Draws the figures of a space.

    Attributes:
        space: The space; it needs an encoder that decodes.
        dataset: Where its items come from.
        baseline: PCA of the same width, fitted on the training items.
        column: The metadata column of labels.
        where: Which items may be shown, for example "split = 'test'"; None for all.
        seed: Chooses them.
    """

    space: EmbeddingSpace
    dataset: Dataset
    baseline: Encoder
    column: str = "label"
    where: str | None = None
    seed: int = 0

    def reconstructions(self) -> Figure:
        """One item of each label beside its decodings."""
        ids = [self.pick(label)[0] for label in self.labels]
        items = self.read(ids)
        ours = self.space.decode(self.vectors(ids))
        theirs = self.baseline.decode(self.baseline.encode(items))
        dim = self.space.dim
        return self.figure(
            "reconstructions",
            "Reconstructions",
            f"Each item from its {dim} numbers. Below: the mean squared difference to the original. Look for smaller "
            "errors in the second row than in the third, and for prints, straps and edges that PCA smears.",
            f"Grid of {len(ids)} items in three rows: original, decoded by the encoder, decoded by PCA, with errors.",
            pictures.reconstructions(items, ours, theirs, self.labels, dim=dim),
        )

    def neighbours(self) -> Figure:
        """One query of each label and its nearest items."""
        ids = [self.pick(label)[0] for label in self.labels]
        hits = self.space.search(self.vectors(ids), NEIGHBOURS + 1)
        others = [
            [i for i in range(NEIGHBOURS + 1) if hits.ids[q, i] != name][:NEIGHBOURS] for q, name in enumerate(ids)
        ]
        order = np.array(others)
        found = np.take_along_axis(hits.ids, order, axis=1)
        distances = np.take_along_axis(hits.distances, order, axis=1)
        labels = self.labels_of(found.ravel()).reshape(found.shape)
        wrong = labels != np.array(self.labels, object)[:, None]
        captions = np.array(
            [[f"{x}\n{_distance(d)}" for x, d in zip(*row, strict=True)] for row in zip(labels, distances, strict=True)]
        )
        items = self.read(found.ravel().tolist())
        share = 1 - wrong.mean()
        return self.figure(
            "neighbours",
            "Nearest neighbours",
            f"A query at the left, then its ten nearest items with their {_METRIC[self.space.metric]}. A frame with a "
            f"cross marks another label than the query's ({wrong.sum()} of {wrong.size} hits). Look whether those are "
            "mistakes of the eye, too: a shirt that might as well be called a coat.",
            f"{len(ids)} queries with their 10 nearest items; {share:.0%} of the hits have the query's label.",
            pictures.neighbours_grid(
                self.read(ids),
                self.labels,
                items.reshape(*found.shape, *items.shape[1:]),
                captions,
                wrong,
                row_titles=ids,
            ),
        )

    def paths(self, pairs: Sequence[tuple[str, str]], methods: Sequence[str] = ("lerp", "geodesic", "graph")) -> Figure:
        """Interpolations between an item of one label and an item of another, one row per method."""
        return self.figure(
            "interpolation",
            "Interpolation",
            "Real items at both ends, decoded latents between; lerp walks the straight line, geodesic changes the item "
            "least, graph goes through real neighbours. "
            "Look whether the middle is an item one could wear, or two items laid over each other.",
            f"{len(pairs)} pairs of labels ({', '.join(f'{a} to {b}' for a, b in pairs)}), {STEPS} steps each.",
            self.strips(pairs, methods),
        )

    def strips(self, pairs: Sequence[tuple[str, str]], methods: Sequence[str]) -> pictures.Picture:
        """A row for each pair of labels and method: an item of one, the decoded path, an item of the other."""
        starts, frames, ends, titles = [], [], [], []
        for number, (one, other) in enumerate(pairs):
            start, end = self.pick(one, number + 1)[number], self.pick(other, number + 1)[number]
            anchors = ["'{}'".format(name.replace("'", "''")) for name in (start, end)]
            for method in methods:
                frames.append(self.space.interpolate(*anchors, steps=STEPS, method=method).decode())
                starts.append(start)
                ends.append(end)
                titles.append(f"{one} → {other}\n{method}" if method == methods[0] else method)
        breaks = range(len(methods), len(titles), len(methods))
        return pictures.strips(self.read(starts), np.array(frames), self.read(ends), titles, row_breaks=breaks)

    def transformation(self, attribute: str, source: str, target: str, *, rows: int = 8) -> Figure:
        """An attribute vector added to real items of one label, at growing strength."""
        ids = self.pick(source, rows)
        direction = self.space.latent(attribute).vector
        steps = np.array(STRENGTHS, np.float32)
        edited = self.vectors(ids)[:, None] + steps[None, :, None] * direction
        flat = edited.reshape(-1, self.space.dim)
        near = self.space.search(flat, VOTERS).ids
        names = [_majority(self.labels_of(row)) for row in near]
        realism = self.space.realism(flat)
        shape = edited.shape[:2]
        captions = np.array([f"{n}\nrealism {r:.2f}" for n, r in zip(names, realism, strict=True)]).reshape(shape)
        reached = (np.array(names).reshape(shape) == target).mean(axis=0)
        said = ", ".join(f"{share:.0%} at {strength:g}" for strength, share in zip(STRENGTHS, reached, strict=True))
        return self.figure(
            f"transformation-{attribute}",
            f"{source} + strength · {attribute}",
            f"Items the encoder never saw, moved along the attribute vector {attribute!r}; strength 1 is the distance "
            f"between the classes' means. Below each: the label most of its {VOTERS} nearest real items have, and its "
            "realism, the share of real items at least as far out: it falls as the edit leaves the data. "
            f"Nearest to {target.lower()}: {said}. Look whether each keeps its own heel, height and shade.",
            f"{rows} items of class {source}, each decoded at {len(STRENGTHS)} strengths of {attribute}; {said} become "
            f"{target}.",
            pictures.transformation(
                self.read(ids),
                self.space.decode(flat).reshape(*shape, *self.dataset.item_shape),
                STRENGTHS,
                row_titles=ids,
                captions=captions,
            ),
        )

    def latent_grid(self) -> Figure:
        """The whole of a 2-D VAE's space."""
        z = pictures.latent_grid_points(GRID)
        points = np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
        return self.figure(
            "latent-grid",
            "The latent plane, decoded",
            "Each cell decodes the middle of an equally probable part of the prior, so what is frequent takes room. "
            "Look how classes meet: neighbours on the plane should be neighbours in looks.",
            f"{GRID} by {GRID} decoded points of the two-dimensional latent space.",
            pictures.latent_grid(self.space.decode(points)),
        )

    def map(self, name: str, quality: str = "") -> Figure:
        """Every item on a map, coloured by label."""
        table = self.space.map(name)
        coordinates = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
        labels = self.labels_of(table["id"].to_pylist())
        return self.figure(
            f"map-{name}",
            f"Map: {name}",
            f"Each dot is one of {len(labels):,} items; names stand at the medians. {quality}"
            "Look which classes overlap: there the neighbours' votes go wrong, too. Far clusters may be any distance "
            "apart.",
            f"Scatter plot of {len(labels):,} items in two dimensions, coloured by {self.column}.",
            charts.map_chart(coordinates, labels),
        )

    def latents(self) -> Figure:
        """The two dimensions of a 2-D space themselves, coloured by label: its own map."""
        rows = self.space.snapshot.live_rows()
        return self.figure(
            "plane",
            "Where the items lie on the plane",
            "The latents of all items, z₁ to the right, z₂ upwards. Compare with the decoded plane.",
            f"Scatter plot of {len(rows):,} two-dimensional latents, coloured by {self.column}.",
            charts.map_chart(self.space.snapshot.vectors(rows), self.labels_of(self.space.snapshot.ids(rows))),
        )

    def class_errors(self, metrics: Mapping[str, float]) -> Figure:
        """Reconstruction error by label, of the encoder and of PCA."""
        ours = {k.removeprefix("mse/"): v for k, v in metrics.items() if k.startswith("mse/")}
        theirs = {k.removeprefix("pca_mse/"): v for k, v in metrics.items() if k.startswith("pca_mse/")}
        worst = max(ours, key=lambda name: ours[name])
        return self.figure(
            "class-errors",
            "Reconstruction error by label",
            "Filled dots are the encoder, rings PCA of the same width; the bar between is what it gains or loses. "
            f"Hardest: {worst}.",
            "Dot chart of mean squared error by label: "
            + ", ".join(f"{k} {v:.4f} (PCA {theirs[k]:.4f})" for k, v in ours.items()),
            charts.class_errors(ours, theirs),
        )

    def training(self, history: Sequence[Mapping[str, float]], unit: str = "loss") -> Figure:
        """Loss by epoch."""
        series = {
            name: [float(epoch[key]) for epoch in history]
            for name, key in (("training", "loss"), ("validation", "validation_loss"))
            if all(key in epoch for epoch in history)
        }
        return self.figure(
            "training",
            "Training",
            "Loss per epoch on the items trained on and on those held out for validation. Look for a gap that opens: "
            "the encoder would be learning items by heart.",
            "Line chart of loss by epoch: "
            + ", ".join(f"{name} ends at {values[-1]:.4g}" for name, values in series.items()),
            charts.loss_curve(series, y_label=unit),
        )

    # What is shown

    @cached_property
    def labels(self) -> list[str]:
        """All labels, by name."""
        return sorted(self._by_label)

    def pick(self, label: str, count: int = 1) -> list[str]:
        """The first `count` items of a label in an order drawn by the seed; the same for every figure and space."""
        ids = self._by_label[label]
        order = np.random.default_rng(self.seed).permutation(len(ids))
        return [str(ids[i]) for i in order[:count]]

    def labels_of(self, ids: Sequence[str] | Shaped[Array, " n"]) -> Shaped[Array, " n"]:
        """Label of each id, dtype object."""
        return self._all_labels[[self._positions[name] for name in ids]]

    def read(self, ids: Sequence[str]) -> Array:
        """The items themselves."""
        return self.dataset.read(np.array([self._positions[name] for name in ids]))

    def vectors(self, ids: Sequence[str]) -> Float[Array, "n d"]:
        """Stored latents of ids."""
        return self.space.snapshot.vectors(self.space.rows_of(ids))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {str(name): i for i, name in enumerate(self.dataset.ids)}

    @cached_property
    def _all_labels(self) -> Shaped[Array, " n"]:
        return np.array(self.dataset.metadata[self.column].to_pylist(), dtype=object)

    @cached_property
    def _by_label(self) -> dict[str, Any]:
        snapshot = self.space.snapshot
        rows = snapshot.live_rows() if self.where is None else self.space.matching(self.where)
        ids = snapshot.ids(rows)
        labels = self.labels_of(ids)
        return {str(label): ids[labels == label] for label in set(labels)}

    def figure(self, name: str, title: str, caption: str, alt: str, picture: pictures.Picture) -> Figure:
        """A figure of this space: its file is named after both."""
        return Figure(f"{self.space.name.replace('_', '-')}-{name}", title, caption, alt, picture)


_METRIC = {"l2": "Euclidean distance", "cosine": "cosine distance", "ip": "inner product"}


def _distance(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _majority(labels: Shaped[Array, " k"]) -> str:
    """The most frequent label; of a tie the one that comes first, so is nearest."""
    names, first, counts = np.unique(labels.astype(str), return_index=True, return_counts=True)
    return str(names[np.lexsort((first, -counts))[0]])
