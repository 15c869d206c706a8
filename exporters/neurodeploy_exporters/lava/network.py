"""A network as Lava's `.net` files describe it: a chain of layers.

A *block* is what lava-dl's `netx` builds: a synapse with its neurons, or an input layer with neurons. Flatten layers and an
input entry without neurons are no blocks. Source: lava-dl, `lava.lib.dl.netx.hdf5`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit, Population, Synapse
from neurodeploy_exporters.lava.layers import (
    ConvLayer,
    CubaNeuron,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    Layer,
    Shape,
    Spiking,
)
from neurodeploy_exporters.lava.limits import check_sizes, check_synapses
from neurodeploy_exporters.lava.skip import Skip, read_skip


@dataclass(frozen=True, eq=False)
class Block:
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
    def neuron(self) -> CubaNeuron:
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
        self.check_shapes(self.input_shape)
        check_sizes(block.layer.shape for block in self.blocks())
        check_synapses((layer.connection, layer.shape) for layer in self.layers if isinstance(layer, ConvLayer | DenseLayer))

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
            if not isinstance(layer, FlattenLayer):
                shape = layer.shape
            elif shape is not None:
                shape = layer.output_shape(shape)
        return shape

    def blocks(self) -> tuple[Block, ...]:
        """What netx builds, in order."""
        spiking = [
            (position, layer)
            for position, layer in enumerate(self.layers)
            if not isinstance(layer, FlattenLayer) and layer.neuron is not None
        ]
        return tuple(Block(index, position, layer) for index, (position, layer) in enumerate(spiking))

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
