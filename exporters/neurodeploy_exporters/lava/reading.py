"""A `.net` or circuit file: run as a piece of a bundle, and read back as nodes under the names of the trained network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, GradedTensor, Manifest, Piece, SpikingLayer, read_bundle
from neurodeploy_exporters.bundle.constants import READ_OUT, constants_of, numbers_in, weighted_sums
from neurodeploy_exporters.bundle.states import CURRENTS, POTENTIALS, asked, sums_of_layer
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Population, Synapse
from neurodeploy_exporters.lava.circuitfile import read_circuit
from neurodeploy_exporters.lava.damage import values
from neurodeploy_exporters.lava.layers import ConvLayer, DenseLayer, FlattenLayer
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import Replay, kept_between_samples, run_sequence, run_stream
from neurodeploy_exporters.lava.simulate import shaped_input
from neurodeploy_exporters.target import Format, Tensors


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    """In batches, so that the states of a long sequence fit into memory."""
    network, spikes = _network(bundle, piece), tensors[piece.inputs[0]]
    portions = [
        _on_chip(bundle, piece, network, {piece.inputs[0]: spikes[:, start : start + _PORTION]}, layers)
        for start in range(0, max(1, spikes.shape[1]) if spikes.ndim > 1 else 1, _PORTION)
    ]
    whole = {tensor.name for tensor in piece.graded if tensor.read == "after the last step"}
    return {
        name: np.concatenate([portion[name] for portion in portions], int(name not in whole and not name.startswith(_SUMS)))
        for name in portions[0]
    }


_PORTION = 16
_SUMS = (CURRENTS, POTENTIALS)


def _replay_in_a_row(
    bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]
) -> Tensors | None:
    network, spikes = _network(bundle, piece), tensors[piece.inputs[0]]
    shape = shaped_input(spikes, network, leading=2).shape[2:]
    circuit = network if isinstance(network, Circuit) else network.circuit(input_shape=shape)
    if kept_between_samples(circuit):
        return None
    return _on_chip(bundle, piece, network, tensors, layers, run_stream)


def _network(bundle: Bundle, piece: Piece) -> Network | Circuit:
    path = bundle.path(piece.file)
    return read_circuit(path) if piece.format == "circuit" else read(path)


def _open(
    bundle: Bundle,
    piece: Piece,
    layers: Sequence[str],  # noqa: ARG001 - the head reads spikes, so all of them are made
    threads: int,  # noqa: ARG001 - the simulator takes torch's
) -> Callable[[Mapping[str, NDArray[Any]]], Tensors]:
    network = _network(bundle, piece)
    own = [layer.name for layer in bundle.manifest.spiking_layers if layer.part == piece.name]
    return lambda tensors: _on_chip(bundle, piece, network, tensors, own)


def _on_chip(
    bundle: Bundle,
    piece: Piece,
    network: Network | Circuit,
    tensors: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    run: Callable[..., Replay] = run_sequence,
) -> Tensors:
    """Run a body on the simulated chip, and hold its latencies against the manifest's."""
    path, manifest = bundle.path(piece.file), bundle.manifest
    layers, held = asked(names)
    graded = [tensor.population for tensor in piece.graded]
    replay = run(network, tensors[piece.inputs[0]], graded=graded, **({"states": True} if held else {}))
    if replay.latency_steps != manifest.latency_steps:
        raise UserError(f"{path}: answers {replay.latency_steps} steps late, the manifest says {manifest.latency_steps}")
    if len(replay.spikes) != len(layers):
        raise UserError(f"{path}: {len(replay.spikes)} spiking blocks found, the {len(layers)} of the manifest expected")
    entries, made = {layer.name: layer for layer in manifest.spiking_layers}, Tensors()
    for layer, (key, spikes) in zip(layers, replay.spikes.items(), strict=True):
        _check_answer(f"{path}: layer {layer}", spikes.shape[2:], replay.latencies[key], entries[layer])
        made[layer] = replay.spikes_of(key, entries[layer].shape)
        if layer in held:
            made |= sums_of_layer(layer, *replay.states_of(key, entries[layer].shape))
    for tensor in piece.graded:
        shape, latency = replay.graded[tensor.population].shape[2:], replay.latencies[tensor.population]
        _check_answer(f"{path}: tensor {tensor.name}", shape, latency, tensor)
        made[tensor.name] = replay.read_out(tensor)
    return made


