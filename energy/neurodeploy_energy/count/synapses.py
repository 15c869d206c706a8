"""What layers of synapses and average pools cost, counted from their inputs as they run.

An average pool of spikes has no operations of its own where the next layer of synapses can read the spikes as they were before
it: each spike then reaches the synapses of all windows that it is in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy_energy.count.fanout import FanOut, Synapses, Windows, fan_out, synapses_of
from neurodeploy_energy.count.membranes import Membranes
from neurodeploy_energy.count.provenance import Origin, Pooled, Provenance, in_spikes
from neurodeploy_energy.count.recognition import summing_windows
from neurodeploy_energy.count.signals import (
    Counts,
    Signal,
    count_nonzero,
    dot,
    is_nonzero,
    per_row,
    rows_of,
    signal_of,
    whole_numbers,
)
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
    """

    synapses: Synapses
    x: Tensor
    weight: Tensor
    output: tuple[int, ...] | None = None
    bias: bool = False
    time_runs_faster: bool | None = None
    hidden: int = 0


class SynapseRules:
    """Counts layers of synapses and the average pools before them, which fold into them.

    Attributes:
        tallies: row name → its counts; an operation outside of any known layer is named `<module>: <operation>`.
        provenance: what is known of the tensors of this batch.
        membranes: neurons of this batch that are no modules.
        unknown: row name → what it reads and nobody knows where from.
        padded: whether multiply-accumulates on padding count.
    """

    def __init__(self, *, padded: bool = False) -> None:
        self.padded = padded
        self.tallies: dict[str, Tally] = {}
        self.provenance = Provenance()
        self.membranes = Membranes(self.provenance)
        self.unknown: dict[str, str] = {}
        self._fan_outs: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, ...], FanOut]] = {}
        self._pool_fan_outs: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, tuple[Tensor, Tensor] | None]] = {}
        self._pooled: dict[int, Pooled] = {}
        self._pending: list[tuple[str, int]] = []
        self._batch = 0
        self._axes: set[str] = set()
        self._places: dict[str, list[tuple[str, set[str]]]] = {}
        self._order: dict[str, float] = {}
        self._firsts: dict[str, tuple[Tensor, int]] = {}

    @property
    def _time_last(self) -> bool:
        return "time last" in self._axes

    @property
    def _batch_major(self) -> bool:
        return bool(self._axes & {"batch first", "flat"})

    def end_of_batch(self) -> None:
        """Pools whose output no synapse layer has read are counted for themselves."""
        for pooled in self._pooled.values():
            if pooled.folded:
                continue
            tally = self.tallies[pooled.layer]
            tally.adds += _spikes_of(pooled.signal, pooled.analog)
            tally.notes.add("spikes summed by the pool itself")
        self.forget()

    def forget(self) -> None:
        """Nothing that was known of the tensors of this batch holds for the next."""
        self._pooled.clear()
        self._pending.clear()
        self._firsts.clear()
        self.provenance.clear()

    def is_weight(self, x: Tensor) -> bool:
        """Whether a tensor is a parameter or buffer of the model, or made of such alone."""
        origin = self.provenance.of(x)
        return origin is not None and origin.role == "weight"

    def place(self, name: str, reads: Iterable[str]) -> tuple[str, Tally]:
        """The row of a module where it reads what comes from `reads`: one that is used in several places has several."""
        places, wanted = self._places.setdefault(name, []), set(reads)
        for label, known in places:
            if not wanted or not known or wanted & known:
                known |= wanted
                return label, self.tallies[label]
        label = name if not places else f"{name} ({len(places) + 1})"
        places.append((label, wanted))
        if label not in self.tallies:
            first = self.tallies[name]
            self.tallies[label] = Tally(first.kind, samples=first.samples, batch=first.batch)
            self.tallies[label].notes.add(f"{name}, where it reads {', '.join(sorted(wanted))}")
            self._order[label] = self._order[name] + 1e-3 * len(places)
        return label, self.tallies[label]

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
            self.provenance.mark(output, Origin("currents", frozenset({label}), origin is None or origin.fired, root=True))
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
        shape = tuple(read.x.shape[read.x.dim() - read.synapses.axes :])
        fan = self._fan_out(label, read, shape)
        tally.geometry = fan.geometry
        self._pending.append((label, fan.geometry.output_positions))
        faster, positions = self._layout(read)
        x = in_spikes(read.x, origin)
        part = _part_of(origin)
        messages = part == "messages"
        tally.messages |= messages
        alike = origin is not None and not origin.fired
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
        if part == "analog" or (messages and x.is_floating_point() and not torch.equal(x, x.round())):
            x = is_nonzero(x).to(torch.float32)  # which of its values are whole, or how large, is no matter
        pooled = None if part == "analog" else self._pool_read_as(read.x)
        if pooled is not None:
            counts = self._folded(label, fan, pooled, read.x, parts, messages=messages)
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
        return tally

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

        What is wrong here is told by a sample that is run alone (see `running.py`).
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

    def _distinct(self, label: str, x: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Of what a layer reads the part that it has not read before in this batch: none, one step of equal ones, or all."""
        first = self._firsts.get(label)
        if first is not None:
            before, version = first
            same = before._version == version and before.shape == x.shape and torch.equal(before, x)
            return None if same else x
        self._firsts[label] = x, x._version
        rows, batch = x.numel() // max(1, prod(shape)), self._batch
        if not batch or rows <= batch or rows % batch:
            return x
        steps = x.detach().reshape(-1, *shape)
        time_major = steps.reshape(rows // batch, batch, -1)
        if torch.equal(time_major[1:], time_major[:1].expand_as(time_major[1:])):
            return steps[:batch]
        batch_major = steps.reshape(batch, rows // batch, *shape)
        if torch.equal(batch_major[:, 1:], batch_major[:, :1].expand_as(batch_major[:, 1:])):
            return batch_major[:, 0]
        return x

    def _values(
        self, parts: list[Tally], fan: FanOut, signal: Signal, x: Tensor, *, messages: bool = False
    ) -> dict[str, Counts]:
        """Count what a layer reads, value by value; what it counted of each row. A graded message counts once."""
        events = signal.present if messages else signal.magnitude
        sops = per_row(events, fan.all)
        macs = np.zeros_like(sops) if signal.fractions is None else per_row(signal.fractions, fan.all)
        present = sops if signal.present is events else per_row(signal.present, fan.all)
        less = less_here = less_analog = 0
        if fan.zeros is not None and signal.nonzero:
            # Counted with every weight, less the zeros: few channels have any, so that the map of all is seldom needed.
            channels, missing = fan.zeros
            magnitude, here, fractions = signal.in_channels(x, channels)
            less, less_here = dot(here if messages else magnitude, missing), dot(here, missing)
            less_analog = 0 if fractions is None else dot(fractions, missing)
        for tally in parts:
            tally.spikes += signal.nonzero
            tally.whole_spikes += signal.spikes
            tally.graded += signal.graded
            tally.analog += signal.analog
            tally.sops += int(sops.sum())
            tally.analog_macs += int(macs.sum())
            tally.sops_nonzero_weights += int(sops.sum()) - less
            tally.effective_macs += int(present.sum()) - less_here
            tally.analog_effective_macs += int(macs.sum()) - less_analog
        spikes = whole_numbers(signal.present.sum(1))
        return {"spikes": spikes, "sops": sops, "macs": macs, "dense_macs": np.full(signal.rows, fan.dense, np.int64)}

    def _fan_out(self, label: str, read: Read, shape: tuple[int, ...]) -> FanOut:
        weight, output = read.weight, read.output
        key, version = (label, (*shape, -1, *(output or ()))), (weight.untyped_storage()._cdata, weight._version)
        known = self._fan_outs.get(key)
        if known is not None and known[0] == version and version[0] in self.provenance.parameters:
            return known[1]
        made = fan_out(read.synapses, weight.detach(), shape, output, bias=read.bias)  # other weights have other zeros
        made = replace(made, dense=made.padded) if self.padded else made
        self._fan_outs[key] = version, made
        return made

    def _average_pool(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.pool(name, self.tallies[name], inputs[0], output, summing_windows(module))

    def pool(self, name: str, tally: Tally, x: Tensor, output: Tensor, windows: tuple[int, Windows] | None) -> None:
        """Count an average pool; `windows`: see `recognition.summing_windows`.

        Each sample's step is looked at by itself: one without analog values is folded into the next synapse layer.
        """
        origin = self.provenance.of(x)
        size = x.numel()
        if origin is not None and not origin.fired:
            distinct = self._distinct(name, x, tuple(x.shape[1:]))
            if distinct is None:
                self.provenance.mark(output, _pooled_origin(origin, size // max(1, output.numel())))
                return  # the same in every step: once is enough
            x = distinct if origin.role in ("dense", "input") else x
        x = in_spikes(x, origin).detach()
        axes = 1 if windows is None else windows[0]
        signal = self.provenance.signal(x, tuple(x.shape[x.dim() - axes :]))
        dense = origin is not None and origin.role in ("dense", "currents")
        tally.calls += 1
        tally.elements += x.numel()
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.analog += signal.analog
        analog = whole_numbers(signal.fractions.sum(1)) > 0 if signal.fractions is not None else None
        if origin is not None:
            self.membranes.read(origin.reads if origin.role == "spikes" else ())
            self.provenance.mark(output, _pooled_origin(origin, size // max(1, output.numel())))
        if dense or (analog is not None and analog.all()):
            tally.analog_adds += x.numel() if origin is None or origin.role != "currents" else 0
            return
        if analog is not None:
            tally.analog_adds += int(analog.sum()) * signal.channels * signal.places
        if windows is None:
            tally.adds += _spikes_of(signal, analog)
            tally.notes.add("windows overlap or are padded: not folded, spikes summed by the pool itself")
        else:
            pooled = Pooled(name, x, signal, *windows, output, output._version, analog)
            self._pooled[output.untyped_storage()._cdata] = pooled

    def _pool_read_as(self, x: Tensor) -> Pooled | None:
        if not self._pooled:
            return None
        direct = self._pooled.get(x.untyped_storage()._cdata)
        if direct is not None and direct.is_read_as(x):
            return direct
        return next((pooled for pooled in self._pooled.values() if pooled.is_copied_to(x)), None)

    def _folded(
        self, name: str, fan: FanOut, pooled: Pooled, x: Tensor, parts: list[Tally], *, messages: bool = False
    ) -> dict[str, Counts]:
        """Count what a layer reads of a pool that is folded into it: spikes as they were before the pool."""
        signal, spikes, shape = pooled.signal, pooled.spikes, tuple(pooled.spikes.shape[-pooled.axes :])
        key = (name, pooled.layer, shape)
        if key not in self._pool_fan_outs:
            of_one = fan.by_position().reshape(shape[0], -1)[0]  # the same in every channel
            every = pooled.windows.before((1, *shape[1:]), of_one).reshape(-1)
            through = None if fan.zeros is None else pooled.windows.before(shape, fan.nonzero_by_position()).flatten(1)
            self._pool_fan_outs[key] = every, None if through is None else _few_channels(every - through)
        every, missing = self._pool_fan_outs[key]
        counts: dict[str, Counts] = {}
        read = x
        if pooled.analog is not None:
            whole = torch.from_numpy(~pooled.analog).to(x.device)
            read = rows_of(x, tuple(x.shape[x.dim() - 1 - len(fan.geometry.kernel) :]))
            analog = read * ~_beside(whole, read)
            counts = self._values(parts, fan, signal_of(analog, tuple(read.shape[1:])), analog)
            spikes = rows_of(spikes, shape) * _beside(whole, rows_of(spikes, shape))
            signal = signal_of(spikes, shape)
            read = read * _beside(whole, read)
        sops = per_row(signal.present if messages else signal.magnitude, every)
        less = 0
        if missing is not None and signal.nonzero:
            magnitude, here, _ = signal.in_channels(spikes, missing[0])
            less = dot(here if messages else magnitude, missing[1])
        for tally in parts:
            tally.spikes += count_nonzero(read)
            tally.whole_spikes += signal.spikes
            tally.graded += signal.graded
            tally.sops += int(sops.sum())
            tally.sops_nonzero_weights += int(sops.sum()) - less
        self.tallies[name].notes.add(f"spikes counted before {pooled.layer}, which is folded in")
        self.tallies[pooled.layer].notes.add(f"folded into {name}: no operations of its own")
        pooled.folded = True
        own = {"spikes": whole_numbers(signal.present.sum(1)), "sops": sops, "macs": np.zeros_like(sops)}
        own = {key: counts.get(key, 0) + values for key, values in own.items()}
        return own | {"dense_macs": np.full_like(sops, fan.dense)}


def _pooled_origin(origin: Origin, window: int) -> Origin:
    """What a mean over windows is; of spikes it is a count, to scale."""
    height = None if origin.height is None or window == 0 else origin.height / window
    return Origin(origin.role, origin.reads, origin.fired, height=height)


def _part_of(origin: Origin | None) -> Reads:
    if origin is None:
        return "unknown"
    kinds: dict[str, Reads] = {
        "spikes": "spikes",
        "messages": "messages",
        "mixed": "mixed",
        "input": "data",
        "constant": "constant",
    }
    return kinds.get(origin.role, "analog")


def _spikes_of(signal: Signal, analog: NDArray[np.bool_] | None) -> int:
    """Whole numbers other than 0, in the rows that are not analog."""
    present = whole_numbers(signal.present.sum(1))
    return int(present.sum() if analog is None else present[~analog].sum())


def _few_channels(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[C, S]` the channels that are not all 0, and their values."""
    channels = missing.sum(1).nonzero()[:, 0]
    return channels, missing[channels]


def _beside(mask: Tensor, rows: Tensor) -> Tensor:
    """`[R]` with as many axes as `rows`."""
    return mask.reshape(-1, *(1,) * (rows.dim() - 1))
