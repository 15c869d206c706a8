"""A sigma-delta network as a torch module: its messages are Lava's, and what runs can be counted layer by layer.

Synapses are torch's own layers in float64, which hold every sum that Lava's integers hold; neurons are those of `sigmadelta`.
`simulate` computes the same by other ways, channels last: `graphs.check` holds one against the other.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.dynamics import layers
from neurodeploy.graph import ops
from neurodeploy.graph.module import place
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Synapse
from neurodeploy_exporters.lava.connection import Integers
from neurodeploy_exporters.lava.layers import SigmaDeltaConstants
from neurodeploy_exporters.lava.sigmadelta import INT32, State, check_sums, sigma_delta_step

_STATES = {"delta": 2, "sigma-delta": 3, "sigma": 1}
_CONV_PERIOD = 1 << 24
"""Lava wraps the sums of a convolution to signed numbers of 24 bits."""
_NEURONS_AT_ONCE = 1 << 20


class SigmaDelta(nn.Module):
    """Sigma-delta neurons, from a state of zeros: input sums `[T, B, …]` → messages `[T, B, …]`, whole numbers in float64.

    Args:
        constants: threshold and role.
        bias: `[C]` or one per neuron, in units of the threshold; None for none.
        wraps: the sums are those of convolutions.
    """

    def __init__(self, constants: SigmaDeltaConstants, bias: Integers | None, *, wraps: bool) -> None:
        super().__init__()
        self.constants, self.bias, self.wraps = constants, bias, wraps
        self.states = _STATES[constants.role]

    def forward(self, sums: Tensor) -> Tensor:
        """
        Raises:
            UserError: a state leaves Lava's 32-bit integers.
        """
        arriving = np.rint(sums.detach().cpu().numpy()).astype(np.int64)
        if self.wraps:
            arriving -= (arriving + _CONV_PERIOD // 2) // _CONV_PERIOD * _CONV_PERIOD
        bias: Any = 0 if self.bias is None else self.bias
        if np.ndim(bias) == 1:
            bias = np.reshape(bias, (-1, *(1,) * (arriving.ndim - 3)))
        state: State = tuple(np.zeros(arriving.shape[1:], np.int64) for _ in range(3))  # type: ignore[assignment]
        messages = np.empty_like(arriving)
        for step, a in enumerate(arriving):
            messages[step], state = sigma_delta_step(state, a, self.constants, bias)
            if max(int(np.abs(each).max()) for each in state) > INT32:
                raise UserError(f"step {step + 1}: a state left Lava's 32 bits; use smaller inputs or weights")
        return torch.from_numpy(messages.astype(np.float64))

    def extra_repr(self) -> str:
        return f"{self.constants.role}, vThMant={self.constants.threshold}"


class GradedInput(nn.Identity):
    """Where graded messages enter a network that has no encoder of its own."""


class SigmaDeltaNetwork(nn.Module):
    """Every sample from a chip that has seen nothing, until its last change has arrived in the last layer.

    On the chip every synapse takes a step, so that a change in step t leaves the last of L synapses behind in step t + L. The
    run has L steps more than the sample, in which nothing changes at the input: an encoder goes on to read the last frame, and
    messages from outside end.

    Args:
        circuit: of sigma-delta neurons alone.
        steps: how often a static sample is read; None if samples are sequences.
        origin: names the network in messages.
    """

    def __init__(self, circuit: Circuit, *, steps: int | None = None, origin: str = "network") -> None:
        super().__init__()
        self.circuit, self.steps, self.origin = circuit, steps, origin
        self.late = max(circuit.depths)
        self.entry = nn.Identity() if circuit.has_input_neurons else GradedInput()
        for index, population in enumerate(circuit.populations):
            assert isinstance(population.neuron, SigmaDeltaConstants)
            into = circuit.into(index)
            wraps = any(isinstance(synapse.connection, Convolution) for synapse in into)
            for number, synapse in enumerate(into):
                place(self, f"{population.key}.synapse{number}", _layer(synapse))
            place(self, population.key, SigmaDelta(population.neuron, population.bias, wraps=wraps))
        self.eval()

    @property
    def batch(self) -> int:
        """Samples to run at a time, so that the messages of all layers stay in bounded memory."""
        return max(1, _NEURONS_AT_ONCE // sum(int(np.prod(one.shape)) for one in self.circuit.populations))

    def forward(self, samples: Tensor) -> Tensor:
        """`[B, T, *shape]`, or `[B, *shape]` with `steps`, whole numbers → messages of the last layer `[T + L, B, *shape]`.

        Raises:
            UserError: the samples have another shape, hold fractions, or make a value that Lava's integers do not hold.
        """
        return self.messages(samples)[self.circuit.populations[-1].key]

    def messages(self, samples: Tensor) -> dict[str, Tensor]:
        """The same of every population, by its key."""
        x = self._sequence(samples)
        held = x[-1:] if self.circuit.has_input_neurons else torch.zeros_like(x[-1:])
        sent = {INPUT: self.entry(torch.cat([x, held.expand(self.late, *held.shape[1:])]))}
        for index, population in enumerate(self.circuit.populations):
            try:
                arriving = self._arriving(index, population.key, sent) if self.circuit.into(index) else sent[INPUT]
                sent[index] = self.get_submodule(population.key)(arriving)
            except UserError as error:
                raise UserError(f"{self.origin}: {population.key}: {error}") from None
        return {population.key: sent[index] for index, population in enumerate(self.circuit.populations)}

    def _arriving(self, index: int, key: str, sent: dict[int, Tensor]) -> Tensor:
        """What the synapses bring, a step after it was sent."""
        total: Any = 0
        for number, synapse in enumerate(self.circuit.into(index)):
            messages = sent[synapse.source]
            if not isinstance(synapse.connection, Convolution):
                messages = messages.flatten(2)
            sums = self.get_submodule(f"{key}.synapse{number}")(messages)
            if not isinstance(synapse.connection, Convolution):
                check_sums(float(sums.abs().max()), synapse.connection.weight)
            total = sums + total if number else sums
        return torch.cat([torch.zeros_like(total[:1]), total[:-1]])

    def _sequence(self, samples: Tensor) -> Tensor:
        """`[T, B, *shape]`, float64."""
        shape = self.circuit.input_shape
        leading = 2 if self.steps is None else 1
        if samples.ndim != leading + len(shape) or tuple(samples.shape[leading:]) != shape or 0 in samples.shape:
            axes = ", ".join(map(str, shape))
            wanted = f"[N, T, {axes}], or [N, {axes}] with --steps," if self.steps is None else f"[N, {axes}]"
            raise UserError(f"{self.origin}: samples of shape {tuple(samples.shape)} found, {wanted} expected")
        values = samples.detach().double()
        if not torch.equal(values, values.round()):
            raise UserError(f"{self.origin}: fractions found in the samples, whole numbers expected, as the chip takes them")
        sequence = values.unsqueeze(1).expand(-1, self.steps, *shape) if self.steps is not None else values
        return sequence.transpose(0, 1).contiguous()


def _layer(synapse: Synapse) -> nn.Module:
    """Without a bias, in float64."""
    connection, common = synapse.connection, {"name": "synapse", "inputs": ("x",), "bias": None}
    weight = connection.weight.astype(np.float32)
    if isinstance(connection, Convolution):
        made = ops.ConvNode(weight=weight, **connection.geometry, **common).layer()  # type: ignore[arg-type]
    else:
        made = ops.LinearNode(weight=weight, **common).layer()  # type: ignore[arg-type]
    assert isinstance(made, layers.Conv2d | nn.Linear)
    return made.double()
