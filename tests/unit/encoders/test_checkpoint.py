from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from latentstore.encoders import Encoder, checkpoint, load_encoder, read_card, save_encoder, train
from latentstore.encoders.base import fingerprint
from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    FormatTooNew,
    ManifestInvalid,
    StorageError,
    UnknownEncoder,
)
from tests.unit.encoders.conftest import blobs

QUICK = {"epochs": 1, "hidden": (8,), "channels": (2, 4), "batch_size": 16}
KINDS = {
    "pca": {},
    "autoencoder": QUICK,
    "vae": QUICK,
    "hybrid": QUICK,
    "conv": {**QUICK, "architecture": "conv"},
}


@pytest.fixture(scope="module", params=KINDS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    kind = "autoencoder" if request.param == "conv" else request.param
    return train(kind, blobs(64, (12, 10, 3)), dim=3, **KINDS[request.param])[0]


def test_round_trip_is_bit_exact(encoder: Encoder, tmp_path: Path) -> None:
    folder = save_encoder(encoder, tmp_path / "e", {"metrics": {"mse": 0.5}})
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "spec.json", "weights.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == ["e"]
    loaded = load_encoder(folder)
    assert (loaded.fingerprint, loaded.spec) == (encoder.fingerprint, encoder.spec)
    for name, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    items = blobs(9, (12, 10, 3), seed=1)
    np.testing.assert_array_equal(loaded.encode(items), encoder.encode(items))
    assert read_card(folder) == {"fingerprint": encoder.fingerprint, "metrics": {"mse": 0.5}}


def test_two_processes_may_save_the_same_encoder(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done when this one has looked whether the folder is there, and not yet given it its name."""
    serialise = checkpoint.save

    def meanwhile(weights: dict[str, torch.Tensor]) -> bytes:
        monkeypatch.setattr(checkpoint, "save", serialise)
        save_encoder(encoder, tmp_path / "e", {"by": "the other"})
        return serialise(weights)

    monkeypatch.setattr(checkpoint, "save", meanwhile)
    folder = save_encoder(encoder, tmp_path / "e", {"by": "this one"})
    assert load_encoder(folder).fingerprint == encoder.fingerprint
    assert read_card(folder)["by"] == "this one"
    assert [p.name for p in tmp_path.iterdir()] == ["e"]


def test_fingerprint_sees_one_bit_and_one_field(encoder: Encoder) -> None:
    weights = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    assert fingerprint(encoder.spec, weights) == encoder.fingerprint  # control
    assert len(encoder.fingerprint) == 32 and int(encoder.fingerprint, 16)
    assert fingerprint({**encoder.spec, "dim": 4}, weights) != encoder.fingerprint
    name = next(name for name, tensor in weights.items() if tensor.dtype == torch.float32)
    weights[name].view(torch.int32).reshape(-1)[0] ^= 1
    assert fingerprint(encoder.spec, weights) != encoder.fingerprint
    weights[name].view(torch.int32).reshape(-1)[0] ^= 1
    assert fingerprint(encoder.spec, weights | {"other": torch.zeros(0)}) != encoder.fingerprint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    encoder, record = train("autoencoder", blobs(32, (8, 8, 1)), dim=2, **QUICK)
    return save_encoder(encoder, tmp_path / "saved", record.to_card())


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_damage_is_named(saved: Path) -> None:
    weights, spec = saved / "weights.safetensors", saved / "spec.json"
    whole, described = weights.read_bytes(), json.loads(spec.read_text())
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    with pytest.raises(ChecksumMismatch, match=rf"has fingerprint \w+, its spec says {described['fingerprint']}"):
        load_encoder(saved)
    weights.write_bytes(whole[:-5])
    with pytest.raises(ChecksumMismatch, match=r"weights.safetensors is damaged"):
        load_encoder(saved)
    weights.unlink()
    with pytest.raises(StorageError, match=r"weights.safetensors is missing; restore it"):
        load_encoder(saved)
    weights.write_bytes(whole)
    edit(spec, spec={**described["spec"], "noise": 0.5})
    with pytest.raises(ChecksumMismatch, match="spec or weights were changed"):
        load_encoder(saved)
    edit(spec, spec={**described["spec"], "kind": "autoencodr"})
    with pytest.raises(UnknownEncoder, match="unknown kind of encoder 'autoencodr'; did you mean 'autoencoder'"):
        load_encoder(saved)
    edit(spec, spec={**described["spec"], "hidden": [10**9]})
    with pytest.raises(ManifestInvalid, match=r"option hidden of encoder kind 'autoencoder' is 1000000000"):
        load_encoder(saved)
    edit(spec, spec={"kind": "autoencoder"})
    with pytest.raises(ManifestInvalid, match="does not describe an encoder"):
        load_encoder(saved)
    edit(spec, spec=described["spec"], format=2)
    with pytest.raises(FormatTooNew, match="format 2, this release reads up to 1"):
        load_encoder(saved)
    spec.write_text("{")
    with pytest.raises(ManifestInvalid, match=r"spec.json is not JSON"):
        load_encoder(saved)
    spec.unlink()
    with pytest.raises(UnknownEncoder, match="no encoder in"):
        load_encoder(saved)
    with pytest.raises(UnknownEncoder, match="no encoder card in"):
        read_card(saved.parent)


def test_weights_of_another_spec_are_refused_before_use(saved: Path) -> None:
    """A consistent fingerprint over a spec that the weights do not fit, as a hostile file would have it."""
    loaded = load_encoder(saved)
    spec = {**loaded.spec, "dim": 3}
    edit(saved / "spec.json", spec=spec, fingerprint=fingerprint(spec, loaded.model.state_dict()))
    with pytest.raises(ManifestInvalid, match="do not belong to its spec"):
        load_encoder(saved)


def test_a_taken_folder_is_kept(saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    other, _ = train("pca", blobs(16, (8, 8, 1)), dim=2)
    with pytest.raises(AlreadyExists, match="is not encoder"):
        save_encoder(other, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    save_encoder(load_encoder(saved), saved, {"metrics": {"mse": 1}})  # the same encoder: a new card
    assert read_card(saved)["metrics"] == {"mse": 1}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encoder, _ = train("pca", blobs(16, (8, 8, 1)), dim=2)
    with pytest.raises(StorageError, match="cannot write"):
        save_encoder(encoder, tmp_path / "file" / "e")
