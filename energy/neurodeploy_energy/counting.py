"""Counting by forward hooks: one pass over the data, one dot product per synapse layer, no second forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from neurodeploy_energy.fanout import FanOut, fan_out, own_axes, through_pool
from neurodeploy_energy.recognition import kind_of, summing_windows
from neurodeploy_energy.tally import Tally

_EXACT = 2**53


@dataclass(eq=False)
class _Pooled:
    """Spikes on their way through an average pool: what went in, kept until the end of the batch for those who read it.

    Holding the output keeps its memory from being given to another tensor, so that its address identifies it.
    """

    layer: str
    spikes: Tensor
    axes: int
    sums: Callable[[Tensor], Tensor]
    output: Tensor
    version: int
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


class Counter:
    """Counts the operations of a model's layers while it runs; see `attached`.

    Attributes:
        tallies: layer name → its counts.
        uncounted: layer name → why its operations are not counted.
    """

    def __init__(self, model: nn.Module) -> None:
        self.tallies: dict[str, Tally] = {}
        self.uncounted: dict[str, str] = {}
        self._fan_outs: dict[tuple[str, tuple[int, ...]], FanOut] = {}
        self._pool_fan_outs: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, Tensor]] = {}
        self._pooled: dict[int, _Pooled] = {}
        self._currents: dict[int, ref[Tensor]] = {}
        self._hooked: list[tuple[nn.Module, Callable[..., None]]] = []
        for name, module in model.named_modules():
            self._plan(name, module)

    def _plan(self, name: str, module: nn.Module) -> None:
        kind = kind_of(module)
        if kind is None:
            if next(module.children(), None) is None and name:
                self.uncounted[name] = f"{type(module).__module__}.{type(module).__qualname__} is not known to the counter"
            elif any(True for _ in module.parameters(recurse=False)):
                self.uncounted[name or type(module).__name__] = "has weights of its own, outside of its layers"
        elif kind != "free":
            self.tallies[name] = Tally(kind)
            self._hooked.append((module, self._hook(name, module)))

    def _hook(self, name: str, module: nn.Module) -> Callable[..., None]:
        count: dict[str, Callable[..., None]] = {
            "synapse": self._synapse,
            "neuron": self._neuron,
            "average pool": self._average_pool,
            "max pool": self._max_pool,
            "sum": self._sum,
        }
        rule = count[self.tallies[name].kind]

        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            rule(name, module, inputs, output[0] if isinstance(output, tuple) else output)

        return hook

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks are on the model inside, and off it afterwards, whatever happens."""
        handles = [module.register_forward_hook(hook) for module, hook in self._hooked]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._pooled.clear()
            self._currents.clear()

    def end_of_batch(self) -> None:
        """Pools whose output no synapse layer has read are counted for themselves."""
        for pooled in self._pooled.values():
            if pooled.folded:
                continue
            tally = self.tallies[pooled.layer]
            tally.adds += int(torch.count_nonzero(pooled.spikes))
            tally.notes.add("spikes summed by the pool itself")
        self._pooled.clear()
        self._currents.clear()

    def _synapse(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        tally, x = self.tallies[name], inputs[0].detach()
        self._currents[id(output)] = ref(output)
        axes = own_axes(module)
        shape = tuple(x.shape[-axes:])
        values = x.reshape(-1, *shape)
        fan = self._fan_out(name, module, shape)
        tally.calls += 1
        tally.rows += len(values)
        tally.elements += values.numel()
        tally.spikes += int(torch.count_nonzero(values))
        tally.dense_macs += len(values) * fan.dense
        present = (values != 0).sum(0, dtype=torch.float64)
        tally.effective_macs += _dot(present, fan.nonzero)
        pooled = self._pool_read_as(x)
        if pooled is not None:
            self._through_pool(name, fan, pooled, tally)
        elif not _whole(values):
            tally.analog = True
        else:
            graded = bool(values.numel()) and values.abs().max() > 1
            per_position = values.abs().sum(0, dtype=torch.float64) if graded else present
            tally.sops += _dot(per_position, fan.all)
            tally.sops_nonzero_weights += _dot(per_position, fan.nonzero)
            if graded:
                tally.notes.add("graded spikes: a value of k costs k synaptic operations")

    def _pool_read_as(self, x: Tensor) -> _Pooled | None:
        direct = self._pooled.get(x.untyped_storage().data_ptr())
        if direct is not None and direct.is_read_as(x):
            return direct
        return next((pooled for pooled in self._pooled.values() if pooled.is_copied_to(x)), None)

    def _through_pool(self, name: str, fan: FanOut, pooled: _Pooled, tally: Tally) -> None:
        shape = tuple(pooled.spikes.shape[-pooled.axes :])
        key = (name, pooled.layer, shape)
        if key not in self._pool_fan_outs:
            every, nonzero = (through_pool(pooled.sums, shape, after) for after in (fan.all, fan.nonzero))
            self._pool_fan_outs[key] = every, nonzero
        per_position = pooled.spikes.reshape(-1, *shape).abs().sum(0, dtype=torch.float64)
        every, nonzero = self._pool_fan_outs[key]
        tally.sops += _dot(per_position, every)
        tally.sops_nonzero_weights += _dot(per_position, nonzero)
        tally.notes.add(f"spikes counted before {pooled.layer}, which is folded in")
        self.tallies[pooled.layer].notes.add(f"folded into {name}: no operations of its own")
        pooled.folded = True

    def _neuron(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        tally, current = self.tallies[name], inputs[0].detach()
        steps, batch = output.shape[:2]
        tally.calls += 1
        tally.rows += steps * batch
        tally.neurons = output[0, 0].numel()
        tally.spikes += int(torch.count_nonzero(output))
        tally.updates += output.numel()
        tally.updates_active += int(torch.count_nonzero((current != 0) | (output != 0)))

    def _average_pool(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        tally, x = self.tallies[name], inputs[0].detach()
        tally.calls += 1
        tally.elements += x.numel()
        windows = summing_windows(module)
        if not _whole(x):
            tally.analog = True
        elif windows is None:
            tally.adds += int(torch.count_nonzero(x))
            tally.notes.add("windows overlap or are padded: not folded, spikes summed by the pool itself")
        else:
            axes, sums = windows
            self._pooled[output.untyped_storage().data_ptr()] = _Pooled(name, x, axes, sums, output, output._version)

    def _max_pool(self, name: str, _module: nn.Module, _inputs: tuple[Any, ...], _output: Tensor) -> None:
        self.tallies[name].calls += 1
        self.tallies[name].notes.add("comparisons are not counted")

    def _sum(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        tally = self.tallies[name]
        tally.calls += 1
        for position, operand in enumerate(inputs):
            x = operand.detach()
            if self._is_current(operand) or not _whole(x):
                tally.analog_operands.add(position)
            else:
                tally.operand_adds[position] = tally.operand_adds.get(position, 0) + int(x.abs().sum(dtype=torch.float64))
        if all(map(self._is_current, inputs)):
            self._currents[id(output)] = ref(output)

    def _is_current(self, x: Tensor) -> bool:
        """Whether synapses made it: with integer weights their sums are whole numbers, and no spikes for all that."""
        known = self._currents.get(id(x))
        return known is not None and known() is x

    def _fan_out(self, name: str, module: nn.Module, shape: tuple[int, ...]) -> FanOut:
        key = (name, shape)
        if key not in self._fan_outs:
            self._fan_outs[key] = fan_out(module, shape)
        return self._fan_outs[key]


def _whole(x: Tensor) -> bool:
    return torch.equal(x, x.round())


def _dot(counts: Tensor, fan: Tensor) -> int:
    """Σ count · fan-out, exact: both are whole numbers in float64, and the sum is checked to stay below 2⁵³."""
    total = float((counts * fan).sum())
    if total >= _EXACT:
        raise OverflowError("more than 2^53 synaptic operations in one batch; use smaller batches")
    return int(total)
