"""torchvision's own classes over files in their own formats.

CelebA and CIFAR10 check the md5 of their files. The subclasses here state the md5 of the small files written here, as
torchvision's classes state those of the real ones; every line of loading is torchvision's.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from PIL import Image

from latentstore.datasets import open_dataset
from latentstore.datasets.torchvision_datasets import open_class
from latentstore.errors import ConfigInvalid, InputError, ShapeMismatch

DATA = Path(__file__).parents[3] / "data" / "fashion-mnist"


def test_fake_data_against_torchvision_itself() -> None:
    arguments = {"size": 12, "image_size": [3, 9, 7], "num_classes": 4}
    dataset = open_dataset("torchvision:FakeData", arguments=arguments)
    reference = torchvision.datasets.FakeData(**arguments)
    assert list(dataset.ids) == [str(i) for i in range(12)]
    assert dataset.item_shape == (9, 7, 3)
    for i, item in enumerate(dataset.read(range(12))):
        np.testing.assert_array_equal(item, np.asarray(reference[i][0]))
    assert dataset.metadata["label_number"].to_pylist() == [reference[i][1] for i in range(12)]
    again = open_dataset(**dataset.source)
    assert again.content_hashes() == dataset.content_hashes()
    assert len(set(dataset.content_hashes())) == 12
    small = open_dataset("torchvision:FakeData", arguments=arguments, size=5, channels=1, limit=3)
    assert small.read([0, 1, 2]).shape == (3, 5, 5, 1)


def test_fashion_mnist_equals_our_own(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in DATA.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    ours = open_dataset("fashion_mnist")
    theirs = open_dataset("torchvision:FashionMNIST", root=str(tmp_path))
    assert list(theirs.ids) == list(ours.ids)
    assert theirs.item_shape == ours.item_shape
    some = np.arange(0, 70_000, 4999)
    np.testing.assert_array_equal(theirs.read(some), ours.read(some))
    assert theirs.metadata["label"].to_pylist() == ours.metadata["label"].to_pylist()
    assert theirs.metadata["split"].to_pylist() == ours.metadata["split"].to_pylist()
    test = open_dataset("torchvision:FashionMNIST", root=str(tmp_path), split="test", limit=20)
    assert [test.ids[0], len(test)] == ["test/0", 20]
    np.testing.assert_array_equal(open_dataset(**test.source).read([19]), ours.read([60_019]))


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


ATTRIBUTES = ["Smiling", "Eyeglasses", *(f"Attribute_{i}" for i in range(38))]


def _write_celeba(root: Path, sizes: dict[int, tuple[int, int]] | None = None) -> type[torchvision.datasets.CelebA]:
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 9)]
    flags = np.where(np.random.default_rng(0).random((8, 40)) < 0.5, -1, 1)
    for i, name in enumerate(names):
        height, width = (sizes or {}).get(i, (22, 18))
        Image.fromarray(picture(i, height, width)).save(folder / "img_align_celeba" / name)

    def rows(values: Any) -> str:
        return "".join(f"{name}  {' '.join(map(str, row))}\n" for name, row in zip(names, values, strict=True))

    texts = {
        "list_attr_celeba.txt": "8\n" + " ".join(ATTRIBUTES) + " \n" + rows(flags),
        "identity_CelebA.txt": rows([[i * 11] for i in range(8)]),
        "list_bbox_celeba.txt": "8\nimage_id x_1 y_1 width height\n" + rows([[i, i, 9, 9] for i in range(8)]),
        "list_landmarks_align_celeba.txt": "8\nlefteye_x lefteye_y …\n" + rows([range(10)] * 8),
        "list_eval_partition.txt": rows([[i // 3] for i in range(8)]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)

    class CelebA(torchvision.datasets.CelebA):
        file_list = [("", _md5(folder / name), name) for name in texts]  # noqa: RUF012

    return CelebA


def test_celeba_attributes_are_boolean_columns(tmp_path: Path) -> None:
    celeba = _write_celeba(tmp_path)
    dataset = open_class(celeba, root=str(tmp_path))
    reference = torchvision.datasets.CelebA.__new__(celeba)
    celeba.__init__(reference, tmp_path, split="all")
    assert list(dataset.ids) == [f"{i:06d}.jpg" for i in range(1, 9)]
    assert dataset.metadata["split"].to_pylist() == ["train"] * 3 + ["valid"] * 3 + ["test"] * 2
    for number, name in enumerate(ATTRIBUTES):
        assert dataset.metadata[name.lower()].to_pylist() == reference.attr[:, number].bool().tolist()
    assert dataset.metadata["smiling"].type == "bool"
    assert dataset.metadata["identity"].to_pylist() == [0, 11, 22, 33, 44, 55, 66, 77]
    assert dataset.metadata["box"][2].as_py() == [2, 2, 9, 9]
    np.testing.assert_array_equal(dataset.read([6])[0], np.asarray(reference[6][0]))
    valid = open_class(celeba, root=str(tmp_path), split="valid", size=8, limit=2)
    assert list(valid.ids) == ["000004.jpg", "000005.jpg"]
    assert valid.item_shape == (8, 8, 3)


def test_the_real_celeba_class_refuses_files_that_are_not_its_own(tmp_path: Path) -> None:
    _write_celeba(tmp_path)
    with pytest.raises(ConfigInvalid, match=r"torchvision:CelebA cannot be opened at root=.*not found or corrupted"):
        open_dataset("torchvision:CelebA", root=str(tmp_path))


def test_images_of_two_sizes_and_broken_ones_are_named(tmp_path: Path) -> None:
    dataset = open_class(_write_celeba(tmp_path, {4: (30, 30)}), root=str(tmp_path))
    with pytest.raises(
        ShapeMismatch, match=r"'000001.jpg' is 22 × 18 and '000005.jpg' is 30 × 30 pixels; add the option size"
    ):
        dataset.read([0, 4])
    (tmp_path / "celeba" / "img_align_celeba" / "000002.jpg").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="item 1 of torchvision:CelebA cannot be read"):
        dataset.read([1])


def test_cifar10_in_its_own_format(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    classes = ["airplane", "automobile", "bird"]
    rng = np.random.default_rng(0)
    train = {"data": rng.integers(0, 256, (9, 3072), dtype=np.uint8), "labels": [i % 3 for i in range(9)]}
    test = {"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [2, 1, 0, 2]}
    for name, content in (("data_batch_1", train), ("test_batch", test), ("batches.meta", {"label_names": classes})):
        (folder / name).write_bytes(pickle.dumps(content))

    class CIFAR10(torchvision.datasets.CIFAR10):
        train_list = [["data_batch_1", _md5(folder / "data_batch_1")]]  # noqa: RUF012
        test_list = [["test_batch", _md5(folder / "test_batch")]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": _md5(folder / "batches.meta")}  # noqa: RUF012

    dataset = open_class(CIFAR10, root=str(tmp_path))
    assert list(dataset.ids) == [f"train/{i}" for i in range(9)] + [f"test/{i}" for i in range(4)]
    assert dataset.metadata["label"].to_pylist() == [classes[i % 3] for i in range(9)] + [
        "bird",
        "automobile",
        "airplane",
        "bird",
    ]
    expected = test["data"][3].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(dataset.read([12])[0], expected)


class Targets(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Follows torchvision's manners, with targets of any kind."""

    def __init__(self, values: list[Any], classes: list[str] | None = None) -> None:
        self.values = values
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        return Image.fromarray(picture(index)), self.values[index]


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ([2, -1], {"label": ["c", None], "label_number": [2, None]}),
        (["x", "y"], {"label": ["x", "y"]}),
        ([0.5, 1.5], {"target": [0.5, 1.5]}),
        ([torch.tensor(1), torch.tensor(0)], {"label": ["b", "a"], "label_number": [1, 0]}),
        ([torch.tensor([1, 2]), torch.tensor([3, 4])], {"target": [[1, 2], [3, 4]]}),
        ([(1, "u"), (2, "v")], {"target_0": [1, 2], "target_1": ["u", "v"]}),
        ([{"age": 3}, {"age": 4}], {"age": [3, 4]}),
        ([None, None], {"split": [None, None]}),
    ],
)
def test_targets_become_columns(values: list[Any], columns: dict[str, list[Any]]) -> None:
    dataset = open_class(Targets, arguments={"values": values, "classes": ["a", "b", "c"]})
    assert dataset.metadata.to_pydict() == columns


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torchvision:CIFAR", {}, "did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10", {}, "needs the option root"),
        ("torchvision:CIFAR10", {"root": "/nowhere"}, "cannot be opened at root='/nowhere'"),
        ("torchvision:CIFAR10", {"root": "/nowhere", "split": "tset"}, "has no split 'tset'; did you mean 'test'"),
        ("torchvision:SVHN", {"root": "/nowhere", "split": "tset"}, "has no split 'tset'"),
        ("torchvision:FakeData", {"split": "test"}, "has no split 'test'"),
        ("torchvision:FakeData", {"download": True}, "cannot be downloaded"),
        ("torchvision:FakeData", {"arguments": {"sice": 3}}, "no argument 'sice'; did you mean 'size'"),
        ("torchvision:FakeData", {"arguments": {"transform": 1}}, "no argument 'transform'"),
        ("torchvision:FakeData", {"limits": 3}, "has no option 'limits'; did you mean 'limit'"),
    ],
)
def test_mistakes_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        open_dataset(name, **options)


def test_no_items() -> None:
    with pytest.raises(InputError, match="torchvision:FakeData has no items"):
        open_dataset("torchvision:FakeData", arguments={"size": 0})
