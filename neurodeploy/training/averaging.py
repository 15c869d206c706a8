"""Exponential moving average of a network's weights."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """`a ← d a + (1 − d) w` for every floating-point tensor of the network, batch norm's statistics too; counters are copied.

    Args:
        network: whose weights are averaged; the average starts as a copy of them.
        decay: d.
        state: of an interrupted training.
    """

    def __init__(self, network: nn.Module, decay: float, state: dict[str, Tensor] | None = None) -> None:
        self._network, self._decay = network, decay
        now = network.state_dict()
        self.state = {name: value.clone() if state is None else state[name].to(value.device) for name, value in now.items()}

    @torch.no_grad()
    def update(self) -> None:
        """To be called after each update of the weights."""
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - self._decay)
            else:
                self.state[name].copy_(value)
