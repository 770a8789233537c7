"""Training: repeatable, resumable to the bit, stops when it should, and says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from latentstore.encoders import Progress, save_encoder, train
from latentstore.encoders.schedule import length, one_cycle
from latentstore.encoders.sources import Source
from latentstore.errors import (
    ChecksumMismatch,
    ConfigInvalid,
    DidNotConverge,
    InputError,
    ShapeMismatch,
    StorageError,
    UnknownEncoder,
)
from tests.unit.encoders.conftest import blobs

QUICK = {"precision": "float32", "dim": 3, "epochs": 3, "hidden": (16,), "channels": (4, 8), "batch_size": 32}
ITEMS = blobs(300, (12, 10, 1))


class Disk:
    """Items that must be read; keeps what was asked for."""

    def __init__(self, items: np.ndarray) -> None:
        self.items, self.item_shape, self.asked = items, items.shape[1:], 0

    def __len__(self) -> int:
        return len(self.items)

    def read(self, positions: np.ndarray) -> np.ndarray:
        self.asked += len(positions)
        return self.items[positions]


@pytest.mark.parametrize("kind", ["autoencoder", "vae", "hybrid"])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_the_seed_decides_every_bit(kind: str, architecture: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, _ = train(kind, ITEMS, architecture=architecture, flips=True, **QUICK)
    torch.manual_seed(2)  # the global generator has no say …
    again, _ = train(kind, ITEMS, architecture=architecture, flips=True, **QUICK)
    other, _ = train(kind, ITEMS, architecture=architecture, flips=True, seed=1, **QUICK)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    torch.manual_seed(1)
    train(kind, ITEMS, **QUICK)
    assert torch.equal(torch.get_rng_state(), state)  # … and is left alone


def test_reading_in_batches_gives_the_bits_of_memory() -> None:
    disk = Disk(ITEMS)
    held, record = train("vae", ITEMS, **QUICK)
    read, read_record = train("vae", disk, memory=1000, **QUICK)
    assert (record.in_memory, read_record.in_memory) == (True, False)
    assert disk.asked > 3 * 285
    assert read.fingerprint == held.fingerprint
    pca, _ = train("pca", disk, memory=1000, dim=3)
    assert pca.fingerprint == train("pca", ITEMS, dim=3)[0].fingerprint
    filled = Disk(ITEMS)
    again, filled_record = train("vae", filled, **QUICK)
    assert filled_record.in_memory and again.fingerprint == held.fingerprint
    assert filled.asked == 301  # every item once, and the first to learn its size


CHILD = """
import sys, torch
from latentstore.encoders import train
from tests.unit.encoders.test_training import ITEMS, QUICK
torch.set_num_threads(1)
def tell(p):
    print(p.step, flush=True)
train(sys.argv[1], ITEMS, resume_from=sys.argv[2], progress=tell, checkpoint_seconds=0,
      **{**QUICK, "epochs": 15, "architecture": sys.argv[3]})
