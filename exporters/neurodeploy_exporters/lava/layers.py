"""How large a network may be: a file of a kilobyte can claim any size, and the memory of a simulation follows the sizes.

The limits are those of large systems of Loihi chips. Sources: Intel, "Taking neuromorphic computing to the next level with
Loihi 2", technology brief 2021 (128 cores of 8192 neurons on a chip; Kapoho Point is a board of 8 chips); Intel, "Intel builds
world's largest neuromorphic system", 2024 (Hala Point: 128 billion synapses).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.connection import MAX_DELAY as MAX_DELAY
from neurodeploy_exporters.lava.connection import Convolution, Matrix, Shape, check_range, check_shape
from neurodeploy_exporters.lava.connection import Integers as Integers

MAX_NEURONS = 8 * 128 * 8192
"""Of a network, and of its input: Kapoho Point. Spikes, currents and potentials of so many take 75 MB per sample and step."""
MAX_SYNAPSES = 128 * 10**9
"""Of a network, each use of a convolution's weight counted: Hala Point. So many additions take some seconds."""
MAX_UNFOLDED = 1 << 27
"""Of one channel of a convolution, over all its places: torch may copy an input value for each, up to 1 GiB."""


def check_sizes(shapes: Iterable[Shape]) -> None:
    """Refuse a network of too many neurons.

    Args:
        shapes: of the populations, or of the input.

    Raises:
        UserError: naming the number found and the limit.
    """
    neurons = sum(prod(shape) for shape in shapes)
    if neurons > MAX_NEURONS:
        raise UserError(f"{neurons} neurons found, at most {MAX_NEURONS} expected, as many as 8 Loihi 2 chips have")


def check_synapses(connections: Iterable[tuple[Convolution | Matrix, Shape]]) -> None:
    """Refuse a network of too many synapses.

    Args:
        connections: each with the shape of its target.

    Raises:
        UserError: naming the number found and the limit.
    """
    total = 0
    for connection, shape in connections:
        fan_in, places = connection.weight[0].size, prod(shape) // shape[0]
        if isinstance(connection, Convolution) and fan_in * places > MAX_UNFOLDED:
            raise UserError(
                f"{fan_in} weights per channel of a convolution, at {places} places, found; a product of at most "
                f"{MAX_UNFOLDED} expected: use a smaller kernel or a larger stride"
            )
        total += fan_in * prod(shape)
    if total > MAX_SYNAPSES:
        raise UserError(f"{total} synapses found, at most {MAX_SYNAPSES} expected, as many as the largest Loihi system has")


_INT16 = 1 << 15
_FLOAT32 = 1 << 24  # files hold an input's map as float32


@dataclass(frozen=True, eq=False)
class CubaConstants:
    """CUBA-LIF neurons with hard reset; the equation is `neurodeploy.dynamics.neurons.cuba_step`.

    Attributes:
        i_decay: 0 … 4096, share of the synaptic current lost per step in 1/4096; one number, or one per channel.
        v_decay: the same for the membrane potential.
        threshold: `vThMant`; a spike is fired when `v > 64 · threshold`; one number, or one per channel.

    Raises:
        UserError: a value is outside its range.
    """

    i_decay: int | Integers
    v_decay: int | Integers
    threshold: int | Integers

    def __post_init__(self) -> None:
        for field, value, largest in self._fields():
            check_range(field, value, 0, largest)
            if np.ndim(value) > 1:
                raise UserError(f"{field}: shape {np.shape(value)} found, one number or one per channel expected")

    def check_channels(self, channels: int) -> None:
        """Raises UserError unless each constant is one number or has one value per channel."""
        for field, value, _ in self._fields():
            if np.shape(value) not in ((), (channels,)):
                raise UserError(f"{field}: shape {np.shape(value)} found, one number or ({channels},) expected")

    def _fields(self) -> Iterator[tuple[str, int | Integers, int]]:
        """Name in a file, value and largest value of every constant."""
        yield "iDecay", self.i_decay, 4096
        yield "vDecay", self.v_decay, 4096
        yield "vThMant", self.threshold, (1 << 24) - 1


Role: TypeAlias = Literal["delta", "sigma-delta", "sigma"]


@dataclass(frozen=True, eq=False)
class SigmaDeltaConstants:
    """Neurons that send what a value has changed by (`sigmadelta`).

    Attributes:
        threshold: `vThMant`; a change below it is held back; one number, or one per channel.
        role: "delta" encodes the input, "sigma-delta" adds up messages, applies a ReLU and encodes, "sigma" only adds up.

    Raises:
        UserError: the threshold is outside its range.
    """

    threshold: int | Integers
    role: Role

    def __post_init__(self) -> None:
        check_range("vThMant", self.threshold, 0, _LARGEST_CHANGE)
        if np.ndim(self.threshold):
            raise UserError(f"vThMant: shape {np.shape(self.threshold)} found, one number expected of sigma-delta neurons")

    def check_channels(self, channels: int) -> None:
        """Nothing: one threshold is for all."""


_LARGEST_CHANGE = (1 << 19) - 1  # times 4096 it is inside Lava's 32 bits
Neuron: TypeAlias = CubaConstants | SigmaDeltaConstants


