"""`train`: from a kind, items and options to an encoder and the record of how it came about."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from latentstore.encoders.base import Encoder, Model, build_model, check_item_shape, model_class
from latentstore.encoders.networks import initialise
from latentstore.encoders.numerics import Numerics, choose
from latentstore.encoders.options import option_names, read_options, refuse_unknown
from latentstore.encoders.pca import PCA
from latentstore.encoders.pretrained import Pretrained
from latentstore.encoders.schedule import Progress, TrainingOptions, length
from latentstore.encoders.sources import LABEL, Source
from latentstore.encoders.state import saved_journal
from latentstore.encoders.train import fit
from latentstore.errors import ConfigInvalid, InputError, NotSupported

CLASSES = "classes"  # the one option that the labels tell


@dataclass(frozen=True)
class TrainingRecord:
    """How an encoder came about: the machine's part of its card.

    Attributes:
        kind, dim, item_shape, items, items_digest: What was trained on what.
        seed: Of everything random.
        options: Training options, after recipe and defaults; empty for pca.
        epochs, best_epoch, steps: Done; the weights are those of `best_epoch`.
        seconds, cpu_seconds: Spent, with those before a resume.
        resumed: How often the training was taken up again.
        history: Per epoch, the means of what the model reports, and of the validation items.
        precision, memory_format, device, threads, torch: What the bits depend on.
        in_memory: Whether the items were held as one tensor.
    """

    kind: str
    dim: int
    item_shape: tuple[int, ...]
    items: int
    items_digest: str
    seed: int
    options: dict[str, Any]
    epochs: int
    best_epoch: int
    steps: int
    seconds: float
    cpu_seconds: float
    resumed: int
    history: list[dict[str, float]]
    precision: str
    memory_format: str
    device: str
    threads: int
    torch: str
    in_memory: bool

    def to_card(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "item_shape": list(self.item_shape)}


def training_options(kind: str) -> list[str]:
    """The names of all options that `train` takes for this kind."""
    cls = model_class(kind)
    names = option_names(cls.Options, *([] if hasattr(cls, "fit") else [TrainingOptions])) + fit_options(cls)
    return [name for name in names if name != CLASSES]


def fit_options(cls: type[Model]) -> list[str]:
    """What the `fit` of a kind wants to know beside the items, and is no part of the encoder: a file of weights."""
    return [*inspect.signature(cls.fit).parameters][3:] if hasattr(cls, "fit") else []


def train(
    kind: str,
    items: Any,
    *,
    dim: int,
    seed: int = 0,
    resume_from: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    device: str = "auto",
    memory: int | None = None,
    labels: Any = None,
    **options: Any,
) -> tuple[Encoder, TrainingRecord]:
    """Train an encoder.

    The same seed, items, options and number of threads give the same bits on a CPU.

    Args:
        kind: "pca", "autoencoder", "vae", "hybrid", "contrastive", "pretrained", "classifier".
        items: uint8 (or floats in [0, 1]) of shape (n, h, w, c) or (n, h, w); for pca also ready vectors (n, d_in);
            or a dataset: `item_shape`, `__len__`, `read(positions)`.
        dim: Width of the latents.
        seed: Of first weights, order, noise and validation split.
        resume_from: A folder for the state of the training. A state found there is taken up, so a killed call is simply
            repeated; delete the folder when the encoder is saved.
        progress: Called with `Progress` some times a second.
        device: "auto" takes CUDA when there is one.
        memory: Bytes that may be spent on holding a dataset's items; None means half of the free memory.
        labels: Of each item, for kinds that learn from them too ("hybrid", "contrastive"); "classifier" also takes
            {column: labels}.
        options: Of the kind (see its Options class) and of training (`TrainingOptions`).

    Returns:
        The encoder, on the CPU, and its record.

    Raises:
        UnknownEncoder: No such kind.
        ConfigInvalid: An unknown option or an impossible value.
        ShapeMismatch: Items that this kind cannot take.
        InputError: Fewer than 2 items.
        DidNotConverge: The loss became NaN.
    """
    cls = model_class(kind)
    refuse_unknown(options, training_options(kind), what=f"encoder kind {kind!r}")
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise ConfigInvalid(f"dim is {dim!r}; pass a whole number")
    labels = _labels(kind, labels)
    where = _device(device)
    source = Source(items, memory=memory, device=where, labels=labels)
    if len(source) < 2:
        raise InputError(f"{len(source)} item is too few to train on; pass at least 2")
    check_item_shape(source.item_shape, kind)
    chosen = {**cls.recipe(source.item_shape, dim), **options}
    if cls.lengthens:
        chosen |= length(len(source), chosen, options)
    if cls.takes_columns:
        chosen[CLASSES] = source.classes
    elif cls.takes_labels:
        chosen[CLASSES] = len(source.classes.get(LABEL, ()))
    own = {field.name for field in fields(cls.Options)}
    model = build_model(kind, source.item_shape, dim, {k: v for k, v in chosen.items() if k in own})
    model.to_empty(device=where) if cls.on_meta else model.to(where)
    own |= {*fit_options(cls)}
    how = read_options(TrainingOptions, {k: v for k, v in chosen.items() if k not in own}, what="training")
    if "patience" not in options:
        how = replace(how, patience=max(how.patience, how.epochs // 2))
    common: dict[str, Any] = {
        "kind": kind,
        "dim": dim,
        "item_shape": source.item_shape,
        "items": len(source),
        "items_digest": source.digest(),
        "seed": seed,
        "device": where.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "in_memory": source.in_memory,
    }
    if isinstance(model, PCA | Pretrained):
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(source, seed, **{name: options[name] for name in fit_options(cls) if name in options})
        spent: dict[str, Any] = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        once: dict[str, Any] = {"options": {}, "epochs": 1, "best_epoch": 1, "steps": 1, "resumed": 0, "history": []}
        record = TrainingRecord(**common, **once, **spent, precision=model.precision, memory_format="contiguous")
        return Encoder(model), record
    model.prepare(source, seed)
    initialise(model, torch.Generator(where).manual_seed(seed))
    folder = None if resume_from is None else Path(resume_from)
    earlier = None if folder is None else saved_journal(folder)
    numerics = Numerics(**earlier["numerics"]) if earlier else choose(how.precision, how.memory_format, model, where)
    task = {name: common[name] for name in ("kind", "dim", "item_shape", "items", "items_digest", "seed")}
    task |= asdict(model.options) | {k: v for k, v in asdict(how).items() if k != "checkpoint_seconds"}
    journal = fit(model, source, how, numerics, seed=seed, task=task, folder=folder, progress=progress)
    model.settle(source, seed)
    encoder = Encoder(model.to("cpu", memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    record = TrainingRecord(
        **common,
        options=asdict(how),
        epochs=len(journal.history),
        best_epoch=journal.best_epoch,
        steps=journal.step,
        seconds=journal.seconds,
        cpu_seconds=journal.cpu_seconds,
        resumed=journal.resumed,
        history=journal.history,
        **asdict(numerics),
    )
    return encoder, record


def _labels(kind: str, labels: Any) -> Any:
    """Labels as this kind takes them."""
    cls, by_column = model_class(kind), isinstance(labels, Mapping)
    if cls.takes_columns:
        if labels is None:
            raise InputError(f"an encoder of kind {kind!r} learns from labels only; pass some")
        return labels if by_column else {LABEL: labels}
    if labels is not None and not cls.takes_labels:
        raise NotSupported(f"an encoder of kind {kind!r} learns nothing from labels; leave them out")
    if by_column:
        raise InputError(f"an encoder of kind {kind!r} learns from one label of each item; pass one column")
    return labels


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigInvalid(f"unknown device {name!r}; pass auto, cpu or cuda") from error
