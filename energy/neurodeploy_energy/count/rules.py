"""What each kind of layer costs, counted from its inputs and outputs as it runs: neurons, sums, products, recurrent layers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy_energy.count.fanout import Synapses
from neurodeploy_energy.count.provenance import INPUT, Origin, height_of, in_spikes, reads_of
from neurodeploy_energy.count.recognition import Kind, NeuronLayer
from neurodeploy_energy.count.signals import Signal, count_either, count_nonzero, presence_of, signal_of, whole_numbers
from neurodeploy_energy.count.synapses import Read, SynapseRules
from neurodeploy_energy.count.tally import Tally

Rule = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


@dataclass(frozen=True)
class Product:
    """Operations of one product of matrices.

    A pair of factors of which one is a whole number is an accumulation of the other, as many times as it says; a pair of
    analog values is a multiply-accumulate.

    Attributes:
        dense: multiply-accumulates if every value were analog.
        sops: accumulations.
        macs: multiply-accumulates of pairs of analog values.
        effective: pairs without a 0.
        spikes, graded, analog, values: of both factors together.
    """

    dense: int
    sops: int
    macs: int
    effective: int
    spikes: int
    graded: int
    analog: int
    values: int


def product_of(one: Tensor, other: Tensor, dense: tuple[bool, bool] = (False, False)) -> Product:
    """Count `[P, M, K]` times `[P, K, N]`, exactly; `dense`: which of them is analog in every value."""
    other = other.transpose(1, 2)
    left, right = (_factor(x, dense=is_dense) for x, is_dense in zip((one, other), dense, strict=True))
    return _paired(left, right, one.shape[0] * one.shape[1] * one.shape[2] * other.shape[1])


def weighted_sum(values: Tensor, queries: int, *, dense: bool = False) -> Product:
    """Count attention weights `[P, L, K]`, all of them analog, times `values` `[P, K, N]`, exactly.

    Args:
        values: spikes, or analog values if `dense`.
        queries: L.
        dense: see there.
    """
    values = values.transpose(1, 2)
    right = _factor(values, dense=dense)
    every = torch.full_like(right.present, queries)
    none = torch.zeros_like(every)
    left = Signal(right.rows, queries, right.places, 0, 0, int(every.sum()), none, every, every)
    return _paired(left, right, queries * values.numel())


def _factor(x: Tensor, *, dense: bool) -> Signal:
    """The values of a factor; if it is `dense`, all of them analog: whole numbers and zeros too."""
    if not dense:
        return signal_of(x, tuple(x.shape[1:]))
    signal = presence_of(x, tuple(x.shape[1:]))
    every = torch.full_like(signal.present, signal.channels)
    return replace(signal, spikes=0, graded=0, analog=signal.nonzero, magnitude=torch.zeros_like(every), fractions=every)


def _paired(left: Signal, right: Signal, dense: int) -> Product:
    nothing = torch.zeros_like(left.present)
    a, b = (nothing if one.fractions is None else one.fractions for one in (left, right))
    sops = (left.magnitude * (right.magnitude + b) + a * right.magnitude).sum()
    return Product(
        dense,
        int(sops),
        int((a * b).sum()),
        int((left.present * right.present).sum()),
        left.spikes + right.spikes,
        left.graded + right.graded,
        left.analog + right.analog,
        left.values + right.values,
    )


class Rules(SynapseRules):
    """One rule for each kind of layer; `Counter` calls them as a model runs."""

    def __init__(self, *, padded: bool = False, fold: bool = False) -> None:
        super().__init__(padded=padded, fold=fold)
        self._layers: dict[nn.Module, NeuronLayer] = {}
        self._heights: dict[str, float | None] = {}
        self.misread: dict[str, int] = {}

    def rule(self, kind: Kind | None) -> Rule | None:
        """What counts a module of a kind when it has run; None if nothing does."""
        rules: dict[str, Rule] = {
            "synapse": self._synapse,
            "neuron": self._neuron,
            "average pool": self._average_pool,
            "max pool": self._max_pool,
            "sum": self._sum,
            "recurrent": self._recurrent,
            "messages": self._messages,
            "events": self._events,
        }
        return rules.get(kind or "")

    def _reading(self, inputs: tuple[Any, ...]) -> None:
        """A layer that is not linear has read its inputs."""
        self.uses(self.provenance.of(one) for one in inputs if isinstance(one, Tensor))

    def _neuron(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._reading(inputs)
        neurons = self._layers[module]
        tensors = [one for one in inputs if isinstance(one, Tensor)]
        currents = tensors if neurons.operations else tensors[:1]  # others are handed their states too
        origins = [origin for one in currents if (origin := self.provenance.of(one)) is not None]
        label, tally = self.place(name, reads_of(origins))
        self.membranes.read(reads_of(origin for origin in origins if origin.role == "spikes"))
        rows, steps, time_runs_faster = neurons.by_row(output.detach())
        shape = tuple(rows.shape[1:])
        signal = signal_of(rows, shape)
        emitted = self.emitted(label, output, neurons, origins, are_ones=signal.spikes == signal.nonzero)
        counts = in_spikes(rows, emitted)
        if counts is not rows and signal.spikes < signal.nonzero:
            rows, signal = counts, signal_of(counts, shape)
        if neurons.axes in ("time first", "batch first", "time last") and len(rows) != steps * self._batch:
            self.misread.setdefault(label, len(rows) // max(1, steps))
        tally.neurons, tally.leaky = prod(shape), neurons.leaky
        tally.states = neurons.states
        if neurons.operations:
            tally.notes.add(f"one update of a neuron: {neurons.operations}")
        tally.updates += output.numel()
        tally.updates_active += self._active(tally, _together(currents), output, signal)
        spikes = whole_numbers(signal.present.sum(1))
        if neurons.graded:
            tally.notes.add("sends graded messages: each that is not 0 is one, whatever its value")
        if neurons.fires:
            tally.spikes += signal.nonzero
            tally.spikes_value += int(signal.magnitude.sum())
            if signal.analog:
                tally.spikes_value += float(rows.double().abs().sum()) - int(signal.magnitude.sum())
                tally.notes.add("emits values that are no multiples of one height")
            emitted.signal = signal if emitted.height == 1 else None
        else:
            spikes = np.zeros_like(spikes)
            tally.notes.add("integrates and never fires")
        self.provenance.mark(output, emitted)
        tally.add_rows({"spikes": spikes}, time_runs_faster=time_runs_faster)
        self._link(label, neurons, currents, prod(shape))

    def emitted(
        self, label: str, output: Tensor, neurons: NeuronLayer, currents: list[Origin], *, are_ones: bool = False
    ) -> Origin:
        """What neurons have emitted: spikes of a height that their own code tells, or else their values.

        Args:
            label: of their row.
            output: that they emitted.
            neurons: what is known of them.
            currents: that they got.
            are_ones: whether all of its values are 0, 1 or -1.
        """
        if not neurons.fires:
            return Origin("currents", reads_of(currents), True)
        if neurons.graded:
            return Origin("messages", frozenset({label}), True)
        known = self.provenance.of(output)
        made = Origin("spikes", frozenset({label}), True)
        if neurons.height is not None:
            made.height = neurons.height
        elif known is not None and known.role == "spikes" and (known.single or known.height is not None):
            made.height, made.single = known.height, known.single
        elif are_ones:
            made.single = True
        else:
            values = output.detach().abs()
            least = values[values > 0].min() if bool(values.any()) else None
            if least is None or bool(((values == 0) | (values == least)).all()):
                made.single, made.height = True, 1.0 if least is None else float(least)
            else:
                made.height = height_of(output)
        self._note_height(label, made)
        return made

    def _note_height(self, label: str, made: Origin) -> None:
        if made.single or made.height == 1:
            return
        before = self._heights.setdefault(label, made.height)
        if made.height is None:
            self.unknown[label] = "emits values that are no multiples of one height: register_neuron(…, height=…) says it"
        elif before is not None and abs(made.height - before) > 1e-4 * before:
            self.unknown[label] = (
                f"emits multiples of {before:.4g} and of {made.height:.4g}: register_neuron(…, height=…) says what one spike is"
            )
        else:
            self.tallies[label].notes.add(f"graded spikes, multiples of {made.height:.4g}")

    def _active(self, tally: Tally, current: Tensor | None, output: Tensor, signal: Signal) -> int:
        """Updates with a non-zero current or a spike."""
        if current is None or current.shape != output.shape:
            tally.notes.add("currents are inside the layer: an update is active if the neuron fires")
            return signal.nonzero
        if signal.nonzero == 0:
            return count_nonzero(current)
        return count_either(current, output)

    def _link(self, name: str, neurons: NeuronLayer, currents: list[Tensor], size: int) -> None:
        """Note which synapses drive these neurons: by where the currents came from, or else by their size."""
        origins = [self.provenance.of(current) for current in currents]
        layers = [layer for one in origins if one is not None and one.role == "currents" for layer in one.reads]
        pending = [layer for layer, positions in self._pending if layer in layers or (not layers and positions == size)]
        drivers = list(dict.fromkeys(pending))
        for layer in drivers:
            tally = self.tallies[layer]
            if tally.drives not in ("", name):
                tally.notes.add(f"drives {tally.drives} and others")
                continue
            tally.drives, tally.leaky, tally.drives_last = name, neurons.leaky, layer == drivers[-1]
        self._pending = [one for one in self._pending if one[0] not in drivers] if drivers else []

    def _max_pool(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._reading(inputs)
        self.tallies[name].calls += 1
        self.tallies[name].notes.add("comparisons are not counted")
        origin = self.provenance.of(inputs[0])
        if origin is not None:
            kept = Origin(origin.role, origin.reads, origin.fired, height=origin.height, single=origin.single)
            self.provenance.mark(output, kept)

    def _messages(self, _name: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self.provenance.mark(
            output, Origin("messages", frozenset({"neurons elsewhere"}), True)
        )  # each is sent anew, equal ones too

    def _events(self, _name: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        if bool(((output == 0) | (output == 1)).all()):  # an encoder of the user's may answer with currents
            self.provenance.mark(output, Origin("spikes", frozenset({INPUT}), True, single=True))

    def _sum(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        operands = [one for one in inputs if isinstance(one, Tensor)]
        self.sum(self.tallies[name], operands)
        origins = [origin for one in operands if (origin := self.provenance.of(one)) is not None]
        roles = {origin.role for origin in origins}
        if len(origins) < len(operands) or not origins:
            self._reading(inputs)
            return
        chain = None
        if self.chains is not None and len(operands) == 2:
            chain = self.chains.follow("add", list(zip(operands, origins, strict=True)), operands, output)
        order = ("dense", "mixed", "currents", "input", "messages", "spikes", "weight", "constant")
        role = next(role for role in order if role in roles)
        heights = {origin.height for origin in origins if origin.role == "spikes"}
        height = heights.pop() if len(heights) == 1 else None
        made = Origin(role, reads_of(origins), any(one.fired for one in origins), height=height, chain=chain)
        self.provenance.mark(output, made)

    def sum(self, tally: Tally, operands: list[Tensor]) -> None:
        """Count a residual sum: an accumulation for each spike; currents meet in the neuron."""
        tally.calls += 1
        for position, x in enumerate(operands):
            origin = self.provenance.of(x)
            if origin is not None and not origin.is_data:
                continue
            if origin is not None and origin.role in ("currents", "dense"):
                tally.analog_operands.add(position)
                continue
            spikes = in_spikes(x, origin)
            known = None if origin is None or spikes is not x or origin.signal_at != x.storage_offset() else origin.signal
            signal = known if known is not None and known.values == x.numel() else signal_of(spikes, _row_shape(x))
            if origin is not None:
                self.membranes.read(origin.reads)
            if not signal.is_whole:
                tally.analog_operands.add(position)
            else:
                events = signal.present if origin is not None and origin.role == "messages" else signal.magnitude
                tally.operand_adds[position] = tally.operand_adds.get(position, 0) + int(events.sum())

    def _recurrent(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A recurrent layer of torch: its inputs value by value; what it keeps inside is analog in every step."""
        assert isinstance(module, nn.RNNBase)
        self._reading(inputs)
        x = inputs[0]
        if isinstance(x, nn.utils.rnn.PackedSequence):
            x = x.data  # the steps that there are, one after the other
        weights = {key: weight.detach() for key, weight in module.named_parameters() if key.startswith("weight")}
        first = [weight for key, weight in weights.items() if key.startswith("weight_ih_l0")]
        inside = [weight for key, weight in weights.items() if not key.startswith("weight_ih_l0")]
        hidden = sum(weight.numel() for weight in inside)
        faster = bool(module.batch_first) or x.dim() == 2
        linear, weight = Synapses("linear"), torch.cat(first)
        tally = self.synapses(name, Read(linear, x, weight, bias=module.bias, time_runs_faster=faster, hidden=hidden))
        for part in tally.parts.values():
            effective = sum(int(torch.count_nonzero(weight)) for weight in inside)
            part.hidden_effective_macs = part.hidden_macs // max(1, hidden) * effective
        tally.notes.add("what the layer keeps inside counts as analog in every step")
        self.provenance.used.update(weight.untyped_storage()._cdata for weight in weights.values())
        if isinstance(output, Tensor):
            self.provenance.mark(output, Origin("dense", frozenset({name}), True))

    def product(self, tally: Tally, counted: Product, outputs: int) -> None:
        """Count a product of activations."""
        tally.calls += 1
        tally.apart = False
        tally.rows += self._batch
        tally.elements += counted.values
        tally.spikes += counted.spikes + counted.graded + counted.analog
        tally.whole_spikes += counted.spikes
        tally.graded += counted.graded
        tally.analog += counted.analog
        tally.dense_macs += counted.dense
        tally.sops += counted.sops
        tally.sops_nonzero_weights += counted.sops
        tally.analog_macs += counted.macs
        tally.analog_effective_macs += counted.effective if not counted.sops else counted.macs
        tally.effective_macs += counted.effective
        tally.outputs += outputs
        tally.notes.add("a product of two activations")


def _together(currents: list[Tensor]) -> Tensor | None:
    """One tensor that is 0 where all are; of currents that differ in shape, the first."""
    first = next(iter(currents), None)
    if first is None or len({current.shape for current in currents}) > 1:
        return first
    return first if len(currents) == 1 else torch.stack([current.detach() != 0 for current in currents]).any(0).to(first.dtype)


def _row_shape(x: Tensor) -> tuple[int, ...]:
    """All axes but the first are a row's, where nothing else is known; a vector is rows of one value."""
    return tuple(x.shape[1:]) or (1,)
