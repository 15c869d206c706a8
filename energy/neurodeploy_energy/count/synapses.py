"""What layers of synapses cost, counted from their inputs as they run."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy_energy.count.fanout import FanOut, Reaches, Synapses, fan_out, synapses_of
from neurodeploy_energy.count.layer import SynapseGeometry
from neurodeploy_energy.count.pools import PoolRules
from neurodeploy_energy.count.provenance import Origin, in_spikes
from neurodeploy_energy.count.signals import Counts, is_nonzero, presence_of, signal_of
from neurodeploy_energy.count.tally import Reads, Tally


@dataclass(eq=False)
class Read:
    """One evaluation of a layer of synapses.

    Attributes:
        synapses: how it connects.
        x: its input.
        weight: that ran, in torch's layout.
        output: spatial sizes at its output.
        bias: whether it has one.
        time_runs_faster: along the rows of `x`; as in the whole model if None.
        hidden: multiply-accumulates of each row beside these synapses.
        kept: whether the caller keeps the weight, so that no other gets its memory.
    """

    synapses: Synapses
    x: Tensor
    weight: Tensor
    output: tuple[int, ...] | None = None
    bias: bool = False
    time_runs_faster: bool | None = None
    hidden: int = 0
    kept: bool = False


class SynapseRules(PoolRules):
    """Counts layers of synapses.

    Attributes:
        folds: rows of a chain → its counts as one layer.
    """

    def __init__(self, *, padded: bool = False, fold: bool = False) -> None:
        super().__init__(padded=padded, fold=fold)
        self.folds: dict[tuple[str, ...], Tally] = {}
        self._fan_outs: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, ...], FanOut]] = {}
        self._reaches: Reaches = {}
        self._pending: list[tuple[str, int]] = []
        self._axes: set[str] = set()

    @property
    def _time_last(self) -> bool:
        return "time last" in self._axes

    @property
    def _batch_major(self) -> bool:
        return bool(self._axes & {"batch first", "flat"})

    def end_of_batch(self) -> None:
        """Chains of layers are counted as one, and pools whose output no synapse layer has read for themselves."""
        for chain, source, weight in () if self.chains is None else self.chains.to_fold():
            last = self.tallies[chain.members[-1]]
            if chain.members not in self.folds:
                self.folds[chain.members] = Tally("synapse", samples=last.samples, batch=last.batch)
            read = Read(chain.synapses, source, weight, chain.shape[1:], chain.bias, kept=True)
            self._count(f"{' and '.join(chain.members)} as one", self.folds[chain.members], read, chain.origin)
        super().end_of_batch()

    def forget(self) -> None:
        """Nothing that was known of the tensors of this batch holds for the next."""
        self._pending.clear()
        super().forget()

    def _synapse(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        synapses = synapses_of(module)
        assert synapses is not None
        weight = module.weight
        assert isinstance(weight, Tensor)
        sizes = tuple(output.shape[output.dim() - synapses.axes + 1 :])
        self.synapses(name, Read(synapses, inputs[0], weight, sizes, module.bias is not None), output)

    def synapses(self, name: str, read: Read, output: Tensor | None = None) -> Tally:
        """Count one evaluation of a layer of synapses, and note what its output is."""
        origin = self.provenance.of(read.x)
        reads = frozenset() if origin is None else origin.reads
        label, tally = self.place(name, reads)
        if output is not None:
            made = Origin("currents", frozenset({label}), origin is None or origin.fired, root=True)
            if self.chains is not None:
                of = read.synapses, read.weight, read.x
                made.chain = self.chains.layer(label, *of, origin, output, bias=read.bias)
            self.provenance.mark(output, made)
        self.provenance.used.add(read.weight.untyped_storage()._cdata)
        if origin is not None and origin.role == "weight":
            tally.calls += 1
            tally.notes.add("reads weights alone: computed once and for all")
            return tally
        if origin is not None and origin.role in ("spikes", "mixed"):
            self.membranes.read(reads)
        if self._time_last and read.synapses.axes == 4 and read.weight.shape[-1] == read.synapses.stride[-1] == 1:
            x = read.x.movedim(-1, 0).flatten(0, 1).unsqueeze(-1)  # lava-dl: the last axis is time
            read = replace(read, x=x, output=None if read.output is None else (*read.output[:-1], 1))
        geometry = self._count(label, tally, read, origin)
        self._pending.append((label, geometry.output_positions))
        return tally

    def _count(self, label: str, tally: Tally, read: Read, origin: Origin | None) -> SynapseGeometry:
        """Add what one evaluation of a layer costs to a row; its geometry."""
        shape = tuple(read.x.shape[read.x.dim() - read.synapses.axes :])
        fan = self._fan_out(label, read, shape)
        tally.geometry = fan.geometry
        faster, positions = self._layout(read)
        part = self._part_of(origin)
        alike = origin is not None and not origin.fired
        pooled = None if part == "analog" else self._pool_read_as(read.x)
        x = in_spikes(read.x, origin) if pooled is None or alike else read.x  # of a pool its own spikes are counted
        messages = part == "messages"
        tally.messages |= messages
        parts = [tally.part((part, "each" if alike else "fired"))]
        along = {"time_runs_faster": faster, "positions": positions, "first_step": tally.steps_now}
        if alike:
            once = tally.part((part, "once"))
            distinct = self._distinct(label, x, shape)
            if distinct is x:
                parts.append(once)
            elif distinct is not None:
                distinct = is_nonzero(distinct).to(torch.float32) if part == "analog" else distinct
                counts = self._values([once], fan, signal_of(distinct, shape), distinct)
                self._add([once], counts, fan, distinct, read, along | {"first_step": 0, "time_runs_faster": False})
        # Which values are whole, or how large they are, is no matter then.
        present = part == "analog" or (messages and x.is_floating_point() and not torch.equal(x, x.round()))
        if pooled is not None:
            counts = self._folded(label, tally, fan, pooled, read.x, parts, messages=messages)
        else:
            if present:
                signal = presence_of(x, shape)
            else:
                signal = self.provenance.signal(x, shape) if x is read.x else signal_of(x, shape)
            counts = self._values(parts, fan, signal, x, messages=messages)
            if origin is not None and part == "spikes" and origin.height is None and not origin.single and signal.analog:
                self.unknown[label] = "reads sums of spikes of several heights, in which they cannot be told apart"
            if origin is None and signal.is_whole and signal.nonzero:
                self.unknown[label] = "reads whole numbers that nobody knows: of neurons that are not known, or data"
        self._add(parts, counts, fan, x, read, along)
        tally.steps_now = parts[0].steps_now
        tally.calls_now += 1
        return fan.geometry

    def _part_of(self, origin: Origin | None) -> Reads:
        if origin is None:
            return "unknown"
        if origin.role == "dense" and self.of_data(origin.reads):
            return "data"  # computed of them before any layer: that they are is not said by how
        return _KINDS.get(origin.role, "analog")

    def _add(
        self, parts: list[Tally], counts: dict[str, Counts], fan: FanOut, x: Tensor, read: Read, along: dict[str, Any]
    ) -> None:
        rows = len(counts["spikes"])
        if read.hidden:
            counts["hidden"] = np.full_like(counts["sops"], read.hidden)
        for tally in parts:
            tally.add_rows(counts, **along)
            tally.elements += x.numel()
            tally.dense_macs += rows * fan.dense
            tally.outputs += rows * fan.geometry.output_positions
            if read.hidden:
                tally.hidden_macs += rows * read.hidden

    def _layout(self, read: Read) -> tuple[bool, int]:
        """Whether a sample's steps follow each other along the rows, and how many rows are one sample's step.

        What is wrong here is told by a sample that is run alone (see `sample_axis.py`).
        """
        lead, batch = tuple(read.x.shape[: read.x.dim() - read.synapses.axes]), max(1, self._batch)
        faster = self._batch_major if read.time_runs_faster is None else read.time_runs_faster
        rows = prod(lead)
        if rows <= batch or rows % batch:
            return faster, 1
        if read.time_runs_faster is not None:
            return faster, 1
        if "flat" in self._axes:
            return faster, prod(lead[1:])
        if faster or "time first" in self._axes:
            if len(lead) > 1:
                return faster, prod(lead[2:])
            steps = max((tally.steps_now for tally in self.tallies.values() if tally.kind == "neuron"), default=1)
            more = rows // batch
            return faster, more // steps if steps > 1 and more % steps == 0 else 1
        if lead[0] == batch:
            return False, rows // batch
        if len(lead) > 1 and lead[1] == batch:
            return False, prod(lead[2:])
        return False, 1

    def _fan_out(self, label: str, read: Read, shape: tuple[int, ...]) -> FanOut:
        weight, output = read.weight, read.output
        key, version = (label, (*shape, -1, *(output or ()))), (weight.untyped_storage()._cdata, weight._version)
        known = self._fan_outs.get(key)
        if known is not None and known[0] == version and (read.kept or version[0] in self.provenance.parameters):
            return known[1]
        # Other weights have other zeros.
        made = fan_out(read.synapses, weight.detach(), shape, output, bias=read.bias, reaches=self._reaches)
        made = replace(made, dense=made.padded) if self.padded else made
        self._fan_outs[key] = version, made
        return made


_KINDS: dict[str, Reads] = {
    "spikes": "spikes",
    "messages": "messages",
    "mixed": "mixed",
    "input": "data",
    "constant": "constant",
}
