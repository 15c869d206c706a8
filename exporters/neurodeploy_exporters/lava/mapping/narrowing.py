"""A circuit with fewer channels in some of its populations."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy_exporters.lava.circuit import Circuit, Convolution, Population, Synapse
from neurodeploy_exporters.lava.values import Shape


def can_narrow(circuit: Circuit, index: int) -> bool:
    """Whether a population may have fewer channels: others read it, and no grouped convolution ties its channels to others."""
    if not circuit.into(index) or all(synapse.source != index for synapse in circuit.synapses):
        return False
    touching = [synapse for synapse in circuit.synapses if index in (synapse.source, synapse.target)]
    return all(not isinstance(s.connection, Convolution) or s.connection.groups == 1 for s in touching)


def narrowed(circuit: Circuit, channels: Mapping[int, int]) -> Circuit:
    """The circuit with only the first channels (neurons, of a population of shape `(N,)`) of some populations.

    Args:
        circuit: unchanged.
        channels: index of a population that `can_narrow` → channels that are left.
    """
    populations = tuple(
        _population(population, channels[index]) if index in channels else population
        for index, population in enumerate(circuit.populations)
    )
    synapses = []
    for synapse in circuit.synapses:
        if synapse.target in channels:
            synapse = _selected(synapse, slice(channels[synapse.target]))
        if synapse.source in channels:
            shape = circuit.populations[synapse.source].shape
            synapse = _selected(synapse, _inputs(synapse, shape, channels[synapse.source]))
        synapses.append(synapse)
    return replace(circuit, populations=populations, synapses=tuple(synapses))


def _population(population: Population, channels: int) -> Population:
    neuron = population.neuron
    return replace(
        population,
        shape=(channels, *population.shape[1:]),
        neuron=replace(neuron, i_decay=_first(neuron.i_decay, channels), v_decay=_first(neuron.v_decay, channels)),
        bias=_first(population.bias, channels),
        recurrent=None if population.recurrent is None else population.recurrent[:channels, :channels],
    )


def _first(values: Any, channels: int) -> Any:
    return values if values is None or np.ndim(values) == 0 else values[:channels]


def _inputs(synapse: Synapse, shape: Shape, channels: int) -> Any:
    """Selects, of a weight, what reads the first channels of a source."""
    if isinstance(synapse.connection, Convolution):
        return (slice(None), slice(channels))
    return (slice(None), slice(channels * int(np.prod(shape[1:]))))


def _selected(synapse: Synapse, which: Any) -> Synapse:
    connection: Any = synapse.connection
    changed = {"weight": connection.weight[which]}
    if np.ndim(getattr(connection, "delay", 0)):
        changed["delay"] = connection.delay[which]
    return replace(synapse, connection=replace(connection, **changed))
