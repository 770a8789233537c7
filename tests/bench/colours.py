"""Coloured pictures with the options each kind chooses itself: what PCA, autoencoder and hybrid make of cartoon faces.

One command, some minutes: python -m tests.bench.colours [--size 32] [--n 7000] [--dim 64] [--kinds pca hybrid …]

Faces have twelve attributes drawn independently of each other. Prints, of test faces, the mean square error of a
pixel, knn10 of each attribute and their mean, and the training's seconds of CPU. Needs `pip install -e '.[avatars]'`.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import numpy as np

from latentstore.datasets.avatars import open_avatars
from latentstore.encoders import train
from latentstore.evaluate.probes import knn_accuracy

KINDS = ("pca", "autoencoder", "hybrid")
NO_ATTRIBUTES = ("id", "split")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--n", type=int, default=7000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faces = open_avatars(n=given.n, size=given.size, seed=0)
    items, columns = faces.read(np.arange(given.n)), faces.metadata.to_pydict()
    test = np.array(columns["split"]) == "test"
    for kind in given.kinds:
        encoder, record = train(kind, items[~test], dim=given.dim, seed=given.seed)
        known, asked = encoder.encode(items[~test]), encoder.encode(items[test])
        error = encoder.decode(asked) - items[test] / np.float32(255)
        found = {}
        for name in columns:
            if name not in NO_ATTRIBUTES:
                values = np.array(columns[name]).astype(str)
                found[name] = knn_accuracy(known, values[~test], asked, values[test], k=[10], metric="cosine")[10]
        listed = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        sys.stdout.write(
            f"{kind:12} {given.size} × {given.size}, d = {given.dim}: mse {np.square(error).mean():.5f}, "
            f"knn10 {statistics.mean(found.values()):.3f} ({listed}); {record.cpu_seconds:.0f} s of CPU\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
