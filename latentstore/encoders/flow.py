"""Latent flow matching: a small network whose velocities carry a mixture of Gaussians to where the latents lie.

With x₀ from the mixture and x₁ a latent, xₜ = (1 − t) x₀ + t x₁ moves at x₁ − x₀; the network learns the mean of that
at (x, t), and the ordinary differential equation dx/dt = v(x, t) then carries the mixture to the latents' distribution.
Each latent is paired with noise of the component that it came from, so that ways are short: an untrained network, whose
velocity is 0, draws from the mixture, and what is left to learn is how latents differ from it.

Source: Y. Lipman et al., Flow matching for generative modeling, ICLR 2023 (the optimal-transport path, σ = 0); A. Tong
et al., Improving and generalizing flow-based generative models with minibatch optimal transport, TMLR 2024.
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

    from latentstore.geometry import Mixture
    from latentstore.types import Array

FREQUENCIES = 8  # of the time: sin and cos of π·(1 … 8)·t
AVERAGE = 0.995  # of the weights, from step to step: the mean of the last 200 steps moves less than the last one
SOLVER_STEPS = 8  # of the midpoint rule, two evaluations each: ways are nearly straight, 4 are as good
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

    steps: int = number(1_500, 1, 1_000_000)
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
        waves = math.pi * t[:, None] * torch.arange(1, FREQUENCIES + 1)
        told = torch.cat([waves.sin(), waves.cos(), functional.one_hot(label, self.labels).to(x.dtype)], 1)
        told = functional.silu(self.told(told))
        h = self.enter(x)
        for first, second in zip(self.first, self.second, strict=True):
            h = h + second(functional.silu(first(functional.layer_norm(h, h.shape[1:]) + told)))
        velocity: Tensor = self.leave(functional.layer_norm(h, h.shape[1:]))
        return velocity


@dataclass(frozen=True, eq=False)
class _Noise:
    """Where flows begin: the components of all labels, in the network's coordinates, float32 tensors.

    Attributes:
        weights: Sum 1, (c,).
        means: (c, d).
        factors: (c, d, d).
        labels: Number of each component's label, int64, (c,).
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    labels: Tensor

    def at(self, components: Tensor, noise: Tensor) -> Tensor:
        """x₀ of components (m,) from standard normal noise (m, d)."""
        return self.means[components] + torch.einsum("mij,mj->mi", self.factors[components], noise)


class Flow:
    """A trained flow: draws latents of a space, of one label or of all.

    Attributes:
        spec: dim, labels, options, seed: with the weights it determines every sample.
        labels: What it can be asked for; None stands for latents without a label.
    """

    def __init__(
        self, network: Velocity, spec: Mapping[str, Any], noise: _Noise, centre: Tensor, scale: Tensor
    ) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.spec = dict(spec)
        self.labels: tuple[str | None, ...] = tuple(spec["labels"])
        self._noise = noise
        self._centre, self._scale = centre, scale  # latents are scale · x + centre: (d,), lower triangular (d, d)

    def draw(
        self, n: int, generator: np.random.Generator, *, label: str | None = None, truncation: float = 1.0,
        steps: int = SOLVER_STEPS,
    ) -> Float32[Array, "n d"]:  # fmt: skip
        """Draw n latents.

        Args:
            n: How many.
            generator: For everything random; for the same one, truncations share components and directions.
            label: Only like latents with it; None: of all labels, as often as they were.
            truncation: What the noise that the flow starts from is multiplied by: 1 draws from the learned
                distribution, .5 from what becomes of starts half as far from their component's mean, 0 of the means.
            steps: Of the midpoint rule from t = 0 to 1.

        Raises:
            UnknownLabel: The flow was not trained on it.
        """
        weights = self._noise.weights.numpy().astype(np.float64)
        if label is not None:
            if label not in self.labels:
                known = [one for one in self.labels if one is not None]
                raise UnknownLabel(f"the flow was trained on no latent with label {label!r}; {suggest(label, known)}")
            weights = weights * (self._noise.labels.numpy() == self.labels.index(label))
        chosen = generator.choice(len(weights), size=n, p=weights / weights.sum())
        noise = truncation * generator.standard_normal((n, self.spec["dim"]))
        parts = [np.empty((0, self.spec["dim"]), np.float32)]
        with torch.inference_mode():
            for first in range(0, n, CHUNK):
                which = torch.from_numpy(chosen[first : first + CHUNK])
                x = self._noise.at(which, torch.from_numpy(noise[first : first + CHUNK].astype(np.float32)))
                labels = self._noise.labels[which]
                for step in range(steps):
                    t = torch.full((len(x),), step / steps)
                    middle = x + self.network(x, t, labels) / (2 * steps)
                    x = x + self.network(middle, t + 1 / (2 * steps), labels) / steps
                parts.append((x @ self._scale.T + self._centre).numpy())
        return np.ascontiguousarray(np.concatenate(parts))

    def to_bytes(self) -> bytes:
        """The weights as safetensors."""
        tensors = {f"network.{name}": value.contiguous() for name, value in self.network.state_dict().items()}
        tensors |= {f"noise.{name}": value for name, value in vars(self._noise).items()}
        content: bytes = save(tensors | {"centre": self._centre, "scale": self._scale})
        return content

    @classmethod
    def from_bytes(cls, spec: Mapping[str, Any], content: bytes) -> Flow:
        """A flow from its spec and weights.

        Raises:
            ChecksumMismatch: The weights are damaged.
            ManifestInvalid: They do not belong to the spec.
        """
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise ChecksumMismatch(f"the weights of a flow are damaged ({error}); fit it again") from error
        try:
            options = read_options(FlowOptions, spec["options"], what="flow")
            network = Velocity(spec["dim"], len(spec["labels"]), options)
            weights = {name.removeprefix("network."): x for name, x in tensors.items() if name.startswith("network.")}
            network.load_state_dict(weights)
            noise = _Noise(*(tensors[f"noise.{name}"] for name in ("weights", "means", "factors", "labels")))
            return cls(network, spec, noise, tensors["centre"], tensors["scale"])
        except (KeyError, TypeError, RuntimeError, InputError) as error:
            raise ManifestInvalid(f"the spec of a flow does not fit its weights ({error}); fit it again") from error