"""


@pytest.mark.parametrize(("kind", "architecture"), [("autoencoder", "mlp"), ("vae", "conv")])
def test_killed_and_resumed_equals_uninterrupted(kind: str, architecture: str, tmp_path: Path) -> None:
    options = {**QUICK, "epochs": 15, "architecture": architecture}
    whole, _ = train(kind, ITEMS, **options)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", CHILD, kind, str(tmp_path), architecture]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as child:
        assert child.stdout is not None
        assert any(
            int(line) > 20 for line in child.stdout
        )  # after each step a state is saved: killed in the midst of it
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    seen: list[Progress] = []
    resumed, record = train(kind, ITEMS, resume_from=tmp_path, progress=seen.append, **options)
    assert record.resumed == 1
    assert 20 < seen[0].step <= record.steps == 120
    assert resumed.fingerprint == whole.fingerprint
    calls: list[Progress] = []
    again, _ = train(kind, ITEMS, resume_from=tmp_path, progress=calls.append, **options)  # finished: nothing to do
    assert again.fingerprint == whole.fingerprint and not calls


def test_a_stop_between_any_two_steps_loses_nothing(tmp_path: Path) -> None:
    """The exact form of the above, in one process: stop in mid-epoch with noise, flips and moments in flight."""
    options = {**QUICK, "flips": True, "architecture": "conv", "checkpoint_seconds": 0}
    whole, _ = train("autoencoder", ITEMS, **options)

    class StoppedError(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise StoppedError

    reached = []
    for _ in range(40):
        try:
            resumed, _ = train("autoencoder", ITEMS, resume_from=tmp_path, progress=stop, **options)
        except StoppedError:
            reached.append(1)
        else:
            break
    assert reached
    assert resumed.fingerprint == whole.fingerprint


def test_a_state_is_not_taken_for_another(tmp_path: Path) -> None:
    train("vae", ITEMS, resume_from=tmp_path, **QUICK)
    with pytest.raises(ConfigInvalid, match=r"state of another training \(different: beta\); resume with the same"):
        train("vae", ITEMS, resume_from=tmp_path, beta=2.0, **QUICK)
    with pytest.raises(ConfigInvalid, match="different: items_digest"):
        train("vae", 255 - ITEMS, resume_from=tmp_path, **QUICK)
    state = tmp_path / "training.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ChecksumMismatch, match=r"training.safetensors is damaged .* train again from the start"):
        train("vae", ITEMS, resume_from=tmp_path, **QUICK)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        train("vae", ITEMS, resume_from=tmp_path / "file" / "state", checkpoint_seconds=0, **QUICK)


def test_early_stop_keeps_the_best_epoch() -> None:
    """Noise items can only be memorised: the validation loss soon rises, and training must end there."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), dtype=np.uint8)
    options = {"dim": 32, "hidden": (256,), "batch_size": 32, "epochs": 200, "learning_rate": 1e-2, "validation": 0.3}
    _, record = train("autoencoder", noise, patience=3, **options)
    losses = [epoch["validation_loss"] for epoch in record.history]
    assert record.epochs < 200
    assert record.best_epoch == int(np.argmin(losses)) + 1 == record.epochs - 3


def test_progress_counts_to_the_end() -> None:
    seen: list[Progress] = []
    _, record = train("autoencoder", ITEMS, progress=seen.append, **QUICK)
    assert [p.epoch for p in seen if p.step == p.epoch * record.steps // 3][-1] == 3
    last = seen[-1]
    assert (last.step, last.steps, last.epochs, last.seconds_left) == (record.steps, record.steps, 3, 0)
    assert last.loss == record.history[-1]["loss"]
    assert last.validation == record.history[-1]["validation_loss"]
    assert all(a.step <= b.step and a.seconds <= b.seconds for a, b in pairwise(seen))
    card = record.to_card()
    assert (card["precision"], card["threads"], card["items"], card["item_shape"]) == ("float32", 1, 300, [12, 10, 1])


def test_batch_statistics_are_those_of_the_training_items() -> None:
    """With one whole batch per epoch, evaluation must normalise like training does: same mean, same variance."""
    encoder, _ = train("autoencoder", ITEMS, **{**QUICK, "batch_size": 300, "validation": 0.0})
    first = encoder.model.get_submodule("down.dense.0")
    norm = encoder.model.get_submodule("down.dense.1")
    x = torch.from_numpy(ITEMS).float().div(255).permute(0, 3, 1, 2)
    before = first(encoder.model.get_submodule("down.whiten")(x.flatten(1)))
    torch.testing.assert_close(norm.get_buffer("running_mean"), before.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.get_buffer("running_var"), before.var(0), atol=1e-4, rtol=1e-3)


def test_one_cycle_rises_and_falls() -> None:
    assert one_cycle(0.2, 0.2) == 1
    assert one_cycle(0.0, 0.2) == pytest.approx(0.04)
    assert one_cycle(1.0, 0.2) == pytest.approx(0)
    assert one_cycle(0.6, 0.2) == pytest.approx(0.5)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DidNotConverge, match=r"the loss became (nan|inf) in epoch \d+; lower learning_rate"):
        train("vae", ITEMS, **{**QUICK, "learning_rate": 10.0, "beta": 1000.0, "weight_decay": 10.0, "epochs": 50})
    with pytest.raises(UnknownEncoder, match="unknown kind of encoder 'autoencodr'; did you mean 'autoencoder'"):
        train("autoencodr", ITEMS, dim=2)
    with pytest.raises(ConfigInvalid, match="unknown option 'epoch' of encoder kind 'vae'; did you mean 'epochs'"):
        train("vae", ITEMS, dim=2, epoch=3)
    with pytest.raises(ConfigInvalid, match="option epochs of training is 0; pass a whole number from 1 to 100000"):
        train("vae", ITEMS, dim=2, epochs=0)
    with pytest.raises(ConfigInvalid, match="option beta of encoder kind 'vae' is nan; pass a number"):
        train("vae", ITEMS, dim=2, beta=float("nan"))
    with pytest.raises(ConfigInvalid, match=r"option architecture of .* is 'cnn'; choose one of mlp, conv"):
        train("vae", ITEMS, dim=2, architecture="cnn")
    with pytest.raises(ConfigInvalid, match=r"option hidden of .* pass a list of at most 8 whole numbers"):
        train("vae", ITEMS, dim=2, hidden=64)
    with pytest.raises(ConfigInvalid, match="option flips of training is 1; pass true or false"):
        train("vae", ITEMS, dim=2, flips=1)
    with pytest.raises(ConfigInvalid, match="dim is 0; pass a whole number from 1"):
        train("vae", ITEMS, dim=0)
    with pytest.raises(ConfigInvalid, match=r"dim is 2.5; pass a whole number"):
        train("vae", ITEMS, dim=2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigInvalid, match="unknown device 'gpu3'"):
        train("vae", ITEMS, dim=2, device="gpu3")
    with pytest.raises(InputError, match="there are no items to train on"):
        train("vae", ITEMS[:0], dim=2)
    with pytest.raises(InputError, match="1 item is too few"):
        train("vae", ITEMS[:1], dim=2)
    with pytest.raises(ShapeMismatch, match=r"items have shape \(4,\); kind 'vae' takes images"):
        train("vae", np.zeros((9, 4), np.float32), dim=2)
    with pytest.raises(ShapeMismatch, match=r"items have shape \(8, 8, 2\); kind 'vae' takes .* of 1 or 3 channels"):
        train("vae", np.zeros((9, 8, 8, 2), np.uint8), dim=2)


