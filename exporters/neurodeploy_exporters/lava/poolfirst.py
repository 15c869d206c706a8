"""A convolution into whose kernel average pooling was folded, computed the other way round: the pool first.

The chip needs one kernel (`folding`); in training, summing the spikes of a window once is a fraction of the work. Windows do
not overlap, so the folded kernel repeats each weight over its window: both ways are the same sum, in integers exactly.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from neurodeploy.graph import Graph, nodes
from neurodeploy.graph.nodes import Shape
from neurodeploy.layers import Conv2d


class PoolFirst(Conv2d):
    """Sums over windows, then a convolution, over `[T, B, C, H, W]`.

    Args:
        folded: the convolution that does both.
        window: `(y, x)`, as `window_of` finds it.
    """

    def __init__(self, folded: nodes.Conv, window: Shape) -> None:
        (y, x), (outputs, inputs, *_) = window, folded.weight.shape
        weight = torch.from_numpy(folded.weight[:, :, ::y, ::x].copy())
        super().__init__(
            inputs * folded.groups,
            outputs,
            (weight.shape[2], weight.shape[3]),
            (folded.stride[0] // y, folded.stride[1] // x),
            (folded.padding[0] // y, folded.padding[1] // x),
            groups=folded.groups,
            bias=folded.bias is not None,
        )
        self.window = (y, x)
        self.weight = nn.Parameter(weight)
        if folded.bias is not None:
            self.bias = nn.Parameter(torch.from_numpy(folded.bias.copy()))

    def forward(self, x: Tensor) -> Tensor:
        sums = avg_pool2d(x.flatten(0, 1), self.window, divisor_override=1)
        return super().forward(sums.unflatten(0, x.shape[:2]))


def window_of(graph: Graph, folded: nodes.Conv | nodes.Linear, weight: NDArray[Any]) -> Shape | None:
    """The pooling that was folded into a convolution; None if there is none, or its windows overlap.

    Args:
        graph: before folding; a convolution of the same name in it has the kernel without pooling.
        folded: the convolution that does both, whatever its weights.
        weight: what it does both with in float.
    """
    if folded.name not in graph:
        return None
    node = graph[folded.name]
    if not isinstance(node, nodes.Conv) or not isinstance(folded, nodes.Conv) or len(node.stride) != 2:
        return None
    y, x = (after // before for after, before in zip(folded.stride, node.stride, strict=True))
    repeated = np.repeat(np.repeat(node.weight.astype(np.float64), y, 2), x, 3) / (y * x)
    same = y * x > 1 and repeated.shape == weight.shape and np.allclose(repeated, weight, rtol=1e-9, atol=0)
    return (y, x) if same else None


def unfolded(layer: Any, weight: NDArray[Any]) -> NDArray[Any]:
    """Of a folded kernel, what `layer` holds."""
    return weight[:, :, :: layer.window[0], :: layer.window[1]] if isinstance(layer, PoolFirst) else weight


def refolded(layer: Any) -> Tensor:
    """The kernel that does what `layer` does, its pooling folded in."""
    weight: Tensor = layer.weight
    if not isinstance(layer, PoolFirst):
        return weight
    return weight.repeat_interleave(layer.window[0], 2).repeat_interleave(layer.window[1], 3)
