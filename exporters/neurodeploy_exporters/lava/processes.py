"""A circuit as lava-nc processes, where the user has Lava: on its CPU simulation, or compiled for a chip by Intel's software.

Lava's arrays are `(W, H, C)` and its LIF neurons add 1 to `du`; both are handled here. Nothing of Lava is imported before
`build` is called. Source: lava-nc, `lava.proc.lif`, `lava.proc.conv`, `lava.proc.dense` and `lava.proc.sparse`.
"""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import scipy.sparse

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.connection import Integers, Shape
from neurodeploy_exporters.lava.network import WEIGHT_MIN

_BIAS_SHIFT = 6  # biases are in units of the threshold


@dataclass(frozen=True, eq=False)
class Processes:
    """Lava's processes, connected among each other.

    Run them through any of them: `populations[key].run(condition, Loihi2SimCfg(select_tag="fixed_pt"))`; without that tag,
    Lava computes in floating point.

    Attributes:
        inputs: of every synapse that reads the circuit's input, or of the input neurons, whose current it is; `feed` connects
            them all.
        populations: key → LIF process; `s_out` gives its spikes `(W, H, C)` or `(N,)`.
    """

    inputs: tuple["Entry", ...]
    populations: dict[str, Any]

    def feed(self, source: Any) -> None:
        """Connect an output port that sends the circuit's input, `(W, H, C)` or `(N,)`, one step at a time."""
        for entry in self.inputs:
            entry.connect(source)


@dataclass(frozen=True, eq=False)
class Entry:
    """Where a synapse's spikes enter.

    Attributes:
        port: Lava's input port.
        flat: whether the port takes a flattened source.
    """

    port: Any
    flat: bool

    def connect(self, source: Any) -> None:
        (source.flatten() if self.flat and len(source.shape) > 1 else source).connect(self.port)


def build(
    circuit: Circuit,
    *,
    input_bias: Integers | None = None,
    reset_interval: int | None = None,
    reset_offset: int = 0,
    input_message_bits: int = 0,
) -> Processes:
    """Make the processes of a circuit; with the same settings they fire what `simulate_circuit` says.

    Args:
        circuit: populations and synapses.
        input_bias: of input neurons, of the input's shape; mode "bias" of `simulate_circuit`.
        reset_interval, reset_offset, input_message_bits: as there.

    Raises:
        UserError: Lava is not installed, or a bias is given for input neurons that are not there.
    """
    library = _Library()
    first = 0 if circuit.has_input_neurons else 1
    populations = [
        library.population(population, bias, reset_interval, reset_offset + 1 + depth - first)
        for population, depth, bias in zip(circuit.populations, circuit.depths, _biases(circuit, input_bias), strict=True)
    ]
    inputs = [Entry(populations[0].a_in, flat=False)] if circuit.has_input_neurons else []
    own = [
        Synapse(source=index, target=index, connection=Matrix(weight=population.recurrent))
        for index, population in enumerate(circuit.populations)
        if population.recurrent is not None
    ]
    for synapse in (*circuit.synapses, *own):
        target = circuit.populations[synapse.target]
        source = circuit.shape_of(synapse.source)
        bits = input_message_bits if synapse.source == INPUT else 0
        entry, output = library.synapse(synapse, source, target.shape, bits)
        output.connect(populations[synapse.target].a_in)
        if synapse.source == INPUT:
            inputs.append(entry)
        else:
            entry.connect(populations[synapse.source].s_out)
    return Processes(tuple(inputs), {p.key: process for p, process in zip(circuit.populations, populations, strict=True)})


def _biases(circuit: Circuit, input_bias: Integers | None) -> list[Integers | None]:
    biases = [population.bias for population in circuit.populations]
    if input_bias is not None:
        if not circuit.has_input_neurons or input_bias.shape != circuit.input_shape:
            wanted = circuit.input_shape if circuit.has_input_neurons else "none (the circuit has no input neurons)"
            raise UserError(f"input_bias: shape {input_bias.shape} found, {wanted} expected")
        biases[0] = input_bias
    return biases


