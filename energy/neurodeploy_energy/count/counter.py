"""Where in a model a pass is, and which tally an operation there belongs to."""

import sys
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from neurodeploy_energy.count.recognition import Kind, kind_of, neurons_of
from neurodeploy_energy.count.rules import Rule, Rules
from neurodeploy_energy.count.tally import Tally

_COUNTED = {"synapse", "average pool", "max pool", "sum", "recurrent", "activation"}
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


class Counter(Rules):
    """Counts the operations of a model's layers while it runs; `running.py` says which module runs.

    Attributes:
        uncounted: layer name → why its operations are not counted.
        modules: of the model, each once, with its name.
        raised_in: innermost layer that has raised an error in this batch.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.uncounted: dict[str, str] = {}
        self.modules: list[tuple[str, nn.Module]] = []
        self.raised_in: str | None = None
        self._root = type(model).__name__
        self._frames: list[_Frame] = []
        self._quiet = self._firing = 0
        self._started: dict[str, int] = {}
        self._finished: dict[str, int] = {}
        self._kinds: dict[str, Kind | None] = {}
        self._neurons: list[str] = []
        self._sites: dict[tuple[str, str, tuple[tuple[CodeType, int], ...]], str] = {}
        self._order: dict[str, float] = {}
        self._latest = 0.0
        self._shared: dict[str, list[str]] = {}
        seen: dict[int, str] = {}
        for raw, module in model.named_modules(remove_duplicate=False):
            name = raw or self._root
            if id(module) in seen:
                self._shared.setdefault(seen[id(module)], []).append(name)
                continue
            seen[id(module)] = name
            self._plan(raw, name, module)
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if not nn.parameter.is_lazy(tensor):
                self._parameters[tensor.untyped_storage()._cdata] = name

    def _plan(self, raw: str, name: str, module: nn.Module) -> None:
        kind = kind_of(module)
        inside_neurons = any(raw.startswith(f"{neurons}.") for neurons in self._neurons)
        if kind is None and (inside_neurons or "parametrizations" in raw.split(".")):
            kind = "free"  # such as a surrogate gradient, or what makes a weight
        self._kinds[name] = kind
        self.modules.append((name, module))
        if kind == "neuron":
            self._neurons.append(raw)
            neurons = neurons_of(module)
            assert neurons is not None
            self._batch_major |= neurons.axes in ("batch first", "flat")
            self._time_last |= neurons.axes == "time last"
        if kind is None:
            empty = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)  # such as the shortcut of a plain block
            if next(module.children(), None) is None and raw and not empty:
                self.uncounted[name] = f"{type(module).__module__}.{type(module).__qualname__} is not known to the counter"
            elif any(True for _ in module.parameters(recurse=False)):
                self.uncounted[name] = "has weights of its own, outside of its layers"
        elif kind not in ("free", "activation", "messages", "seen inside"):
            self.tallies[name] = Tally(kind)
            self._order[name] = float(len(self._order) + 1)

    def begin_batch(self, batch: int) -> None:
        """Samples that the next calls of the model work on."""
        self._batch = batch
        self._frames.clear()
        self._quiet = self._firing = 0
        self._fired_now = False
        self.raised_in = None
        for tally in self.tallies.values():
            tally.begin_batch(batch)

    def finish(self) -> None:
        """What can only be said once all data have run: what was never called, what raised, what shares its weights."""
        for tally in self.tallies.values():
            # What a layer reads before any neuron has fired is the sample, and dense. Where none ever fires, the data may be
            # spikes themselves: each value is then taken for what it is.
            tally.dense = tally.dense and self._fired
        self.tallies = {name: self.tallies[name] for name in sorted(self.tallies, key=self._order.__getitem__)}
        by_weight: dict[int, str] = {}
        for name, module in self.modules:
            self._finish_module(name, module)
            weight = getattr(module, "weight", None)
            if name in self.tallies and self.tallies[name].calls and isinstance(weight, nn.Parameter):
                first = by_weight.setdefault(id(weight), name)
                if first != name:
                    self.tallies[name].notes.add(f"shares its weights with {first}")
        for name, others in self._shared.items():
            if name in self.tallies:
                self.tallies[name].notes.add(f"also known as {', '.join(others)}")

    def _finish_module(self, name: str, module: nn.Module) -> None:
        own = {weight.untyped_storage()._cdata for weight in module.parameters(recurse=False) if weight.dim() > 1}
        inside = any(key.startswith(f"{name}: ") for key in self.tallies)
        if name in self.tallies and not self.tallies[name].calls:
            del self.tallies[name]
            if not (own and own <= self._used):
                self.uncounted.setdefault(name, "was never called")
        elif name in self.uncounted and inside:
            if self.uncounted[name].startswith("has weights"):
                if own <= self._used:
                    del self.uncounted[name]
            else:
                self.uncounted[name] = "its matrix products and convolutions are counted, its other operations are not"
        failed = self._started.get(name, 0) - self._finished.get(name, 0)
        if failed:
            self.uncounted[name] = f"raised an error in {failed} of {self._started[name]} calls, which the model went on from"

    def enter(self, name: str, *, paused: bool) -> None:
        """A module begins to run; `paused`: operations inside are not looked at."""
        kind = self._kinds[name]
        self._frames.append(_Frame(name, kind in _COUNTED, kind == "neuron", paused))
        self._quiet += self._frames[-1].counted
        self._firing += self._frames[-1].neuron
        self._started[name] = self._started.get(name, 0) + 1
        if name in self.uncounted and not self._fired_now:
            self.fires()

    def is_known_whole(self, name: str, module: nn.Module) -> bool:
        """Whether the kind of a module says all of what it computes, so that no operation inside needs a look."""
        kind = self._kinds[name]
        return kind in _COUNTED or (kind == "neuron" and all(weight.dim() < 2 for weight in module.parameters()))

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
        return max((tally.steps_now for tally in self.tallies.values() if tally.kind == "neuron"), default=0)

    def operation(self, what: str, kind: str, weight: Tensor | None = None) -> tuple[str, Tally]:
        """Name and tally of an operation outside of any known layer: one for each place in the code of the module that runs it.

        An operation in a loop over time is one layer, as a module would be. One with a parameter has its name too.
        """
        module = self._frames[-1].name if self._frames else self._root
        parameter = "" if weight is None else self._parameters.get(weight.untyped_storage()._cdata, "")
        what = f"{what} {parameter.removeprefix(f'{module}.')}".strip()
        key = module, what, _call_site()
        if key not in self._sites:
            nth = 1 + sum(site[:2] == key[:2] for site in self._sites)
            name = self._sites[key] = f"{module}: {what}" + (f" ({nth})" if nth > 1 else "")
            done = max((one.samples for one in self.tallies.values()), default=0)
            self.tallies[name] = Tally(kind, samples=done, batch=self._batch)
            self._latest += 1e-6  # its row stands behind that of the last module that ran, and before the next module's
            self._order[name] = self._latest
        name = self._sites[key]
        return name, self.tallies[name]

    def not_known(self, operation: str) -> None:
        """List an operation that multiplies and accumulates in a way that is not counted."""
        name = self._frames[-1].name if self._frames else self._root
        self.uncounted[f"{name}: {operation}"] = "an operation that is not known to the counter"


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
