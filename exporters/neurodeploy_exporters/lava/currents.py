"""What an afferent delivers for given spikes: whole sequences at once, in torch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.graph import nodes
from neurodeploy_exporters.lava.wiring import Afferent


def delivered(afferent: Afferent, spikes: Tensor, weight: Any) -> Tensor:
    """The currents `[T, B, …]`, float32.

    They are exact where the weights are integers, because sums stay within 24 bits.

    Args:
        afferent: its geometry.
        spikes: of its source, `[T, B, …]`.
        weight: in place of that of the afferent, of the same shape.
    """
    steps, batch = spikes.shape[:2]
    x = spikes.flatten(0, 1).to(torch.float32)
    w = torch.from_numpy(np.asarray(weight, np.float32))
    node = afferent.node
    if isinstance(node, nodes.Linear):
        y = functional.linear(x.flatten(1), w)
    else:
        convolve: Any = functional.conv1d if w.ndim == 3 else functional.conv2d
        y = convolve(x, w, None, node.stride, node.padding, node.dilation, node.groups)
    return y.reshape(steps, batch, *y.shape[1:])
