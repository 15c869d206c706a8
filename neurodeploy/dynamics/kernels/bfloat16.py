"""Thresholds, neurons and levels between convolutions in bfloat16, on a CPU (`bfloat16.c`).

A processor that multiplies bfloat16 by the tile convolves several times as fast in it, so that everything between the
convolutions then takes the longer time, and is done here in one pass over memory each way: current to unit of the threshold,
neuron, spike. Spikes and levels are exact in bfloat16; currents and gradients are rounded to it, and what is computed of them
is float32. Weights stay float32: this is for training, and what a network answers in evaluation is computed in float32.
"""

import ctypes
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import memory
from neurodeploy.dynamics.kernels.native import BUILD, Library, constants_of_surrogate, processor
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import Surrogate

MOST_STEPS = 64
MOST_LEVELS = 256
"""Above, levels are no longer exact in bfloat16."""
_WORTH_THREADS = 1 << 15  # values


_UNITS = {"amx_bf16": "in tiles (AMX)", "avx512_bf16": "in vectors (AVX-512)", "svebf16": "in vectors", "bf16": "in vectors"}


def hardware() -> str | None:
    """How this processor multiplies bfloat16; None if it does not, or does not say so."""
    flags = processor().split()
    return next((how for flag, how in _UNITS.items() if flag in flags), None)


@dataclass
class ScaledCurrent:
    """What a layer of neurons reads: `factor · x + offset`, in units of its threshold.

    Attributes:
        x: `[N, C, H, W]` in bfloat16, channels last; N = T·B, or B if it is the same at every step.
        factor, offset: `[C]`.
        initial: potentials of the neurons before the first step, `[C]`, in units of the threshold.
        steps: T.
        constant: `x` is the same at every step.
        fired: number of spikes of each thread, once neurons have read it.
    """

    x: Tensor
    factor: Tensor
    offset: Tensor
    initial: Tensor
    steps: int
    constant: bool
    fired: Tensor | None = None

    def fire(self, parameters: NeuronParameters, surrogate: Surrogate, *, detach_reset: bool) -> Tensor:
        """Spikes `[T, B, C, H, W]`, 0 or 1 in bfloat16, of neurons with threshold 1.

        Args:
            parameters: of the neurons; see `suits`.
            surrogate: see `suits`.
            detach_reset: in training, no gradient flows through the spike in the reset.
        """
        neuron = _UnitNeuron.of(parameters, surrogate, detach_reset=detach_reset)
        self.fired = torch.zeros(torch.get_num_threads(), dtype=torch.int64)
        settings = (self.steps, self.constant, neuron, self.fired, _library())
        spikes: Tensor = _Fire.apply(self.x, self.factor, self.offset, self.initial, *settings)  # type: ignore[no-untyped-call]
        return spikes.unflatten(0, (self.steps, -1))


class _UnitNeuron(ctypes.Structure):
    _fields_ = (
        ("decay", ctypes.c_float),
        ("reset", ctypes.c_int32),
        ("surrogate", ctypes.c_int32),
        ("detached", ctypes.c_int32),
        ("a", ctypes.c_float),
        ("b", ctypes.c_float),
    )

    @classmethod
    def of(cls, parameters: NeuronParameters, surrogate: Surrogate, *, detach_reset: bool) -> "_UnitNeuron":
        return cls(parameters.decay, _RESETS.index(parameters.reset), *_surrogate(surrogate, detached=detach_reset))


_RESETS = ("hard", "soft")


def _surrogate(surrogate: Surrogate, *, detached: bool) -> tuple[int, bool, float, float]:
    kind, a, b = constants_of_surrogate(surrogate)
    return kind, detached, a, b


def available() -> bool:
    """Whether the functions are there. The first call waits until they are built: values must not depend on when they are."""
    return not memory.is_followed() and BUILD.result() is not None


def suits(parameters: NeuronParameters, surrogate: Surrogate, steps: int) -> bool:
    """Whether such neurons can be run here."""
    known = parameters.threshold == 1 and parameters.reset in _RESETS and constants_of_surrogate(surrogate)[0] != 0
    return known and steps <= MOST_STEPS


def levels(x: Tensor, factor: Tensor, offset: Tensor, most: int) -> Tensor:
    """`[N, C, H, W]` → the level from 0 to `most` nearest to `factor · x + offset`, whose gradient is that of a clip."""
    y: Tensor = _RoundToLevels.apply(x, factor, offset, most, _library())  # type: ignore[no-untyped-call]
    return y


