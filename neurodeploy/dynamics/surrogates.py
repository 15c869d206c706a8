"""Surrogate gradients: what stands in for the derivative of the spike's step function during training.

The forward pass is always the exact comparison `h > θ`; only the backward pass uses these. `x = h − θ` is the distance of
the charged membrane potential from the threshold.
"""

from dataclasses import dataclass
from math import pi
from typing import Any, Protocol

import torch
from torch import Tensor


class Surrogate(Protocol):
    """A derivative for the spike, as a function of the distance from the threshold; no gradient flows through its own shape."""

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:
        """∂s/∂h at `x = h − θ`; same shape as `x`."""
        ...

    def __hash__(self) -> int:
        """Equal constants, equal derivative: a compiled kernel is kept for each."""
        ...


@dataclass(frozen=True)
class Rectangle:
    """`∂s/∂h = 1/a` where `|x| < a/2`, else 0 (Wu et al. 2018, eq. 24; used by EnOF-SNN with a = 1)."""

    width: float = 1.0

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:  # noqa: ARG002
        return (x.abs() < self.width / 2).to(x.dtype) / self.width


@dataclass(frozen=True)
class Triangle:
    """`∂s/∂h = γ max(0, 1 − |x/θ|)` (Bellec et al. 2018; used by LaSNN with γ = 0.3)."""

    gamma: float = 0.3

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:
        return self.gamma * (1 - (x / threshold).abs()).clamp_min(0)


@dataclass(frozen=True)
class ArcTangent:
    """`∂s/∂h = (α/2) / (1 + (π α x / 2)²)` (Fang et al. 2021)."""

    alpha: float = 2.0

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:  # noqa: ARG002
        return (pi / 2 * self.alpha * x).square_().add_(1).reciprocal_().mul_(self.alpha / 2)


@dataclass(frozen=True)
class Sigmoid:
    """`∂s/∂h = α σ(αx) (1 − σ(αx))`, the derivative of a logistic function of slope α."""

    alpha: float = 4.0

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:  # noqa: ARG002
        s = torch.sigmoid(self.alpha * x)
        return self.alpha * s * (1 - s)


@dataclass(frozen=True)
class FastSigmoid:
    """`∂s/∂h = 1 / (1 + k|x|)²` (Zenke & Ganguli 2018, SuperSpike)."""

    slope: float = 25.0

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:  # noqa: ARG002
        return (1 + self.slope * x.abs()).square().reciprocal()


@dataclass(frozen=True)
class StraightThrough:
    """`∂s/∂h = 1` where `0 ≤ h ≤ 2θ`, else 0: the gradient of a clamp, passed straight through the comparison.

    Our working form of the straight-through estimator (Bengio et al. 2013) around a threshold.
    """

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:
        return (x.abs() <= threshold).to(x.dtype)


@dataclass(frozen=True)
class Tanh:
    """`∂s/∂h = (k/2) (1 − tanh²(k x))`: the step as `½ tanh(k x) + ½` (Guo et al. 2022, IM-Loss, with k fixed)."""

    slope: float = 2.0

    def derivative(self, x: Tensor, threshold: float | Tensor) -> Tensor:  # noqa: ARG002
        return (self.slope / 2) * (1 - (self.slope * x).tanh().square())


SURROGATES: dict[str, type[Any]] = {
    "rectangle": Rectangle,
    "triangle": Triangle,
    "arctangent": ArcTangent,
    "sigmoid": Sigmoid,
    "fast-sigmoid": FastSigmoid,
    "straight-through": StraightThrough,
    "tanh": Tanh,
}


class _Spike(torch.autograd.Function):
    """Exact comparison forwards, surrogate derivative backwards."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, threshold: float | Tensor, surrogate: Surrogate) -> Tensor:
        learned = isinstance(threshold, Tensor)
        ctx.save_for_backward(h, *((threshold,) if learned else ()))
        ctx.threshold, ctx.surrogate = None if learned else threshold, surrogate
        return (h > threshold).to(h.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        h, *learned = ctx.saved_tensors
        threshold = learned[0] if learned else ctx.threshold
        grad_h = grad * ctx.surrogate.derivative(h - threshold, threshold)
        return grad_h, -grad_h.sum_to_size(threshold.shape) if learned else None, None


def spike(h: Tensor, threshold: float | Tensor, surrogate: Surrogate) -> Tensor:
    """Spikes (0 or 1, dtype and shape of `h`) of the charged membrane potential `h`, differentiable through `surrogate`.

    A threshold that is a tensor, of no axes or one for each neuron, gets a gradient too: `∂s/∂θ = −∂s/∂h`.
    """
    spikes: Tensor = _Spike.apply(h, threshold, surrogate)  # type: ignore[no-untyped-call]
    return spikes