@dataclass(frozen=True, eq=False, kw_only=True)
class InputLayer:
    """Where samples enter, with or without neurons.

    Attributes:
        shape: `(C, H, W)` or `(N,)`.
        neuron: neurons driven by a bias or a current; None where the entry only tells the shape.
        weight, bias: the affine map `weight · x + bias` that the host applies to make a bias from a sample; for information.
    """

    shape: Shape
    neuron: Neuron | None = None
    weight: int = 64
    bias: int = 0

    def __post_init__(self) -> None:
        check_shape(self.shape, (1, 3))
        for field, value in (("weight", self.weight), ("bias", self.bias)):
            check_range(field, value, -_FLOAT32, _FLOAT32)
        if self.neuron is not None:
            self.neuron.check_channels(self.shape[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvLayer(Convolution):
    """A convolution and its neurons.

    Attributes:
        shape: `(C_out, H, W)` of the output.
        bias: `[C_out]`, or one per neuron `[C_out, H, W]`, or None; added at every step in units of the threshold.
    """

    shape: Shape
    bias: Integers | None = None
    neuron: Neuron

    def __post_init__(self) -> None:
        check_shape(self.shape, (3,))
        super().__post_init__()
        if self.shape[0] != len(self.weight):
            raise UserError(f"shape: {self.shape[0]} channels found, but the weight has {len(self.weight)} output channels")
        check_bias(self.bias, ((self.shape[0],), self.shape))
        self.neuron.check_channels(self.shape[0])

    @property
    def connection(self) -> Convolution:
        """The synapse alone."""
        return Convolution(weight=self.weight, **self.geometry)


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseLayer:
    """Fully connected synapse, its neurons, and (`dense_rec`) a recurrent synapse among them.

    Attributes:
        shape: `(N_out,)`.
        weight: `[N_out, N_in]`.
        bias: `[N_out]` or None; added at every step in units of the threshold.
        delay: extra steps, 0 … 62: one number, one per output `[N_out]`, one per input `[N_in]` (where `N_in` ≠ `N_out`), or
            one per synapse `[N_out, N_in]`. A spike arrives `delay + 1` steps after it was fired.
        weight_rec: `[N_out, N_out]` or None; the neurons' own spikes, one step later.
    """

    shape: Shape
    weight: Integers
    bias: Integers | None = None
    delay: int | Integers = 0
    weight_rec: Integers | None = None
    neuron: Neuron

    def __post_init__(self) -> None:
        check_shape(self.shape, (1,))
        outputs = self.shape[0]
        if self.weight.ndim != 2 or 0 in self.weight.shape or len(self.weight) != outputs:
            raise UserError(f"weight: shape {self.weight.shape} found, ({outputs}, N_in) expected")
        if self.weight_rec is not None and self.weight_rec.shape != (outputs, outputs):
            raise UserError(f"weight_rec: shape {self.weight_rec.shape} found, ({outputs}, {outputs}) expected")
        _check_dense_weights(self.weight, self.weight_rec)
        check_bias(self.bias, (self.shape,))
        self.neuron.check_channels(outputs)
        if np.shape(self.delay) not in ((), (outputs,), (self.weight.shape[1],), self.weight.shape):
            raise UserError(
                f"delay: shape {np.shape(self.delay)} found, one number, ({outputs},), ({self.weight.shape[1]},) or "
                f"{self.weight.shape} expected"
            )
        _ = self.connection  # checks the rest
        if isinstance(self.neuron, SigmaDeltaConstants) and (self.weight_rec is not None or np.any(self.delay)):
            raise UserError("delay, weight_rec: found with sigma-delta neurons, whose layers have neither")
        if self.weight_rec is not None and np.any(self.delay):
            raise UserError("delay: found on a recurrent layer, where netx rescales the sums; remove it")

    @property
    def connection(self) -> Matrix:
        """The synapse alone. A vector of delays that fits both sides is taken per output, as netx does."""
        delay = self.delay
        if not isinstance(delay, int):
            per_output = delay.shape == self.shape
            delay = np.broadcast_to(delay[:, None] if per_output else delay, self.weight.shape)
        return Matrix(weight=self.weight, delay=delay)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        if shape != (self.weight.shape[1],):
            hint = "; put a flatten layer before it" if len(shape) == 3 else ""
            raise UserError(f"input of shape {shape} found, ({self.weight.shape[1]},) expected by the weight{hint}")
        return self.shape


@dataclass(frozen=True, eq=False)
class FlattenLayer:
    """`(C, H, W)` → `(C·H·W,)` in C order."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        return (prod(shape),)


@dataclass(frozen=True, eq=False)
class AverageLayer:
    """The mean spikes of groups of neurons, `(C, H, W)` or `(N,)` → `(groups,)` in C order; a host computes it, no neurons do.

    Attributes:
        groups: number of groups, which are equally large.
    """

    groups: int

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        if prod(shape) % self.groups:
            raise UserError(f"shape: {self.groups} groups found, a divisor of the {prod(shape)} neurons before them expected")
        return (self.groups,)


Layer: TypeAlias = InputLayer | ConvLayer | DenseLayer | FlattenLayer | AverageLayer
Spiking: TypeAlias = InputLayer | ConvLayer | DenseLayer


def check_bias(bias: Integers | None, shapes: tuple[Shape, ...]) -> None:
    """Raises UserError unless `bias` is None or has one of these shapes and 16-bit values."""
    if bias is None:
        return
    if bias.shape not in shapes:
        raise UserError(f"bias: shape {bias.shape} found, {' or '.join(map(str, shapes))} expected")
    check_range("bias", bias, -_INT16, _INT16 - 1)


def _check_dense_weights(weight: Integers, weight_rec: Integers | None) -> None:
    """netx packs a dense matrix into 8 bits and a sign; outside these ranges it silently changes the weights."""
    every = weight.ravel() if weight_rec is None else np.concatenate([weight.ravel(), weight_rec.ravel()])
    if not every.any():
        raise UserError("weight: only zeros found, which netx cannot load; remove the layer")
    mixed = (" (all negative)", -255, -1) if every.max() < 0 else ("", -256, 254)
    signs, low, high = (" (none negative)", 0, 255) if every.min() >= 0 else mixed
    check_range(f"weight{signs}", every, low, high)
