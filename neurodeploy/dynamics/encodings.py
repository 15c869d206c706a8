"""How a sample becomes a sequence of `T` time steps, and what is done to its values before."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError


class _Encoding(nn.Module):
    """Keeps T.

    Args:
        steps: T.

    Raises:
        UserError: T is less than 1.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise UserError(f"steps: {steps} found, at least 1 expected")
        self.steps = steps

    def extra_repr(self) -> str:
        return f"steps={self.steps}"


class StaticInput(nn.Module):
    """Gives a static sample a time axis of one step."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, …]` → `[1, B, …]` (a view)."""
        return x.unsqueeze(0)


class EventInput(nn.Module):
    """Puts the time axis of event frames in front: data sets keep a sample's frames together."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, …]` → `[T, B, …]` (a view)."""
        return x.transpose(0, 1)


class Normalize(nn.Module):
    """`(x − mean) / std` of every channel: for a network that takes samples as they are stored.

    Args:
        mean: of each channel, or one of all.
        std: as many.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, …]` → the same, normalised."""
        channels = (-1, *(1,) * (x.ndim - 3))
        return (x - self.mean.reshape(channels)) / self.std.reshape(channels)


class Quantize(nn.Module):
    """`clip(round(x · 2ᵏ), −m, m) / 2ᵏ`: the nearest value of a grid, halves to the even neighbour.

    Args:
        exponent: k.
        largest: m.
    """

    def __init__(self, exponent: int, largest: int) -> None:
        super().__init__()
        self.exponent, self.largest = exponent, largest

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return (x * 2.0**self.exponent).round().clamp(-self.largest, self.largest) * 2.0**-self.exponent

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}, largest={self.largest}"


class DirectEncoding(_Encoding):
    """Direct coding: the same value at every time step, `x[t] = x` for t = 1 … T.

    It may stand after the first synapse layer: a constant input makes a constant current, which is then computed only
    once per sample.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[1, B, …]` → `[T, B, …]` (a view)."""
        if x.shape[0] != 1:
            raise UserError(f"direct encoding: {x.shape[0]} time steps found at its input, a static sample (1) expected")
        return x.expand(self.steps, *x.shape[1:])


class HostEncoding(_Encoding):
    """Makes a sequence of a static sample `[B, …]` → `[T, B, …]`, which a host does once the network is deployed."""

    code: ClassVar[str]

    @property
    def title(self) -> str:
        """What it is, for the manifest of a bundle."""
        return f"{self.code} code ({self.extra_repr()})"

    @property
    def home(self) -> str:
        """Where its code is."""
        return f"neurodeploy.dynamics.encodings.{type(self).__name__}"


class PoissonEncoding(HostEncoding):
    """Rate coding: at every time step a spike with the probability that the value says, `P(s[t] = 1) = clamp(x, 0, 1)`.

    Signed, a negative value makes negative spikes: `P(s[t] = sign(x)) = min(|x|, 1)`, so that the mean over time stands for any
    value from −1 to 1. The energy count takes a spike of −1 as one spike. Source: LaSNN (Hong et al., arXiv 2304.09101), whose
    pixels are scaled to [−1, 1]; Rathi et al. 2020 ("hybrid training") and their public code.

    While training, every value of every sample has draws of its own from torch's generator, which the training loop seeds.
    In evaluation all samples meet the same draws, which depend on `seed` alone: so an answer can be repeated, and does not
    depend on the batch that a sample is in.

    Args:
        steps: T.
        seed: of the draws in evaluation.
        signed: negative values fire spikes of −1; without it they never fire.
    """

    code = "Poisson"

    def __init__(self, steps: int, seed: int = 0, *, signed: bool = False) -> None:
        super().__init__(steps)
        self.seed, self.signed = seed, signed

    def forward(self, x: Tensor) -> Tensor:
        """`[B, …]` → spikes `[T, B, …]`, 0 or 1 (signed: or −1) in the dtype of `x`."""
        if self.training:
            draws = torch.rand(self.steps, *x.shape, dtype=torch.float32, device=x.device)
        else:
            # drawn on the CPU, so that all devices see the same spikes
            generator = torch.Generator().manual_seed(self.seed)
            draws = torch.rand(self.steps, 1, *x.shape[1:], generator=generator, dtype=torch.float32).to(x.device)
        return (draws < x.abs()).to(x.dtype) * x.sign() if self.signed else (draws < x).to(x.dtype)

    def extra_repr(self) -> str:
        return f"steps={self.steps}, seed={self.seed}" + (", signed=True" if self.signed else "")


class LatencyEncoding(HostEncoding):
    """Time to first spike: each value fires once, the larger the earlier, at step `⌊(1 − clamp(x, 0, 1)) T⌋`; 0 never fires.

    Steps count from 0; the smallest positive values fire in the last one. Our working form of the linear latency code.
    """

    code = "latency"

    def forward(self, x: Tensor) -> Tensor:
        """`[B, …]` → spikes `[T, B, …]`, 0 or 1 in the dtype of `x`."""
        # values so small that 1 − x is rounded to 1 would fire after the last step
        first = ((1 - x.clamp(0, 1)) * self.steps).floor().clamp_max(self.steps - 1)
        times = torch.arange(self.steps, dtype=x.dtype, device=x.device).reshape(-1, *([1] * x.ndim))
        return ((times == first) & (x > 0)).to(x.dtype)


class OwnEncoding(HostEncoding):
    """An encoder of the user's: any module `[B, …]` → `[T, B, …]`.

    Args:
        steps: T.
        encoder: in evaluation, its answer for a sample depends on the sample alone.
        name: of its kind, such as `my_module:MyEncoder`.
        constants: its settings.
    """

    def __init__(self, steps: int, encoder: nn.Module, name: str, constants: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(steps)
        self.encoder, self.name, self.constants = encoder, name, dict(constants)

    @property
    def title(self) -> str:
        return f"an encoder ({self.extra_repr()})"

    @property
    def home(self) -> str:
        return self.name

    def forward(self, x: Tensor) -> Tensor:
        """`[B, …]` → `[T, B, …]` in the dtype of `x`.

        Raises:
            UserError: the encoder answers with something else.
        """
        sequence = self.encoder(x)
        if not isinstance(sequence, Tensor) or tuple(sequence.shape[:2]) != (self.steps, len(x)) or sequence.ndim < 3:
            found = tuple(sequence.shape) if isinstance(sequence, Tensor) else type(sequence).__name__
            raise UserError(f"encoder {self.name}: {found} found, [T, B, …] with T = {self.steps}, B = {len(x)} expected")
        return sequence.to(x.dtype)

    def check(self, x: Tensor) -> None:
        """Refuse an encoder whose answers in evaluation cannot be repeated.

        Args:
            x: at least two samples `[B, …]`.

        Raises:
            UserError: it answers the same samples in two ways, or a sample differently in another batch.
        """
        with torch.no_grad():
            first, again, alone = self(x), self(x), self(x[1:])
        if not torch.equal(first, again):
            how = "two answers for the same samples found; draw with a generator that is seeded in each call"
        elif not torch.equal(first[:, 1:], alone):
            how = "a sample's answer depends on its batch; encode each sample by itself"
        else:
            return
        raise UserError(f"encoder {self.name}: in evaluation, {how}: a host must be able to repeat it")

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in {"steps": self.steps, **self.constants}.items())