def train_flow(
    latents: Float32[Array, "n d"],
    labels: Int64[Array, " n"],
    mixtures: Mapping[str | None, Mixture],
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> tuple[Flow, float]:
    """Train a flow on latents.

    Args:
        latents: Shape (n, d), n ≥ 2.
        labels: Position of each one's label in `mixtures`, shape (n,).
        mixtures: By label, what its noise is drawn from: a mixture fitted to its latents.
        seed: Of first weights, batches, noise and times.
        progress: Told the fraction that is done.
        **options: Of `FlowOptions`.

    Returns:
        The flow, and how much of the mean |x₁ − x₀|² it explains, in the mean of the last tenth of its steps: 0 where
        latents do not differ from their mixtures, and more of them cannot be told.

    Raises:
        InputError: Too few latents.
        ConfigInvalid: Unknown option, or an impossible value.
        DidNotConverge: The loss became NaN.
    """
    how = read_options(FlowOptions, options, what="flow")
    if len(latents) < 2:
        raise InputError(f"{len(latents)} latents; a flow needs at least 2")
    draws, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    centre, scale = _frame(latents)
    ends = _tensor(np.linalg.solve(scale, (np.asarray(latents, np.float64) - centre).T).T)
    noise, components = _noise(latents, labels, list(mixtures.values()), centre, scale, draws)
    network = Velocity(latents.shape[1], len(mixtures), how)
    initialise(network, generator)
    nn.init.zeros_(network.leave.weight)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=0.0, fused=True)
    batch, explained = min(how.batch_size, len(ends)), list[float]()
    for step in range(how.steps):
        chosen = torch.randint(len(ends), (batch,), generator=generator)
        start = noise.at(components[chosen], torch.randn((batch, ends.shape[1]), generator=generator))
        t, way = torch.rand(batch, generator=generator), ends[chosen] - start
        velocity = network(start + t[:, None] * way, t, noise.labels[components[chosen]])
        loss = (velocity - way).square().mean()
        optimiser.param_groups[0]["lr"] = how.learning_rate * one_cycle(step / how.steps, 0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        explained.append(1 - float(loss.detach()) / float(way.square().mean()))
        if not math.isfinite(explained[-1]):
            raise DidNotConverge(
                "the flow's loss is not finite; lower learning_rate", iterations=step + 1, residual=explained[-1]
            )
        keep = min(AVERAGE, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - keep)
        if progress is not None and step % 50 == 49:
            progress((step + 1) / how.steps)
    network.load_state_dict(average)
    spec = {"dim": latents.shape[1], "labels": list(mixtures), "options": asdict(how), "seed": seed}
    last = explained[-max(1, len(explained) // 10) :]
    return Flow(network, spec, noise, _tensor(centre), _tensor(scale)), float(np.mean(last))


def _frame(latents: Float32[Array, "n d"]) -> tuple[Array, Array]:
    """Mean (d,) and Cholesky factor (d, d) of the latents: in its coordinates they are white."""
    wide = np.asarray(latents, np.float64)
    covariance = np.atleast_2d(np.cov(wide.T, bias=True))
    ridge = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
    return wide.mean(axis=0), np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))


def _noise(
    latents: Float32[Array, "n d"], labels: Int64[Array, " n"], mixtures: Sequence[Mixture], centre: Array,
    scale: Array, draws: np.random.Generator,
) -> tuple[_Noise, Tensor]:  # fmt: skip
    """All components in the network's coordinates, and of each latent the one that it came from."""
    components, first = np.zeros(len(latents), np.int64), 0
    for number_, mixture in enumerate(mixtures):
        mine = np.flatnonzero(labels == number_)
        components[mine] = first + mixture.trace(latents[mine], draws)
        first += len(mixture)
    shares = np.bincount(labels, minlength=len(mixtures)) / len(labels)
    weights = np.concatenate([share * one.weights for share, one in zip(shares, mixtures, strict=True)])
    means = np.linalg.solve(scale, (np.concatenate([one.means for one in mixtures]) - centre).T).T
    factors = np.linalg.solve(scale, np.concatenate([one.factors for one in mixtures]))
    of_label = torch.from_numpy(np.repeat(np.arange(len(mixtures)), [len(one) for one in mixtures]))
    return _Noise(_tensor(weights), _tensor(means), _tensor(factors), of_label), torch.from_numpy(components)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
