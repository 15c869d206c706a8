"""What a layer reads: in which row it counts, where it comes from, what of it is new in this batch, and its values."""

from collections.abc import Iterable
from math import prod

import numpy as np
import torch
from torch import Tensor

from neurodeploy_energy.count.chains import Chains
from neurodeploy_energy.count.fanout import FanOut
from neurodeploy_energy.count.membranes import Membranes
from neurodeploy_energy.count.provenance import Origin, Provenance
from neurodeploy_energy.count.signals import Counts, Signal, dot, per_row, whole_numbers
from neurodeploy_energy.count.tally import Tally


class ReadingRules:
    """Rows of a model and what is known of the tensors of a batch, for the rules of all kinds of layers.

    Attributes:
        tallies: row name → its counts; an operation outside of any known layer is named `<module>: <operation>`.
        provenance: what is known of the tensors of this batch.
        membranes: neurons of this batch that are no modules.
        unknown: row name → what it reads and nobody knows where from.
        padded: whether multiply-accumulates on padding count.
        chains: of layers that fold into one; None if each counts for itself.
    """

    def __init__(self, *, padded: bool = False, fold: bool = False) -> None:
        self.padded = padded
        self.chains = Chains() if fold else None
        self.tallies: dict[str, Tally] = {}
        self.provenance = Provenance()
        self.membranes = Membranes(self.provenance)
        self.unknown: dict[str, str] = {}
        self._batch = 0
        self._places: dict[str, list[tuple[str, set[str]]]] = {}
        self._order: dict[str, float] = {}
        self._firsts: dict[str, tuple[Tensor, int]] = {}

    def forget(self) -> None:
        """Nothing that was known of the tensors of this batch holds for the next."""
        self._firsts.clear()
        self.provenance.clear()
        if self.chains is not None:
            self.chains.forget()

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
                self.tallies[label].reads |= wanted
                return label, self.tallies[label]
        label = name if not places else f"{name} ({len(places) + 1})"
        places.append((label, wanted))
        if label not in self.tallies:
            first = self.tallies[name]
            self.tallies[label] = Tally(first.kind, samples=first.samples, batch=first.batch)
            self.tallies[label].notes.add(f"{name}, where it reads {', '.join(sorted(wanted))}")
            self._order[label] = self._order[name] + 1e-3 * len(places)
        self.tallies[label].reads |= wanted
        return label, self.tallies[label]

    def uses(self, origins: Iterable[Origin | None]) -> None:
        """Note that something which is not linear reads tensors."""
        for origin in origins:
            if origin is not None and origin.chain is not None:
                origin.chain.used = True

    def of_data(self, reads: frozenset[str]) -> bool:
        """Whether what comes from these rows comes from the data alone, by encoders at most."""
        return self.membranes.are_codes(reads)

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
