"""Networks of others: their features to the bit, weights that are read and never run, code only where it is allowed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import latentstore as ls
from latentstore.encoders import load_encoder, save_encoder, train
from latentstore.encoders.checkpoint import check_encoder
from latentstore.encoders.training import training_options
from latentstore.errors import ChecksumMismatch, ConfigInvalid, Forbidden
from tests.unit.encoders.conftest import blobs

MINE = f"{__name__}:Small"


class Small(nn.Module):
    """A network of the user's own."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2)
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def small(width: int = 12) -> Small:
    return Small(width)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(Small().state_dict(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def by_hand(items: np.ndarray, network: Small, side: int = 20) -> np.ndarray:
    """What the issue says, written down again: resize, repeat grey, normalise, stop before the last layer."""
    x = torch.from_numpy(items).permute(0, 3, 1, 2).float() / 255
    x = functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    x = (x.repeat(1, 3 // x.shape[1], 1, 1) - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    with torch.no_grad():
        return network.conv(x).relu().mean((2, 3)).numpy()


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 24, 3)])
def test_features_are_what_the_last_layer_is_given(shape: tuple[int, int, int], weights: Path) -> None:
    items = blobs(9, shape)
    encoder, record = train("pretrained", items, dim=12, architecture=MINE, side=20, weights=str(weights))
    network = Small()
    network.load_state_dict(load_file(weights))
    np.testing.assert_allclose(encoder.encode(items), by_hand(items, network), atol=1e-5)
    assert record.kind == "pretrained" and record.epochs == 1
    assert "weights" not in encoder.spec and str(weights) not in json.dumps(encoder.spec)


def test_fewer_dimensions_are_principal_components_of_the_features(weights: Path) -> None:
    items = blobs(60, (20, 20, 3))
    whole, _ = train("pretrained", items, dim=12, architecture=MINE, side=20, weights=str(weights))
    encoder, _ = train("pretrained", items, dim=4, architecture=MINE, side=20, weights=str(weights))
    features = whole.encode(items).astype(np.float64)
    centred = features - features.mean(0)
    _, singular, _ = np.linalg.svd(centred, full_matrices=False)
    z = encoder.encode(items).astype(np.float64)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(z, axis=0), singular[:4], rtol=1e-3)
    output, _ = train("pretrained", items, dim=5, architecture=MINE, side=20, weights=str(weights), features="output")
    assert output.fingerprint != encoder.fingerprint and output.encode(items).shape == (60, 5)


