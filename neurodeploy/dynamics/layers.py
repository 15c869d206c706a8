"""Layers over activations of shape `[T, B, …]`: the time axis is folded into the batch, so torch runs one call for all steps.

Each is a leaf of the graph tracer; together with `torch.nn`'s own layers they are the alphabet of the networks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import log, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.dynamics.delays import delayed
from neurodeploy.dynamics.kernels import convolution, fixed_point, late_reset, low_pass, multi_step
from neurodeploy.dynamics.kernels.bfloat16 import ScaledCurrent
from neurodeploy.dynamics.neurons import CubaParameters, Dynamics, NeuronParameters, Reset, Whole, cuba_step
from neurodeploy.dynamics.normalization import CommonStatistics
from neurodeploy.dynamics.scaling import spread
from neurodeploy.dynamics.surrogates import ArcTangent, Surrogate
from neurodeploy.dynamics.updates import Operand, Program, Update
from neurodeploy.io.errors import UserError


class _OverTime(nn.Module):
    """A mixin for torch's layers over `[N, …]`, of which it makes layers over `[T, B, …]`."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x.flatten(0, 1))
        return result.unflatten(0, x.shape[:2])


class _CpuConvolution(nn.modules.conv._ConvNd):
    """A mixin for torch's convolutions: on a CPU they go through `kernels.convolution`."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if convolution.writes_too_far(x, self.kernel_size, self.stride, self.padding):
            return convolution.strided_points(x, weight, bias, self.stride, self.groups)
        too_far = convolution.reads_too_far(self.stride, self.dilation)
        x = x.contiguous() if too_far else convolution.channels_last(x, weight)
        if not isinstance(self.padding, str) and self.padding_mode == "zeros":
            geometry = convolution.ConvolutionSettings(self.stride, self.padding, self.dilation, self.groups)
            if convolution.worth_slicing(x, weight):
                return convolution.sliced(x, weight, bias, geometry)
            if convolution.worth_keeping(x, weight, geometry):
                return convolution.kept(x, weight, bias, geometry)
        result: Tensor = super()._conv_forward(x, weight, bias)
        return result


class Conv1d(_OverTime, _CpuConvolution, nn.Conv1d):
    """`torch.nn.Conv1d` over `[T, B, C, L]`."""


class Conv2d(_OverTime, _CpuConvolution, nn.Conv2d):
    """`torch.nn.Conv2d` over `[T, B, C, H, W]`."""


class Conv3d(_OverTime, _CpuConvolution, nn.Conv3d):
    """`torch.nn.Conv3d` over `[T, B, C, D, H, W]`."""


class _TransposeOverTime(nn.modules.conv._ConvTransposeNd):
    """`_OverTime` for torch's transposed convolutions, which may be asked for a size of their output."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        result: Tensor = super().forward(input.flatten(0, 1), output_size)
        return result.unflatten(0, input.shape[:2])