def add_scaled(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """`a + scale · b`, both `[N, C, H, W]` in bfloat16 with the channels last, `scale` `[C]`."""
    y: Tensor = _AddScaled.apply(a, b, scale, _library())  # type: ignore[no-untyped-call]
    return y


def _library() -> Library:
    library = BUILD.result()
    assert library is not None
    return library


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        factor: Tensor,
        offset: Tensor,
        initial: Tensor,
        steps: int,
        constant: bool,
        neuron: _UnitNeuron,
        fired: Tensor,
        library: Library,
    ) -> Tensor:
        batch = len(x) if constant else len(x) // steps
        held = [_of_sample(each, x) for each in (factor, offset, initial)]
        spikes = _empty((steps * batch, *x.shape[1:]), x)
        step = 0 if constant else x.numel() // steps
        size = prod(x.shape[1:])
        parts = _parts(spikes, batch)
        pointers = (x.data_ptr(), step, *(each.data_ptr() for each in (*held, spikes, fired)))
        library.functions.neurodeploy_bf16_fire(*pointers, steps, batch, size, ctypes.byref(neuron), parts)
        ctx.save_for_backward(x, *held)
        ctx.library, ctx.neuron, ctx.shapes = library, neuron, (steps, batch, size, step, parts)
        return spikes

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *held = ctx.saved_tensors
        steps, batch, size, step, parts = ctx.shapes
        grad = _last(grad)
        grad_x = _empty(x.shape, x)
        sums = held[0].new_zeros((3, parts, size))
        pointers = (x.data_ptr(), step, *(each.data_ptr() for each in (*held, grad, grad_x, *sums)))
        ctx.library.functions.neurodeploy_bf16_back(*pointers, steps, batch, size, ctypes.byref(ctx.neuron), parts)
        return grad_x, *(_of_channels(each, x) for each in sums), *(None,) * 5


class _RoundToLevels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, offset: Tensor, most: int, library: Library) -> Tensor:
        factors, offsets, y, parts = _of_sample(factor, x), _of_sample(offset, x), _empty(x.shape, x), _parts(x, len(x))
        pointers = (x.data_ptr(), factors.data_ptr(), offsets.data_ptr(), y.data_ptr())
        library.functions.neurodeploy_bf16_levels(*pointers, len(x), prod(x.shape[1:]), most, parts)
        ctx.save_for_backward(x, factors, offsets)
        ctx.library, ctx.most, ctx.parts = library, most, parts
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, factors, offsets = ctx.saved_tensors
        grad, grad_x, size = _last(grad), _empty(x.shape, x), prod(x.shape[1:])
        sums = factors.new_zeros((2, ctx.parts, size))
        ctx.library.functions.neurodeploy_bf16_levels_back(
            *(x.data_ptr(), factors.data_ptr(), offsets.data_ptr(), grad.data_ptr(), grad_x.data_ptr()),
            *(sums[0].data_ptr(), sums[1].data_ptr(), len(x), size, ctx.most, ctx.parts),
        )
        return grad_x, _of_channels(sums[0], x), _of_channels(sums[1], x), None, None


class _AddScaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, library: Library) -> Tensor:
        scales, y, parts = _of_sample(scale, b), _empty(a.shape, a), _parts(a, len(a))
        pointers = (a.data_ptr(), b.data_ptr(), scales.data_ptr(), y.data_ptr())
        library.functions.neurodeploy_bf16_add(*pointers, len(a), prod(a.shape[1:]), parts)
        ctx.save_for_backward(b, scales)
        ctx.library, ctx.parts = library, parts
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        b, scales = ctx.saved_tensors
        grad, grad_b, size = _last(grad), _empty(b.shape, b), prod(b.shape[1:])
        sums = scales.new_zeros((ctx.parts, size))
        pointers = (grad.data_ptr(), b.data_ptr(), scales.data_ptr(), grad_b.data_ptr(), sums.data_ptr())
        ctx.library.functions.neurodeploy_bf16_add_back(*pointers, len(b), size, ctx.parts)
        return grad, grad_b, _of_channels(sums, b), None


def _empty(shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
    return memory.empty(shape, like, channels_last=True)


def _last(x: Tensor) -> Tensor:
    """With the channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def _of_sample(values: Tensor, x: Tensor) -> Tensor:
    """`[C]` for each value of a sample, in the order of memory: `[H·W·C]`."""
    return values.detach().repeat(prod(x.shape[2:]))


def _of_channels(sums: Tensor, x: Tensor) -> Tensor:
    """`[parts, H·W·C]` → `[C]`."""
    return sums.view(-1, x.shape[1]).sum(0)


def _parts(x: Tensor, samples: int) -> int:
    """Among how many threads samples are divided."""
    if x.numel() < _WORTH_THREADS or not _library().threaded:
        return 1
    return max(1, min(torch.get_num_threads(), samples))