def test_torchvision_by_name_and_a_state_dict_of_torch(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(1)
    network = models.mobilenet_v3_small(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "m.pth")
    items = blobs(4, (32, 32, 3))
    state = torch.random.get_rng_state()
    encoder, _ = train(
        "pretrained", items, dim=1024, architecture="mobilenet_v3_small", side=64, weights=str(tmp_path / "m.pth")
    )
    assert torch.equal(state, torch.random.get_rng_state())
    x = torch.from_numpy(items).permute(0, 3, 1, 2).float() / 255
    x = functional.interpolate(x, (64, 64), mode="bilinear", antialias=True, align_corners=False)
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        features = network.avgpool(network.features(x)).flatten(1)
        expected = network.classifier[1](network.classifier[0](features)).numpy()  # all but the last layer
    np.testing.assert_allclose(encoder.encode(items), expected, atol=1e-4)
    folder = save_encoder(encoder, tmp_path / "saved")
    np.testing.assert_array_equal(load_encoder(folder).encode(items), encoder.encode(items))  # no code of others: loads


def test_a_store_imports_nothing_that_nobody_has_named(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = blobs(9, (20, 20, 3))
    encoder, record = train("pretrained", items, dim=4, architecture=MINE, side=20, weights=str(weights))
    store = ls.open(tmp_path / "a.store", trusted_modules=[MINE])
    store.add_encoder(encoder, {"training": record.to_card()})
    store.create_space("mine", dim=4, encoder=encoder.fingerprint)
    opened = ls.open(tmp_path / "a.store", trusted_modules=[MINE]).space("mine")
    np.testing.assert_array_equal(opened.encode(items), encoder.encode(items))
    with pytest.raises(Forbidden, match=rf"would import and run '{MINE}'.*trusted_modules=\['{MINE}'\]"):
        ls.open(tmp_path / "a.store").space("mine").encode(items)
    with pytest.raises(Forbidden):
        ls.open(tmp_path / "a.store", trusted_modules=["os:system", MINE.split(":")[0]]).space("mine").encode(items)
    assert ls.open(tmp_path / "a.store").verify() == []  # its files can be checked without running it
    monkeypatch.setenv("LATENTSTORE_TRUSTED_MODULES", f"other:Thing, {MINE}")
    np.testing.assert_array_equal(ls.open(tmp_path / "a.store").space("mine").encode(items), encoder.encode(items))


def test_a_forged_spec_runs_nothing(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that a changed spec.json names leaves a mark when it is imported: there is none."""
    encoder, _ = train("pretrained", blobs(9, (20, 20, 3)), dim=4, architecture=MINE, side=20, weights=str(weights))
    folder = save_encoder(encoder, tmp_path / "saved")
    (tmp_path / "trap_of_a_spec.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    described = json.loads((folder / "spec.json").read_text())
    described["spec"]["architecture"] = "trap_of_a_spec:Anything"
    (folder / "spec.json").write_text(json.dumps(described))
    with pytest.raises(Forbidden, match="trap_of_a_spec"):
        load_encoder(folder, trusted=[MINE])
    with pytest.raises(ChecksumMismatch):
        check_encoder(folder)
    assert "trap_of_a_spec" not in sys.modules
    with pytest.raises(SystemExit, match="it was imported"):  # control: the trap works
        load_encoder(folder, trusted=["trap_of_a_spec:Anything"])


class Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def test_weights_are_read_and_never_run(tmp_path: Path, weights: Path) -> None:
    items, mark = blobs(9, (20, 20, 3)), tmp_path / "mark"
    torch.save({"conv.weight": torch.zeros(1), "trap": Mark(str(mark))}, tmp_path / "trap.pth")

    def trained(name: object, **options: object) -> None:
        train("pretrained", items, **{"dim": 4, "architecture": MINE, "side": 20, "weights": str(name), **options})

    with pytest.raises(ConfigInvalid, match="holds more than tensors, and that is never run"):
        trained(tmp_path / "trap.pth")
    assert not mark.exists()
    with (tmp_path / "trap.pth").open("rb") as file:
        assert torch.load(file, weights_only=False)["conv.weight"].shape == (1,)
    assert mark.exists()  # control: the trap works
    (tmp_path / "text.safetensors").write_text("weights")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    for name, message in (
        (tmp_path / "none.pth", "no file of weights .*none.pth; nothing is downloaded"),
        (tmp_path / "text.safetensors", "cannot be read as weights"),
        (tmp_path / "list.pt", "holds no state_dict"),
        ("DEFAULT", "only torchvision's architectures have names"),
    ):
        with pytest.raises(ConfigInvalid, match=message):
            trained(name)
    for options, message in (
        ({"architecture": "resnet18"}, "not those of resnet18: the file lacks"),
        ({"arguments": {"width": 13}}, r"other shapes: conv.bias \(12,\) for \(13,\)"),
        ({"arguments": {"depth": 13}}, "refuses arguments {'depth': 13}"),
        ({"architecture": "resnet81"}, "torchvision has no architecture 'resnet81'; did you mean"),
        ({"architecture": f"{__name__}:Large"}, "cannot be imported"),
        ({"architecture": f"{__name__}:blobs", "arguments": {"n": 1}}, "makes a ndarray, not a torch.nn.Module"),
        ({"dim": 13}, "has 12 features"),
        ({"mean": [0.5]}, "pass a list of 3 numbers"),
        ({"arguments": {"width": {1}}}, "which JSON cannot hold"),
        (
            {"architecture": "resnet18", "weights": "IMAGENET1K_V9"},
            "torchvision has no weights 'IMAGENET1K_V9' of resnet18",
        ),
        ({"architecture": "resnet18", "weights": "IMAGENET1K_V1"}, "nothing is downloaded"),
    ):
        with pytest.raises(ConfigInvalid, match=message):
            trained(options.pop("weights", weights), **options)
    with pytest.raises(ConfigInvalid, match=r"needs weights; name a \.safetensors or \.pth file"):
        train("pretrained", items, dim=4, architecture=MINE)
    trained(weights, architecture=f"{__name__}:small")  # a function that makes one


def test_the_shell_and_configurations_know_its_options() -> None:
    assert {"weights", "architecture", "side"} <= set(training_options("pretrained"))
    assert not {"epochs", "weights"} & set(training_options("pca"))
