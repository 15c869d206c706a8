"""Small bodies for Loihi, of every kind that SANA-FE is to run, from whole numbers that are the same anywhere."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants


def _weights(*shape: int, factor: int) -> NDArray[np.int64]:
    """Even numbers from -20 to 24, more of them positive."""
    return (np.arange(np.prod(shape)) * factor % 23 - 10).reshape(shape) * 2


def spikes(*shape: int) -> NDArray[np.uint8]:
    """About a third of them; `[T, B, …]`."""
    return (np.arange(np.prod(shape)) * 37 % 101 % 3 == 0).reshape(shape).astype(np.uint8)


def residual() -> Circuit:
    """Two convolutions and a way around the second, whose spikes wait for a step; biases that fire alone; a full matrix."""
    populations = (
        Population(key="first", shape=(3, 4, 4), neuron=CubaConstants(4096, 1024, 40), bias=np.array([30, 0, -20])),
        Population(key="second", shape=(3, 4, 4), neuron=CubaConstants(4096, 0, 60), bias=np.array([0, 10, 0])),
        Population(key="last", shape=(5,), neuron=CubaConstants(4096, 4096, 30)),
    )
    synapses = (
        Synapse(source=INPUT, target=0, connection=Convolution(weight=_weights(3, 2, 3, 3, factor=5), padding=(1, 1))),
        Synapse(source=0, target=1, connection=Convolution(weight=_weights(3, 3, 3, 3, factor=7), padding=(1, 1))),
        Synapse(source=INPUT, target=1, connection=Convolution(weight=_weights(3, 2, 1, 1, factor=3)), delay=1),
        Synapse(source=1, target=2, connection=Matrix(weight=_weights(5, 48, factor=9))),
    )
    return Circuit(input_shape=(2, 4, 4), populations=populations, synapses=synapses)


def recurrent() -> Circuit:
    """A layer that hears itself, delays that differ from synapse to synapse, and a matrix that is mostly zeros."""
    sparse = np.abs(_weights(6, 8, factor=11)) * (np.arange(48).reshape(6, 8) % 3 == 0)
    delays = (np.arange(48).reshape(6, 8) % 4).astype(np.int64)
    own = Population(key="own", shape=(6,), neuron=CubaConstants(4096, 512, 12), recurrent=np.abs(_weights(6, 6, factor=13)))
    last = Population(key="last", shape=(4,), neuron=CubaConstants(4096, 2048, 10))
    synapses = (
        Synapse(source=INPUT, target=0, connection=Matrix(weight=sparse, delay=delays)),
        Synapse(source=0, target=1, connection=Matrix(weight=_weights(4, 6, factor=5))),
    )
    return Circuit(input_shape=(8,), populations=(own, last), synapses=synapses)


def decaying() -> Circuit:
    """Currents that decay, which the chip rounds and SANA-FE does not; and some of which all stays."""
    populations = (
        Population(key="decaying", shape=(6,), neuron=CubaConstants(1000, 300, 50)),
        Population(key="keeping", shape=(4,), neuron=CubaConstants(0, 4096, 90)),
    )
    synapses = (
        Synapse(source=INPUT, target=0, connection=Matrix(weight=_weights(6, 8, factor=11))),
        Synapse(source=0, target=1, connection=Matrix(weight=_weights(4, 6, factor=5))),
    )
    return Circuit(input_shape=(8,), populations=populations, synapses=synapses)


BODIES: dict[str, tuple[Callable[[], Circuit], NDArray[Any]]] = {
    "residual": (residual, spikes(4, 2, 2, 4, 4)),
    "recurrent": (recurrent, spikes(6, 2, 8)),
    "decaying": (decaying, spikes(12, 2, 8)),
}
"""Name → body, and what enters it."""
