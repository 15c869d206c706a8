"""A circuit as a graph: in the chip's integers, to be counted and compared, and in floats, to be exported to other targets.

Time is that of the network: on the chip every synapse takes a step, and delays line short ways up with the long one; a graph
has neither. A delay that goes beyond that is the network's own, and becomes a node.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.ops import Node
from neurodeploy.graph.standard import Leaky, recurrent_cell
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.fields import MESSAGE_BITS
from neurodeploy_exporters.lava.graded import SigmaDeltaNetwork
from neurodeploy_exporters.lava.network import check_hardware
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.reading import open_circuit
from neurodeploy_exporters.lava.sigmadelta import are_graded
from neurodeploy_exporters.lava.simulate import simulate_circuit

_INPUT = "input"


def chip_graph(circuit: Circuit) -> Graph:
    """The graph in the chip's integers: it fires what the chip fires, every sample alone.

    Input neurons read the samples themselves, as a current (mode "ain" of `simulate`); without a memory of the current that is
    the same as a bias.

    Raises:
        UserError: something has no form in a graph; the message names the population.
    """
    return _graph(circuit, _in_integers, lambda _: None)


def float_graph(circuit: Circuit) -> Graph:
    """The same network in floats: its decays do not round, and its states do not wrap.

    Raises:
        UserError: as `chip_graph`, or constants that differ between the channels of a population, which only thresholds may.
    """
    return _graph(circuit, _in_floats, _unit_of)


def differing(chip: Graph, floats: Graph, inputs: NDArray[np.float32]) -> tuple[int, int]:
    """How many spikes differ between the two graphs of a circuit, and of how many spike values.

    Args:
        chip, floats: of `chip_graph` and `float_graph`.
        inputs: `[T, B, …]`.
    """
    one, other = interpreter.run(chip, inputs), interpreter.run(floats, inputs)
    return sum(int((one[key] != other[key]).sum()) for key in chip.spiking), sum(one[key].size for key in chip.spiking)


Neurons: TypeAlias = Callable[[Population, str], Iterator[Node]]


def _graph(circuit: Circuit, neurons: Neurons, unit_of: Callable[[Population], Any]) -> Graph:
    nodes: list[Node] = [ops.InputNode(name=_INPUT, shape=circuit.input_shape, timed=True)]
    names = {INPUT: _INPUT} | {index: population.key for index, population in enumerate(circuit.populations)}
    read = {synapse.source for synapse in circuit.synapses}
    ends = [population.key for index, population in enumerate(circuit.populations) if index not in read]
    if len(ends) > 1:
        raise UserError(f"populations {', '.join(ends)}: read by no other, one expected, whose spikes are the answer")
    for index, population in enumerate(circuit.populations):
        currents = list[str]()
        for synapse in circuit.into(index):
            for connection, delay in _by_delay(synapse, circuit.aligned_delay(synapse), population.key):
                made = f"{population.key}.synapse{len(currents)}"
                nodes += _sent(circuit, synapse, connection, delay, names[synapse.source], made, unit_of(population))
                currents.append(made)
        total = currents[0] if currents else _INPUT
        for number, current in enumerate(currents[1:], 1):
            nodes.append(ops.AddNode(name=f"{population.key}.sum{number}", inputs=(total, current)))
            total = f"{population.key}.sum{number}"
        nodes += neurons(population, total)
    (last,) = ends
    if len(circuit.populations[-1].shape) > 1:
        nodes.append(ops.FlattenNode(name=f"{last}.flat", inputs=(last,)))
        last = f"{last}.flat"
    nodes.append(ops.TimeMeanNode(name="mean", inputs=(last,)))
    return Graph([*nodes, ops.OutputNode(name="output", inputs=("mean",))])


def _by_delay(synapse: Synapse, aligned: int, key: str) -> Iterator[tuple[Convolution | Matrix, int]]:
    """The parts of a connection that have one delay each, and what of it is the network's own."""
    connection = synapse.connection
    delays = np.asarray(getattr(connection, "delay", 0)) + synapse.delay - aligned
    if delays.min() < 0:
        early = -delays.min()
        raise UserError(f"population {key}: spikes {early} steps before those of the longest way, which no graph has")
    if delays.ndim == 0 or isinstance(connection, Convolution):
        yield connection, int(delays.max())
        return
    for delay in np.unique(delays).tolist():
        yield Matrix(weight=np.where(delays == delay, connection.weight, 0)), delay


def _sent(
    circuit: Circuit, synapse: Synapse, connection: Convolution | Matrix, delay: int, source: str, made: str, unit: Any
) -> Iterator[Node]:
    """A synapse, with what delays and flattens the spikes before it."""
    if delay:
        yield ops.DelayNode(name=f"{made}.late", inputs=(source,), steps=delay)
        source = f"{made}.late"
    weight: Any = connection.weight.astype(np.float32)
    if unit is not None:
        weight = weight / np.reshape(unit, (-1, *(1,) * (weight.ndim - 1))).astype(np.float32)
    if isinstance(connection, Convolution):
        yield ops.ConvNode(name=made, inputs=(source,), weight=weight, bias=None, **connection.geometry)
        return
    if len(circuit.shape_of(synapse.source)) > 1:
        yield ops.FlattenNode(name=f"{made}.flat", inputs=(source,))
        source = f"{made}.flat"
    yield ops.LinearNode(name=made, inputs=(source,), weight=weight, bias=None)


def _in_integers(population: Population, current: str) -> Iterator[Node]:
    bias: Any = 0 if population.bias is None else population.bias
    constants = vars(population.cuba) | {"bias": bias, "recurrent": population.recurrent}
    yield ops.FixedPointNeuronNode(name=population.key, inputs=(current,), **constants)


