"""What every kind of encoder is: a model with a spec, and the checks at its door."""

# ruff: noqa: ARG002, ARG003 (a base class names the arguments that its subclasses use)

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from latentstore.encoders.items import as_tensor, check_items, to_tensor
from latentstore.encoders.options import read_options
from latentstore.errors import (
    ConfigInvalid,
    NotSupported,
    ShapeMismatch,
    UnknownEncoder,
    suggest,
)
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.encoders.sources import Source
    from latentstore.types import Array

MAX_DIM = 65_536
MAX_SIDE = 4_096
CHUNK_NUMBERS = 1 << 20  # pixels (times channels) of one chunk of `encode`: larger activations cost page faults


class Model(nn.Module):
    """One kind of encoder. A later kind is one file: a subclass under `@register` and its line in `__init__`.

    Inside, images are float tensors (m, c, h, w) in [0, 1]; ready vectors are (m, d_in). A model that is trained by
    steps also has `loss`; one that is fitted in closed form has a classmethod `fit` instead (see `pca`).
    """

    kind: ClassVar[str]
    Options: ClassVar[type]
    takes_vectors: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False  # a column of them
    takes_columns: ClassVar[bool] = False  # any number of columns, at least one
    lengthens: ClassVar[bool] = False  # whether few items are trained for more epochs than the recipe names
    on_meta: ClassVar[bool] = True  # whether it can be made without memory for its weights

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: Any) -> None:
        super().__init__()
        self.item_shape, self.dim, self.options = item_shape, dim, options

    @property
    def numbers(self) -> int:
        """How much memory an item takes inside, in numbers: decides how many are encoded at a time."""
        return math.prod(self.item_shape)

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """Option values, of the model and of training, that suit items of this shape better than the defaults."""
        return {}

    def prepare(self, source: Source, seed: int) -> None:
        """Take what the first weights need from the items, before training."""

    def settle(self, source: Source, seed: int) -> None:
        """Take what the latents need from the items, after training."""

    def encode(self, x: Tensor) -> Tensor:
        """Items to latents (m, d)."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Latents (m, d) to items."""
        raise NotSupported(f"an encoder of kind {self.kind!r} has no decoder; train an autoencoder or a vae")

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(z|x), (m, d) each."""
        raise NotSupported(f"an encoder of kind {self.kind!r} has no posterior; only a vae has one")

    def negative_elbo(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Upper bound of −log p(x) in nats, (m,)."""
        raise NotSupported(f"an encoder of kind {self.kind!r} has no likelihood; only a vae has one")

    def scores(self, x: Tensor) -> list[Tensor]:
        """Of each label column, the logits of its values (m, c)."""
        raise NotSupported(f"an encoder of kind {self.kind!r} tells no classes; only a classifier does")

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scalars of one batch; "loss" is what training minimises.

        Args:
            x: The items.
            done: Fraction of training behind us.
            generator: For everything random.
            labels: Theirs as positions in the classes, (m,), where there are some and the kind takes them.
        """
        raise NotImplementedError


MODELS: dict[str, type[Model]] = {}
M = TypeVar("M", bound=type[Model])


def register(model: M) -> M:
    """Make a kind known by its name."""
    MODELS[model.kind] = model
    return model


def model_class(kind: str) -> type[Model]:
    """The model of this kind; `UnknownEncoder` with a suggestion if there is none."""
    if kind not in MODELS:
        raise UnknownEncoder(f"unknown kind of encoder {kind!r}; {suggest(kind, MODELS)}")
    return MODELS[kind]


def build_model(kind: str, item_shape: tuple[int, ...], dim: int, options: Mapping[str, Any]) -> Model:
    """A model without weights (most on torch's meta device, so that no spec, however large, costs memory)."""
    cls = model_class(kind)
    if not 1 <= dim <= MAX_DIM:
        raise ConfigInvalid(f"dim is {dim}; pass a whole number from 1 to {MAX_DIM}")
    check_item_shape(item_shape, kind)
    with torch.device("meta") if cls.on_meta else nullcontext():
        return cls(item_shape, dim, read_options(cls.Options, options, what=f"encoder kind {kind!r}"))


def check_item_shape(item_shape: tuple[int, ...], kind: str) -> None:
    """Raise `ShapeMismatch` if items of this shape cannot be encoded by this kind."""
    vectors = model_class(kind).takes_vectors
    if len(item_shape) == 1 and vectors and 1 <= item_shape[0] <= MAX_DIM:
        return
    if len(item_shape) != 3 or item_shape[2] not in (1, 3) or not all(1 <= side <= MAX_SIDE for side in item_shape[:2]):
        ready = " or ready vectors (n, d)" if vectors else ""
        raise ShapeMismatch(
            f"items have shape {item_shape}; kind {kind!r} takes images (n, height, width, channels) "
            f"of 1 or 3 channels and sides up to {MAX_SIDE}{ready}"
        )


class Encoder:
    """A trained model, ready to encode: immutable, thread safe, evaluated in float32.

    Attributes:
        spec: Kind, dim, item_shape and hyper-parameters; with the weights it determines every answer.
        dim: Width d of the latents.
        item_shape: (height, width, channels) of images, or (d_in,) of ready vectors.
        model: The torch module, in evaluation mode.
    """

    def __init__(self, model: Model) -> None:
        self.model = model.float().eval().requires_grad_(False)
        self.dim = model.dim
        self.item_shape = model.item_shape
        options = json.loads(json.dumps(asdict(model.options)))
        self.spec: dict[str, Any] = {
            "kind": model.kind,
            "dim": self.dim,
            "item_shape": list(self.item_shape),
            **options,
        }

    def __repr__(self) -> str:
        return f"Encoder({self.kind}, dim={self.dim}, item_shape={self.item_shape}, {self.fingerprint})"

    @property
    def kind(self) -> str:
        """Which kind of encoder: "pca", "autoencoder", "vae", …"""
        return self.model.kind

    @cached_property
    def fingerprint(self) -> str:
        """Hash of spec and weights, 32 hex digits: the identity of the embedding space."""
        return fingerprint(self.spec, self.model.state_dict())

    def encode(self, items: Array) -> Float32[Array, "n d"]:
        """Turn items into latents.

        Args:
            items: uint8, or floats in [0, 1], shape (n, h, w, c); (n, h, w) when c = 1. Ready vectors: (n, d_in).

        Returns:
            Latents, shape (n, d).

        Raises:
            ShapeMismatch: Items of another size or channel count than the encoder was trained on.
            NotFinite: NaN or infinity.
            InputError: Not numbers, or pixels outside [0, 1].
        """
        return self._collect(items, lambda x: (self.model.encode(x),))[0]

    def posterior(self, items: Array) -> tuple[Float32[Array, "n d"], Float32[Array, "n d"]]:
        """Mean and variance of the Gaussian q(z|x) of each item; `NotSupported` unless the encoder is a vae."""
        mean, variance = self._collect(items, self.model.posterior)
        return mean, variance

    def negative_elbo(self, items: Array, *, seed: int = 0) -> Float32[Array, " n"]:
        """−ELBO of each item in nats: analytic KL plus a one-sample estimate of the reconstruction term."""
        generator = torch.Generator(self._device).manual_seed(seed)
        return self._collect(items, lambda x: (self.model.negative_elbo(x, generator)[:, None],))[0][:, 0]

    def probabilities(self, items: Array) -> list[Float32[Array, "n c"]]:
        """Of each column of a classifier, how likely its values are, (n, c); `NotSupported` for other kinds."""
        return self._collect(items, lambda x: [scores.softmax(1) for scores in self.model.scores(x)])

    def decode(self, latents: Array) -> Float32[Array, "n h w c"]:
        """Turn latents into items.

        Args:
            latents: Shape (n, d), or (d,) for one.

        Returns:
            Images in [0, 1], shape (n, h, w, c), or (h, w, c) for one; ready vectors (n, d_in) or (d_in,).

        Raises:
            ShapeMismatch, NotFinite: What `check_vectors` refuses.
            NotSupported: This kind has no decoder.
        """
        z = check_vectors(latents, self.dim, what="latents")
        rows = as_tensor(np.atleast_2d(z))
        parts = [np.empty((0, *self.item_shape), np.float32)]
        with torch.inference_mode():
            for chunk in torch.split(rows, self._chunk):
                x = self.model.decode(chunk.to(self._device))
                parts.append((x.permute(0, 2, 3, 1) if x.ndim == 4 else x).cpu().numpy())
        items = np.ascontiguousarray(np.concatenate(parts))
        return items if z.ndim == 2 else items[0]

    @property
    def _device(self) -> torch.device:
        tensor: Tensor = next(iter(self.model.state_dict().values()))
        return tensor.device

    @property
    def _chunk(self) -> int:
        return max(1, min(2048, CHUNK_NUMBERS // self.model.numbers))

    def _collect(self, items: Array, function: Any) -> list[Array]:
        """Apply a function of tensors to items, chunk by chunk."""
        checked = check_items(items, self.item_shape)
        chunks: list[Sequence[Tensor]] = []
        with torch.inference_mode():
            for start in range(0, max(len(checked), 1), self._chunk):
                x = to_tensor(checked[start : start + self._chunk], self._device)
                chunks.append(function(x))
        return [np.ascontiguousarray(torch.cat(parts).float().cpu().numpy()) for parts in zip(*chunks, strict=True)]


def fingerprint(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the canonical JSON of the spec, and name, dtype, shape and bytes of every tensor; 32 hex digits."""
    digest = sha256(json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())
    for name in sorted(weights):
        array = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"\n{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]
