"""Neurons that are no module: a potential that a model carries from step to step and compares with a threshold.

A comparison of what synapses drive is a candidate. Its potential is the same in the next step if the compared tensor was
computed, elementwise, from the one that was compared before: from itself, or from itself and its spikes. A candidate becomes a
layer of neurons once its spikes reach a synapse, a sum, a pool or the answer; one whose mask only resets or rectifies does not.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from weakref import ref

import torch
from torch import Tensor

from neurodeploy_energy.count.provenance import INPUT, Origin, Provenance, reads_of
from neurodeploy_energy.count.signals import count_nonzero, is_nonzero

_CHAIN = 8
"""Scalings and shifts between a potential and what is compared with a threshold."""


@dataclass(eq=False)
class Membrane:
    """A layer of neurons of one batch.

    Attributes:
        name: of its row.
        number: among those of the batch.
        shape: of what is compared.
        drivers: rows whose currents it gets.
        site: of the comparison in the code.
        neurons: of one sample.
        steps_seen: time steps.
        rows_are_clear: whether samples and steps can be told apart.
        spikes: `[R]` of each step, int64: spikes by row.
        active, updates: neuron updates with a current or a spike, and all.
        chain: what was compared last, and what that is a multiple of.
        heads: the first two of these.
        leaky: whether the potential is scaled between two steps.
        read: whether its spikes go anywhere.
        integrates: whether new currents have been seen to come to a potential that lasts from step to step.
    """

    name: str
    number: int
    shape: tuple[int, ...]
    drivers: frozenset[str]
    site: Hashable
    neurons: int = 0
    steps_seen: int = 0
    rows_are_clear: bool = True
    spikes: list[Tensor] = field(default_factory=list)
    active: int = 0
    updates: int = 0
    chain: list[Origin] = field(default_factory=list)
    leaky: bool = False
    read: bool = False
    integrates: bool = False

    @property
    def is_layer(self) -> bool:
        """Whether it is reported: an encoder is none."""
        return self.read and not self.is_code

    @property
    def is_code(self) -> bool:
        """Whether it is an encoder: data that are compared with numbers, or taken apart into weighted bits."""
        return self.drivers == {INPUT} and not self.integrates


class Membranes:
    """Candidates of one batch, and what is computed from their potentials."""

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        self._batch = 0
        self._all: list[Membrane] = []
        self._by_name: dict[str, Membrane] = {}
        self._chained: dict[int, tuple[int, bool]] = {}

    def begin_batch(self, batch: int) -> None:
        """A batch of so many samples begins."""
        self._batch = batch
        self._all.clear()
        self._by_name.clear()
        self._chained.clear()

    def __iter__(self) -> Iterator[Membrane]:
        return (membrane for membrane in self._all if membrane.is_layer)

    def names(self, states: Iterable[int]) -> frozenset[str]:
        """Of membranes by their numbers."""
        return frozenset(self._all[number].name for number in states)

    def are_codes(self, reads: frozenset[str]) -> bool:
        """Whether rows are the data and encoders of theirs alone."""
        return bool(reads) and all(name == INPUT or self._is_code(name) for name in reads)

    def _is_code(self, name: str) -> bool:
        return name in self._by_name and self._by_name[name].is_code

    def are_one(self, origins: Iterable[Origin]) -> bool:
        """Whether all come from the spikes of the same neurons in the code, and of no others."""
        reads = {origin.reads for origin in origins}
        return len(reads) == 1 and all(len(names) == 1 and names <= self._by_name.keys() for names in reads)

    def read(self, reads: Iterable[str]) -> None:
        """Spikes have gone somewhere."""
        for name in reads:
            if name in self._by_name:
                self._by_name[name].read = True

    def compare(self, x: Tensor, origin: Origin, fired: Tensor, module: str, site: Hashable) -> Origin:
        """A potential is compared with a threshold; what the answer `fired` is.

        Args:
            x: what is compared.
            origin: of it.
            fired: mask, or signs.
            module: that runs.
            site: in the code.
        """
        membrane, again = self._of(x, origin, module, site)
        if not again:
            membrane.leaky |= origin.leaky
            membrane.updates += x.numel()
            self._add_rows(membrane, fired)
            membrane.active += self._active(x, origin, fired)
            self._rests_on(membrane, _chain(origin))
        return Origin("spikes", frozenset({membrane.name}), fired=True, single=True)

    def _add_rows(self, membrane: Membrane, fired: Tensor) -> None:
        """Spikes of each sample's step: `fired` is `[B, …]`, `[T, B, …]` or `[T·B, …]`."""
        mask = fired > 0 if fired.dtype != torch.bool else fired
        batch, shape = self._batch, fired.shape
        leading = 1 if shape[0] == batch else 2 if fired.dim() > 1 and shape[1] == batch else 1
        rows = mask.flatten(0, leading - 1)
        if not batch or len(rows) % batch:
            membrane.rows_are_clear = False
            return
        membrane.neurons = rows[0].numel()
        membrane.steps_seen += len(rows) // batch
        membrane.spikes.append(rows.reshape(len(rows), -1).sum(1).cpu())

    def _rests_on(self, membrane: Membrane, chain: list[Origin]) -> None:
        for one in membrane.chain:
            self._chained.pop(id(one), None)
        membrane.chain = chain
        for at, one in enumerate(chain):
            one.inflow, one.fresh = (), False
            self._chained[id(one)] = membrane.number, at < 2

    def _of(self, x: Tensor, origin: Origin, module: str, site: Hashable) -> tuple[Membrane, bool]:
        """The membrane that is compared, and whether it has been in this step."""
        shape = tuple(x.shape)
        for one in _chain(origin)[:2]:
            number, _ = self._chained.get(id(one), (-1, False))
            if number >= 0 and self._all[number].shape == shape:
                return self._all[number], True  # a second mask of the same potential, such as that of the reset
        for number in sorted(origin.states, reverse=True):
            membrane = self._all[number]
            if membrane.shape == shape:
                membrane.integrates |= origin.fresh
                membrane.drivers |= self._drivers(origin) - {one.name for one in self._all}
                return membrane, not origin.fresh
        drivers = self._drivers(origin)
        for membrane in self._all:
            known = (membrane.site, membrane.shape, membrane.drivers) == (site, shape, drivers)
            if known:
                return membrane, False
        named = f"{module}: neurons of {', '.join(sorted(drivers)) or 'unknown currents'}"
        nth = 1 + sum(one.name.split(" (")[0] == named for one in self._all)
        membrane = Membrane(named + (f" ({nth})" if nth > 1 else ""), len(self._all), shape, drivers, site)
        self._all.append(membrane)
        self._by_name[membrane.name] = membrane
        return membrane, False

    def _drivers(self, origin: Origin) -> frozenset[str]:
        """Rows that drive a potential; encoders are the data."""
        return frozenset(INPUT if self._is_code(name) else name for name in origin.reads)

    def _active(self, x: Tensor, origin: Origin, fired: Tensor) -> int:
        currents: list[Tensor] = list(origin.inflow)
        if not currents:
            unshifted = None if origin.unshifted is None else origin.unshifted()
            currents = [x if unshifted is None or unshifted.shape != x.shape else unshifted]
        if any(one.shape != fired.shape for one in currents):
            return fired.numel()
        mask = fired > 0 if fired.dtype != torch.bool else fired
        for one in currents:
            mask = mask | is_nonzero(one).reshape(mask.shape)
        return count_nonzero(mask)

    def of(self, operands: list[tuple[Tensor, Origin]], *, sums: bool, scales: bool) -> Origin | None:
        """What an elementwise operation makes of potentials; None if none of its operands has to do with one.

        Args:
            operands: data that it reads, all of the output's size.
            sums: whether it adds.
            scales: whether it multiplies by a number that is no spike.
        """
        states = frozenset().union(*(origin.states for _, origin in operands if origin.is_analog))
        for _, origin in operands:
            states |= self._resting(origin, operands)
        if not states:
            return None
        names = self.names(states)
        apart = [
            (x, origin)
            for x, origin in operands
            if not (origin.states & states)
            and self._chained.get(id(origin), (-1, False))[0] not in states
            and not (origin.role == "spikes" and origin.reads & names)
        ]
        mine = [
            origin
            for _, origin in operands
            if origin.states & states or self._chained.get(id(origin), (-1, False))[0] in states
        ]
        made = Origin("currents", reads_of(one for one in mine if one.is_analog), fired=True, states=states)
        decays = scales or any(origin.decays for origin in mine)
        made.leaky = any(origin.leaky for origin in mine) or (sums and decays)
        made.decays = decays and not sums
        made.fresh = any(origin.fresh for origin in mine if origin.states & states)
        made.inflow = tuple(x for origin in mine for x in origin.inflow if origin.states & states)
        if sums and apart:
            made.fresh = True
            made.inflow += tuple(x for x, _ in apart)
            made.reads |= reads_of(origin for _, origin in apart)
        return made

    def _resting(self, origin: Origin, operands: list[tuple[Tensor, Origin]]) -> frozenset[int]:
        """Membranes that an operand is the potential of: it was compared, and meets its own spikes or new currents."""
        if not origin.is_analog:
            return frozenset()
        number, moves = self._chained.get(id(origin), (-1, False))
        if number < 0:
            return frozenset()
        others = [other for _, other in operands if other is not origin]
        own = any(other.role == "spikes" and self._all[number].name in other.reads for other in others)
        scaled = not others and not origin.root  # such as by the leak; a bare current may be others' too
        return frozenset({number}) if own or (moves and (others or scaled)) else frozenset()


def shifted(made: Origin, x: Tensor, origin: Origin, *, sums: bool) -> Origin:
    """Note that `made` is `x` plus a number, or times one."""
    made.scaled_from = origin
    made.unshifted = ref(x) if sums and origin.unshifted is None else origin.unshifted
    return made


def _chain(origin: Origin) -> list[Origin]:
    chain: list[Origin] = []
    one: Origin | None = origin
    while one is not None and len(chain) < _CHAIN:
        chain.append(one)
        one = one.scaled_from
    return chain