def _check_answer(what: str, shape: Shape, latency: int, expected: SpikingLayer | GradedTensor) -> None:
    if prod(shape) != prod(expected.shape):
        raise UserError(f"{what}: shape {shape} found, {expected.shape} expected")
    if latency != expected.latency_steps:
        raise UserError(f"{what}: answers {latency} steps late, the manifest says {expected.latency_steps}")


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:
    manifest, path = bundle.manifest, bundle.path(piece.file)
    shapes: dict[str, Any] = {layer.name: layer.shape for layer in manifest.spiking_layers}
    entry = ops.InputNode(name=manifest.input_name, shape=manifest.input_shape, timed=manifest.timed_input)
    try:
        nodes = circuit_nodes(open_circuit(path), manifest, piece, shapes.get(piece.inputs[0], entry.shape))
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    return nodes if before else (entry, *nodes)


def _constants(bundle: Bundle, file: str) -> dict[str, NDArray[np.uint64]]:
    """Of the nodes in a file, and of the neurons whose currents are read as numbers: these never fire, and make no node."""
    (piece,) = (piece for piece in bundle.manifest.pieces if piece.file == file)
    values = [entry for node in _members(bundle, piece, {}) for entry in constants_of(node)]
    neurons = {population.key: population.neuron for population in open_circuit(bundle.path(file)).populations}
    for tensor in piece.graded:
        values += numbers_in(f"{tensor.name}{READ_OUT}", neurons[tensor.population])
    return {key: weighted_sums(value) for key, value in values}


FORMAT = Format(
    runtime="the fixed-point simulator",
    replay=_replay,
    members=_members,
    late=True,
    open=_open,
    replay_in_a_row=_replay_in_a_row,
    values=values,
    constants=_constants,
)
"""Of `.net` and circuit files alike."""


def circuit_nodes(circuit: Circuit, manifest: Manifest, piece: Piece, entry: Shape) -> tuple[Node, ...]:
    """The synapses, sums and neurons of a body; its integers are those of the file.

    A synapse that the chip carries out n times in parallel, because its weights do not fit into one, is n nodes: each of them
    costs. A delay that lines up what belongs to the same step makes no node; what goes beyond it is the network's own.

    Args:
        circuit: what the piece's file holds.
        manifest: of the bundle.
        piece: the body.
        entry: shape of the tensor that enters it, per sample and step.

    Raises:
        UserError: the manifest tells of other populations or synapses.
    """
    layers: list[SpikingLayer | GradedTensor] = [layer for layer in manifest.spiking_layers if layer.part == piece.name]
    layers += piece.graded
    if len(layers) != len(circuit.populations):
        raise UserError(f"{len(circuit.populations)} populations found, the {len(layers)} of the manifest expected")
    names = {INPUT: piece.inputs[0]} | {index: layer.name for index, layer in enumerate(layers)}
    shapes = {piece.inputs[0]: entry} | {layer.name: layer.shape for layer in layers}
    nodes: dict[str, Node] = {}
    for index, (layer, population) in enumerate(zip(layers, circuit.populations, strict=True)):
        if prod(layer.shape) != prod(population.shape):
            raise UserError(f"population {population.key}: shape {population.shape} found, {layer.shape} expected")
        into = [(synapse, _delay_of(synapse) - circuit.aligned_delay(synapse)) for synapse in circuit.into(index)]
        for node in _population(layer, population, into, manifest, names, shapes):
            nodes.setdefault(node.name, node)  # several synapses may read the same spikes flattened
    return tuple(nodes.values())


def _population(
    layer: SpikingLayer | GradedTensor,
    population: Population,
    synapses: Sequence[tuple[Synapse, Any]],
    manifest: Manifest,
    names: dict[int, str],
    shapes: dict[str, Shape],
) -> Iterator[Node]:
    """As in `integer_graph`: synapses and their delays, the sum of their currents, and the neurons or what is read of them."""
    name = layer.name.removesuffix(".graded") if isinstance(layer, GradedTensor) else layer.name
    whole = layer.name if isinstance(layer, GradedTensor) and layer.read == "every step" else ""
    names_here, last, total = _synapse_names(manifest, name, len(synapses)), len(synapses) - 1, ""
    beside = population.bias is not None and (population.bias.ndim > 1 or np.any(np.not_equal(population.cuba.i_decay, 4096)))
    for number, ((synapse, delay), synapse_name) in enumerate(zip(synapses, names_here, strict=True)):
        source, made = names[synapse.source], whole if whole and not last else synapse_name
        weight: Any = synapse.connection.weight.astype(np.float32)
        bias = None if number or beside or population.bias is None else population.bias.astype(np.float32)
        if np.any(delay):
            each = delay.reshape(shapes[source]) if np.ndim(delay) else None
            yield ops.DelayNode(name=f"{made}.late", inputs=(source,), steps=int(np.max(delay)), each=each)
            shapes[f"{made}.late"], source = shapes[source], f"{made}.late"
        if isinstance(synapse.connection, Convolution):
            axes = len(layer.shape) - 1  # one axis is two, of which the second has one value
            sizes = synapse.connection.geometry
            plan: Any = {name: size if name == "groups" else size[:axes] for name, size in sizes.items()}
            if weight.size != prod(weight.shape[: 2 + axes]):
                raise UserError(f"layer {layer.name}: shape {layer.shape} found, that of a convolution's answer expected")
            weight = weight.reshape(weight.shape[: 2 + axes])
            yield ops.ConvNode(name=made, inputs=(source,), weight=weight, bias=bias, **plan)
        else:
            if len(shapes[source]) > 1:
                yield ops.FlattenNode(name=f"{source}.flat", inputs=(source,))
                source = f"{source}.flat"
            yield ops.LinearNode(name=made, inputs=(source,), weight=weight, bias=bias)
        before, total = total, made
        if number:
            total = whole if whole and number == last else f"{layer.name}.sum{number}"
            yield ops.AddNode(name=total, inputs=(before, made))
    if isinstance(layer, SpikingLayer):
        own: Any = population.bias if beside else 0
        yield ops.FixedPointNeuronNode(
            name=layer.name, inputs=(total,), bias=own, recurrent=population.recurrent, **vars(population.cuba)
        )
    elif not whole:
        yield ops.TimeMeanNode(name=layer.name, inputs=(total,))


