"""What average pools cost, and what folds into the layer that reads them.

An average pool of spikes has no operations of its own where the next layer of synapses can read the spikes as they were before
it: each spike then reaches the synapses of all windows that it is in.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy_energy.count.fanout import FanOut, Windows
from neurodeploy_energy.count.provenance import Origin, Pooled, in_spikes
from neurodeploy_energy.count.reading import ReadingRules
from neurodeploy_energy.count.recognition import summing_windows
from neurodeploy_energy.count.signals import Counts, Signal, dot, per_row, presence_of, rows_of, signal_of, whole_numbers
from neurodeploy_energy.count.tally import Tally


class PoolRules(ReadingRules):
    """Counts average pools, and layers of synapses where they read one that folds into them."""

    def __init__(self, *, padded: bool = False, fold: bool = False) -> None:
        super().__init__(padded=padded, fold=fold)
        self._pool_fan_outs: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, tuple[Tensor, Tensor] | None]] = {}
        self._pooled: dict[int, Pooled] = {}

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
        super().forget()

    def _average_pool(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.pool(name, self.tallies[name], inputs[0], output, summing_windows(module))

    def pool(self, name: str, tally: Tally, x: Tensor, output: Tensor, windows: tuple[int, Windows] | None) -> None:
        """Count an average pool; `windows`: see `recognition.summing_windows`.

        Each sample's step is looked at by itself: one without analog values is folded into the next synapse layer.
        """
        origin = self.provenance.of(x)
        self.uses([origin])
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
        self, name: str, row: Tally, fan: FanOut, pooled: Pooled, x: Tensor, parts: list[Tally], *, messages: bool = False
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
        read_values = presence_of(read, (fan.geometry.in_channels, *fan.geometry.input))
        pairs = _pairs(fan, read_values, read.detach())
        for tally in parts:
            tally.spikes += read_values.nonzero
            tally.whole_spikes += signal.spikes
            tally.graded += signal.graded
            tally.sops += int(sops.sum())
            tally.sops_nonzero_weights += int(sops.sum()) - less
            tally.effective_macs += pairs
        row.pooled = True
        row.notes.add(f"spikes counted before {pooled.layer}, which is folded in")
        self.tallies[pooled.layer].notes.add(f"folded into {name}: no operations of its own")
        pooled.folded = True
        own = {"spikes": whole_numbers(signal.present.sum(1)), "sops": sops, "macs": np.zeros_like(sops)}
        own = {key: counts.get(key, 0) + values for key, values in own.items()}
        return own | {"dense_macs": np.full_like(sops, fan.dense)}


def _pooled_origin(origin: Origin, window: int) -> Origin:
    """What a mean over windows is; of spikes it is a count, to scale."""
    height = None if origin.height is None or window == 0 else origin.height / window
    return Origin(origin.role, origin.reads, origin.fired, height=height)


def _spikes_of(signal: Signal, analog: NDArray[np.bool_] | None) -> int:
    """Whole numbers other than 0, in the rows that are not analog."""
    present = whole_numbers(signal.present.sum(1))
    return int(present.sum() if analog is None else present[~analog].sum())


def _pairs(fan: FanOut, signal: Signal, x: Tensor) -> int:
    """Values of `x` other than 0, each with every weight other than 0 that it meets."""
    pairs = int(per_row(signal.present, fan.all).sum())
    if fan.zeros is None or not signal.nonzero:
        return pairs
    channels, missing = fan.zeros
    _, here, _ = signal.in_channels(x, channels)
    return pairs - dot(here, missing)


def _few_channels(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[C, S]` the channels that are not all 0, and their values."""
    channels = missing.sum(1).nonzero()[:, 0]
    return channels, missing[channels]


def _beside(mask: Tensor, rows: Tensor) -> Tensor:
    """`[R]` with as many axes as `rows`."""
    return mask.reshape(-1, *(1,) * (rows.dim() - 1))
