"""Where in a model a pass is, and what operations there cost that are no known layer's."""

import sys
from collections.abc import Hashable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from neurodeploy_energy.count.fanout import Windows, synapses_of
from neurodeploy_energy.count.provenance import Origin, in_spikes, reads_of
from neurodeploy_energy.count.recognition import Kind
from neurodeploy_energy.count.rules import Rule, Rules
from neurodeploy_energy.count.signals import count_nonzero, is_nonzero
from neurodeploy_energy.count.tally import Tally

COUNTED = {"synapse", "average pool", "max pool", "sum", "recurrent"}
"""Modules whose own operations are known, so that what runs inside is no operation of its own."""


@dataclass(eq=False)
class _Frame:
    """A module that is running.

    Attributes:
        name: of the module.
        counted: whether its operations are counted by the module, not one by one.
        neuron: whether it is a layer of neurons.
        paused: whether operations inside are not looked at.
    """

    name: str
    counted: bool
    neuron: bool
    paused: bool


class OperationRules(Rules):
    """Counts operations outside of any known layer, by the module that runs them; `one_pass.py` says which module runs.

    Attributes:
        uncounted: layer name → why its operations are not counted.
        raised_in: innermost layer that has raised an error in this batch.
    """

    def __init__(self, root: str, *, padded: bool = False, fold: bool = False) -> None:
        super().__init__(padded=padded, fold=fold)
        self.uncounted: dict[str, str] = {}
        self.raised_in: str | None = None
        self._root = root
        self._by_name: dict[str, nn.Module] = {}
        self._kinds: dict[str, Kind | None] = {}
        self._frames: list[_Frame] = []
        self._quiet = self._firing = 0
        self._samples = 0
        self._started: dict[str, int] = {}
        self._finished: dict[str, int] = {}
        self._sites: dict[tuple[str, str, tuple[tuple[CodeType, int], ...]], str] = {}
        self._latest = 0.0

    def enter(self, name: str, *, paused: bool) -> None:
        """A module begins to run; `paused`: operations inside are not looked at."""
        kind = self._kinds[name]
        self._frames.append(_Frame(name, kind in COUNTED, kind == "neuron", paused))
        self._quiet += self._frames[-1].counted
        self._firing += self._frames[-1].neuron
        self._started[name] = self._started.get(name, 0) + 1

    def ran(self, name: str, output: Any) -> Rule | None:
        """A module has run, or raised an error if its `output` is None; what counts it, if anything does."""
        self._latest = self._order.get(name, self._latest)
        if output is None:
            self.raised_in = self.raised_in or name
            return None
        self._finished[name] = self._finished.get(name, 0) + 1
        return None if self._quiet else self.rule(self._kinds[name])

    def leave_all(self) -> bool:
        """Close modules that were interrupted, for which torch calls no hook; whether operations inside were not looked at."""
        paused = False
        while self._frames:
            paused |= self.leave(self._frames[-1].name)
        return paused

    def leave(self, name: str) -> bool:
        """Close a module and whatever it left open; whether operations inside were not looked at."""
        paused = False
        while self._frames:
            frame = self._frames.pop()
            self._quiet -= frame.counted
            self._firing -= frame.neuron
            paused |= frame.paused
            if frame.name == name:
                break
        return paused

    @property
    def running(self) -> str:
        """The innermost module that runs."""
        return self._frames[-1].name if self._frames else self._root

    @property
    def watches(self) -> bool:
        """Whether an operation that runs now is one of no known layer."""
        return self._quiet == 0

    @property
    def inside_neurons(self) -> bool:
        """Whether a layer of neurons runs now, whose operations are its updates."""
        return self._firing > 0

    @property
    def steps(self) -> int:
        """Time steps of this batch that the neurons have seen; 0 if none have run."""
        modules = (tally.steps_now for tally in self.tallies.values() if tally.kind == "neuron")
        return max((*modules, *(membrane.steps_seen for membrane in self.membranes)), default=0)

    def operation(self, what: str, kind: str, weight: Tensor | None = None) -> tuple[str, Tally]:
        """Name and tally of an operation outside of any known layer: one for each place in the code of the module that runs it.

        An operation in a loop over time is one layer, as a module would be. One with a parameter has its name too.
        """
        module = self.running
        if kind == "synapse" and self._kinds.get(module) == "seen inside" and synapses_of(self._by_name[module]) is not None:
            if module not in self.tallies:
                self._open(module, kind)
            return module, self.tallies[module]  # the layer itself, with the weight that ran
        parameter = "" if weight is None else self.provenance.parameters.get(weight.untyped_storage()._cdata, "")
        what = f"{what} {parameter.removeprefix(f'{module}.')}".strip()
        key = module, what, _call_site()
        if key not in self._sites:
            nth = 1 + sum(site[:2] == key[:2] for site in self._sites)
            name = self._sites[key] = f"{module}: {what}" + (f" ({nth})" if nth > 1 else "")
            self._open(name, kind)
        name = self._sites[key]
        return name, self.tallies[name]

    def _open(self, name: str, kind: str) -> None:
        """A new row, behind that of the last module that ran, and before the next module's."""
        self.tallies[name] = Tally(kind, samples=self._samples - self._batch, batch=self._batch)
        self._latest += 1e-6
        self._order[name] = self._latest

    def is_weight(self, x: Tensor) -> bool:
        """Whether a tensor is a parameter or buffer of the model, also one that a hook has put there, or made of such alone."""
        if self.provenance.of(x) is not None or not self._frames:
            return super().is_weight(x)
        key = x.untyped_storage()._cdata
        for name, own in self._by_name[self.running].named_parameters(recurse=False):
            if own.untyped_storage()._cdata == key:
                self.provenance.mark(x, Origin("weight", size=own.numel()))
                self.provenance.used.update(
                    kept for kept, known in self.provenance.parameters.items() if known == f"{self.running}.{name}"
                )
                return True
        return False

    def threshold(self, x: Tensor, origin: Origin, fired: Tensor) -> Origin:
        """A potential is compared with a threshold."""
        return self.membranes.compare(x, origin, fired, self.running, _call_site())

    def residual(self, operands: list[Tensor]) -> None:
        """Count a residual sum that no layer computes."""
        if self.inside_neurons:
            return
        _, tally = self.operation("sum", "sum")
        self.sum(tally, operands)

    def before_change(self, x: Tensor) -> None:
        """Spikes that are about to be added to, in place, are counted while they are there."""
        origin = self.provenance.of(x)
        if origin is not None and origin.role == "spikes" and origin.signal is None and in_spikes(x, origin) is x:
            self.provenance.signal(x, tuple(x.shape[1:]) or (1,))

    def elementwise(self, operands: list[Tensor], origins: list[Origin], made: Tensor) -> None:
        """Count a product of activations value by value: of two analog values a MAC, of a spike and others an accumulation."""
        if self.inside_neurons:
            return
        _, tally = self.operation("elementwise product", "matmul")
        tally.calls += 1
        tally.apart = False
        tally.rows += self._batch
        values = made.numel()
        events = [x for x, origin in zip(operands, origins, strict=True) if origin.is_events]
        tally.reads |= reads_of(origins)
        for origin in origins:
            self.membranes.read(origin.reads if origin.role == "spikes" else ())
        tally.elements += sum(x.numel() for x in operands)
        tally.dense_macs += values
        tally.outputs += values
        tally.notes.add("a product of activations, value by value")
        if events:
            pairs = is_nonzero(events[0]).expand(made.shape)
            for other in events[1:]:
                pairs = pairs & is_nonzero(other).expand(made.shape)
            met = int(pairs.sum())
            counts = [count_nonzero(x) for x in events]
            tally.sops += met
            tally.sops_nonzero_weights += met
            tally.effective_macs += met
            tally.spikes += sum(counts)
            tally.whole_spikes += sum(counts)
        else:
            tally.analog_macs += values
            tally.analog_effective_macs += values
            tally.effective_macs += values
            analog = sum(count_nonzero(x) for x in operands)
            tally.spikes += analog
            tally.analog += analog

    def scan(self, made: Tensor) -> None:
        """Count a state that is scaled and added to in every step, and is no neuron's: a multiply-accumulate for each value."""
        if self.inside_neurons:
            return
        _, tally = self.operation("scan", "matmul")
        tally.calls += 1
        tally.apart = False
        tally.rows += self._batch
        values = made.numel()
        for field in (
            "elements",
            "spikes",
            "analog",
            "dense_macs",
            "analog_macs",
            "analog_effective_macs",
            "effective_macs",
            "outputs",
        ):
            setattr(tally, field, getattr(tally, field) + values)
        tally.notes.add("a state that is carried from step to step, and no neuron's")

    def sum_site(self) -> Hashable:
        """The place in the code of the sum that runs."""
        return _call_site()

    def column_sum(self, x: Tensor, origin: Origin, axes: tuple[int, ...], made: Tensor) -> None:
        """Count a sum over axes that are no time: of spikes each is one accumulation, of analog values each value is."""
        counts = origin.is_events or origin.role == "dense"
        if self.inside_neurons or x.numel() == made.numel() or 0 in axes or not counts:
            return
        if origin.is_product or self.of_data(origin.reads):
            return  # part of an encoder; or the sum of a product is in its multiply-accumulates
        name, tally = self.operation("sum over axes", "average pool")
        last = axes == tuple(range(x.dim() - len(axes), x.dim()))
        self.pool(name, tally, x, made, (1 + len(axes), Windows()) if last and len(axes) < x.dim() - 1 else None)

    def is_time(self, x: Tensor, axes: tuple[int, ...]) -> bool:
        """Whether some axes of a tensor are its time steps, whose sum is the answer and no operation."""
        if len(axes) != 1 or self.steps < 2 or x.shape[axes[0]] != self.steps:
            return False
        rest = x.shape[1] if axes[0] == 0 and x.dim() > 1 else x.shape[0]
        return self._batch in (rest, 1) or x.dim() == 1

    def not_known(self, operation: str) -> None:
        """List an operation that multiplies and accumulates in a way that is not counted."""
        self.uncounted[f"{self.running}: {operation}"] = "an operation that is not known to the counter"


def _call_site() -> tuple[tuple[CodeType, int], ...]:
    """The places in the code that an operation was called from, up to the first outside of torch: the model's own."""
    frame: FrameType | None = sys._getframe(1)
    places = []
    while frame is not None:
        package = frame.f_globals.get("__name__", "").split(".")[0]
        if package != "neurodeploy_energy":
            places.append((frame.f_code, frame.f_lasti))
            if package != "torch":
                break
        frame = frame.f_back
    return tuple(places)
