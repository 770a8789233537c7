"""What a space behind a service answers with: latents, paths and samples that can be asked further."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.types import Neighbours

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.client.remote_space import RemoteSpace
    from latentstore.types import Array


@dataclass(frozen=True, eq=False)
class RemoteLatent:
    """A point of a space; see `latentstore.space.latent.Latent`.

    Attributes:
        space: Where it lives.
        vector: Shape (d,), float32.
        expression: How it is written; None when it was given as numbers.
    """

    space: RemoteSpace
    vector: Float32[Array, " d"]
    expression: str | None

    def decode(self) -> Array:
        """The item that the decoder draws here."""
        return self.space.decode(self.vector)

    def search(self, k: int = 10, **options: Any) -> Neighbours:
        """The k nearest items."""
        return self.space.search(self.vector, k, **options)

    def realism(self) -> float:
        """How near to real data, in [0, 1]."""
        return float(self.space._json("edit", {"query": self.vector, "k": 1, "pictures": False})["realism"])

    def as_sent(self) -> Any:
        """Its expression, else its numbers."""
        return self.expression or self.vector.tolist()


@dataclass(frozen=True, eq=False)
class RemotePath:
    """A path; see `latentstore.space.paths.Path`.

    Attributes:
        space: Where it is.
        latents: Shape (steps, d), float32.
        method: How it was found.
        anchors: Which of the latents are the anchors.
        report: The fields of `PathReport`.
        items: Of transport: the frames, which the latents between the anchors encode; in steps of 1/255.
    """

    space: RemoteSpace
    latents: Float32[Array, "steps d"]
    method: str
    anchors: tuple[int, ...]
    report: dict[str, Any]
    items: Float32[Array, "steps ..."] | None = None

    def decode(self) -> Float32[Array, "steps ..."]:
        """The frames: what the decoder draws on the way, or transport makes."""
        return self.space.decode(self.latents) if self.items is None else self.items


@dataclass(frozen=True, eq=False)
class RemoteSamples:
    """Drawn latents; see `latentstore.space.density.Samples`.

    Attributes:
        space: Where they live.
        latents: Shape (n, d), float32.
        method: How they were drawn.
        nearest: Ids of the nearest real items.
    """

    space: RemoteSpace
    latents: Float32[Array, "n d"]
    method: str
    nearest: list[str]

    def decode(self) -> Float32[Array, "n ..."]:
        """The items that the decoder draws."""
        return self.space.decode(self.latents)


def frames(pictures: Sequence[str]) -> Float32[Array, "n h w c"]:
    """Pictures as they were sent, in [0, 1]."""
    from PIL import Image

    frames = []
    for one in pictures:
        with Image.open(io.BytesIO(b64decode(one))) as image:
            frames.append(np.asarray(image, np.float32) / 255)
    made = np.stack(frames)
    return made[..., None] if made.ndim == 3 else made
