"""Latent flow matching: a small network whose velocities carry noise to where the latents lie.

With x₀ ~ N(0, I) and x₁ a latent, xₜ = (1 − t) x₀ + t x₁ moves at x₁ − x₀; the network learns its mean at (x, t),
and the ordinary differential equation dx/dt = v(x, t) then carries N(0, I) to the latents' distribution. The latents of
each label are whitened on their own, and the velocity between two N(0, I), known in closed form, is given: the network
learns how the latents of a label differ from a Gaussian, and begins at one Gaussian per label.

Source: Y. Lipman et al., Flow matching for generative modeling, ICLR 2023 (the optimal-transport path, σ = 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from latentstore.encoders.networks import initialise
from latentstore.encoders.options import number, read_options
from latentstore.encoders.schedule import one_cycle
from latentstore.errors import ChecksumMismatch, DidNotConverge, InputError, ManifestInvalid, UnknownLabel, suggest

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.types import Array

FREQUENCIES = 8  # of the time: sin and cos of 2π·(1 … 8)·t / 2
AVERAGE = 0.998  # of the weights, from step to step: the mean of the last 500 steps moves less than the last one
SOLVER_STEPS = 16  # of the midpoint rule, two evaluations each
CHUNK = 4096


@dataclass(frozen=True)
class FlowOptions:
    """Size and training of a flow.

    Attributes:
        steps: Batches.
        batch_size: Latents of each.
        learning_rate: At the top of the one-cycle schedule.
        hidden: Width of the network.
        blocks: Its residual blocks.
    """

    steps: int = number(3_000, 1, 1_000_000)
    batch_size: int = number(512, 2, 65_536)
    learning_rate: float = number(2e-3, 1e-8, 1)
    hidden: int = number(256, 8, 8_192)
    blocks: int = number(3, 1, 64)


class Velocity(nn.Module):
    """v(x, t, label), an MLP with residual blocks, each told time and label.

    Args:
        dim: Width d of x.
        labels: How many.
        options: Its size.
    """

    def __init__(self, dim: int, labels: int, options: FlowOptions) -> None:
        super().__init__()
        width = options.hidden
        self.enter = nn.Linear(dim, width)
        self.told = nn.Linear(2 * FREQUENCIES + labels, width)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(options.blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(options.blocks))
        self.leave = nn.Linear(width, dim)
        self.labels = labels

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Velocities (m, d) at x (m, d), times (m,) and labels (m,)."""
        waves = math.pi * t[:, None] * torch.arange(1, FREQUENCIES + 1, device=x.device)
        told = torch.cat([waves.sin(), waves.cos(), functional.one_hot(label, self.labels).to(x.dtype)], 1)
        told = functional.silu(self.told(told))
        h = self.enter(x)
        for first, second in zip(self.first, self.second, strict=True):
            h = h + second(functional.silu(first(functional.layer_norm(h, h.shape[1:]) + told)))
        learned: Tensor = self.leave(functional.layer_norm(h, h.shape[1:]))
        return learned + ((2 * t - 1) / (t**2 + (1 - t) ** 2))[:, None] * x  # E[x₁ − x₀ | xₜ] where both are N(0, I)


class Flow:
    """A trained flow: draws latents of a space, of one label or of all.

    Attributes:
        spec: dim, labels with their shares, options: with the weights it determines every sample.
        labels: What it can be asked for.
        shares: Of the latents it was trained on, by label, float64, shape (c,).
    """

    def __init__(self, network: Velocity, spec: Mapping[str, Any], centres: Tensor, factors: Tensor) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.spec = dict(spec)
        self.labels: tuple[str | None, ...] = tuple(spec["labels"])
        self.shares = np.asarray(spec["shares"], np.float64)
        self.centres, self.factors = centres, factors  # by label: (c, d), and L (c, d, d) of the covariances L Lᵀ

    def draw(
        self, n: int, generator: np.random.Generator, *, label: str | None = None, truncation: float = 1.0,
        steps: int = SOLVER_STEPS,
    ) -> Float32[Array, "n d"]:  # fmt: skip
        """Draw n latents.

        Args:
            n: How many.
            generator: For everything random; for the same one, truncations share labels and directions.
            label: Only like latents with it; None: of all labels, as often as they were.
            truncation: What the noise that the flow starts from is multiplied by: 1 draws from the learned
                distribution, .5 from what it makes of the noise's inner part, 0 gives one latent per label.
            steps: Of the midpoint rule from t = 0 to 1.

        Raises:
            UnknownLabel: The flow was not trained on it.
        """
        if label is not None and label not in self.labels:
            known = [one for one in self.labels if one is not None]
            raise UnknownLabel(f"the flow was trained on no latent with label {label!r}; {suggest(label, known)}")
        if label is None:
            chosen = generator.choice(len(self.shares), size=n, p=self.shares / self.shares.sum())
        else:
            chosen = np.full(n, self.labels.index(label))
        dim = self.centres.shape[1]
        noise = truncation * generator.standard_normal((n, dim))
        parts = [np.empty((0, dim), np.float32)]
        with torch.inference_mode():
            for first in range(0, n, CHUNK):
                part = slice(first, first + CHUNK)
                x = torch.from_numpy(noise[part].astype(np.float32))
                which = torch.from_numpy(chosen[part].astype(np.int64))
                for step in range(steps):
                    t = torch.full((len(x),), step / steps)
                    middle = x + self.network(x, t, which) / (2 * steps)
                    x = x + self.network(middle, t + 1 / (2 * steps), which) / steps
                for one in range(len(self.labels)):
                    mine = which == one
                    x[mine] = x[mine] @ self.factors[one].T + self.centres[one]
                parts.append(x.numpy())
        return np.ascontiguousarray(np.concatenate(parts))

    def to_bytes(self) -> bytes:
        """The weights as safetensors."""
        tensors = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        content: bytes = save(tensors | {"centres": self.centres, "factors": self.factors})
        return content

    @classmethod
    def from_bytes(cls, spec: Mapping[str, Any], content: bytes) -> Flow:
        """A flow from its spec and weights.

        Raises:
            ChecksumMismatch: The weights are damaged.
            ManifestInvalid: They do not belong to the spec.
        """
        try:
            weights = load(content)
        except SafetensorError as error:
            raise ChecksumMismatch(f"the weights of a flow are damaged ({error}); fit it again") from error
        try:
            options = read_options(FlowOptions, spec["options"], what="flow")
            network = Velocity(spec["dim"], len(spec["labels"]), options)
            centres, factors = weights.pop("centres"), weights.pop("factors")
            network.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError, InputError) as error:
            raise ManifestInvalid(f"the spec of a flow does not fit its weights ({error}); fit it again") from error
        return cls(network, spec, centres, factors)


