"""A network as Lava's `.net` files describe it, a chain of layers, and the connections that such a file cannot hold.

At the end, what a Loihi chip can hold but Lava's CPU simulation does not enforce. Source: Davies et al., "Loihi: a neuromorphic
manycore processor with on-chip learning", IEEE Micro 2018; lava-dl `netx`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit, Population, Synapse
from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix, Shape, check_range
from neurodeploy_exporters.lava.layers import (
    AverageLayer,
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    Layer,
    Neuron,
    SigmaDeltaConstants,
    Spiking,
    check_sizes,
    check_synapses,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Skip:
    """One more synapse between two blocks of a chain, whose sums are added to those of the block's own.

    Attributes:
        from_layer, to_layer: indices of blocks, the second larger; from −1 for the network's input.
        weight: `[C_out, C_in / groups, kH, kW]` of a convolution, or `[N_out, N_in]`.
        stride, padding, dilation, groups: of a convolution, as in `Convolution`.
        delay: a spike of step t arrives in step t + 1 + delay; `to_layer − from_layer − 1` lines it up with the chain.
    """

    from_layer: int
    to_layer: int
    weight: Integers
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    delay: int = 0

    def synapse(self) -> Synapse:
        """The same as a synapse of a circuit whose populations are the blocks.

        Raises:
            UserError: the weight or the geometry is wrong.
        """
        plan: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        convolution = self.weight.ndim == 4
        connection = Convolution(weight=self.weight, **plan) if convolution else Matrix(weight=self.weight)
        return Synapse(source=self.from_layer, target=self.to_layer, connection=connection, delay=self.delay)


def read_skip(given: Mapping[str, Any]) -> Skip:
    """A skip from a mapping with its fields, such as one read from JSON: nested lists of whole numbers are its arrays.

    Raises:
        UserError: a field is missing, unknown, or of another kind.
    """
    known = [field.name for field in fields(Skip)]
    if unknown := set(given) - set(known):
        raise UserError(f"{', '.join(sorted(map(str, unknown)))} found; {', '.join(known)} expected")
    if missing := {"from_layer", "to_layer", "weight"} - set(given):
        raise UserError(f"{', '.join(sorted(missing))} missing")
    values: dict[str, Any] = {name: _whole(name, value) for name, value in given.items()}
    for name in ("stride", "padding", "dilation"):
        if name in values:
            values[name] = tuple(values[name].ravel().tolist())
    for name in ("from_layer", "to_layer", "groups", "delay"):
        if name in values:
            if values[name].ndim:
                raise UserError(f"{name}: shape {values[name].shape} found, one number expected")
            values[name] = int(values[name])
    return Skip(**values)


def _whole(name: str, value: Any) -> Integers:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty((), object)  # rows of different lengths
    if array.dtype.kind not in "iu":
        raise UserError(f"{name}: {array.dtype} found, whole numbers expected")
    return array.astype(np.int64)


@dataclass(frozen=True, eq=False)
class NetBlock:
    """A layer with neurons, as netx builds it.

    Attributes:
        index: number of the block among those built.
        position: number of the layer in the file, `/layer/position`.
        layer: the layer.
    """

    index: int
    position: int
    layer: Spiking

    @property
    def key(self) -> str:
        """Name in recordings, such as `L2_Conv`."""
        return f"L{self.index}_{_KIND[type(self.layer)](self.layer)}"

    @property
    def neuron(self) -> Neuron:
        if self.layer.neuron is None:
            raise UserError(f"/layer/{self.position}: input entry without neurons, which is no block")
        return self.layer.neuron


_KIND: dict[type, Callable[[Any], str]] = {
    InputLayer: lambda _: "Input",
    ConvLayer: lambda _: "Conv",
    DenseLayer: lambda layer: "Dense" if layer.weight_rec is None else "RecurrentDense",
}


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of layers.

    Raises:
        UserError: there is no block, an input entry is not the first layer, or the shapes of two layers do not fit.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.blocks():
            raise UserError("network: no layer with neurons found, at least one expected")
        for position, layer in enumerate(self.layers):
            if position and isinstance(layer, InputLayer):
                raise UserError(f"/layer/{position}: input entry found; it can only be layer 0")
            if isinstance(layer, AverageLayer) and position + 1 < len(self.layers):
                raise UserError(f"/layer/{position}: average found; it can only be the last layer")
        self._check_neurons()
        self.check_shapes(self.input_shape)
        check_sizes(block.layer.shape for block in self.blocks())
        check_synapses((layer.connection, layer.shape) for layer in self.layers if isinstance(layer, ConvLayer | DenseLayer))

    def _check_neurons(self) -> None:
        """Refuse a network of both kinds of neurons, and what sigma-delta ones have not."""
        graded = [isinstance(block.neuron, SigmaDeltaConstants) for block in self.blocks()]
        for block, one in zip(self.blocks(), graded, strict=True):
            where = f"/layer/{block.position}"
            if one != graded[0]:
                raise UserError(f"{where}/neuron: neurons of both kinds, CUBA and SDNN, found in one file")
            neuron, layer = block.neuron, block.layer
            if isinstance(neuron, SigmaDeltaConstants) and neuron.role == "sigma":
                if getattr(layer, "bias", None) is not None:
                    raise UserError(f"{where}/bias: found on neurons that only add up, with which netx fails; remove it")
                if block.index + 1 < len(graded):
                    raise UserError(f"{where}/neuron/sigma_output: found on a layer that another one reads; remove it")

    @property
    def graded(self) -> bool:
        """Whether its neurons are sigma-delta ones."""
        return isinstance(self.blocks()[0].neuron, SigmaDeltaConstants)

    @property
    def input_shape(self) -> Shape | None:
        """Shape of one sample and step; None where the file begins with a convolution and does not tell."""
        match self.layers[0]:
            case InputLayer(shape=shape):
                return shape
            case DenseLayer(weight=weight):
                return (weight.shape[1],)
            case _:
                return None

    @property
    def has_input_neurons(self) -> bool:
        first = self.layers[0]
        return isinstance(first, InputLayer) and first.neuron is not None

    def check_shapes(self, shape: Shape | None) -> None:
        """Follow the shape of a sample through the chain; a convolution after an unknown shape tells its own.

        Raises:
            UserError: naming the layer that does not fit its input.
        """
        for position, layer in enumerate(self.layers):
            if isinstance(layer, InputLayer):
                continue
            if shape is None:
                shape = getattr(layer, "shape", None)
                continue
            try:
                computed = layer.output_shape(shape)
            except UserError as error:
                raise UserError(f"/layer/{position}: {error}") from None
            stated = getattr(layer, "shape", computed)
            if computed != stated:
                raise UserError(f"/layer/{position}/shape: {stated} found, but its input {shape} makes it {computed}")
            shape = computed

    def part(self, *, skip_layers: int = 0, num_layers: int | None = None) -> "Network":
        """The network without its first `skip_layers` layers, up to layer number `num_layers`, both counted as in the file."""
        stop = len(self.layers) if num_layers is None else num_layers
        if not 0 <= skip_layers < min(stop, len(self.layers)):
            raise UserError(
                f"layers {skip_layers} to {stop} asked for, but the network has {len(self.layers)}: nothing would be left"
            )
        kept = self.layers[skip_layers:stop]
        shape = self.shape_after(skip_layers)
        entry = () if shape is None or isinstance(kept[0], InputLayer) else (InputLayer(shape=shape),)
        return Network((*entry, *kept))

    def shape_after(self, count: int) -> Shape | None:
        """Shape that enters layer number `count`; None where unknown."""
        shape = self.input_shape
        for layer in self.layers[:count]:
            if not isinstance(layer, FlattenLayer | AverageLayer):
                shape = layer.shape
            elif shape is not None:
                shape = layer.output_shape(shape)
        return shape

    def blocks(self) -> tuple[NetBlock, ...]:
        """What netx builds, in order."""
        spiking = [
            (position, layer)
            for position, layer in enumerate(self.layers)
            if not isinstance(layer, FlattenLayer | AverageLayer) and layer.neuron is not None
        ]
        return tuple(NetBlock(index, position, layer) for index, (position, layer) in enumerate(spiking))

    def circuit(self, skips: Sequence[Skip | Mapping[str, Any]] = (), input_shape: Shape | None = None) -> Circuit:
        """The chain as a circuit, with further synapses between its blocks; population i is block i.

        Args:
            skips: a `Skip`, or a mapping with its fields.
            input_shape: of one sample and step, needed where the file begins with a convolution and does not tell.

        Raises:
            UserError: the input's shape is unknown or contradicts the file's, or a skip does not fit.
        """
        shape = self.input_shape if input_shape is None else tuple(input_shape)
        if shape is None:
            raise UserError("network: begins with a convolution and does not tell its input's shape; give input_shape")
        if self.input_shape not in (None, shape):
            raise UserError(f"input_shape: {shape} found, but the network says {self.input_shape}")
        self.check_shapes(shape)
        populations, synapses = [], []
        for block in self.blocks():
            layer = block.layer
            population = Population(
                key=block.key,
                shape=layer.shape,
                neuron=block.neuron,
                bias=None if isinstance(layer, InputLayer) else layer.bias,
                recurrent=layer.weight_rec if isinstance(layer, DenseLayer) else None,
            )
            populations.append(population)
            if not isinstance(layer, InputLayer):
                # of the first block, index − 1 is INPUT
                synapses.append(Synapse(source=block.index - 1, target=block.index, connection=layer.connection))
        for number, given in enumerate(skips):
            try:
                skip = given if isinstance(given, Skip) else read_skip(given)
                synapses.append(skip.synapse())
                Circuit(input_shape=shape, populations=tuple(populations), synapses=tuple(synapses))
            except UserError as error:
                raise UserError(f"skip {number}: {error}") from None
        return Circuit(input_shape=shape, populations=tuple(populations), synapses=tuple(synapses))


WEIGHT_MIN, WEIGHT_MAX = -256, 254  # 8 bits and a sign, always even
BIAS_MIN, BIAS_MAX = -4096, 4095  # 13 bits
THRESHOLD_MAX = (1 << 17) - 1


def check_hardware(network: Network | Circuit) -> None:
    """Refuse what a chip would not compute as the simulation does, and what netx does not load as it is.

    Raises:
        UserError: naming the layer (or the population or synapse), the value found and the range.
    """
    if isinstance(network, Circuit):
        _check_circuit(network)
    else:
        _check_chain(network)


def _check_chain(network: Network) -> None:
    for position in range(network.blocks()[0].position):
        if isinstance(network.layers[position], FlattenLayer):
            where = f"/layer/{position}: flatten found before the first block"
            raise UserError(f"{where}, which netx drops; flatten the input on the host")
    for position, layer in enumerate(network.layers):
        where = f"/layer/{position}"
        if isinstance(layer, AverageLayer):
            raise UserError(f"{where}: average found, which no neurons compute; average the spikes on the host")
        if isinstance(layer, ConvLayer | DenseLayer):
            _check_weight(f"{where}/weight", layer.weight)
            if isinstance(layer, DenseLayer) and layer.weight_rec is not None:
                _check_weight(f"{where}/weight_rec", layer.weight_rec)
            _check_neurons(where, layer.bias, layer.neuron)
        elif isinstance(layer, InputLayer) and layer.neuron is not None:
            _check_neurons(where, None, layer.neuron)


def _check_circuit(circuit: Circuit) -> None:
    for index, population in enumerate(circuit.populations):
        if population.recurrent is not None:
            _check_weight(f"/population/{index}/recurrent", population.recurrent)
        _check_neurons(f"/population/{index}", population.bias, population.neuron)
    for number, synapse in enumerate(circuit.synapses):
        _check_weight(f"/synapse/{number}/weight", synapse.connection.weight)


def _check_neurons(where: str, bias: Integers | None, neuron: Neuron) -> None:
    if bias is not None:
        check_range(f"{where}/bias", bias, BIAS_MIN, BIAS_MAX, " on Loihi")
    check_range(f"{where}/neuron/vThMant", neuron.threshold, 0, THRESHOLD_MAX, " on Loihi")


def _check_weight(where: str, weight: Any) -> None:
    check_range(where, weight, WEIGHT_MIN, WEIGHT_MAX, " on Loihi")
    odd = weight[weight % 2 != 0]
    if odd.size:
        raise UserError(f"{where}: odd value {odd.flat[0]} found, even numbers expected (8 bits with a sign hold steps of 2)")
