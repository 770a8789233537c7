"""A space whose attributes are known: faces that smile, wear hats, and are of labels and kinds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

D = 6
N = 1500


def filled(store, name="faces", metric="l2"):
    """Smiling is axis 0, a hat axis 1; who smiles mostly wears a hat. Label b has two kinds, apart along axis 2."""
    rng = np.random.default_rng(0)
    smile = rng.random(N) < 0.5
    hat = rng.random(N) < np.where(smile, 0.9, 0.2)
    label = np.array(["a", "b", "c"])[rng.integers(0, 3, N)]
    kind = rng.random(N) < 0.3
    x = 0.5 * rng.normal(size=(N, D))
    x[:, 0] += 3 * smile
    x[:, 1] += 5 * hat
    x[:, 2] += np.where(label == "b", 6 + 6 * kind, 0)
    x[:, 3] += 4 * (label == "c")
    table = pa.table({"smile": smile, "hat": hat, "label": label, "kind": kind, "size": x[:, 4]})
    space = store.create_space(name, dim=D, metric=metric)
    space.add([f"i{i}" for i in range(N)], x, table)
    return space


def fit(space, name="smile", positive="smile", negative="not smile", **options):
    space.fit_attribute(name, positive=positive, negative=negative, **{"resamples": 20, "permutations": 19, **options})
    return next(row for row in space.attributes.to_pylist() if row["name"] == name)


def unit(row):
    vector = np.array(row["vector"])
    return vector / np.linalg.norm(vector)