def train_flow(
    latents: Float32[Array, "n d"],
    labels: Int64[Array, " n"],
    names: Sequence[str | None],
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> tuple[Flow, float]:
    """Train a flow on latents.

    Args:
        latents: Shape (n, d), n > d.
        labels: Position of each one's label in `names`, shape (n,).
        names: The labels; None stands for latents without one.
        seed: Of first weights, batches, noise and times.
        progress: Told the fraction that is done.
        **options: Of `FlowOptions`.

    Returns:
        The flow, and the mean loss of its last tenth: what is left of |x₁ − x₀ − v|² per dimension, of which most is
        the noise's own.

    Raises:
        InputError: Too few latents.
        ConfigInvalid: Unknown option, or an impossible value.
        DidNotConverge: The loss became NaN.
    """
    how = read_options(FlowOptions, options, what="flow")
    count, dim = latents.shape
    if count <= dim:
        raise InputError(f"{count} latents of {dim} dimensions; a flow needs more latents than dimensions")
    white, centres, factors = _whitened(latents, labels, len(names))
    which = torch.from_numpy(np.ascontiguousarray(labels, np.int64))
    generator = torch.Generator().manual_seed(seed)
    network = Velocity(dim, len(names), how)
    initialise(network, generator)
    nn.init.zeros_(network.leave.weight)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=0.0, fused=True)
    batch, losses = min(how.batch_size, count), []
    order = torch.randperm(count, generator=generator)
    for step in range(how.steps):
        at = step * batch % (count - batch + 1)
        if at < batch and step:
            order = torch.randperm(count, generator=generator)
        chosen = order[at : at + batch]
        optimiser.param_groups[0]["lr"] = how.learning_rate * one_cycle(step / how.steps, 0.1)
        loss = _loss(network, white[chosen], which[chosen], generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise DidNotConverge(
                "the flow's loss is not finite; lower learning_rate", iterations=step + 1, residual=losses[-1]
            )
        keep = min(AVERAGE, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - keep)
        if progress is not None and step % 50 == 49:
            progress((step + 1) / how.steps)
    network.load_state_dict(average)
    shares = np.bincount(labels, minlength=len(names)) / count
    spec = {"dim": dim, "labels": list(names), "shares": shares.tolist(), "options": asdict(how), "seed": seed}
    return Flow(network, spec, centres, factors), float(np.mean(losses[-max(1, len(losses) // 10) :]))


def _loss(network: Velocity, ends: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    starts = torch.randn(ends.shape, generator=generator)
    t = torch.rand(len(ends), generator=generator)
    between = torch.lerp(starts, ends, t[:, None])
    off: Tensor = network(between, t, labels) - (ends - starts)
    return off.square().mean()


def _whitened(latents: Float32[Array, "n d"], labels: Int64[Array, " n"], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (n, d) whitened by label, the labels' means (c, d), and factors L (c, d, d) of their covariances L Lᵀ.

    The covariance of a label has that of all in it, as so many more latents as there are dimensions.
    """
    wide = np.asarray(latents, np.float64)
    dim = wide.shape[1]
    pooled = np.atleast_2d(np.cov(wide.T, bias=True))
    pooled += (1e-6 * np.trace(pooled) / dim + 1e-12) * np.eye(dim)
    white = np.empty(wide.shape, np.float32)
    centres, factors = np.empty((count, dim)), np.empty((count, dim, dim))
    for one in range(count):
        mine = wide[labels == one]
        centres[one] = mine.mean(axis=0)
        centred = mine - centres[one]
        factors[one] = np.linalg.cholesky((centred.T @ centred + dim * pooled) / (len(mine) + dim))
        white[labels == one] = np.linalg.solve(factors[one], centred.T).T
    as_tensor = [torch.from_numpy(each.astype(np.float32)) for each in (white, centres, factors)]
    return as_tensor[0], as_tensor[1], as_tensor[2]
