"""A circuit as lava-nc processes, where the user has Lava: on its CPU simulation, or compiled for a chip by Intel's software.

Lava's arrays are `(W, H, C)` and its LIF neurons add 1 to `du`; both are handled here. Nothing of Lava is imported before
`build` is called. Source: lava-nc, `lava.proc.lif`, `lava.proc.conv`, `lava.proc.dense` and `lava.proc.sparse`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.hardware import WEIGHT_MAX, WEIGHT_MIN
from neurodeploy_exporters.lava.layers import Integers, Shape

_BIAS_SHIFT = 6  # biases are in units of the threshold


@dataclass(frozen=True, eq=False)
class Processes:
    """Lava's processes, connected among each other.

    Run them through any of them: `populations[key].run(condition, Loihi2SimCfg(select_tag="fixed_pt"))`; without that tag,
    Lava computes in floating point.

    Attributes:
        inputs: the input of every synapse that reads the circuit's input; `feed` connects them all.
        populations: key → LIF process; `s_out` gives its spikes `(W, H, C)` or `(N,)`. The bias of input neurons is their
            `bias_mant`.
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
    circuit: Circuit, *, reset_interval: int | None = None, reset_offset: int = 0, input_message_bits: int = 0
) -> Processes:
    """Make the processes of a circuit.

    Args:
        circuit: populations and synapses.
        reset_interval, reset_offset: I and O; a population of depth d sets u and v to 0 before its update in every step
            t = 1, 2, … with `t % I == (O + 1 + d) % I`. No reset if I is None.
        input_message_bits: 0 takes every non-zero input for one spike; above 0 the value multiplies the weight.

    Raises:
        UserError: Lava is not installed, or a population or synapse has no form in it; the message names it.
    """
    library = _library()
    populations = [
        library.population(population, reset_interval, reset_offset + 1 + depth)
        for population, depth in zip(circuit.populations, circuit.depths, strict=True)
    ]
    inputs = []
    for number, synapse in enumerate(circuit.synapses):
        source = circuit.input_shape if synapse.source == INPUT else circuit.populations[synapse.source].shape
        target = circuit.populations[synapse.target].shape
        bits = input_message_bits if synapse.source == INPUT else 0
        try:
            entry, output = library.synapse(synapse, source, target, bits)
        except UserError as error:
            raise UserError(f"synapse {number} (on {circuit.populations[synapse.target].key}): {error}") from None
        output.connect(populations[synapse.target].a_in)
        if synapse.source == INPUT:
            inputs.append(entry)
        else:
            entry.connect(populations[synapse.source].s_out)
    for index, (population, process) in enumerate(zip(circuit.populations, populations, strict=True)):
        if population.recurrent is not None:
            own = Synapse(source=index, target=index, connection=Matrix(weight=population.recurrent))
            entry, output = library.synapse(own, population.shape, population.shape, 0)
            entry.connect(process.s_out)
            output.connect(process.a_in)
    return Processes(tuple(inputs), {p.key: process for p, process in zip(circuit.populations, populations, strict=True)})


@dataclass(frozen=True, eq=False)
class _Library:
    """The classes of Lava that a circuit needs."""

    lif: Callable[..., Any]
    lif_reset: Callable[..., Any]
    conv: Callable[..., Any]
    dense: Callable[..., Any]
    delay_dense: Callable[..., Any]
    delay_sparse: Callable[..., Any]
    mixed: Any

    def population(self, population: Population, interval: int | None, offset: int) -> Any:
        neuron = population.neuron
        bias: Any = 0
        if population.bias is not None:
            bias = population.bias
            if bias.ndim == 1 and len(population.shape) == 3:
                bias = np.broadcast_to(bias[:, None, None], population.shape)
            bias = _theirs(bias)
        constants = {
            "shape": population.shape[::-1],
            "du": neuron.i_decay - 1,  # one per channel works too: the channel is Lava's last axis
            "dv": neuron.v_decay,
            "vth": neuron.threshold,
            "bias_mant": bias,
            "bias_exp": _BIAS_SHIFT,
            "name": population.key,
        }
        if interval is None:
            return self.lif(**constants)
        return self.lif_reset(**constants, reset_interval=interval, reset_offset=offset % interval)

    def synapse(self, synapse: Synapse, source: Shape, target: Shape, bits: int) -> tuple[Entry, Any]:
        """Where its spikes enter, and the port of its sums, `(W, H, C)` or `(N,)`."""
        connection = synapse.connection
        if isinstance(connection, Matrix):
            delay = connection.delay + synapse.delay
            _check_even(connection.weight)
            entry, output = self._matrix(
                _permuted(connection.weight, source, target), _permuted(delay, source, target), bits
            )
        elif synapse.delay:
            _check_even(connection.weight)
            weights = _permuted(convolution_matrix(connection, source, target), source, target)
            process = self.delay_sparse(
                weights=weights, delays=synapse.delay * _ones(weights), sign_mode=self.mixed, num_message_bits=bits
            )
            entry, output = Entry(process.s_in, flat=True), process.a_out
        else:
            return self._convolution(connection, source, bits)
        return entry, output.reshape(target[::-1]) if len(target) > 1 else output

    def _matrix(self, weight: Integers, delay: int | Integers, bits: int) -> tuple[Entry, Any]:
        settings = {"weights": weight, "sign_mode": self.mixed, "num_message_bits": bits}
        if np.any(delay):
            process = self.delay_dense(**settings, delays=np.broadcast_to(np.asarray(delay), weight.shape))
        else:
            process = self.dense(**settings)
        return Entry(process.s_in, flat=True), process.a_out

    def _convolution(self, connection: Convolution, source: Shape, bits: int) -> tuple[Entry, Any]:
        # Lava turns the kernel around before it correlates
        kernel = connection.weight.transpose(0, 3, 2, 1)[:, ::-1, ::-1]
        process = self.conv(
            weight=np.ascontiguousarray(kernel),
            input_shape=source[::-1],
            padding=connection.padding[::-1],
            stride=connection.stride[::-1],
            dilation=connection.dilation[::-1],
            groups=connection.groups,
            num_message_bits=bits,
        )
        return Entry(process.s_in, flat=False), process.a_out


def _library() -> _Library:
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
    return _Library(LIF, LIFReset, Conv, Dense, DelayDense, DelaySparse, SignMode.MIXED)


def _check_even(weight: Integers) -> None:
    """Lava clips the weights of a matrix to 9 bits and cuts off the last one."""
    if weight.min() < WEIGHT_MIN or weight.max() > WEIGHT_MAX or (weight % 2).any():
        odd = ", odd ones too," if (weight % 2).any() else ""
        raise UserError(
            f"weight: {weight.min()} to {weight.max()}{odd} found, even numbers from {WEIGHT_MIN} to {WEIGHT_MAX} expected by "
            "Lava's matrices"
        )


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
    """A matrix over `(C, H, W)` on both sides, put in Lava's order; numbers stay."""
    return matrix if np.ndim(matrix) == 0 and not scipy.sparse.issparse(matrix) else matrix[_order(target)][:, _order(source)]


def _order(shape: Shape) -> Integers:
    """Of each place in Lava's order `(W, H, C)`: the place in ours."""
    return np.arange(np.prod(shape)).reshape(shape).transpose().ravel()


def _theirs(array: Integers) -> Integers:
    return np.ascontiguousarray(array.transpose())


def _ones(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