def test_source_digest_tells_datasets_apart() -> None:
    digest = Source(ITEMS).digest()
    assert digest == Source(Disk(ITEMS), memory=0).digest() == Source(ITEMS[..., 0]).digest()
    changed = ITEMS.copy()
    changed[7, 3, 3] ^= 1
    assert digest not in (Source(changed).digest(), Source(ITEMS[:-1]).digest())


def test_few_items_are_trained_as_long_as_many() -> None:
    assert length(60_000, {"epochs": 12}, ()) == {"epochs": 12, "batch_size": 256}
    for items in (2, 700, 6_000, 20_000):
        few = length(items, {"epochs": 12}, ())
        looks = items * few["epochs"]
        assert few["batch_size"] >= 64
        assert looks >= 240_000 or few["epochs"] == 60
        assert looks >= 1_600 * few["batch_size"] or few["batch_size"] == 64
    assert length(6_000, {"epochs": 12, "batch_size": 512}, ("epochs", "batch_size")) == {
        "epochs": 12,
        "batch_size": 512,
    }
    assert length(6_000, {"epochs": 12}, ("epochs",)) == {"epochs": 12, "batch_size": 64}


def test_patience_lasts_half_of_the_epochs() -> None:
    """Noise has nothing to learn: an early stop is at the patience, which nobody named."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 6, 6, 1), dtype=np.uint8)
    _, record = train("autoencoder", noise, dim=2, epochs=40, hidden=(64,), learning_rate=0.05)
    assert record.options["patience"] == 20
    assert record.epochs == 40 or record.epochs - record.best_epoch == 20
    _, record = train("autoencoder", noise, dim=2, epochs=40, patience=3, hidden=(64,), learning_rate=0.05)
    assert record.options["patience"] == 3


def test_two_items_are_enough(tmp_path: Path) -> None:
    encoder, _ = train("autoencoder", ITEMS[:2], dim=1, epochs=1, hidden=(4,))
    save_encoder(encoder, tmp_path / "e")
    assert encoder.encode(ITEMS[:2]).shape == (2, 1)
