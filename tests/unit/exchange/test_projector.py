"""The projector's folder: numbers read back the same, one line per item, a square sprite of the items in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.encoders import train
from latentstore.exchange.projector import MAX_SPRITE, tile_size


def test_tensors_metadata_and_configuration(tmp_path: Path) -> None:
    space = ls.open(tmp_path / "a.store").create_space("s", dim=3)
    vectors = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    space.add([f"i\t{n}" for n in range(7)], vectors, pa.table({"a b": ["x\ty\r\nz", None, *"cdefg"]}))
    told = space.export(tmp_path / "p", "projector")
    assert "no sprite" in told.note
    raw = np.fromfile(tmp_path / "p" / "tensors.bytes", "<f4").reshape(7, 3)
    text = np.loadtxt(tmp_path / "p" / "tensors.tsv", dtype=np.float32, delimiter="\t")
    assert np.array_equal(raw, vectors)
    assert np.array_equal(text, vectors)
    lines = (tmp_path / "p" / "metadata.tsv").read_text().split("\n")
    assert lines[:3] == ["id\ta b", "i 0\tx y z", "i 1\t"]
    assert len(lines) == 1 + 7 + 1
    (entry,) = json.loads((tmp_path / "p" / "projector_config.json").read_text())["embeddings"]
    assert (entry["tensorShape"], entry["tensorPath"], "sprite" in entry) == ([7, 3], "tensors.bytes", False)
    space.export(tmp_path / "q", "projector", columns=[])  # a single column has no heading
    assert (tmp_path / "q" / "metadata.tsv").read_text().split("\n")[0] == "i 0"


@pytest.mark.parametrize("known", [True, False])
def test_the_sprite_shows_the_items_in_order(tmp_path: Path, known: bool) -> None:
    dataset = open_dataset("fashion_mnist", limit=1400)
    items = dataset.read(np.arange(50))
    encoder, _ = train("pca", items, dim=8)
    store = ls.open(tmp_path / "a.store")
    source = dataset.source if known else None
    space = store.create_space("s", dim=8, encoder=store.add_encoder(encoder, {}), source=source)
    space.add(dataset.ids[:50].tolist(), encoder.encode(items))
    space.delete(dataset.ids[3])
    assert space.export(tmp_path / "p", "projector").note == ""
    (entry,) = json.loads((tmp_path / "p" / "projector_config.json").read_text())["embeddings"]
    assert entry["sprite"] == {"imagePath": "sprite.png", "singleImageDim": [28, 28]}
    sprite = np.asarray(Image.open(tmp_path / "p" / "sprite.png"))
    assert sprite.shape == (7 * 28, 7 * 28)
    tiles = sprite.reshape(7, 28, 7, 28).transpose(0, 2, 1, 3).reshape(49, 28, 28)
    kept = np.delete(np.arange(50), 3)
    if known:
        assert np.array_equal(tiles, items[kept, ..., 0])
    else:
        decoded = np.rint(space.decode(space.snapshot.vectors(space.snapshot.live_rows())).clip(0, 1) * 255)
        assert np.abs(tiles - decoded[..., 0]).max() <= 1


@pytest.mark.parametrize("n", [1, 2, 50, 70_000, 85_849, 85_850, 1_000_000, 4_000_000])
def test_the_sprite_fits_the_largest_texture(n: int) -> None:
    side = int(np.ceil(np.sqrt(n)))
    assert side**2 >= n
    tile = tile_size(n, 28, 28)
    assert tile is not None
    assert side * max(tile) <= MAX_SPRITE
    assert (tile == (28, 28)) == (side * 28 <= MAX_SPRITE)
    assert tile_size(10_000_000, 28, 28) is None
