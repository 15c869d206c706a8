"""Fan-out maps: how many synapses each input position of a layer really has, borders, strides, groups and all.

A convolution is separable in this: along one spatial axis, position `i` and kernel tap `k` meet in `taps[i, k]` outputs, which
is 0 or 1 with zeros for padding, and more where padding repeats a position. The fan-out of a position is the product over the
axes, times the outputs of its group; it is the same in every channel, unless weights of zero are left out.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy_energy.count.layer import SynapseGeometry
from neurodeploy_energy.count.signals import count_nonzero, is_zero, sum_masks

_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Padding of torch's convolutions → that of numpy, for an array of indices."""


@dataclass(frozen=True)
class Synapses:
    """How a layer connects its inputs with its outputs, without its weights.

    Attributes:
        kind: "conv", "transposed" or "linear".
        stride, dilation, output_padding: one entry per spatial axis.
        padding: before and after, per spatial axis.
        groups: of a convolution.
        mode: what stands in the padding: "zeros", "reflect", "replicate" or "circular".
    """

    kind: Literal["conv", "transposed", "linear"]
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    mode: str = "zeros"

    @property
    def axes(self) -> int:
        """Number of trailing axes of one sample at the input; all axes before them are rows (time, batch)."""
        return len(self.stride) + 1


@dataclass(frozen=True, eq=False)
class FanOut:
    """Synapses of one layer for one input shape.

    Attributes:
        all: `[S]`, float64: synapses of each of the S spatial positions, in any channel, weights of zero included.
        zeros: input channels with weights of zero, in order, and of each the synapses of each position that have one:
            `[Z]` and `[Z, S]`, float64; None if no weight is zero.
        dense: multiply-accumulates of one dense evaluation: as many as the same inputs would have as spikes, every one of them.
        padded: the same with those that meet the padding, as papers count them.
        geometry: of the layer at that shape.
    """

    all: Tensor
    zeros: tuple[Tensor, Tensor] | None
    dense: int
    padded: int
    geometry: SynapseGeometry

    def by_position(self) -> Tensor:
        """`[C, S]`, float64: `all` in every channel."""
        return self.all.expand(self.geometry.in_channels, -1)

    def nonzero_by_position(self) -> Tensor:
        """`[C, S]`, float64: the same without weights of zero."""
        every = self.by_position().clone()
        if self.zeros is not None:
            every[self.zeros[0]] -= self.zeros[1]
        return every


def synapses_of(module: nn.Module) -> Synapses | None:
    """The synapses of a torch layer or a subclass of one; None if it is none."""
    if isinstance(module, nn.Linear):
        return Synapses("linear")
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return Synapses(
            "conv",
            stride=tuple(module.stride),
            padding=_padding(module),
            dilation=tuple(module.dilation),
            groups=module.groups,
            mode=module.padding_mode,
        )
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return Synapses(
            "transposed",
            stride=tuple(module.stride),
            padding=_padding(module),
            dilation=tuple(module.dilation),
            output_padding=tuple(module.output_padding),
            groups=module.groups,
        )
    return None


def _padding(module: nn.modules.conv._ConvNd) -> tuple[tuple[int, int], ...]:
    if module.padding == "valid":
        return tuple((0, 0) for _ in module.kernel_size)
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((int(p), int(p)) for p in module.padding)


Reach = tuple[Tensor, list[Tensor], tuple[int, ...]]
"""`FanOut.all`; `[size, kernel]` outputs that meet a position at a tap, for each spatial axis; sizes at the output."""
Reaches = dict[tuple[Any, ...], Reach]
"""Those of the layers of a model, of which many have the same."""


def fan_out(
    synapses: Synapses,
    weight: Tensor,
    shape: tuple[int, ...],
    output: tuple[int, ...] | None = None,
    *,
    bias: bool = False,
    reaches: Reaches | None = None,
) -> FanOut:
    """Fan-out of every input position of one sample.

    Args:
        synapses: how the layer connects.
        weight: of the layer, in torch's layout.
        shape: of one sample at its input, channels first.
        output: spatial sizes at its output, where a caller of a transposed convolution chose them.
        bias: whether the layer has one; it is no synapse.
        reaches: those of other layers, to which this one's is added.
    """
    if synapses.kind == "linear":
        every = torch.full((1,), float(weight.shape[0]), dtype=torch.float64, device=weight.device)
        geometry = SynapseGeometry("linear", weight.shape[1], weight.shape[0], bias=bias)
        return FanOut(every, _zeros(weight, 0, 1, []), weight.numel(), weight.numel(), geometry)
    transposed, kernel, sizes = synapses.kind == "transposed", tuple(weight.shape[2:]), shape[1:]
    key = synapses, tuple(weight.shape), sizes, output, weight.device
    if reaches is None or key not in reaches:
        reach = _reach(synapses, weight, sizes, output)
        if reaches is not None:
            reaches[key] = reach
    else:
        reach = reaches[key]
    every, met, out_sizes = reach
    outputs = weight.shape[1] if transposed else weight.shape[0] // synapses.groups
    out_channels = outputs * synapses.groups
    geometry = SynapseGeometry(
        "transposed" if transposed else "conv",
        shape[0],
        out_channels,
        kernel,
        synapses.stride,
        synapses.dilation,
        synapses.groups,
        sizes,
        out_sizes,
        bias,
    )
    zeros = _zeros(weight, 1 if transposed else 0, 1 if transposed else synapses.groups, met)
    padded = (prod(shape) if transposed else out_channels * prod(out_sizes)) * prod(weight.shape[1:])
    return FanOut(every, zeros, shape[0] * int(every.sum()), padded, geometry)