def _unit_of(population: Population) -> Any:
    """What weights are divided by so that every channel has the threshold 1; None where they have one in common.

    Potentials are multiples of 1/64: between the threshold and the next one above it, rounding the quotients changes nothing.
    """
    threshold = population.cuba.threshold
    if np.min(threshold) < 1:
        raise UserError(f"population {population.key}: a threshold of 0, which only a chip's integers have")
    return np.add(threshold, 1 / 128) if np.ndim(threshold) else None


def _in_floats(population: Population, current: str) -> Iterator[Node]:
    key, neuron, unit = population.key, population.cuba, _unit_of(population)
    kept = [1 - _one(key, name, decay) / 4096 for name, decay in (("iDecay", neuron.i_decay), ("vDecay", neuron.v_decay))]
    if kept[0] and population.recurrent is None:
        yield ops.LowPassNode(name=f"{key}.current", inputs=(current,), decay=kept[0])
        current = f"{key}.current"
    if population.bias is not None and population.bias.any():
        if population.bias.ndim > 1:
            raise UserError(f"population {key}: a bias of its own for every neuron, one per channel expected")
        if kept[0] and population.recurrent is not None:
            raise UserError(f"population {key}: a bias beside a current with a memory, which recurrent synapses feed too")
        shift = (population.bias / (1 if unit is None else unit)).astype(np.float32)
        yield ops.BatchNormNode(name=f"{key}.bias", inputs=(current,), scale=np.ones_like(shift), shift=shift)
        current = f"{key}.bias"
    threshold = float(np.max(neuron.threshold)) if unit is None else 1.0
    if population.recurrent is not None:
        weight: Any = population.recurrent / (1 if unit is None else np.reshape(unit, (-1, 1)))
        constants = Leaky(kept[1], threshold, "hard", kept[0] or None)
        yield recurrent_cell(key, current, weight.astype(np.float32), constants, population.shape)
        return
    yield ops.NeuronNode(name=key, inputs=(current,), parameters=NeuronParameters(kept[1], threshold, "hard"))


def _one(key: str, name: str, value: Any) -> int:
    if np.min(value) != np.max(value):
        raise UserError(f"population {key}: {name} from {np.min(value)} to {np.max(value)}, one for all channels expected")
    return int(np.max(value))


_STEPS, _SAMPLES = 12, 4


@dataclass(frozen=True)
class Check:
    """What `check` found.

    Attributes:
        neurons, synapses: of the network.
        compared: spike values that simulator and reference interpreter were compared on; 0 where they could not be. Of
            sigma-delta neurons, messages that simulator and torch were.
        spikes: of them, fired.
        findings: what is wrong, a sentence each.
        notes: what could not be looked at.
        graded: the neurons send graded messages.
    """

    neurons: int
    synapses: int
    compared: int
    spikes: int
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    graded: bool = False

    @property
    def passed(self) -> bool:
        return not self.findings


def check(path: Path) -> Check:
    """Read a `.net` or circuit file, hold it against the chip's ranges, and run it twice on random spikes.

    Raises:
        UserError: it cannot be read.
    """
    circuit = open_circuit(path)
    findings, notes, compared, spikes = list[str](), list[str](), 0, 0
    try:
        check_hardware(circuit)
    except UserError as error:
        findings.append(str(error))
    graded = are_graded(circuit.populations)
    try:
        graph = None if graded else chip_graph(circuit)
        if not graded and circuit.has_input_neurons:
            raise UserError("input neurons, which are driven by biases")
        one, other = _messages_twice(circuit) if graph is None else _spikes_twice(circuit, graph)
    except UserError as error:
        notes.append(f"not run twice: {error}")
    else:
        what, second = ("messages", "torch") if graded else ("spikes", "interpreter")
        for key, fired in one.items():
            compared, spikes = compared + fired.size, spikes + int(np.count_nonzero(fired))
            if wrong := int((fired != other[key]).sum()):
                findings.append(f"population {key}: simulator and {second} differ in {wrong} of {fired.size} {what}")
    synapses = sum(int(np.count_nonzero(s.connection.weight)) for s in circuit.synapses)
    neurons = sum(prod(p.shape) for p in circuit.populations)
    return Check(neurons, synapses, compared, spikes, tuple(findings), tuple(notes), graded)


def _spikes_twice(circuit: Circuit, graph: Graph) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """What simulator and interpreter make of random spikes."""
    x = (np.random.default_rng(0).random((_STEPS, _SAMPLES, *circuit.input_shape)) < 0.3).astype(np.float32)
    return run_sequence(circuit, x).spikes, interpreter.run(graph, x)


def _messages_twice(circuit: Circuit) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """What simulator and torch make of random values, of which a third changes in a step."""
    rng, network = np.random.default_rng(0), SigmaDeltaNetwork(circuit)
    sizes = (_STEPS, _SAMPLES, *circuit.input_shape)
    x = rng.integers(-64, 65, sizes) * (rng.random(sizes) < 1 / 3)
    encoded = circuit.has_input_neurons
    x = x.cumsum(0) if encoded else x * 64
    whole = np.concatenate([x, *[x[-1:] if encoded else np.zeros_like(x[-1:])] * network.late])
    driven: dict[str, Any] = {"mode": "ain"} if encoded else {"mode": "spikes", "input_message_bits": MESSAGE_BITS}
    found = simulate_circuit(circuit, whole, len(whole), record=["s"], **driven)
    sent = network.messages(torch.from_numpy(x).transpose(0, 1))
    return {key.removesuffix("_s"): made for key, made in found.items()}, {key: made.numpy() for key, made in sent.items()}
