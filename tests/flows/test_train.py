"""Training from a configuration: what of it the encoder sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.config import parse_config
from flows.train import train_encoder
from flows.workspace import Workspace
from latentstore.errors import InputError, NotSupported

Make = Callable[..., Workspace]
HYBRID = {"kind": "hybrid", "dim": 4, "epochs": 1, "hidden": [16], "components": 16, "batch_size": 50}


def test_labels_come_from_the_column_that_is_named(workspace: Make, document: dict[str, Any]) -> None:
    def trained(**encoder: Any) -> Any:
        with workspace(config=parse_config({**document, "encoder": {**HYBRID, **encoder}})) as work:
            return work.store.encoder(str(train_encoder(work).fingerprint))

    labelled, plain = trained(labels="label"), trained()
    assert (labelled.model.options.classes, plain.model.options.classes) == (10, 0)
    assert labelled.fingerprint != plain.fingerprint
    assert trained(labels="label").fingerprint == labelled.fingerprint

    with pytest.raises(InputError, match=r"\[encoder\] no column 'lable' in the dataset; did you mean 'label'"):
        trained(labels="lable")
    with pytest.raises(NotSupported, match="'autoencoder' learns nothing from labels"):
        trained(kind="autoencoder", labels="label")
