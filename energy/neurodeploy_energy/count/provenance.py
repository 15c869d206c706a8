"""What a tensor is: said by whoever made it, a layer of neurons, synapses, an activation, the data, or the weights.

A tensor is known by its storage, so that views and reshapes are known too, and by the version of its values, so that nothing
that was changed in place is taken for what it was. Values confirm what a tensor is and never decide it: whole numbers may be
pixels, quantised activations or weights, and spikes may be of any height.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import frexp
from typing import Any, Literal
from weakref import ReferenceType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from neurodeploy_energy.count.fanout import Windows
from neurodeploy_energy.count.signals import Signal, rows_of, signal_of

Role = Literal["constant", "weight", "spikes", "messages", "input", "currents", "dense", "mixed"]
"""`constant`: numbers of the code, such as a state of zeros; `weight`: parameters, and what is made of them alone; `spikes`:
events of neurons, of any height, and sums and maxima of such; `messages`: graded ones, each of them one event whatever its
value; `input`: the data, and what is linear in them; `currents`: of synapses; `dense`: analog values of an ordinary network,
all of them, even if one happens to be a whole number; `mixed`: spikes and analog values side by side, told apart one by one."""

ANALOG: frozenset[str] = frozenset({"input", "currents", "dense", "mixed"})
INPUT = "the data"
"""Stands among the `reads` of what comes from the data."""


@dataclass(eq=False)
class Origin:
    """What is known of one storage.

    Attributes:
        role: what it is.
        reads: rows that it comes from: layers of neurons whose spikes it holds, synapses whose currents meet in it, `INPUT`.
        fired: whether neurons, a state or random numbers had a part in it; else it is the same in every time step.
        height: of one spike; None if it differs from value to value, or is not known.
        single: whether each of its values is one spike or none, so that its height does not matter.
        is_product: whether it is one of activations, whose sum costs nothing more.
        size: number of values, for what must be told apart of one storage.
        version: of the values.
        alive: keeps the address from being given to another storage, not the memory itself.
        signal: of its values, once they have been counted; `signal_at`: where in the storage they begin.
        root: whether it is the current of synapses as they made it, which neurons add to their potentials.
        sums: sums in the code that it comes from, elementwise; `scaled`: whether it was scaled since the last of them.
        states: membranes that it was computed from, elementwise (see `membranes.py`).
        fresh: whether new currents have come to those membranes since they were last compared with a threshold.
        decays, leaky: whether those membranes were scaled since the last sum, and before it.
        inflow: the currents that came.
        unshifted: the tensor before a number was added to it, such as a threshold.
        scaled_from: what it is a multiple of, or a sum with a number.
        chain: what it is as a linear function of what a layer of synapses read (see `chains.py`).
    """

    role: Role
    reads: frozenset[str] = frozenset()
    fired: bool = False
    height: float | None = 1.0
    single: bool = False
    is_product: bool = False
    size: int = 0
    version: int = 0
    alive: StorageWeakRef | None = None
    signal: Signal | None = None
    signal_at: int = 0
    root: bool = False
    sums: frozenset[Hashable] = frozenset()
    scaled: bool = False
    states: frozenset[int] = frozenset()
    fresh: bool = False
    decays: bool = False
    leaky: bool = False
    inflow: tuple[Tensor, ...] = ()
    unshifted: "ReferenceType[Tensor] | None" = None
    scaled_from: "Origin | None" = None
    chain: Any = None

    @property
    def is_analog(self) -> bool:
        return self.role in ANALOG

    @property
    def is_events(self) -> bool:
        """Whether each of its values that is not 0 was sent by a neuron, as a spike or as a graded message."""
        return self.role in ("spikes", "messages")

    @property
    def is_data(self) -> bool:
        """Whether it says anything of data that pass: it is no weight and no constant."""
        return self.role not in ("constant", "weight")


WEIGHT = Origin("weight")


class Provenance:
    """Storages of one batch and what is known of them.

    Attributes:
        parameters: storage of each parameter and buffer of the model → its name.
        used: those that an operation has read.
    """

    def __init__(self) -> None:
        self._origins: dict[int, Origin] = {}
        self.parameters: dict[int, str] = {}
        self.used: set[int] = set()

    def clear(self) -> None:
        """Forget all; the memory is about to be given to other tensors."""
        self._origins.clear()

    def mark(self, x: Tensor, origin: Origin, *, changes: int = 0) -> None:
        """Note what a tensor is; `changes`: how many changes in place torch is yet to write into its version."""
        storage = x.untyped_storage()
        origin.version, origin.alive = x._version + changes, StorageWeakRef(storage)
        origin.size = storage.nbytes() // max(1, x.element_size())
        self._origins[storage._cdata] = origin

    def of(self, x: Tensor) -> Origin | None:
        """What is known of a tensor; None if nothing is, or if it has been changed since."""
        key = x.untyped_storage()._cdata
        origin = self._origins.get(key)
        if origin is None:
            if key not in self.parameters:
                return None
            self.used.add(key)
            return WEIGHT
        return origin if origin.version == x._version else None

    def signal(self, x: Tensor, shape: tuple[int, ...]) -> Signal:
        """The values of `x` as rows of `shape`; those of a known storage, read in the same order, are counted once."""
        origin = self.of(x)
        known = None if origin is None else origin.signal
        if known is not None and origin is not None and known.values == x.numel() and origin.signal_at == x.storage_offset():
            rows = rows_of(x, shape)
            same_memory = rows.untyped_storage()._cdata == x.untyped_storage()._cdata
            if same_memory and rows.shape[:2] == (known.rows, known.channels) and rows.stride() == known.strides:
                return known
            flat = same_memory and rows.dim() == 2 and rows.is_contiguous() and len(rows) == known.rows
            if flat and known.is_contiguous:
                return known.flat()
        signal = signal_of(x, shape)
        if origin is None or origin is WEIGHT:
            return signal
        if origin.signal is None:
            origin.signal, origin.signal_at = signal, int(x.storage_offset())
        return signal


def reads_of(origins: Iterable[Origin]) -> frozenset[str]:
    """The rows that several origins come from."""
    return frozenset().union(*(origin.reads for origin in origins))


def in_spikes(x: Tensor, origin: Origin | None) -> Tensor:
    """Spikes of any height as numbers of spikes: 0, ±1 or k.

    A spike of another height than 1 is the same event: whoever reads it scales its weights. Values that are no multiples of
    what a spike is are left as they are, and count as analog.
    """
    if origin is None or origin.role != "spikes" or (origin.height == 1 and not origin.single):
        return x
    if origin.single:
        return x if origin.height == 1 else torch.sign(x.detach())
    if origin.height is None:  # of several heights: numbers of spikes if they are whole, and else nothing that can be told
        return x
    if frexp(origin.height)[0] == 0.5 and x.dtype == torch.float32:  # a power of two, by which no float is rounded
        counts = x.detach() * (1 / origin.height)
        whole = counts.round()
        if torch.equal(whole, counts):
            return counts
    counts = x.detach().double() / origin.height
    whole = counts.round()
    return torch.where((counts - whole).abs() <= 1e-4 * whole.abs().clamp(min=1), whole, counts).float()


def height_of(x: Tensor) -> float | None:
    """The number that all values of a tensor are whole multiples of; None if there is none that is clear.

    The smallest value, or a fraction of it, as far as a twelfth.
    """
    values = x.detach().double().abs()
    values = values[values > 0]
    if not values.numel() or not bool(values.isfinite().all()):
        return None
    least = float(values.min())
    for parts in range(1, 13):
        counts = values * (parts / least)
        if bool(((counts - counts.round()).abs() <= 1e-4 * counts).all()) and float(counts.max()) < 2**16:
            return least / parts
    return None


@dataclass(eq=False)
class Pooled:
    """Spikes on their way through an average pool: what went in, kept until the end of the batch for those who read it.

    Rows that are `analog`, if there are any, went through it as analog values and are not folded.
    Holding the output keeps its memory from being given to another tensor, so that its address identifies it.
    """

    layer: str
    spikes: Tensor
    signal: Signal
    axes: int
    windows: Windows
    output: Tensor
    version: int
    analog: NDArray[np.bool_] | None = None
    folded: bool = False

    def is_read_as(self, x: Tensor) -> bool:
        """Whether `x` is the pool's output as it was made, at most reshaped: same values in the same order."""
        same_order = x.shape == self.output.shape and x.stride() == self.output.stride()
        reshaped = x.is_contiguous() and self.output.is_contiguous() and x.numel() == self.output.numel()
        return x._version == self.version and (same_order or reshaped)

    def is_copied_to(self, x: Tensor) -> bool:
        """Whether `x` holds the pool's output in memory of its own: so does a reshape of channels that lie last in memory."""
        made = self.output
        return x.numel() == made.numel() and made._version == self.version and torch.equal(x.reshape(-1), made.reshape(-1))
