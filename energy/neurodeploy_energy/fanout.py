"""Fan-out maps: how many synapses each input position of a layer really has, borders, strides, groups and all."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as f

_CONVOLUTIONS: dict[type[nn.Module], tuple[int, Callable[..., Tensor]]] = {
    nn.Conv1d: (1, f.conv1d),
    nn.Conv2d: (2, f.conv2d),
    nn.Conv3d: (3, f.conv3d),
}
_TRANSPOSED: dict[type[nn.Module], tuple[int, Callable[..., Tensor]]] = {
    nn.ConvTranspose1d: (1, f.conv_transpose1d),
    nn.ConvTranspose2d: (2, f.conv_transpose2d),
    nn.ConvTranspose3d: (3, f.conv_transpose3d),
}


@dataclass(frozen=True, eq=False)
class FanOut:
    """Synapses of one layer for one input shape.

    Attributes:
        all: `[*input shape]`, float64: synapses of each input position, weights of zero included.
        nonzero: the same without weights of zero.
        dense: multiply-accumulates of one dense evaluation, padding included, as is usual.
    """

    all: Tensor
    nonzero: Tensor
    dense: int


def is_synapse(module: nn.Module) -> bool:
    """Whether a module is a layer of synapses that can be counted: padded with zeros, if at all."""
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return False
    return isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED))


def own_axes(module: nn.Module) -> int:
    """Number of trailing axes of one sample at the module's input; all axes before them are rows (time, batch)."""
    for kind, (axes, _) in (_CONVOLUTIONS | _TRANSPOSED).items():
        if isinstance(module, kind):
            return axes + 1
    return 1


def fan_out(module: nn.Module, shape: tuple[int, ...]) -> FanOut:
    """Fan-out of every input position: the transpose of the layer, with ones for weights, applied to ones.

    Args:
        module: a convolution, transposed convolution or linear layer.
        shape: of one sample at its input.
    """
    weight = module.get_parameter("weight").detach().double()
    maps = []
    for synapses in (torch.ones_like(weight), (weight != 0).double()):
        x = torch.zeros(shape, dtype=torch.float64, device=weight.device, requires_grad=True)
        with torch.enable_grad():
            y = _apply(module, x[None], synapses)
            (gradient,) = torch.autograd.grad(y.sum(), x)
        maps.append(gradient.round())
    positions = prod(y.shape[1:])
    if isinstance(module, tuple(_TRANSPOSED)):
        dense = prod(shape) * prod(weight.shape[1:])
    else:
        dense = positions * prod(weight.shape[1:])
    return FanOut(maps[0], maps[1], dense)


def _apply(module: nn.Module, x: Tensor, synapses: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return f.linear(x, synapses)
    for kind, (_axes, convolve) in _CONVOLUTIONS.items():
        if isinstance(module, kind):
            return convolve(x, synapses, None, module.stride, module.padding, module.dilation, module.groups)
    for kind, (_axes, convolve) in _TRANSPOSED.items():
        if isinstance(module, kind):
            return convolve(
                x, synapses, None, module.stride, module.padding, module.output_padding, module.groups, module.dilation
            )
    raise TypeError(f"{type(module).__name__} is no layer of synapses")


def through_pool(pool: Callable[[Tensor], Tensor], shape: tuple[int, ...], after: Tensor) -> Tensor:
    """Fan-out before a pooling layer, from the fan-out after it: each position has the synapses of the windows that it is in.

    Args:
        pool: a sum over windows, on `[1, *shape]`.
        shape: of one sample before the pool.
        after: fan-out of each pooled position.
    """
    x = torch.zeros(shape, dtype=torch.float64, device=after.device, requires_grad=True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad((pool(x[None])[0].reshape(after.shape) * after).sum(), x)
    return gradient.round()