def _delay_of(synapse: Synapse) -> Any:
    """A number, or one for each neuron of the source, in C order.

    Raises:
        UserError: the synapses of one neuron differ.
    """
    delay = np.asarray(getattr(synapse.connection, "delay", 0))
    if delay.min() == delay.max():
        return synapse.delay + int(delay.max())
    if not (delay == delay[:1]).all():
        raise UserError(
            f"synapse on population {synapse.target}: delays from {delay.min()} to {delay.max()} found, one for each neuron "
            "that sends expected"
        )
    return synapse.delay + delay[0]


def _synapse_names(manifest: Manifest, layer: str, count: int) -> list[str]:
    """Names of a population's synapses, in order."""
    try:
        entries = manifest.quantization["layers"][layer]["synapses"]
        parallel = {str(name): int(entry["parallel"]) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"the manifest does not name the synapses of {layer}") from None
    if sum(parallel.values()) != count or min(parallel.values(), default=1) < 1:
        raise UserError(f"{count} synapses on {layer} found, the {sum(parallel.values())} of the manifest expected")
    return [name if not copy else f"{name}.parallel{copy + 1}" for name, n in parallel.items() for copy in range(n)]


def open_circuit(path: Path, *, input_shape: Shape | None = None, num_layers: int | None = None) -> Circuit:
    """Read the network that a chip is to run.

    Args:
        path: the folder of a Lava bundle, or a file whose name ends in `.net` or `.circuit`.
        input_shape: of one sample and step, for a `.net` file that does not tell; the smallest that fits if None.
        num_layers: of a `.net` file, read the first so many layers alone.

    Raises:
        UserError: it is none of these, or damaged, or tells another input shape.
    """
    if path.is_dir():
        bundle = read_bundle(path)
        body = next((piece for piece in bundle.manifest.chain if piece.name == "body"), None)
        if body is None or body.format not in ("net", "circuit"):
            raise UserError(f"{path}: a bundle for {bundle.manifest.target} found; one for Loihi expected (--target lava)")
        path = bundle.path(body.file)
    if path.suffix == ".circuit":
        circuit = read_circuit(path)
        if num_layers is not None or input_shape not in (None, circuit.input_shape):
            raise UserError(f"{path}: a circuit, which tells its shape {circuit.input_shape} and runs whole")
        return circuit
    if path.suffix != ".net":
        raise UserError(f"{path}: a bundle's folder, or a file that ends in .net or .circuit, expected")
    network = read(path, num_layers=num_layers)
    try:
        return network.circuit(input_shape=input_shape or network.input_shape or smallest_input(network))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def smallest_input(network: Network) -> Shape | None:
    """Of a network that does not tell: rows and columns that no neuron reads are left out, and nothing is flattened."""
    first = next(layer for layer in network.layers if not isinstance(layer, FlattenLayer))
    if isinstance(first, DenseLayer):
        return (first.weight.shape[1],)
    if not isinstance(first, ConvLayer):
        return None
    connection = first.connection
    kernel = [d * (k - 1) + 1 for d, k in zip(connection.dilation, connection.weight.shape[2:], strict=True)]
    sizes = zip(first.shape[1:], connection.stride, kernel, connection.padding, strict=True)
    return (connection.in_channels, *((size - 1) * stride + k - 2 * padding for size, stride, k, padding in sizes))
