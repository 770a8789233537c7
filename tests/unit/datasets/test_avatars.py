"""Faces: the same bytes from the same seed, columns that are what is drawn, attributes that do not stand for others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentstore.datasets import avatars, open_dataset
from latentstore.datasets.faces import GLASSES, PARTS, SMILES, Recipe
from latentstore.errors import ConfigInvalid


def open_faces(folder: Path, **options: object) -> avatars.InMemory:
    dataset = open_dataset("avatars", **{"n": 12, "size": 32, "folder": str(folder), **options})
    assert isinstance(dataset, avatars.InMemory)
    return dataset


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> avatars.InMemory:
    return open_faces(tmp_path_factory.mktemp("faces"), n=300)


def test_the_same_seed_draws_the_same_faces(tmp_path: Path) -> None:
    one, other = open_faces(tmp_path / "a"), open_faces(tmp_path / "b")
    assert one.items.shape == (12, 32, 32, 3)
    np.testing.assert_array_equal(one.items, other.items)
    more = open_faces(tmp_path / "a", n=20)
    np.testing.assert_array_equal(more.items[:12], one.items)  # a face does not depend on how many there are
    assert more.metadata.slice(0, 12) == one.metadata
    assert not np.array_equal(open_faces(tmp_path / "a", seed=1).items, one.items)
    again = open_dataset(**one.source)
    assert again.content_hashes() == one.content_hashes() and again.ids.tolist() == one.ids.tolist()


def test_several_processes_draw_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avatars, "ALONE", 5)
    told: list[float] = []
    apart = open_faces(tmp_path / "a", progress=told.append)
    monkeypatch.undo()
    np.testing.assert_array_equal(apart.items, open_faces(tmp_path / "b").items)
    assert told == [1.0]


def test_faces_are_kept_and_damage_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_faces(tmp_path).items.copy()
    (kept,) = tmp_path.glob("*.rgb")
    assert (tmp_path / f"{kept.stem}.sha256").read_text() == hashlib.sha256(kept.read_bytes()).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(avatars, "_drawn", None)  # a second opening draws nothing
        np.testing.assert_array_equal(open_faces(tmp_path).items, first)
    content = bytearray(kept.read_bytes())
    content[1000] ^= 1
    kept.write_bytes(content)
    np.testing.assert_array_equal(open_faces(tmp_path).items, first)
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(first.tobytes()).digest()


def test_columns_say_what_is_drawn() -> None:
    parts = Recipe(3, 32).parts(2000)
    assert set(parts["mouth"][parts["smiling"]]) == set(SMILES)
    assert set(parts["mouth"][~parts["smiling"]]) == set(PARTS["mouth"])
    assert set(parts["accessory"][parts["glasses"]]) == set(GLASSES)
    assert set(parts["accessory"][~parts["glasses"]]) == {"none"}


@pytest.mark.parametrize(
    ("column", "value", "where"),
    [
        ("hair_color", "red", np.s_[2:8, 8:24]),
        ("skin", "black", np.s_[17:20, 12:20]),
        ("facial_hair", "beard_medium", np.s_[22:26, 10:22]),
        ("smiling", True, np.s_[20:24, 12:20]),
        ("glasses", True, np.s_[12:17, 8:24]),
        ("clothing_color", "black", np.s_[29:32, 8:24]),
    ],
)
def test_a_part_is_seen_where_it_belongs(column: str, value: object, where: Any, faces: avatars.InMemory) -> None:
    """The mean face with the part differs from the mean face without it there, and much less at random."""
    has = np.array(faces.metadata[column].to_pylist()) == value
    items = faces.items.astype(float)

    def apart(chosen: np.ndarray) -> float:
        difference = items[chosen].mean(0) - items[~chosen].mean(0)
        return float(np.abs(difference[where]).mean())

    assert apart(has) > 2 * apart(np.random.default_rng(0).permutation(has))


def test_attributes_are_independent_unless_confounded() -> None:
    """χ² of every pair of columns stays near its degrees of freedom; confounded glasses follow the smile."""
    n, parts = 20_000, Recipe(0, 64).parts(20_000)
    columns = [name for name in parts if name not in ("mouth", "accessory")]  # these decide smiling and glasses
    for i, one in enumerate(columns):
        for other in columns[i + 1 :]:
            _, a = np.unique(parts[one], return_inverse=True)
            _, b = np.unique(parts[other], return_inverse=True)
            seen = np.zeros((a.max() + 1, b.max() + 1))
            np.add.at(seen, (a, b), 1)
            expected = seen.sum(1, keepdims=True) * seen.sum(0) / n
            freedom = (len(seen) - 1) * (len(seen[0]) - 1)
            excess = (((seen - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)
            assert excess < 5, (one, other)
    assert np.mean(parts["smiling"]) == pytest.approx(0.5, abs=0.02)
    tied = Recipe(0, 64, confound=0.8).parts(n)
    assert np.mean(tied["smiling"] == tied["glasses"]) == pytest.approx(0.9, abs=0.01)
    np.testing.assert_array_equal(tied["smiling"], parts["smiling"])


def test_impossible_options(tmp_path: Path) -> None:
    for options, message in (
        ({"n": 0}, "n=0 must be a whole number from 1"),
        ({"size": 8}, "size=8 must be a whole number from 16 to 1024"),
        ({"seed": -1}, "seed=-1"),
        ({"confound": 2}, "confound=2 must be a number from 0 to 1"),
        ({"smile": True}, "no option 'smile'"),
    ):
        with pytest.raises(ConfigInvalid, match=message):
            open_faces(tmp_path, **options)
