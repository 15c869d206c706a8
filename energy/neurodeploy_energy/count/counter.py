"""The counts of a whole model: which layers it has, batch after batch, and what can be said at the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from neurodeploy_energy.count.folds import fold, folds_of
from neurodeploy_energy.count.layer import NEVER_CALLED
from neurodeploy_energy.count.membranes import Membrane
from neurodeploy_energy.count.operations import COUNTED, OperationRules
from neurodeploy_energy.count.provenance import INPUT, Origin
from neurodeploy_energy.count.recognition import Kind, NeuronLayer, kind_of, neurons_of
from neurodeploy_energy.count.tally import Tally


class Counter(OperationRules):
    """Counts the operations of a model's layers while it runs.

    Attributes:
        modules: of the model, each once, with its name.
        misread: layer of neurons → samples that it gets, where those are not the batch's.
        draws: whether the model uses random numbers.
    """

    def __init__(
        self, model: nn.Module, *, neurons: Mapping[str, NeuronLayer] | None = None, padded: bool = False, fold: bool = False
    ) -> None:
        super().__init__(type(model).__name__, padded=padded, fold=fold)
        self._declared = dict(neurons or {})
        self.modules: list[tuple[str, nn.Module]] = []
        self.draws = False
        self._neurons: list[str] = []
        self._shared: dict[str, list[str]] = {}
        seen: dict[int, str] = {}
        for raw, module in model.named_modules(remove_duplicate=False):
            name = raw or self._root
            if id(module) in seen:
                self._shared.setdefault(seen[id(module)], []).append(name)
                continue
            seen[id(module)] = name
            self._by_name[name] = module
            self._plan(raw, name, module)
        self._name_weights()

    def _name_weights(self) -> None:
        """Parameters, then buffers, each by its first name, as `named_parameters` and `named_buffers` have them."""
        named: set[int] = set()
        for held in ("_parameters", "_buffers"):
            for name, module in self.modules:
                prefix = "" if module is self.modules[0][1] else f"{name}."
                for key, tensor in getattr(module, held).items():
                    if tensor is not None and id(tensor) not in named and not nn.parameter.is_lazy(tensor):
                        named.add(id(tensor))
                        self.provenance.parameters[tensor.untyped_storage()._cdata] = f"{prefix}{key}"

    def _plan(self, raw: str, name: str, module: nn.Module) -> None:
        kind: Kind | None = "neuron" if name in self._declared else kind_of(module)
        inside_neurons = bool(self._neurons) and raw.startswith(f"{self._neurons[-1]}.")  # a module's parts come right after it
        if kind is None and (inside_neurons or "parametrizations" in raw.split(".")):
            kind = "free"  # such as a surrogate gradient, or what makes a weight
        self._kinds[name] = kind
        self.modules.append((name, module))
        if kind == "neuron":
            if not inside_neurons:
                self._neurons.append(raw)
            neurons = self._declared.get(name) or neurons_of(module)
            assert neurons is not None
            self._layers[module] = neurons
            self._axes.add(neurons.axes)
        if kind is not None and kind not in ("free", "activation", "messages", "events", "seen inside"):
            self.tallies[name] = Tally(kind)
            self._order[name] = float(len(self._order) + 1)

    def begin_batch(self, batch: int) -> None:
        """Samples that the next calls of the model work on."""
        self._batch = batch
        self._frames.clear()
        self._quiet = self._firing = 0
        self._samples += batch
        self.membranes.begin_batch(batch)
        self.raised_in = None
        for tally in (*self.tallies.values(), *self.folds.values()):
            tally.begin_batch(batch)

    def reads_data(self, x: Tensor) -> None:
        """The model is called with some data."""
        self.provenance.mark(x, Origin("input", frozenset({INPUT})))

    def also_made(self, output: Any) -> None:
        """What a known layer returns beside its output, such as its state, is analog, and belongs to it."""
        if not isinstance(output, tuple | list) or len(output) < 2:
            return
        first = self.provenance.of(output[0]) if isinstance(output[0], Tensor) else None
        for x in output[1:]:
            for one in x if isinstance(x, tuple | list) else (x,):
                if isinstance(one, Tensor):
                    self.provenance.mark(one, Origin("dense", frozenset() if first is None else first.reads, fired=True))

    def answered(self, output: Any) -> None:
        """Spikes that are the model's answer are spikes of neurons."""
        for x in output if isinstance(output, tuple | list) else [output]:
            origin = self.provenance.of(x) if isinstance(x, Tensor) else None
            if origin is not None and origin.role in ("spikes", "mixed"):
                self.membranes.read(origin.reads)
            self.uses([origin])

    def end_of_batch(self) -> None:
        """Neurons that are no modules get their rows, now that it is known which are some."""
        for membrane in self.membranes:
            if membrane.rows_are_clear:
                self._add_membrane(membrane)
            else:
                self.uncounted[membrane.name] = (
                    f"emits spikes of shape {membrane.shape}, in which steps and samples cannot be told apart: call it with "
                    f"one step at a time, or register a module (register_neuron)"
                )
        super().end_of_batch()

    def _add_membrane(self, membrane: Membrane) -> None:
        if membrane.name not in self.tallies:
            self.tallies[membrane.name] = Tally("neuron", samples=self._samples - self._batch, batch=self._batch)
            last = max((self._order.get(driver, 0.0) for driver in membrane.drivers), default=0.0)
            self._order[membrane.name] = last + 1e-4
        tally = self.tallies[membrane.name]
        tally.neurons, tally.leaky = membrane.neurons, membrane.leaky
        tally.reads |= membrane.drivers
        tally.updates += membrane.updates
        tally.updates_active += membrane.active
        for rows in membrane.spikes:
            spikes = rows.numpy().astype(np.int64)
            tally.spikes += int(spikes.sum())
            tally.spikes_value += int(spikes.sum())
            tally.add_rows({"spikes": spikes}, time_runs_faster=False)
        tally.notes.add("neurons in the code, no module")
        drivers = [name for name in self._order if name in membrane.drivers and name in self.tallies]
        for name in sorted(drivers, key=self._order.__getitem__):
            driver = self.tallies[name]
            if driver.drives in ("", membrane.name):
                driver.drives, driver.leaky = membrane.name, membrane.leaky
                driver.drives_last = name == max(drivers, key=self._order.__getitem__)

    def finish(self, events: bool | None) -> int:
        """What can only be said once all data have run: T, what is constant in it, what was never called, what raised.

        Args:
            events: whether data are spikes; see `Tally.settle`.
        """
        samples = max(1, self._samples)
        steps = max((tally.rows // samples for tally in self.tallies.values() if tally.kind == "neuron"), default=1)
        folds = folds_of(self.tallies, self.folds)
        for tally in (*self.tallies.values(), *(one.whole for one in folds)):
            tally.settle(steps, events)
        fold(self.tallies, folds, samples)
        for name, reason in ({} if self.chains is None else self.chains.apart).items():
            self.tallies[name].notes.add(reason)
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
        for name, reason in self.unknown.items():
            self.uncounted.setdefault(name, reason)
        return steps

    def _finish_module(self, name: str, module: nn.Module) -> None:
        if name in self.tallies and not self.tallies[name].calls:
            del self.tallies[name]
            own = {weight.untyped_storage()._cdata for weight in module.parameters(recurse=False) if weight.dim() > 1}
            if not (own and own <= self.provenance.used):
                self.uncounted.setdefault(name, NEVER_CALLED)
        failed = self._started.get(name, 0) - self._finished.get(name, 0)
        if failed:
            self.uncounted[name] = f"raised an error in {failed} of {self._started[name]} calls, which the model went on from"

    def neuron_modules(self) -> dict[str, tuple[nn.Module, NeuronLayer]]:
        """Modules that are neurons, by name."""
        return {name: (module, self._layers[module]) for name, module in self.modules if module in self._layers}

    def is_known_whole(self, name: str, module: nn.Module) -> bool:
        """Whether the kind of a module says all of what it computes, so that no operation inside needs a look."""
        kind = self._kinds[name]
        if kind == "neuron":
            return not self._layers[module].is_own and all(weight.dim() < 2 for weight in module.parameters())
        return kind in COUNTED
