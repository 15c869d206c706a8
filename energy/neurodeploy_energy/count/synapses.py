"""What layers of synapses and average pools cost, counted from their inputs as they run.

An average pool of spikes has no operations of its own where the next layer of synapses can read the spikes as they were before
it: each spike then reaches the synapses of all windows that it is in.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy_energy.count.fanout import FanOut, Synapses, fan_out, synapses_of, through_pool
from neurodeploy_energy.count.provenance import Pooled, Provenance
from neurodeploy_energy.count.recognition import summing_windows
from neurodeploy_energy.count.signals import Counts, Signal, count_nonzero, dot, per_row, rows_of, signal_of, whole_numbers
from neurodeploy_energy.count.tally import Tally


class SynapseRules:
    """Counts layers of synapses and the average pools before them, which fold into them.

    Attributes:
        tallies: layer name → its counts; an operation outside of any known layer is named `<module>: <operation>`.
        provenance: what is known of the tensors of this batch.
    """

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.provenance = Provenance()
        self._fan_outs: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, ...], FanOut]] = {}
        self._pool_fan_outs: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, tuple[Tensor, Tensor] | None]] = {}
        self._pooled: dict[int, Pooled] = {}
        self._pending: list[tuple[str, int]] = []
        self._parameters: dict[int, str] = {}
        self._used: set[int] = set()
        self._fired_now = self._fired = False
        self._batch = 0
        self._batch_major = self._time_last = False

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
        self.provenance.clear()

    def fires(self) -> None:
        """From here on the batch is no longer what came in: neurons or activations have run."""
        self._fired_now = self._fired = True

    def is_parameter(self, x: Tensor) -> bool:
        """Whether a tensor is a parameter or buffer of the model, or a view of one."""
        return x.untyped_storage()._cdata in self._parameters

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
        messages = origin is not None and origin.role == "messages"
        tally.messages |= messages
        pooled = self._pool_read_as(x)
        if pooled is not None:
            counts = self._folded(name, fan, pooled, x, tally)
        else:
            counts = self._values(tally, fan, self.provenance.signal(x, shape), x, messages=messages)
        if hidden:
            counts["hidden"] = np.full_like(counts["sops"], hidden)
        tally.add_rows(counts, time_runs_faster=faster)
        rows = x.numel() // max(1, prod(shape))
        tally.elements += x.numel()
        tally.dense_macs += rows * fan.dense
        tally.outputs += rows * fan.geometry.output_positions
        self._pending.append((name, fan.geometry.output_positions))

    def _values(self, tally: Tally, fan: FanOut, signal: Signal, x: Tensor, *, messages: bool = False) -> dict[str, Counts]:
        """Count what a layer reads, value by value; what it counted of each row. A graded message counts once."""
        tally.spikes += signal.nonzero
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.analog += signal.analog
        events = signal.present if messages else signal.magnitude
        sops = per_row(events, fan.all)
        macs = np.zeros_like(sops) if signal.fractions is None else per_row(signal.fractions, fan.all)
        present = sops if signal.present is events else per_row(signal.present, fan.all)
        tally.sops += int(sops.sum())
        tally.analog_macs += int(macs.sum())
        tally.sops_nonzero_weights += int(sops.sum())
        tally.effective_macs += int(present.sum())
        tally.analog_effective_macs += int(macs.sum())
        if fan.zeros is not None and signal.nonzero:
            # Counted with every weight, less the zeros: few channels have any, so that the map of all is seldom needed.
            channels, missing = fan.zeros
            magnitude, here, fractions = signal.in_channels(x, channels)
            tally.sops_nonzero_weights -= dot(here if messages else magnitude, missing)
            tally.effective_macs -= dot(here, missing)
            tally.analog_effective_macs -= 0 if fractions is None else dot(fractions, missing)
        spikes = whole_numbers(signal.present.sum(1))
        return {"spikes": spikes, "sops": sops, "macs": macs, "dense_macs": np.full(signal.rows, fan.dense, np.int64)}

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
        analog = whole_numbers(signal.fractions.sum(1)) > 0 if signal.fractions is not None else None
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
            pooled = Pooled(name, x, signal, *windows, output, output._version, analog)
            self._pooled[output.untyped_storage()._cdata] = pooled

    def _pool_read_as(self, x: Tensor) -> Pooled | None:
        if not self._pooled:
            return None
        direct = self._pooled.get(x.untyped_storage()._cdata)
        if direct is not None and direct.is_read_as(x):
            return direct
        return next((pooled for pooled in self._pooled.values() if pooled.is_copied_to(x)), None)

    def _folded(self, name: str, fan: FanOut, pooled: Pooled, x: Tensor, tally: Tally) -> dict[str, Counts]:
        """Count what a layer reads of a pool that is folded into it: spikes as they were before the pool."""
        signal, spikes, shape = pooled.signal, pooled.spikes, tuple(pooled.spikes.shape[-pooled.axes :])
        key = (name, pooled.layer, shape)
        if key not in self._pool_fan_outs:
            of_one = fan.by_position().reshape(shape[0], -1)[0]  # the same in every channel
            every = through_pool(pooled.sums, (1, *shape[1:]), of_one).reshape(-1)
            through = None if fan.zeros is None else through_pool(pooled.sums, shape, fan.nonzero_by_position()).flatten(1)
            self._pool_fan_outs[key] = every, None if through is None else _few_channels(every - through)
        every, missing = self._pool_fan_outs[key]
        counts: dict[str, Counts] = {}
        if pooled.analog is None:
            tally.spikes += count_nonzero(x)
        else:
            whole = torch.from_numpy(~pooled.analog).to(x.device)
            read = rows_of(x, tuple(x.shape[x.dim() - 1 - len(fan.geometry.kernel) :]))
            analog = read * ~_beside(whole, read)
            counts = self._values(tally, fan, signal_of(analog, tuple(read.shape[1:])), analog)
            spikes = rows_of(spikes, shape) * _beside(whole, rows_of(spikes, shape))
            signal = signal_of(spikes, shape)
            tally.spikes += count_nonzero(read * _beside(whole, read))
        sops = per_row(signal.magnitude, every)
        tally.whole_spikes += signal.spikes
        tally.graded += signal.graded
        tally.sops += int(sops.sum())
        tally.sops_nonzero_weights += int(sops.sum())
        if missing is not None and signal.nonzero:
            tally.sops_nonzero_weights -= dot(signal.in_channels(spikes, missing[0])[0], missing[1])
        tally.notes.add(f"spikes counted before {pooled.layer}, which is folded in")
        self.tallies[pooled.layer].notes.add(f"folded into {name}: no operations of its own")
        pooled.folded = True
        own = {"spikes": whole_numbers(signal.present.sum(1)), "sops": sops, "macs": np.zeros_like(sops)}
        own = {key: counts.get(key, 0) + values for key, values in own.items()}
        return own | {"dense_macs": np.full_like(sops, fan.dense)}


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