def _reach(synapses: Synapses, weight: Tensor, sizes: tuple[int, ...], output: tuple[int, ...] | None) -> Reach:
    """What of a fan-out does not depend on the values of the weights."""
    transposed, kernel = synapses.kind == "transposed", tuple(weight.shape[2:])
    axes = _transposed_taps(synapses, sizes, kernel, output) if transposed else _taps(synapses, sizes, kernel)
    met = [torch.from_numpy(taps).double().to(weight.device) for taps, _ in axes]
    outputs = weight.shape[1] if transposed else weight.shape[0] // synapses.groups
    every = torch.full((1,), float(outputs), dtype=torch.float64, device=weight.device)
    for taps in met:
        every = (every[:, None] * taps.sum(1)).reshape(-1)
    return every, met, tuple(size for _, size in axes)


def _zeros(weight: Tensor, out_axis: int, groups: int, met: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Channels with weights of zero and how many synapses of each position have one; see `FanOut.zeros`.

    Args:
        weight: of the layer.
        out_axis: of its output channels.
        groups: into which the output channels fall.
        met: `[size, kernel]` for each spatial axis.
    """
    if count_nonzero(weight) == weight.numel():
        return None
    zero = is_zero(weight)
    per_tap = sum_masks(zero.unflatten(out_axis, (groups, -1)), out_axis + 1).double()  # [groups, C / groups, …] or [C, 1, …]
    per_tap = per_tap.flatten(0, 1)
    channels = per_tap.flatten(1).sum(1).nonzero()[:, 0] if per_tap.dim() > 1 else per_tap.nonzero()[:, 0]
    per_tap = per_tap[channels]
    for taps in met:  # the first of the taps' axes goes, and the positions that it met come last
        per_tap = torch.tensordot(per_tap, taps, dims=([1], [1]))
    return channels, per_tap.reshape(len(channels), -1)


def _taps(synapses: Synapses, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> list[tuple[np.ndarray, int]]:
    """Per axis, `[size, kernel]` outputs that meet a position at a tap, and the number of outputs."""
    axes = []
    for axis, size in enumerate(sizes):
        before, after = synapses.padding[axis]
        mode = _MODES[synapses.mode]
        options = {"constant_values": -1} if mode == "constant" else {}
        place = np.pad(np.arange(size), (before, after), mode=mode, **options)  # type: ignore[call-overload]
        stride, dilation = synapses.stride[axis], synapses.dilation[axis]
        outputs = (len(place) - dilation * (kernel[axis] - 1) - 1) // stride + 1
        taps = np.zeros((size, kernel[axis]), np.int64)
        for tap in range(kernel[axis]):
            read = place[tap * dilation : tap * dilation + (outputs - 1) * stride + 1 : stride]
            taps[:, tap] = np.bincount(read[read >= 0], minlength=size)
        axes.append((taps, outputs))
    return axes


def _transposed_taps(
    synapses: Synapses, sizes: tuple[int, ...], kernel: tuple[int, ...], output: tuple[int, ...] | None
) -> list[tuple[np.ndarray, int]]:
    """The same for a transposed convolution: whether a position reaches an output by a tap."""
    axes = []
    for axis, size in enumerate(sizes):
        (before, _), stride, dilation = synapses.padding[axis], synapses.stride[axis], synapses.dilation[axis]
        outputs = (size - 1) * stride - 2 * before + dilation * (kernel[axis] - 1) + synapses.output_padding[axis] + 1
        outputs = outputs if output is None else output[axis]
        at = np.arange(size)[:, None] * stride - before + np.arange(kernel[axis])[None] * dilation
        axes.append((((at >= 0) & (at < outputs)).astype(np.int64), outputs))
    return axes


@dataclass(frozen=True)
class Windows:
    """Windows of a pool that do not overlap; one for all positions if there is no kernel.

    Attributes:
        kernel, stride: one entry per spatial axis.
    """

    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def before(self, shape: tuple[int, ...], after: Tensor) -> Tensor:
        """Fan-out before the pool, from that after it: each position has the synapses of the window that it is in.

        Args:
            shape: of one sample before the pool, channels first.
            after: fan-out of each pooled position, `[C, …]`.
        """
        if not self.kernel:
            return after.reshape(shape[0], *[1] * (len(shape) - 1)).expand(shape)
        sizes = [(n - k) // s + 1 for n, k, s in zip(shape[1:], self.kernel, self.stride, strict=True)]
        spread = after.reshape(shape[0], *sizes)
        for axis, (n, k, s, windows) in enumerate(zip(shape[1:], self.kernel, self.stride, sizes, strict=True), start=1):
            position = torch.arange(n, device=after.device)
            inside = (position % s < k) & (position // s < windows)
            spread = spread.index_select(axis, (position // s).clamp(max=windows - 1))
            spread = spread * inside.reshape(-1, *[1] * (len(shape) - 1 - axis))
        return spread
