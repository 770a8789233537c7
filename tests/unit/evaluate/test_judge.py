"""The judge: several columns by one network, the same after it was saved, and better than guessing at each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from latentstore.encoders import load_encoder, train
from latentstore.errors import (
    ChecksumMismatch,
    ConfigInvalid,
    InputError,
    ManifestInvalid,
    NotSupported,
    ShapeMismatch,
    SpaceMismatch,
    UnknownLabel,
)
from latentstore.evaluate import Judge

QUICK = {"epochs": 8, "channels": (8, 16), "batch_size": 32, "precision": "float32", "learning_rate": 1e-2, "width": 16}


def figures(n: int, seed: int, channels: int = 3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Squares and crosses, bright or dim, in one of three places: what each column says does not tell the others."""
    random = np.random.default_rng(seed)
    cross, bright, place = random.random(n) < 0.5, random.random(n) < 0.5, random.integers(0, 3, n)
    items = random.integers(0, 20, (n, 20, 20, channels)).astype(np.uint8)
    for item, is_cross, is_bright, at in zip(items, cross, bright, place, strict=True):
        patch = item[6:13, 7 * at : 7 * at + 6]
        ink = 255 if is_bright else 120
        if is_cross:
            patch[3], patch[:, 3] = ink, ink
        else:
            patch[[0, -1]], patch[:, [0, -1]] = ink, ink
    shape = np.where(cross, "cross", "square").astype(object)
    return items, {"shape": shape, "bright": bright.astype(object), "place": (10 * place).astype(object)}


@pytest.fixture(scope="module")
def judge() -> Judge:
    items, labels = figures(1200, 0)
    return Judge.train(items, labels, flips=False, **QUICK)


def test_every_column_is_told(judge: Judge) -> None:
    items, labels = figures(400, 1)
    assert judge.names == {"bright": [False, True], "place": [0, 10, 20], "shape": ["cross", "square"]}
    accuracy = judge.accuracy(items, labels)
    assert min(accuracy.values()) > 0.97, accuracy
    shuffled = {column: np.roll(values, 1) for column, values in labels.items()}
    assert max(judge.accuracy(items, shuffled).values()) < 0.65  # control: nothing to guess it by


def test_probabilities_are_those_of_the_prediction(judge: Judge) -> None:
    items, _ = figures(50, 2)
    for column, names in judge.names.items():
        found = judge.probabilities(items, column)
        assert found.shape == (50, len(names)) and found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        assert judge.predict(items, column).tolist() == [names[at] for at in found.argmax(axis=1)]
    assert judge.probabilities(items[:0], "place").shape == (0, 3)


def test_features_decide_linearly(judge: Judge) -> None:
    """Softmax of W f + b is what `probabilities` says."""
    items, _ = figures(20, 3)
    features, last = judge.features(items), judge.encoder.model.dense[-1]
    assert features.shape == (20, 16) and features.dtype == np.float32
    scores = features @ last.weight.numpy().T + last.bias.numpy()
    shares = np.exp(scores[:, 2:5]) / np.exp(scores[:, 2:5]).sum(axis=1, keepdims=True)  # place comes second
    np.testing.assert_allclose(judge.probabilities(items, "place"), shares, atol=1e-5)


def test_a_saved_judge_judges_alike_and_a_changed_one_is_refused(judge: Judge, tmp_path: Path) -> None:
    items, _ = figures(30, 4)
    folder = judge.save(tmp_path / "judge")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    loaded = Judge.load(folder)
    assert loaded.names == judge.names
    for column in judge.names:
        np.testing.assert_array_equal(loaded.probabilities(items, column), judge.probabilities(items, column))
    spec = folder / "spec.json"
    changed = json.loads(spec.read_text())
    changed["spec"]["classes"]["shape"] = ["square", "cross"]  # the answers turned round
    spec.write_text(json.dumps(changed))
    with pytest.raises(ChecksumMismatch, match="spec or weights were changed"):
        Judge.load(folder)
    changed["spec"]["classes"]["shape"] = [["square"], "cross"]
    spec.write_text(json.dumps(changed))
    with pytest.raises(ManifestInvalid, match="neither text, number nor truth value"):
        Judge.load(folder)


def test_any_readable_and_any_order_of_columns_give_the_same_bits() -> None:
    items, labels = figures(64, 5)

    class Lent:
        item_shape = (20, 20, 3)

        def __len__(self) -> int:
            return len(items)

        def read(self, positions: np.ndarray) -> np.ndarray:
            return items[positions]

    short = {**QUICK, "epochs": 1}
    one = Judge.train(items, labels, **short)
    other = Judge.train(Lent(), dict(reversed(labels.items())), **short)
    assert one.encoder.fingerprint == other.encoder.fingerprint
    assert one.encoder.fingerprint != Judge.train(items, labels, seed=1, **short).encoder.fingerprint
    np.testing.assert_array_equal(one.predict(Lent(), "shape"), one.predict(items, "shape"))


def test_grey_pictures_and_one_column_without_a_name() -> None:
    items, labels = figures(300, 6, channels=1)
    how = {name: value for name, value in QUICK.items() if name != "width"}
    encoder, _ = train("classifier", items[..., 0], dim=16, labels=labels["bright"], **how)
    judge = Judge(encoder)
    assert judge.names == {"label": [False, True]}
    assert judge.accuracy(items, {"label": labels["bright"]})["label"] > 0.9


def test_what_is_no_judge_and_no_label_is_refused(judge: Judge) -> None:
    items, labels = figures(40, 7)
    with pytest.raises(UnknownLabel, match=r"no column 'form'; .*shape"):
        judge.predict(items, "form")
    with pytest.raises(ShapeMismatch, match="items have shape"):
        judge.predict(items[:, :10], "shape")
    with pytest.raises(ShapeMismatch, match="39 labels for 40 items"):
        Judge.train(items, {"shape": labels["shape"][1:]}, **QUICK)
    with pytest.raises(InputError, match="item 3 has no shape"):
        Judge.train(items, {"shape": np.array(["a", "b", "a", None] + ["b"] * 36, object)}, **QUICK)
    with pytest.raises(InputError, match="column 'shape' mixes types"):
        Judge.train(items, {"shape": np.array(["a", 1] * 20, object)}, **QUICK)
    with pytest.raises(InputError, match="name at least one column"):
        Judge.train(items, {}, **QUICK)
    with pytest.raises(ConfigInvalid, match="unknown option 'chanels'"):
        Judge.train(items, labels, chanels=(8,))
    with pytest.raises(InputError, match="learns from labels only"):
        train("classifier", items, dim=4)
    with pytest.raises(InputError, match="one label of each item"):
        train("hybrid", items, dim=4, labels=labels)
    pca, _ = train("pca", items, dim=4)
    with pytest.raises(SpaceMismatch, match="of kind 'pca'; a judge is a 'classifier'"):
        Judge(pca)
    with pytest.raises(NotSupported, match="'pca' tells no classes"):
        pca.probabilities(items)
    with pytest.raises(NotSupported, match="has no decoder"):
        judge.encoder.decode(np.zeros((1, 16), np.float32))


def test_an_encoder_that_is_loaded_is_the_judge(judge: Judge, tmp_path: Path) -> None:
    assert load_encoder(judge.save(tmp_path / "one")).fingerprint == judge.encoder.fingerprint
