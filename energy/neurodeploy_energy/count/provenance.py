"""Where the memory that a layer reads came from: a layer of neurons, synapses, or an activation of an ordinary network.

A tensor is known by its storage, so that views and reshapes are known too, and by the version of its values, so that nothing
that was changed in place is taken for what it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from neurodeploy_energy.count.signals import Signal, rows_of, signal_of

Role = Literal["spikes", "messages", "currents", "dense"]


@dataclass(eq=False)
class Origin:
    """What is known of one storage.

    Attributes:
        role: "spikes" of neurons (or a sum or maximum of such), graded "messages", each of them one event whatever its value,
            "currents" of synapses, or "dense": analog values of an ordinary network, all of them, even if one happens to be a
            whole number.
        layers: synapse layers whose currents meet in it.
        version: of the values.
        alive: keeps the address from being given to another storage, not the memory itself.
        signal: of spikes, once they have been counted.
    """

    role: Role
    layers: tuple[str, ...]
    version: int
    alive: StorageWeakRef
    signal: Signal | None = None


class Provenance:
    """Storages of one batch and what is known of them."""

    def __init__(self) -> None:
        self._origins: dict[int, Origin] = {}

    def clear(self) -> None:
        """Forget all; the memory is about to be given to other tensors."""
        self._origins.clear()

    def mark(
        self, x: Tensor, role: Role, layers: tuple[str, ...] = (), signal: Signal | None = None, *, changes: int = 0
    ) -> None:
        """Note what a tensor is; `changes`: how many changes in place torch is yet to write into its version."""
        storage = x.untyped_storage()
        self._origins[storage._cdata] = Origin(role, layers, x._version + changes, StorageWeakRef(storage), signal)

    def of(self, x: Tensor) -> Origin | None:
        """What is known of a tensor; None if nothing is, or if it has been changed since."""
        origin = self._origins.get(x.untyped_storage()._cdata)
        return origin if origin is not None and origin.version == x._version else None

    def signal(self, x: Tensor, shape: tuple[int, ...]) -> Signal:
        """The values of `x` as rows of `shape`; those of a known storage, read in the same order, are counted once."""
        origin = self.of(x)
        known = None if origin is None else origin.signal
        if known is not None and known.values == x.numel():
            rows = rows_of(x, shape)
            same_memory = rows.untyped_storage()._cdata == x.untyped_storage()._cdata
            if same_memory and rows.shape[:2] == (known.rows, known.channels) and rows.stride() == known.strides:
                return known
            flat = same_memory and rows.dim() == 2 and rows.is_contiguous() and len(rows) == known.rows
            if flat and known.is_contiguous:
                return known.flat()
        signal = signal_of(x, shape)
        if origin is None:
            return signal
        if origin.signal is None:
            origin.signal = signal
        return signal


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
    sums: Callable[[Tensor], Tensor]
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
