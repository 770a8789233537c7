"""Fashion-MNIST from the repository's own files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latentstore.datasets import InMemory, open_dataset
from latentstore.datasets.idx import read_idx
from latentstore.errors import ChecksumMismatch, ConfigInvalid, InputError

DATA = Path(__file__).parents[3] / "data"
FILES = DATA / "fashion-mnist"


@pytest.fixture(scope="module")
def dataset() -> InMemory:
    opened = open_dataset("fashion_mnist")
    assert isinstance(opened, InMemory)
    return opened


def test_all_items_are_there_in_order(dataset: InMemory) -> None:
    assert len(dataset) == 70_000
    assert dataset.item_shape == (28, 28, 1)
    assert [dataset.ids[i] for i in (0, 59_999, 60_000, 69_999)] == ["train/0", "train/59999", "test/0", "test/9999"]
    assert dataset.metadata.column_names == ["label", "label_number", "split"]
    # 6,000 and 1,000 of each class: the composition its authors state.
    counts = dataset.metadata.group_by(["split", "label"]).aggregate([([], "count_all")])
    assert sorted(counts["count_all"].to_pylist()) == [1000] * 10 + [6000] * 10
    assert dataset.metadata["label"][0].as_py() == "Ankle boot"
    assert dataset.metadata["label_number"][0].as_py() == 9


def test_pixels_against_an_independent_decoder(dataset: InMemory) -> None:
    raw = gzip.decompress((FILES / "t10k-images-idx3-ubyte.gz").read_bytes())
    for number in (0, 17, 9_999):
        expected = np.frombuffer(raw, np.uint8, 784, offset=16 + 784 * number).reshape(28, 28)
        np.testing.assert_array_equal(dataset.read([60_000 + number])[0, :, :, 0], expected)


def test_content_hashes_differ_exactly_where_pixels_do(dataset: InMemory) -> None:
    hashes = dataset.content_hashes()
    distinct = {item.tobytes() for item in dataset.items}
    assert len(set(hashes)) == len(distinct)


def test_limit_keeps_the_proportion_and_the_prefix(dataset: InMemory) -> None:
    few = open_dataset("fashion_mnist", limit=700)
    assert len(few) == 700
    assert few.metadata["split"].to_pylist() == ["train"] * 600 + ["test"] * 100
    np.testing.assert_array_equal(few.read([0, 600]), dataset.read([0, 60_000]))
    assert few.content_hashes()[600] == dataset.content_hashes()[60_000]
    assert len(open_dataset("fashion_mnist", limit=1)) == 1
    assert len(open_dataset("fashion_mnist", split="test", limit=10**9)) == 10_000


def test_source_opens_the_same_items() -> None:
    first = open_dataset("fashion_mnist", split="test", limit=50, folder=str(FILES))
    again = open_dataset(**first.source)
    assert list(again.ids) == list(first.ids)
    assert again.content_hashes() == first.content_hashes()
    assert again.metadata.equals(first.metadata)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "did you mean 'test'"),
        ({"limit": 0}, "limit=0"),
        ({"limit": True}, "limit=True"),
        ({"spilt": "test"}, "did you mean 'split'"),
        ({"folder": "/no/such/folder"}, "lacks train-images-idx3-ubyte"),
    ],
)
def test_mistaken_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        open_dataset("fashion_mnist", **options)


def test_an_unknown_dataset_gets_a_suggestion() -> None:
    with pytest.raises(ConfigInvalid, match="unknown dataset 'fashion-mnist'; did you mean 'fashion_mnist'"):
        open_dataset("fashion-mnist")


def test_positions_are_checked(dataset: InMemory) -> None:
    with pytest.raises(InputError, match="position 70000 is outside this dataset of 70000 items"):
        dataset.read([0, 70_000])
    with pytest.raises(InputError, match="position -1"):
        dataset.read([-1])
    assert dataset.read([]).shape == (0, 28, 28, 1)


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(FILES, folder / "copy"))


def test_truncated_gz(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(ChecksumMismatch, match=r"t10k-images-idx3-ubyte\.gz is truncated or corrupt.*fresh copy"):
        open_dataset("fashion_mnist", split="test", folder=str(folder))


_HUGE = b"\x00\x00\x08\x03" + b"\xff" * 12  # announces 2⁹⁶ bytes


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"no gzip", gzip.compress(b"\x00"), gzip.compress(b"PNG..."), gzip.compress(_HUGE)]
)
def test_other_files_under_the_name(tmp_path: Path, content: bytes) -> None:
    folder = _copy(tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(ChecksumMismatch, match=r"t10k-labels-idx1-ubyte\.gz"):
        open_dataset("fashion_mnist", split="test", folder=str(folder))


def test_one_changed_label_is_noticed_and_plain_files_are_read(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    file = folder / "t10k-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(file.read_bytes()))
    file.unlink()
    plain = file.with_suffix("")
    plain.write_bytes(raw)
    assert len(open_dataset("fashion_mnist", split="test", folder=str(folder))) == 10_000  # the control
    raw[1000] ^= 1
    plain.write_bytes(raw)
    with pytest.raises(ChecksumMismatch, match="expected 0402a96d92fd"):
        open_dataset("fashion_mnist", split="test", folder=str(folder))


def test_idx_with_too_few_or_too_many_bytes(tmp_path: Path) -> None:
    header = b"\x00\x00\x08\x01\x00\x00\x00\x05"
    file = tmp_path / "labels"
    file.write_bytes(header + b"12345")
    assert read_idx(file).tobytes() == b"12345"
    for values, found in ((b"1234", "holds 4"), (b"123456", "holds more")):
        file.write_bytes(header + values)
        with pytest.raises(ChecksumMismatch, match=found):
            read_idx(file)


def test_the_readme_states_each_file_and_its_digests() -> None:
    text = (DATA / "README.md").read_text()
    for file in FILES.glob("*.gz"):
        content = file.read_bytes()
        row = next(line for line in text.splitlines() if f"| `{file.name}`" in line)
        assert f"{len(content):,}" in row
        assert hashlib.sha256(content).hexdigest() in row
        assert hashlib.sha256(gzip.decompress(content)).hexdigest() in row


def test_opening_it_imports_no_torch() -> None:
    code = (
        "import sys; from latentstore.datasets import open_dataset; open_dataset('fashion_mnist', limit=3);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
