"""A layer of neurons in torch whose update is given as data: see `neurodeploy.dynamics.updates`."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.dynamics.updates import Update, initial_states, update_step


class Cell(nn.Module):
    """Computes an update step by step; every call starts from its initial states.

    Args:
        update: of one step.
        arrays: its constants, of shapes that are broadcast against one sample.
        recurrent: `[N, N]`: what it answered in the step before, flattened, comes back through these weights as the last input.
        recurrent_bias: `[N]`, added to that.
        spiking: its answers are spikes, 0 or 1 or several.
        largest: the most spikes that a neuron can fire in a step; None if there is no bound.
    """

    recurrent: nn.Parameter | None
    recurrent_bias: Tensor | None

    def __init__(
        self,
        update: Update,
        arrays: Sequence[NDArray[np.float32]] = (),
        recurrent: NDArray[np.float32] | None = None,
        recurrent_bias: NDArray[np.float32] | None = None,
        *,
        spiking: bool = True,
        largest: int | None = 1,
    ) -> None:
        super().__init__()
        self.update, self.spiking, self.largest = update, spiking, largest
        for number, array in enumerate(arrays):
            self.register_buffer(f"array{number}", torch.from_numpy(array.copy()))
        self._arrays = len(arrays)
        # a weight, as other synapses have
        weight = None if recurrent is None else nn.Parameter(torch.from_numpy(recurrent.copy()), requires_grad=False)
        self.register_parameter("recurrent", weight)
        self.register_buffer("recurrent_bias", None if recurrent_bias is None else torch.from_numpy(recurrent_bias.copy()))

    @property
    def arrays(self) -> tuple[Tensor, ...]:
        return tuple(self.get_buffer(f"array{number}") for number in range(self._arrays))

    def forward(self, *sequences: Tensor) -> Tensor:
        """Currents `[T, B, …]` → answers `[T, B, …]`."""
        arrays, made = self.arrays, []
        states = initial_states(self.update, sequences[0][0], arrays)
        before = torch.zeros_like(sequences[0][0])
        for currents in zip(*sequences, strict=True):
            read = list(currents)
            if self.recurrent is not None:
                back = functional.linear(before.flatten(1), self.recurrent, self.recurrent_bias)
                read.append(back.view_as(before))
            before, states = update_step(self.update, read, states, arrays)
            made.append(before)
        return torch.stack(made)

    def extra_repr(self) -> str:
        states, operations = len(self.update.initial), len(self.update.instructions)
        return f"states={states}, operations={operations}, spiking={self.spiking}, recurrent={self.recurrent is not None}"
