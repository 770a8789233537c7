"""Datasets of torchvision. torch is imported when one is opened, never before."""

from __future__ import annotations

from pathlib import Path

from latentstore.errors import ConfigInvalid


def download_fashion_mnist(cache: Path) -> Path:
    """Let torchvision download Fashion-MNIST below `cache`; return the folder of its idx files.

    Raises:
        ConfigInvalid: No network, or the download failed.
    """
    from torchvision.datasets import FashionMNIST

    try:
        dataset = FashionMNIST(cache, download=True)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; torchvision wraps some in RuntimeError
        raise ConfigInvalid(
            f"Fashion-MNIST is not on this machine and could not be downloaded to {cache} ({error}); "
            "pass folder=… with its four idx files, or install the Debian package dataset-fashion-mnist"
        ) from error
    return Path(dataset.raw_folder)
