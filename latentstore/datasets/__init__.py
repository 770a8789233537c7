"""Sources of items: images, or ready vectors, with stable ids, content hashes and metadata.

`open_dataset("fashion_mnist")`, `open_dataset("image_folder", folder="photos", size=64)`. Nothing here imports torch,
except that `torchvision:<Name>` imports it when it is opened.
"""

from __future__ import annotations

from latentstore.datasets.base import Dataset, InMemory
from latentstore.datasets.registry import dataset_names, open_dataset

__all__ = ["Dataset", "InMemory", "dataset_names", "open_dataset"]
