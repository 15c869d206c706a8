"""Counting while a model runs: hooks on its modules, a mode that sees what runs outside of them, no second forward pass."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from neurodeploy_energy.fanout import FanOut, Synapses, fan_out, synapses_of, through_pool
from neurodeploy_energy.functional import FunctionalOperations
from neurodeploy_energy.neurons import Neurons, neurons_of
from neurodeploy_energy.product import Product
from neurodeploy_energy.provenance import Provenance, Role
from neurodeploy_energy.recognition import Kind, kind_of, summing_windows
from neurodeploy_energy.signals import Signal, count_true, is_nonzero, rows_of, signal_of
from neurodeploy_energy.tally import Counts, Tally

_EXACT = 2**53
_COUNTED = {"synapse", "average pool", "max pool", "sum", "recurrent", "activation"}
"""Modules whose own operations are known, so that what runs inside is no operation of its own."""


@dataclass(eq=False)
class _Pooled:
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


class Counter:
    """Counts the operations of a model's layers while it runs; see `attached`.

    Attributes:
        tallies: layer name → its counts; an operation outside of any known layer is named `<module>: <operation>`.
        uncounted: layer name → why its operations are not counted.
        provenance: what is known of the tensors of this batch.
    """

    def __init__(self, model: nn.Module) -> None:
        self.tallies: dict[str, Tally] = {}
        self.uncounted: dict[str, str] = {}
        self.provenance = Provenance()
        self.raised_in: str | None = None
        self._mode = FunctionalOperations(self)
        self._root = type(model).__name__
        self._fan_outs: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, ...], FanOut]] = {}
        self._pool_fan_outs: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, tuple[Tensor, Tensor] | None]] = {}
        self._pooled: dict[int, _Pooled] = {}
        self._pending: list[tuple[str, int]] = []
        self._parameters: dict[int, str] = {}
        self._used: set[int] = set()
        self._frames: list[_Frame] = []
        self._quiet = self._firing = 0
        self._started: dict[str, int] = {}
        self._finished: dict[str, int] = {}
        self._fired_now = self._fired = False
        self._batch = 0
        self._batch_major = self._time_last = False
        self._kinds: dict[str, Kind | None] = {}
        self._modules: list[tuple[str, nn.Module]] = []
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
        self._modules.append((name, module))
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
        elif kind not in ("free", "activation", "seen inside"):
            self.tallies[name] = Tally(kind)
            self._order[name] = float(len(self._order) + 1)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks are on the model inside, and off it afterwards, whatever happens."""
        handles = []
        fast_attention = torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # it hides the layers of a transformer in one operation
            for name, module in self._modules:
                handles.append(module.register_forward_pre_hook(self._before(name, module)))
                handles.append(module.register_forward_hook(self._after(name), with_kwargs=True, always_call=True))
            with self._mode:
                try:
                    yield
                finally:
                    while self._frames:  # of modules that were interrupted, which torch tells nobody
                        if self._leave(self._frames[-1].name):
                            self._mode.resume()
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)
            for handle in handles:
                handle.remove()
            self._forget()

    def begin_batch(self, batch: int) -> None:
        """Samples that the next calls of the model work on."""
        self._batch = batch
        self._frames.clear()
        self._quiet = self._firing = 0
        self._fired_now = False
        self.raised_in = None
        for tally in self.tallies.values():
            tally.begin_batch(batch)

    def end_of_batch(self) -> None:
        """Pools whose output no synapse layer has read are counted for themselves."""
        for pooled in self._pooled.values():
            if pooled.folded:
                continue
            tally = self.tallies[pooled.layer]
            tally.adds += _spikes_of(pooled.signal, pooled.analog)
            tally.notes.add("spikes summed by the pool itself")
        self._forget()

    def _forget(self) -> None:
        self._pooled.clear()
        self._pending.clear()
        self.provenance.clear()

    def finish(self) -> None:
        """What can only be said once all data have run: what was never called, what raised, what shares its weights."""
        for tally in self.tallies.values():
            tally.dense = tally.dense and self._fired
        self.tallies = {name: self.tallies[name] for name in sorted(self.tallies, key=self._order.__getitem__)}
        by_weight: dict[int, str] = {}
        for name, module in self._modules:
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

    def _before(self, name: str, module: nn.Module) -> Callable[..., None]:
        kind = self._kinds[name]
        counted, neuron = kind in _COUNTED, kind == "neuron"
        unknown = name in self.uncounted
        elementwise = neuron and all(weight.dim() < 2 for weight in module.parameters())

        def hook(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
            paused = (counted or elementwise) and self._mode.pause()
            self._frames.append(_Frame(name, counted, neuron, paused))
            self._quiet += counted
            self._firing += neuron
            self._started[name] = self._started.get(name, 0) + 1
            if unknown and not self._fired_now:
                self.fires()

        return hook

    def _after(self, name: str) -> Callable[..., None]:
        kind = self._kinds[name]
        rules: dict[str, Callable[[str, nn.Module, tuple[Any, ...], Any], None]] = {
            "synapse": self._synapse,
            "neuron": self._neuron,
            "average pool": self._average_pool,
            "max pool": self._max_pool,
            "sum": self._sum,
            "recurrent": self._recurrent,
            "activation": self._activation,
        }
        rule = rules.get(kind or "")

        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            paused = self._leave(name)
            try:
                self._latest = self._order.get(name, self._latest)
                if output is None:  # torch calls this hook so when the module raised
                    self.raised_in = self.raised_in or name
                    return
                self._finished[name] = self._finished.get(name, 0) + 1
                if rule is None or self._quiet:
                    return
                with nullcontext() if paused else _disable_current_modes():
                    rule(name, module, (*inputs, *named.values()), output[0] if isinstance(output, tuple | list) else output)
            finally:
                if paused:
                    self._mode.resume()

        return hook

    def _leave(self, name: str) -> bool:
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

    def fires(self) -> None:
        """From here on the batch is no longer what came in: neurons or activations have run."""
        self._fired_now = self._fired = True

    def is_parameter(self, x: Tensor) -> bool:
        """Whether a tensor is a parameter or buffer of the model, or a view of one."""
        return x.untyped_storage()._cdata in self._parameters

    def operation(self, what: str, kind: str, weight: Tensor | None = None) -> tuple[str, Tally]:
        """Name and tally of an operation outside of any known layer: one for each place in the code of the module that runs it.

        An operation in a loop over time is one layer, as a module would be. One with a parameter has its name too.
        """
        module = self._frames[-1].name if self._frames else self._root
        parameter = "" if weight is None else self._parameters.get(weight.untyped_storage()._cdata, "")
        what = f"{what} {parameter.removeprefix(f'{module}.')}".strip()
        key = (module, what, _call_site())
        if key not in self._sites:
            nth = 1 + sum(site[:2] == key[:2] for site in self._sites)
            name = self._sites[key] = f"{module}: {what}" + (f" ({nth})" if nth > 1 else "")
            done = max((one.samples for one in self.tallies.values()), default=0)
            self.tallies[name] = Tally(kind, samples=done, batch=self._batch)
            self._latest += 1e-6
            self._order[name] = self._latest
        name = self._sites[key]
        return name, self.tallies[name]

    def _synapse(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        synapses = synapses_of(module)
        assert synapses is not None
        x, weight = inputs[0], module.weight
        assert isinstance(weight, Tensor)
        sizes = tuple(output.shape[output.dim() - synapses.axes + 1 :])
        if self._time_last and synapses.axes == 4 and weight.shape[-1] == synapses.stride[-1] == 1:
            x, sizes = x.movedim(-1, 0).flatten(0, 1).unsqueeze(-1), (*sizes[:-1], 1)  # lava-dl: the last axis is time
        self.synapses(name, self.tallies[name], synapses, x, weight, sizes, bias=module.bias is not None)
        self.provenance.mark(output, "currents", (name,))

    def synapses(
        self,
        name: str,
        tally: Tally,
        synapses: Synapses,
        x: Tensor,
        weight: Tensor,
        output: tuple[int, ...] | None = None,
        *,
        bias: bool = False,
        time_runs_faster: bool | None = None,
        hidden: int = 0,
    ) -> None:
        """Count one evaluation of a layer of synapses.

        Args:
            name: of the layer.
            tally: its counts.
            synapses: how it connects.
            x: its input.
            weight: in torch's layout.
            output: spatial sizes at its output.
            bias: whether it has one.
            time_runs_faster: along the rows of `x`; as in the whole model if None.
            hidden: multiply-accumulates of each row beside these synapses.
        """
        faster = self._batch_major if time_runs_faster is None else time_runs_faster
        shape = tuple(x.shape[x.dim() - synapses.axes :])
        fan = self._fan_out(name, synapses, weight, shape, output, bias=bias)
        tally.geometry = fan.geometry
        self._used.add(weight.untyped_storage()._cdata)
        origin = self.provenance.of(x)
        tally.dense |= not self._fired_now or (origin is not None and origin.role == "dense")
        pooled = self._pool_read_as(x)
        if pooled is not None:
            counts = self._folded(name, fan, pooled, x, tally)
        else:
            counts = self._values(tally, fan, self.provenance.signal(x, shape), x)
        if hidden:
            counts["hidden"] = np.full_like(counts["sops"], hidden)
        tally.add_rows(counts, time_runs_faster=faster)
        rows = x.numel() // max(1, prod(shape))
        tally.elements += x.numel()
        tally.dense_macs += rows * fan.dense
        tally.outputs += rows * fan.geometry.output_positions
        self._pending.append((name, fan.geometry.output_positions))

    def _values(self, tally: Tally, fan: FanOut, signal: Signal, x: Tensor) -> dict[str, Counts]:
        """Count what a layer reads, value by value; what it counted of each row."""
        tally.spikes += signal.nonzero
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.analog += signal.analog
        sops = _per_row(signal.magnitude, fan.all)
        macs = np.zeros_like(sops) if signal.fractions is None else _per_row(signal.fractions, fan.all)
        present = sops if signal.present is signal.magnitude else _per_row(signal.present, fan.all)
        tally.sops += int(sops.sum())
        tally.analog_macs += int(macs.sum())
        tally.sops_nonzero_weights += int(sops.sum())
        tally.effective_macs += int(present.sum())
        tally.analog_effective_macs += int(macs.sum())
        if fan.zeros is not None and signal.nonzero:
            channels, missing = fan.zeros
            magnitude, here, fractions = signal.in_channels(x, channels)
            tally.sops_nonzero_weights -= _dot(magnitude, missing)
            tally.effective_macs -= _dot(here, missing)
            tally.analog_effective_macs -= 0 if fractions is None else _dot(fractions, missing)
        spikes = _whole_numbers(signal.present.sum(1))
        return {"spikes": spikes, "sops": sops, "macs": macs, "dense_macs": np.full(signal.rows, fan.dense, np.int64)}

    def _pool_read_as(self, x: Tensor) -> _Pooled | None:
        if not self._pooled:
            return None
        direct = self._pooled.get(x.untyped_storage()._cdata)
        if direct is not None and direct.is_read_as(x):
            return direct
        return next((pooled for pooled in self._pooled.values() if pooled.is_copied_to(x)), None)

    def _folded(self, name: str, fan: FanOut, pooled: _Pooled, x: Tensor, tally: Tally) -> dict[str, Counts]:
        """Count what a layer reads of a pool that is folded into it: spikes as they were before the pool."""
        signal, spikes, shape = pooled.signal, pooled.spikes, tuple(pooled.spikes.shape[-pooled.axes :])
        key = (name, pooled.layer, shape)
        if key not in self._pool_fan_outs:
            every = through_pool(pooled.sums, shape, fan.by_position())[0].reshape(-1)
            through = None if fan.zeros is None else through_pool(pooled.sums, shape, fan.nonzero_by_position()).flatten(1)
            self._pool_fan_outs[key] = every, None if through is None else _few_channels(every - through)
        every, missing = self._pool_fan_outs[key]
        counts: dict[str, Counts] = {}
        if pooled.analog is None:
            tally.spikes += int(torch.count_nonzero(x))
        else:
            whole = torch.from_numpy(~pooled.analog).to(x.device)
            read = rows_of(x, tuple(x.shape[x.dim() - 1 - len(fan.geometry.kernel) :]))
            analog = read * ~_beside(whole, read)
            counts = self._values(tally, fan, signal_of(analog, tuple(read.shape[1:])), analog)
            spikes = rows_of(spikes, shape) * _beside(whole, rows_of(spikes, shape))
            signal = signal_of(spikes, shape)
            tally.spikes += int(torch.count_nonzero(read * _beside(whole, read)))
        sops = _per_row(signal.magnitude, every)
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.sops += int(sops.sum())
        tally.sops_nonzero_weights += int(sops.sum())
        if missing is not None and signal.nonzero:
            tally.sops_nonzero_weights -= _dot(signal.in_channels(spikes, missing[0])[0], missing[1])
        tally.notes.add(f"spikes counted before {pooled.layer}, which is folded in")
        self.tallies[pooled.layer].notes.add(f"folded into {name}: no operations of its own")
        pooled.folded = True
        own = {"spikes": _whole_numbers(signal.present.sum(1)), "sops": sops, "macs": np.zeros_like(sops)}
        own = {key: counts.get(key, 0) + values for key, values in own.items()}
        return own | {"dense_macs": np.full_like(sops, fan.dense)}

    def _neuron(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        neurons, tally = neurons_of(module), self.tallies[name]
        assert neurons is not None
        rows, _steps, time_runs_faster = neurons.by_row(output.detach())
        shape = tuple(rows.shape[1:])
        signal = signal_of(rows, shape)
        tally.neurons, tally.leaky = prod(shape), neurons.leaky
        tally.updates += output.numel()
        current = next((one for one in inputs if isinstance(one, Tensor)), None)
        tally.updates_active += self._active(tally, current, output, signal)
        spikes = _whole_numbers(signal.present.sum(1))
        if neurons.fires:
            tally.spikes += signal.nonzero
            tally.spikes_value += int(signal.magnitude.sum())
            if signal.analog:
                tally.spikes_value += float(output.detach().double().abs().sum()) - int(signal.magnitude.sum())
                tally.notes.add("emits values that are no whole numbers")
            self.provenance.mark(output, "spikes", signal=signal)
        else:
            spikes = np.zeros_like(spikes)
            tally.notes.add("integrates and never fires")
        tally.add_rows({"spikes": spikes}, time_runs_faster=time_runs_faster)
        self._link(name, neurons, current, prod(shape))
        self.fires()

    def _active(self, tally: Tally, current: Tensor | None, output: Tensor, signal: Signal) -> int:
        """Updates with a non-zero current or a spike."""
        if current is None or current.shape != output.shape:
            tally.notes.add("currents are inside the layer: an update is active if the neuron fires")
            return signal.nonzero
        moved = is_nonzero(current.detach())
        count = count_true(moved)
        if count == output.numel() or signal.nonzero == 0:
            return count
        return count + int(torch.count_nonzero(output.detach()[~moved]))

    def _link(self, name: str, neurons: Neurons, current: Tensor | None, size: int) -> None:
        """Note which synapses drive these neurons: by where the current came from, or else by its size."""
        origin = None if current is None else self.provenance.of(current)
        layers = () if origin is None or origin.role != "currents" else origin.layers
        pending = [layer for layer, positions in self._pending if layer in layers or (not layers and positions == size)]
        drivers = list(dict.fromkeys(pending))
        for layer in drivers:
            tally = self.tallies[layer]
            if tally.drives not in ("", name):
                tally.notes.add(f"drives {tally.drives} and others")
                continue
            tally.drives, tally.leaky, tally.drives_last = name, neurons.leaky, layer == drivers[-1]
        self._pending = [one for one in self._pending if one[0] not in drivers] if drivers else []

    def _average_pool(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.pool(name, self.tallies[name], inputs[0], output, summing_windows(module))

    def pool(
        self, name: str, tally: Tally, x: Tensor, output: Tensor, windows: tuple[int, Callable[[Tensor], Tensor]] | None
    ) -> None:
        """Count an average pool; `windows`: see `recognition.summing_windows`.

        Each sample's step is looked at by itself: one without analog values is folded into the next synapse layer.
        """
        x = x.detach()
        axes = 1 if windows is None else windows[0]
        signal = self.provenance.signal(x, tuple(x.shape[x.dim() - axes :]))
        origin = self.provenance.of(x)
        dense = origin is not None and origin.role == "dense"
        tally.calls += 1
        tally.elements += x.numel()
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.analog += signal.analog
        analog = _whole_numbers(signal.fractions.sum(1)) > 0 if signal.fractions is not None else None
        if dense or (analog is not None and analog.all()):
            tally.analog_adds += x.numel()
            if dense:
                self.provenance.mark(output, "dense")
            return
        if analog is not None:
            tally.analog_adds += int(analog.sum()) * signal.channels * signal.places
        if windows is None:
            tally.adds += _spikes_of(signal, analog)
            tally.notes.add("windows overlap or are padded: not folded, spikes summed by the pool itself")
        else:
            pooled = _Pooled(name, x, signal, *windows, output, output._version, analog)
            self._pooled[output.untyped_storage()._cdata] = pooled

    def _max_pool(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.tallies[name].calls += 1
        self.tallies[name].notes.add("comparisons are not counted")
        origin = self.provenance.of(inputs[0])
        if origin is not None:
            self.provenance.mark(output, origin.role, origin.layers)

    def _activation(self, _name: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self.provenance.mark(output, "dense")
        self.fires()

    def _sum(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.sum(self.tallies[name], [one for one in inputs if isinstance(one, Tensor)], output)

    def sum(self, tally: Tally, operands: list[Tensor], output: Tensor, *, changes: int = 0) -> None:
        """Count a residual sum: an accumulation for each spike; currents meet in the neuron."""
        tally.calls += 1
        roles: list[Role | None] = []
        layers: list[str] = []
        for position, x in enumerate(operands):
            origin = self.provenance.of(x)
            roles.append(None if origin is None else origin.role)
            layers += [] if origin is None else origin.layers
            signal = None
            if roles[-1] not in ("currents", "dense"):
                known = None if origin is None else origin.signal
                signal = known if known is not None and known.values == x.numel() else signal_of(x, _row_shape(x))
            if signal is None or not signal.is_whole:
                tally.analog_operands.add(position)
            else:
                tally.operand_adds[position] = tally.operand_adds.get(position, 0) + int(signal.magnitude.sum())
        if "dense" in roles:
            self.provenance.mark(output, "dense", changes=changes)
        elif "currents" in roles:
            self.provenance.mark(output, "currents", tuple(layers), changes=changes)
        elif set(roles) == {"spikes"}:
            self.provenance.mark(output, "spikes", changes=changes)

    def _recurrent(self, name: str, module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        """A recurrent layer of torch: its inputs value by value; what it keeps inside is analog in every step."""
        assert isinstance(module, nn.RNNBase)
        tally, x = self.tallies[name], inputs[0]
        if isinstance(x, nn.utils.rnn.PackedSequence):
            x = x.data  # the steps that there are, one after the other
        weights = {key: weight.detach() for key, weight in module.named_parameters() if key.startswith("weight")}
        first = [weight for key, weight in weights.items() if key.startswith("weight_ih_l0")]
        inside = [weight for key, weight in weights.items() if not key.startswith("weight_ih_l0")]
        rows = x.numel() // max(1, x.shape[-1])
        hidden = sum(weight.numel() for weight in inside)
        tally.hidden_macs += rows * hidden
        tally.hidden_effective_macs += rows * sum(int(torch.count_nonzero(weight)) for weight in inside)
        faster = bool(module.batch_first) or x.dim() == 2
        linear, weight = Synapses("linear"), torch.cat(first)
        self.synapses(name, tally, linear, x, weight, bias=module.bias, time_runs_faster=faster, hidden=hidden)
        tally.notes.add("what the layer keeps inside counts as analog in every step")
        self._used.update(weight.untyped_storage()._cdata for weight in weights.values())

    def product(self, tally: Tally, counted: Product, outputs: int, *, dense: bool) -> None:
        """Count a product of activations; `dense`: of an ordinary network, where a whole number is no spike."""
        tally.calls += 1
        tally.apart = False
        tally.rows += self._batch
        tally.dense |= dense
        tally.elements += counted.values
        tally.spikes += counted.spikes + counted.graded + counted.analog
        tally.whole_spikes += counted.spikes
        tally.graded += counted.graded
        tally.analog += counted.analog
        tally.dense_macs += counted.dense
        tally.sops += counted.sops
        tally.sops_nonzero_weights += counted.sops
        tally.analog_macs += counted.macs
        tally.analog_effective_macs += counted.macs
        tally.effective_macs += counted.effective
        tally.outputs += outputs
        tally.notes.add("a product of two activations")

    def not_known(self, operation: str) -> None:
        """List an operation that multiplies and accumulates in a way that is not counted."""
        name = self._frames[-1].name if self._frames else self._root
        self.uncounted[f"{name}: {operation}"] = "an operation that is not known to the counter"

    def _fan_out(
        self,
        name: str,
        synapses: Synapses,
        weight: Tensor,
        shape: tuple[int, ...],
        output: tuple[int, ...] | None,
        *,
        bias: bool,
    ) -> FanOut:
        if not self.is_parameter(weight):
            return fan_out(synapses, weight.detach(), shape, output, bias=bias)  # made anew by each call: other zeros
        key, version = (name, (*shape, -1, *(output or ()))), (weight.untyped_storage()._cdata, weight._version)
        known = self._fan_outs.get(key)
        if known is None or known[0] != version:
            known = version, fan_out(synapses, weight.detach(), shape, output, bias=bias)
            self._fan_outs[key] = known
        return known[1]


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


def _per_row(counts: Tensor, fan: Tensor) -> Counts:
    """`[R, S]` counts · `[S]` fan-out → `[R]`, exact."""
    return _whole_numbers(counts[:, 0] * fan[0] if len(fan) == 1 else counts @ fan)


def _whole_numbers(rows: Tensor) -> Counts:
    """Whole numbers in float64 as int64, checked to have stayed below 2⁵³, where float64 is exact."""
    values = rows.cpu().numpy()
    if values.size and values.max() >= _EXACT:
        raise OverflowError("more than 2^53 synaptic operations in one sample's step; use smaller values")
    return values.astype(np.int64)


def _dot(counts: Tensor, fan: Tensor) -> int:
    """Σ count · fan-out, exact: both are whole numbers in float64, and the sum is checked to stay below 2⁵³."""
    total = float((counts * fan).sum())
    if total >= _EXACT:
        raise OverflowError("more than 2^53 synaptic operations in one batch; use smaller batches")
    return int(total)


def _spikes_of(signal: Signal, analog: NDArray[np.bool_] | None) -> int:
    """Whole numbers other than 0, in the rows that are not analog."""
    present = _whole_numbers(signal.present.sum(1))
    return int(present.sum() if analog is None else present[~analog].sum())


def _few_channels(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[C, S]` the channels that are not all 0, and their values."""
    channels = missing.sum(1).nonzero()[:, 0]
    return channels, missing[channels]


def _beside(mask: Tensor, rows: Tensor) -> Tensor:
    """`[R]` with as many axes as `rows`."""
    return mask.reshape(-1, *(1,) * (rows.dim() - 1))


def _row_shape(x: Tensor) -> tuple[int, ...]:
    """All axes but the first are a row's, where nothing else is known; a vector is rows of one value."""
    return tuple(x.shape[1:]) or (1,)