class _Library:
    """The classes of Lava that a circuit needs."""

    def __init__(self) -> None:
        try:
            from lava.proc.conv.process import Conv
            from lava.proc.dense.process import DelayDense, Dense
            from lava.proc.lif.process import LIF, LIFReset
            from lava.proc.sparse.process import DelaySparse
            from lava.utils.weightutils import SignMode
        except ImportError as error:
            raise UserError(
                f"lava: cannot be imported ({error}); install lava-nc from github.com/lava-nc/lava, or run the circuit with "
                "`neurodeploy simulate`, which gives the same spikes"
            ) from None
        self.lif, self.lif_reset, self.conv, self.mixed = LIF, LIFReset, Conv, SignMode.MIXED
        self.dense, self.delay_dense, self.delay_sparse = Dense, DelayDense, DelaySparse

    def population(self, population: Population, bias: Integers | None, interval: int | None, offset: int) -> Any:
        neuron = population.cuba
        if bias is not None and bias.ndim < len(population.shape):
            bias = np.broadcast_to(bias[:, None, None], population.shape)
        constants = {
            "shape": population.shape[::-1],
            "du": neuron.i_decay - 1,  # one per channel works too: the channel is Lava's last axis
            "dv": neuron.v_decay,
            "vth": neuron.threshold,
            "bias_mant": 0 if bias is None else np.ascontiguousarray(bias.transpose()),
            "bias_exp": _BIAS_SHIFT,
            "name": population.key,
        }
        if interval is None:
            return self.lif(**constants)
        return self.lif_reset(**constants, reset_interval=interval, reset_offset=offset % interval)

    def synapse(self, synapse: Synapse, source: Shape, target: Shape, bits: int) -> tuple[Entry, Any]:
        """Where its spikes enter, and the port of its sums, `(W, H, C)` or `(N,)`."""
        connection = synapse.connection
        if isinstance(connection, Convolution) and not synapse.delay:
            return self._convolution(connection, source, bits)
        weight = connection.weight
        settings = {**self._settings(weight), "num_message_bits": bits}
        if isinstance(connection, Matrix):
            delay = _permuted(np.broadcast_to(connection.delay + synapse.delay, weight.shape), source, target)
            make = self.dense if not delay.any() else partial(self.delay_dense, delays=delay)
            process = make(weights=_permuted(weight, source, target), **settings)
        else:
            sparse = _permuted(convolution_matrix(connection, source, target), source, target)
            process = self.delay_sparse(weights=sparse, delays=synapse.delay * (sparse != 0).astype(np.int64), **settings)
        output = process.a_out.reshape(target[::-1]) if len(target) > 1 else process.a_out
        return Entry(process.s_in, flat=True), output

    def _settings(self, weight: Integers) -> dict[str, Any]:
        """With these, Lava keeps the weights of a matrix, −256 … 255, as they are.

        By default it would cut off the last bit where both signs occur; no chip holds that bit, but the simulation does.
        """
        if weight.min() >= 0 or (weight.max() <= 0 and weight.min() > WEIGHT_MIN):
            return {}
        return {"sign_mode": self.mixed, "num_weight_bits": 9 if (weight % 2).any() else 8}

    def _convolution(self, connection: Convolution, source: Shape, bits: int) -> tuple[Entry, Any]:
        # Lava turns the kernel around before it correlates
        kernel = connection.weight.transpose(0, 3, 2, 1)[:, ::-1, ::-1]
        process = self.conv(
            weight=np.ascontiguousarray(kernel),
            input_shape=source[::-1],
            num_message_bits=bits,
            **{name: size if name == "groups" else size[::-1] for name, size in connection.geometry.items()},
        )
        return Entry(process.s_in, flat=False), process.a_out


def convolution_matrix(connection: Convolution, source: Shape, target: Shape) -> scipy.sparse.csr_matrix:
    """A convolution as a sparse matrix `[targets, sources]`, both flattened in C order of `(C, H, W)`."""
    weight = connection.weight
    rows, columns, values = [], [], []
    out = np.arange(np.prod(target)).reshape(target)
    into = np.arange(np.prod(source)).reshape(source)
    out_channels, in_channels = len(weight) // connection.groups, weight.shape[1]
    places = np.indices(target[1:])
    for tap in np.ndindex(*weight.shape[2:]):
        offsets = zip(places, connection.stride, connection.dilation, tap, connection.padding, strict=True)
        y, x = (place * stride + dilation * k - padding for place, stride, dilation, k, padding in offsets)
        inside = (y >= 0) & (y < source[1]) & (x >= 0) & (x < source[2])
        for group in range(connection.groups):
            outs = slice(group * out_channels, (group + 1) * out_channels)
            ins = slice(group * in_channels, (group + 1) * in_channels)
            targets, sources = out[outs][:, inside], into[ins][:, y[inside], x[inside]]
            wide = (out_channels, in_channels, targets.shape[1])
            rows.append(np.broadcast_to(targets[:, None], wide).ravel())
            columns.append(np.broadcast_to(sources[None], wide).ravel())
            values.append(np.broadcast_to(weight[outs][:, :, *tap, None], wide).ravel())
    placed = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = scipy.sparse.csr_matrix(placed, shape=(out.size, into.size))
    matrix.eliminate_zeros()
    return matrix


def _permuted(matrix: Any, source: Shape, target: Shape) -> Any:
    """A matrix over places in C order of `(C, H, W)`, put in Lava's order, that of `(W, H, C)`, on both sides."""
    rows, columns = (np.arange(prod(shape)).reshape(shape).transpose().ravel() for shape in (target, source))
    return matrix[rows][:, columns]