class ConvTranspose1d(_TransposeOverTime, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` over `[T, B, C, L]`."""


class ConvTranspose2d(_TransposeOverTime, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` over `[T, B, C, H, W]`."""


class ConvTranspose3d(_TransposeOverTime, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` over `[T, B, C, D, H, W]`."""


class BatchNorm1d(_OverTime, CommonStatistics, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over `[T, B, C, L]` or `[T, B, C]`; statistics are taken over T and B together."""


class BatchNorm2d(_OverTime, CommonStatistics, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over `[T, B, C, H, W]`; statistics are taken over T and B together (tdBN, Zheng 2021)."""


class BatchNormNd(BatchNorm2d):
    """Over `[T, B, C, …]` with any number of spatial axes: a graph's node does not say how many its input has."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class AvgPool1d(_OverTime, nn.AvgPool1d):
    """`torch.nn.AvgPool1d` over `[T, B, C, L]`."""


class AvgPool2d(_OverTime, nn.AvgPool2d):
    """`torch.nn.AvgPool2d` over `[T, B, C, H, W]`."""


class AvgPool3d(_OverTime, nn.AvgPool3d):
    """`torch.nn.AvgPool3d` over `[T, B, C, D, H, W]`."""


class MaxPool1d(_OverTime, nn.MaxPool1d):
    """`torch.nn.MaxPool1d` over `[T, B, C, L]`."""


class MaxPool2d(_OverTime, nn.MaxPool2d):
    """`torch.nn.MaxPool2d` over `[T, B, C, H, W]`."""


class MaxPool3d(_OverTime, nn.MaxPool3d):
    """`torch.nn.MaxPool3d` over `[T, B, C, D, H, W]`."""


class _PaddedPool(nn.Module):
    """Windows over one to three spatial axes of `[T, B, C, …]`, with a padding of its own on each side.

    Args:
        kernel, stride: one number per spatial axis.
        padding: one (before, after) per spatial axis, each smaller than the window.
    """

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def _padded(self, x: Tensor, outside: float) -> Tensor:
        """`[T, B, C, …]` → `[T·B, C, …]` with `outside` around it."""
        return functional.pad(x.flatten(0, 1), _torch_pads(self.padding), value=outside)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}, padding={self.padding}"


class PaddedMaxPool(_PaddedPool):
    """Max pooling, where what is outside of the input is never the largest; see `graph.ops.MaxPoolNode`."""

    def forward(self, x: Tensor) -> Tensor:
        pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(self.kernel) - 1]
        return pool(self._padded(x, float("-inf")), self.kernel, self.stride).unflatten(0, x.shape[:2])


class PaddedAvgPool(_PaddedPool):
    """Average pooling over zeros around the input; see `graph.ops.AvgPoolNode`.

    Args:
        kernel, stride, padding: see above.
        count_padding: whether a window's sum is divided by its size, or else by how many values of the input are in it.
    """

    def __init__(
        self,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
        *,
        count_padding: bool = True,
    ) -> None:
        super().__init__(kernel, stride, padding)
        self.count_padding = count_padding

    def forward(self, x: Tensor) -> Tensor:
        y = self._sums(self._padded(x, 0.0))
        if self.count_padding:
            y = y / prod(self.kernel)
        else:
            y = y / self._sums(self._padded(x.new_ones(1, 1, 1, *x.shape[3:]), 0.0))
        return y.unflatten(0, x.shape[:2])

    def _sums(self, x: Tensor) -> Tensor:
        """Of every window; torch's own average over one axis cannot but divide."""
        if len(self.kernel) == 1:
            x = x.unsqueeze(-2)
            return functional.avg_pool2d(x, (1, *self.kernel), (1, *self.stride), divisor_override=1).squeeze(-2)
        pool = functional.avg_pool2d if len(self.kernel) == 2 else functional.avg_pool3d
        return pool(x, self.kernel, self.stride, divisor_override=1)


def _torch_pads(padding: tuple[tuple[int, int], ...]) -> list[int]:
    """As `torch.nn.functional.pad` takes them: the last axis first."""
    return [number for pair in reversed(padding) for number in pair]


class GlobalAvgPool1d(nn.Module):
    """Mean over the length: `[T, B, C, L]` → `[T, B, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


class GlobalMaxPool1d(nn.Module):
    """Maximum over the length: `[T, B, C, L]` → `[T, B, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(-1)


class GlobalAvgPool2d(nn.Module):
    """Mean over the spatial axes: `[T, B, C, H, W]` → `[T, B, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class Flatten(nn.Module):
    """`[T, B, C, H, W]` → `[T, B, C·H·W]`, in the C order of (C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)


class Pad(nn.Module):
    """Zeros before and after along every axis of `[T, B, …]` but the first two.

    Args:
        pads: one (before, after) per axis, the channels' among them.
    """

    def __init__(self, pads: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, _torch_pads(self.pads))

    def extra_repr(self) -> str:
        return f"pads={self.pads}"


class Slice(nn.Module):
    """`x[start:stop:step]` along every axis of `[T, B, …]` but the first two.

    Args:
        starts, stops, steps: one of each per axis, the channels' among them; see `graph.ops.SliceNode`.
    """

    def __init__(self, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]) -> None:
        super().__init__()
        self.starts, self.stops, self.steps = starts, stops, steps

    def forward(self, x: Tensor) -> Tensor:
        part = (slice(*bounds) for bounds in zip(self.starts, self.stops, self.steps, strict=True))
        return x[(slice(None), slice(None), *part)]

    def extra_repr(self) -> str:
        return f"starts={self.starts}, stops={self.stops}, steps={self.steps}"


class Concat(nn.Module):
    """Two tensors or more, one after the other.

    Args:
        axis: of a sample: 0 is that of the channels in `[T, B, C, …]`.
    """

    def __init__(self, axis: int = 0) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 2 + self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class Reshape(nn.Module):
    """`[T, B, …]` → `[T, B, *shape]` in C order.

    Args:
        shape: of a sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class Permute(nn.Module):
    """The axes of `[T, B, …]` but the first two in another order.

    Args:
        order: axis i of the output is axis `order[i]` of the input; 0 is that of the channels.
    """

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 1, *(2 + axis for axis in self.order))

    def extra_repr(self) -> str:
        return f"order={self.order}"


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` over `[T, B, …]` with one mask for all time steps of a batch: each sample draws `[1, B, …]`.

    A mask that changed from step to step would only be noise that the neurons' membranes average out; one network per sample
    and batch is what dropout means. Source: Rathi et al. 2020 ("hybrid training") and their public code.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * super().forward(torch.ones_like(x[:1]))


class Add(nn.Module):
    """Sum of two branches of the same shape: a residual connection."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class TimeMean(nn.Module):
    """Mean over time, or over its later steps: `[T, B, …]` → `[B, …]`.

    Args:
        skip: number of first steps that are left out, less than T; negative, the number of last steps, as in `x[skip:]`.
        name: of the layer in messages.

    Raises:
        UserError: in a call, there are not so many steps.
    """

    def __init__(self, skip: int = 0, *, name: str = "TimeMean") -> None:
        super().__init__()
        self.skip, self._name = skip, name

    def forward(self, x: Tensor) -> Tensor:
        if not self.skip:
            return x.mean(0)
        if not -len(x) <= self.skip < len(x):
            what = f"skips the first {self.skip}" if self.skip > 0 else f"is of the last {-self.skip}"
            raise UserError(
                f"layer {self._name}: {what} time steps, and {len(x)} found; run the network for more steps, or skip fewer"
            )
        return x[self.skip :].mean(0)

    def extra_repr(self) -> str:
        return f"skip={self.skip}" if self.skip else ""


class Neuron(nn.Module):
    """A layer of IF or LIF neurons; every call starts from membrane potential 0.

    Args:
        parameters: decay, threshold and reset (see `neurodeploy.dynamics.neurons.neuron_step` for the equation).
        surrogate: derivative of the spike in training.
        detach_reset: in training, no gradient flows through the spike in the reset.
    """

    def __init__(self, parameters: NeuronParameters, surrogate: Surrogate | None = None, *, detach_reset: bool = False) -> None:
        super().__init__()
        self._constants = parameters
        self.surrogate: Surrogate = surrogate if surrogate is not None else ArcTangent()
        self.detach_reset = detach_reset

    @property
    def constants(self) -> NeuronParameters:
        """Decay, threshold and reset as they are now: what an export carries."""
        return self._constants

    def forward(self, current: Tensor) -> Tensor:
        """Input current `[T, B, …]` → spikes `[T, B, …]`, 0 or 1."""
        v0 = current.new_zeros(()).expand(current.shape[1:])
        return multi_step(current, v0, self._dynamics(), self.surrogate, detach_reset=self.detach_reset)[0]

    def answer_scaled(self, current: ScaledCurrent) -> Tensor:
        """`forward` of a current in bfloat16, with its hooks; where `kernels.bfloat16` suits these neurons."""
        spikes = current.fire(self.constants, self.surrogate, detach_reset=self.detach_reset)
        for hook in self._forward_hooks.values():
            hook(self, (current,), spikes)
        return spikes

    def _dynamics(self) -> Dynamics:
        return self._constants

    def extra_repr(self) -> str:
        p = self.constants
        return f"decay={p.decay:g}, threshold={p.threshold:g}, reset={p.reset}, surrogate={self.surrogate}"


class PrechargedNeuron(Neuron):
    """Neurons that begin with a potential of their own, one for each channel, which is learned.

    A neuron that begins at 0 says nothing before its currents have reached the threshold, and each layer makes the next one
    wait: of few time steps the first are lost. Source: Bu et al. (AAAI 2022, arXiv 2202.01440), who begin at half of the
    threshold.

    Args:
        parameters, surrogate, detach_reset: see `Neuron`.
        initial: `[C]`, the potential before the first step.
    """

    def __init__(
        self,
        parameters: NeuronParameters,
        initial: Tensor,
        surrogate: Surrogate | None = None,
        *,
        detach_reset: bool = False,
    ) -> None:
        super().__init__(parameters, surrogate, detach_reset=detach_reset)
        self.initial = nn.Parameter(initial)

    def forward(self, current: Tensor) -> Tensor:
        """Input current `[T, B, C, …]` → spikes of the same shape, 0 or 1."""
        v0 = spread(self.initial, current).expand(current.shape[1:]).to(current.dtype)
        return multi_step(current, v0, self._dynamics(), self.surrogate, detach_reset=self.detach_reset)[0]


def IF(threshold: float = 1.0, reset: Reset = "soft", *, surrogate: Surrogate | None = None) -> Neuron:
    """A layer of integrate-and-fire neurons: no leak. See `Neuron`."""
    return Neuron(NeuronParameters(1.0, threshold, reset), surrogate)


def LIF(
    decay: float = 0.5,
    threshold: float = 1.0,
    reset: Reset = "hard",
    *,
    surrogate: Surrogate | None = None,
    detach_reset: bool = False,
) -> Neuron:
    """A layer of leaky integrate-and-fire neurons, `h = decay · v + I`; see `Neuron`."""
    return Neuron(NeuronParameters(decay, threshold, reset), surrogate, detach_reset=detach_reset)


@dataclass(frozen=True, eq=False)
class _Learned:
    """Dynamics whose numbers are tensors of no axes."""

    decay: Tensor | float
    threshold: Tensor | float
    reset: Reset


class _LearningNeuron(Neuron):
    """What neurons with learned constants share: what an export carries is read from the parameters."""

    @property
    def constants(self) -> NeuronParameters:
        with torch.no_grad():
            now = self._dynamics()
            return NeuronParameters(float(now.decay), float(now.threshold), now.reset)


class ParametricNeuron(_LearningNeuron):
    """LIF neurons whose leak, and on request whose threshold, is learned: one number each for the whole layer.

    `λ = σ(w)` (parametric LIF, Fang et al. 2021, with λ = 1 − 1/τ) and `θ = exp(u)`, so that both stay in their ranges. That
    DIET-SNN (Rathi & Roy 2021) learns leak and threshold is printed; this parametrisation of θ is our working form.

    Args:
        parameters: where training starts; 0 < decay < 1.
        surrogate, detach_reset: see `Neuron`.
        learn_threshold: whether θ is learned too, as in DIET-SNN.

    Raises:
        UserError: a decay of 0 or 1, which the sigmoid never reaches.
    """

    def __init__(
        self,
        parameters: NeuronParameters,
        surrogate: Surrogate | None = None,
        *,
        detach_reset: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__(parameters, surrogate, detach_reset=detach_reset)
        if not 0 < parameters.decay < 1:
            raise UserError(f"neuron decay: {parameters.decay} found, a number between 0 and 1 expected where it is learned")
        self.decay_logit = nn.Parameter(torch.tensor(log(parameters.decay / (1 - parameters.decay))))
        self.log_threshold = nn.Parameter(torch.tensor(log(parameters.threshold))) if learn_threshold else None

    def _dynamics(self) -> _Learned:
        threshold = self._constants.threshold if self.log_threshold is None else self.log_threshold.exp()
        return _Learned(self.decay_logit.sigmoid(), threshold, self._constants.reset)


class _Bounded(torch.autograd.Function):
    """A share from 0 to 1 that is learned: clipped, with no gradient where that would lead further out.

    A plain clamp has no gradient at all outside of its bounds: a leak that momentum has carried past 1 would stay there.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return share.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        outwards = ((share >= 1) & (gradient < 0)) | ((share <= 0) & (gradient > 0))
        return gradient.masked_fill(outwards, 0)


class ThresholdNeuron(_LearningNeuron):
    """IF or LIF neurons, a leak of 1 allowed, with a threshold that the state dict carries: conversion sets it.

    `θ = exp(u)` as in `ParametricNeuron`, one number for the whole layer; training learns it on request (our working form).
    With `learn_decay` the leak is learned as well: `λ = min(max(w, 0), 1)`, which unlike a sigmoid can begin at the 1 that
    conversion needs, and leave it. DIET-SNN (Rathi & Roy 2021) learns both after a conversion, and its public code cuts λ to at
    most 1 after each update. Its reset is not leaked, `v[t] = λ v[t−1] + I[t] − θ s[t−1]`; ours is that of `neuron_step`, which
    differs once λ is below 1.

    Args:
        parameters: decay, reset, and the threshold until `set_threshold` is called or a state dict is loaded.
        surrogate, detach_reset: see `Neuron`.
        learn_threshold: whether θ gets a gradient.
        learn_decay: whether λ is learned too, from the decay of the parameters on.
    """

    def __init__(
        self,
        parameters: NeuronParameters,
        surrogate: Surrogate | None = None,
        *,
        detach_reset: bool = False,
        learn_threshold: bool = False,
        learn_decay: bool = False,
    ) -> None:
        super().__init__(parameters, surrogate, detach_reset=detach_reset)
        self.log_threshold = nn.Parameter(torch.tensor(log(parameters.threshold)), requires_grad=learn_threshold)
        self.learned_decay = nn.Parameter(torch.tensor(float(parameters.decay))) if learn_decay else None

    def _dynamics(self) -> _Learned:
        decay: Tensor | float = self._constants.decay
        if self.learned_decay is not None:
            decay = _Bounded.apply(self.learned_decay)  # type: ignore[no-untyped-call]
        return _Learned(decay, self.log_threshold.exp(), self._constants.reset)

    def set_threshold(self, threshold: float) -> None:
        """Replace θ; float32 keeps it to seven digits.

        Raises:
            UserError: θ is not a positive number.
        """
        start = NeuronParameters(self._constants.decay, threshold, self._constants.reset)
        with torch.no_grad():
            self.log_threshold.fill_(log(start.threshold))

    @contextmanager
    def without_leak(self) -> Iterator[None]:
        """Inside, the neurons are IF neurons: a rate then stands for a current, which is how conversion sets thresholds."""
        constants = self._constants
        self._constants = replace(constants, decay=1.0)
        try:
            yield
        finally:
            self._constants = constants


class LateResetNeuron(ThresholdNeuron):
    """IF or LIF neurons whose soft reset comes a step late and whole: `v[t] = λ v[t−1] + I[t] − θ s[t−1]` (LaSNN, eq. 1).

    See `neurons.late_reset_step`. A neuron of its own in a graph, by its update, unless λ is 1; θ is one number for the whole
    layer, which conversion sets, as in `ThresholdNeuron`.

    Args:
        parameters: decay and threshold; the reset must be "soft".
        surrogate, detach_reset, learn_threshold: see `ThresholdNeuron`.

    Raises:
        UserError: the reset is another.
    """

    def __init__(
        self,
        parameters: NeuronParameters,
        surrogate: Surrogate | None = None,
        *,
        detach_reset: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__(parameters, surrogate, detach_reset=detach_reset, learn_threshold=learn_threshold)
        if parameters.reset != "soft":
            raise UserError(f'neuron reset: {parameters.reset!r} found, "soft" expected where the reset comes a step late')

    def forward(self, current: Tensor) -> Tensor:
        """Input current `[T, B, …]` → spikes `[T, B, …]`, 0 or 1."""
        return late_reset(current, self._dynamics(), self.surrogate, detach_reset=self.detach_reset)

    @property
    def update(self) -> Update:
        """Its equation as data, with the threshold as it is now: one state, the potential before the reset."""
        step, now = Program(), self.constants
        v: Operand = ("state", 0)
        charged = step("add", v if now.decay == 1 else step("mul", now.decay, v), ("input", 0))
        h = step("where", step("gt", v, now.threshold), step("sub", charged, now.threshold), charged)
        return step.update(step("gt", h, now.threshold), (0.0, h))


class CubaNeuron(Neuron):
    """Current-based LIF neurons, as on Loihi: a synaptic current with a leak of its own feeds the membrane.

    `i[t] = α i[t−1] + x[t]`, then `neurons.neuron_step` with `I = i` in the same step.

    Args:
        parameters, surrogate, detach_reset: see `Neuron`.
        current_decay: α, 0 ≤ α ≤ 1; with 0 it is a `Neuron`.

    Raises:
        UserError: α is outside its range.
    """

    def __init__(
        self,
        parameters: NeuronParameters,
        surrogate: Surrogate | None = None,
        *,
        current_decay: float,
        detach_reset: bool = False,
    ) -> None:
        super().__init__(parameters, surrogate, detach_reset=detach_reset)
        if not 0 <= current_decay <= 1:
            raise UserError(f"neuron current_decay: {current_decay} found, a number from 0 to 1 expected")
        self.current_decay = current_decay

    def forward(self, x: Tensor) -> Tensor:
        """Weighted input spikes `[T, B, …]` → spikes `[T, B, …]`, 0 or 1."""
        return super().forward(low_pass(x, self.current_decay))

    def extra_repr(self) -> str:
        return f"current_decay={self.current_decay:g}, {super().extra_repr()}"


def ParametricLIF(
    decay: float = 0.5, threshold: float = 1.0, reset: Reset = "hard", *, surrogate: Surrogate | None = None
) -> ParametricNeuron:
    """A layer of LIF neurons whose leak is learned; see `ParametricNeuron`."""
    return ParametricNeuron(NeuronParameters(decay, threshold, reset), surrogate)


def CubaLIF(
    current_decay: float = 0.5,
    decay: float = 0.5,
    threshold: float = 1.0,
    reset: Reset = "hard",
    *,
    surrogate: Surrogate | None = None,
) -> CubaNeuron:
    """A layer of current-based LIF neurons; see `CubaNeuron`."""
    return CubaNeuron(NeuronParameters(decay, threshold, reset), surrogate, current_decay=current_decay)


class FixedPointNeuron(Neuron):
    """Loihi's CUBA-LIF neurons in integers, bit for bit (`fixed_point.cuba_step`); every call starts from u = v = 0.

    Args:
        v_decay, threshold, i_decay: see `fixed_point.CubaParameters`; each a number, or an array `[C]` of one per channel.
        bias: likewise, or one per neuron.
        recurrent: integers `[N, N]` through which the spikes of the step before, flattened, come back, or None; no gradient
            flows through a layer that has them.
        surrogate, detach_reset: see `Neuron`; the surrogate sees potentials in units of the threshold.

    Raises:
        UserError: the threshold is not positive.
    """

    recurrent: nn.Parameter | None

    def __init__(
        self,
        v_decay: int | Whole,
        threshold: int | Whole,
        i_decay: int | Whole = 4096,
        surrogate: Surrogate | None = None,
        *,
        bias: int | Whole = 0,
        recurrent: Whole | None = None,
        detach_reset: bool = False,
    ) -> None:
        decay, mean = 1 - float(np.mean(v_decay)) / 4096, threshold if isinstance(threshold, int) else float(np.mean(threshold))
        super().__init__(NeuronParameters(decay, mean, "hard"), surrogate, detach_reset=detach_reset)
        self.cuba = CubaParameters(i_decay, v_decay, threshold, bias)
        # a weight, as other synapses have; a sum of its integers is exact in float32
        held = None if recurrent is None else nn.Parameter(torch.from_numpy(recurrent.astype(np.float32)), requires_grad=False)
        self.register_parameter("recurrent", held)

    def forward(self, sums: Tensor) -> Tensor:
        """Integer sums of synapses and bias `[T, B, …]` → spikes `[T, B, …]`, 0 or 1."""
        c = self.cuba
        if self.recurrent is not None:
            return self._returning(sums, self.recurrent)
        if not any(map(np.ndim, (c.i_decay, c.v_decay, c.threshold, c.bias))):
            return self._fired(sums, c)
        # neurons of the same constants are run together; the kernel takes numbers
        axes, shape = sums.ndim - 3, tuple(sums.shape[2:])
        table = np.stack([_per_neuron(value, shape, axes) for value in (c.i_decay, c.v_decay, c.threshold, c.bias)])
        kinds, kind_of = np.unique(table, axis=1, return_inverse=True)
        flat = sums.flatten(2)
        spikes = torch.empty_like(flat)
        for number, kind in enumerate(kinds.T.tolist()):
            places = torch.from_numpy(np.flatnonzero(kind_of.ravel() == number)).to(sums.device)
            spikes = spikes.index_copy(2, places, self._fired(flat.index_select(2, places), CubaParameters(*kind)))
        return spikes.reshape(sums.shape)

    @torch.no_grad()
    def _returning(self, sums: Tensor, weight: Tensor) -> Tensor:
        """Step by step, because the sums of a step depend on the spikes of the one before."""
        axes, shape = sums.ndim - 3, tuple(sums.shape[2:])
        table = [self.cuba.i_decay, self.cuba.v_decay, self.cuba.threshold, self.cuba.bias]
        held = [torch.tensor(_per_neuron(value, shape, axes).reshape(shape)).to(sums.device) for value in table]
        u = v = torch.zeros(sums.shape[1:], dtype=torch.int64, device=sums.device)
        fired, spikes = torch.zeros_like(sums[0]), torch.empty_like(sums)
        for t, arrived in enumerate(sums):
            back = functional.linear(fired.flatten(1), weight.to(fired.dtype)).view_as(fired)
            s, u, v = cuba_step(u, v, (arrived + back).round().to(torch.int64), CubaParameters(*held))
            spikes[t] = fired = s.to(sums.dtype)
        return spikes

    def _fired(self, sums: Tensor, parameters: CubaParameters) -> Tensor:
        return fixed_point.multi_step(sums, parameters, self.surrogate, detach_reset=self.detach_reset)

    def extra_repr(self) -> str:
        c = self.cuba
        return f"i_decay={c.i_decay}, v_decay={c.v_decay}, threshold={c.threshold}, surrogate={self.surrogate}"


def _per_neuron(value: Any, shape: tuple[int, ...], axes: int) -> Any:
    """A number, one value per channel, or one per neuron, as one per neuron `[N]`."""
    value = np.asarray(value)
    return np.broadcast_to(value.reshape(-1, *(1,) * axes) if value.ndim == 1 else value, shape).ravel()


class LowPass(nn.Module):
    """A synaptic current with a leak: `i[t] = α i[t−1] + x[t]` (`neurons.synapse_step`); every call starts from 0.

    Args:
        decay: α, 0 ≤ α ≤ 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def forward(self, x: Tensor) -> Tensor:
        """Weighted input spikes `[T, B, …]` → current of every step `[T, B, …]`."""
        return low_pass(x, self.decay)

    def extra_repr(self) -> str:
        return f"decay={self.decay:g}"


class Integrator(LowPass):
    """Output neurons that integrate without leak and never fire: `v[t] = v[t−1] + I[t]` (LaSNN, eq. 3)."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def extra_repr(self) -> str:
        return ""


class Delay(nn.Module):
    """`y[t] = x[t − steps]`, and 0 in the first steps.

    Args:
        steps: at least 1; the longest, if neurons differ.
        each: delays of its own for each neuron or channel, from 0 on: an array that broadcasts against one sample.
    """

    def __init__(self, steps: int, each: NDArray[np.int64] | None = None) -> None:
        super().__init__()
        self.steps, self.each = steps, each

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, …]` → `[T, B, …]`."""
        return delayed(x, self.steps if self.each is None else self.each)

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
