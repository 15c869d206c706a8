"""Every synapse of a connection, one by one, as SANA-FE takes them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix, Shape
from neurodeploy_exporters.lava.sanafe.job import SynapseUnit

_MOSTLY_ZEROS = 0.5
"""Of a matrix with a larger share of zeros, a list of the others with their indices takes less memory than all weights."""


def unit_of(connection: Convolution | Matrix) -> SynapseUnit:
    """The hardware that computes a connection: of a convolution, as in the networks with which SANA-FE's Loihi was tried."""
    if isinstance(connection, Convolution):
        return "loihi_conv_synapse"
    return "loihi_sparse_synapse" if np.mean(connection.weight == 0) > _MOSTLY_ZEROS else "loihi_dense_synapse"


def fan_out(connection: Convolution | Matrix, shape: Shape) -> Integers:
    """Synapses of every neuron of a source of `shape`, as `expanded` lists them; flattened in C order."""
    if isinstance(connection, Matrix):
        kept = connection.weight != 0 if unit_of(connection) == "loihi_sparse_synapse" else np.ones_like(connection.weight)
        return kept.sum(0, dtype=np.int64)
    channels = len(connection.weight) // connection.groups
    rows, columns = (_taps(connection, shape, axis) for axis in (0, 1))
    places = np.outer(rows.sum((0, 2)), columns.sum((0, 2)))
    return np.broadcast_to(channels * places, shape).ravel().astype(np.int64)


def expanded(connection: Convolution | Matrix, shape: Shape, active: NDArray[np.bool_]) -> tuple[Integers, Integers, Integers]:
    """The synapses of a connection: neuron that sends, neuron that receives, weight; neurons are numbered in C order.

    Weights of 0 in a kernel or a full matrix are synapses, which are stored and read; in a list with indices they are none.

    Args:
        connection: weights and geometry.
        shape: of the source.
        active: `[N]`, neurons of the source whose synapses are wanted.
    """
    if isinstance(connection, Matrix):
        wanted = np.broadcast_to(active, connection.weight.shape)
        if unit_of(connection) == "loihi_sparse_synapse":
            wanted = wanted & (connection.weight != 0)
        post, pre = np.nonzero(wanted)
        return pre, post, connection.weight[post, pre]
    return _convolution(connection, shape, active.reshape(shape))


def _taps(connection: Convolution, shape: Shape, axis: int) -> NDArray[np.bool_]:
    """Whether a tap connects a row (column) of the source with one of the target: `[k, source, target]`."""
    size = shape[1 + axis]
    target = connection.output_shape(shape)[1 + axis]
    made = np.zeros((connection.weight.shape[2 + axis], size, target), np.bool_)
    for tap in range(len(made)):
        places = np.arange(target) * connection.stride[axis] - connection.padding[axis] + tap * connection.dilation[axis]
        inside = (places >= 0) & (places < size)
        made[tap, places[inside], np.arange(target)[inside]] = True
    return made


def _convolution(connection: Convolution, shape: Shape, active: NDArray[np.bool_]) -> tuple[Integers, Integers, Integers]:
    channels, height, width = connection.output_shape(shape)
    senders, receivers = connection.weight.shape[1], channels // connection.groups
    rows, columns = (_taps(connection, shape, axis) for axis in (0, 1))
    parts: list[tuple[Any, Any, Any]] = []
    for y_tap, x_tap in np.ndindex(connection.weight.shape[2:]):
        y, out_y = np.nonzero(rows[y_tap])
        x, out_x = np.nonzero(columns[x_tap])
        for group in range(connection.groups):
            first = group * senders
            seen = active[first : first + senders][:, y][:, :, x]
            channel, row, column = np.nonzero(seen)
            pre = ((first + channel) * shape[1] + y[row]) * shape[2] + x[column]
            places = out_y[row] * width + out_x[column]
            targets = np.arange(group * receivers, (group + 1) * receivers)
            post = targets * (height * width) + places[:, None]
            weight = connection.weight[targets, :, y_tap, x_tap].T[channel]
            parts.append((np.repeat(pre, receivers), post.ravel(), weight.ravel()))
    pre, post, weight = (np.concatenate([part[column] for part in parts]) for column in range(3))
    order = np.argsort(pre, kind="stable")  # a neuron's synapses in the order of the kernel's taps, neuron after neuron
    return pre[order], post[order], weight[order]
