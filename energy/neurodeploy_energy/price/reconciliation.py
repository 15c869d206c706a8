"""What other tools would count of the same network, worked out from the counts of a report, and every reason for a difference.

None of the tools is imported: their rules are written here once more, and held against recorded runs of them. A ledger begins
with this package's counts and ends with the tool's, one line for each rule that the two do not share. Counts are per sample.

What a report does not hold is in no ledger: batch norm, which is folded, the inputs of max pools, additions of values outside
of layers, and biases of linear layers, which syops counts once per call. Tools look at each call and at its values as the code
has them; the ledgers look at a layer as a whole, and take spikes to be ones there.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import ceil, prod

from neurodeploy_energy.count.layer import GRADED, LayerRow, exact_sum
from neurodeploy_energy.declared import Count, Declared, Number

SYNAPSES = ("synapse", "matmul", "recurrent")
_LEAST = 1e-6
"""Of an operation per sample: less is what rounding of means leaves."""


@dataclass(frozen=True)
class CountDifference(Declared):
    """One reason, and by how much a tool's counts are larger (or smaller) because of it."""

    reason: str
    macs: Number = 0.0
    acs: Number = 0.0


@dataclass(frozen=True)
class Ledger(Declared):
    """From this package's counts to those of a tool.

    Attributes:
        tool: its name, version and mode.
        macs, acs: as the tool would count them; None if that cannot be worked out from the report.
        differences: their sum is what the tool counts more than this package.
        repeated: multiply-accumulates that the tool adds if the code computes in every step what is the same in all of them:
            the layers before the first neurons.
        unknown: layers of which the tool's counts cannot be worked out, with the reason.
    """

    tool: str
    macs: Count | None
    acs: Count | None
    differences: tuple[CountDifference, ...]
    repeated: Count = 0.0
    unknown: tuple[str, ...] = ()


@dataclass
class _Entries:
    """What is more or less than this package counts, by reason, in the order in which the reasons came up.

    Terms are kept one by one and added up at the end, so that what cancels leaves no rest.
    """

    macs: dict[str, list[float]] = field(default_factory=dict)
    acs: dict[str, list[float]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, reason: str, *, macs: Sequence[float] = (), acs: Sequence[float] = ()) -> None:
        self.macs.setdefault(reason, []).extend(macs)
        self.acs.setdefault(reason, []).extend(acs)

    def instead(self, row: LayerRow, reason: str, *, macs: float = 0.0, acs: float = 0.0) -> None:
        """A tool counts so much of a layer, and nothing of what this package counts."""
        self.add(reason, macs=[macs, -row.macs], acs=[acs, -row.sops])

    def differences(self) -> tuple[CountDifference, ...]:
        every = (CountDifference(reason, exact_sum(self.macs[reason]), exact_sum(self.acs[reason])) for reason in self.macs)
        return tuple(one for one in every if max(abs(one.macs), abs(one.acs)) > _LEAST)


ZEROS = "inputs and weights of zero are skipped"
ZERO_WEIGHTS = "weights of zero are skipped"
SUMS = "whole numbers above 1 are multiplied"
POOLED = "means of spikes, which a pool makes, are multiplied"
PADDING = "what meets the padding is counted"
BORDERS = "operations are the rate times those of a dense layer, borders included"
BIAS = "biases are counted"
UNSEEN = "operations outside of modules are not seen"
UPDATES = "each update of a neuron is an accumulation"
POOLS = "each spike that a pool reads is an accumulation, each other number a multiplication"
ADDS = "sums of spikes outside of synapses are not counted"
ELSEWHERE = "additions outside of synapses, of neurons and batch norm too, are counted value by value: not in this ledger"
DENSE = "spikes are not told from other numbers: every layer is dense"
SILENT = "every synapse of a layer on spikes is counted, fired or not"
KERNEL = "each spike meets the whole kernel, over the stride"
LEAK = "the leak of each update is a multiplication"
RESETS = "each spike resets its neuron: an accumulation"
GROUPS = "groups are ignored"

Rule = Callable[[LayerRow, _Entries], None]


def reconcile(layers: Sequence[LayerRow], steps: int) -> tuple[Ledger, ...]:
    """What other tools would count; nothing of a network that sends graded messages, which none of them knows."""
    if any(row.kind == GRADED for row in layers):
        return ()
    leaking = _leaking(layers)
    rules: dict[str, tuple[Rule, Rule]] = {
        "NeuroBench 2.3, effective": (_neurobench, _adds_left_out),
        "syops 0.0.5": (_syops, _syops_elsewhere),
        "SpikingJelly 2.0, simple": (_simple, _simple_elsewhere),
        "SpikingJelly 2.0, Lemaire": (_lemaire, lambda row, to: _lemaire_elsewhere(row, to, leaking)),
        "SpikingJelly 2.0, NeuroMC": (_neuromc, _neuromc_elsewhere),
        "fvcore 0.1.5": (_fvcore, _adds_left_out),
    }
    return tuple(_ledger(tool, layers, steps, *both) for tool, both in rules.items())


def _ledger(tool: str, layers: Sequence[LayerRow], steps: int, of_synapses: Rule, elsewhere: Rule) -> Ledger:
    entries, repeated = _Entries(), []
    first = next((at for at, row in enumerate(layers) if row.kind == "neuron"), len(layers))
    for at, row in enumerate(layers):
        if row.kind not in SYNAPSES:
            elsewhere(row, entries)
        elif _is_mixed(row):
            entries.unknown.append(f"{row.name}: it reads spikes and analog values, and tools decide call by call")
        else:
            of_synapses(row, entries)
            if row.macs and row.steps == 1 < steps and at < first:
                repeated.append((steps - 1) * _macs_of(row, of_synapses))
    if entries.unknown:
        return Ledger(tool, None, None, entries.differences(), exact_sum(repeated), tuple(entries.unknown))
    macs = exact_sum(chain((row.macs for row in layers), *entries.macs.values()))
    acs = exact_sum(chain((row.sops + row.adds + row.analog_adds for row in layers), *entries.acs.values()))
    return Ledger(tool, macs, acs, entries.differences(), exact_sum(repeated))


def _macs_of(row: LayerRow, of_synapses: Rule) -> float:
    """What a tool multiplies in one evaluation of a layer that is evaluated once."""
    alone = _Entries()
    of_synapses(row, alone)
    return exact_sum([row.macs, *chain(*alone.macs.values())])


def _is_mixed(row: LayerRow) -> bool:
    return bool(row.sops and row.macs)


def _is_function(row: LayerRow) -> bool:
    """Whether it is an operation in the code, and no module: such a row is named after the module that it is in."""
    return ": " in row.name


def _reads_ones(row: LayerRow) -> bool:
    """Whether a tool that looks at the values sees zeros and ones alone."""
    return not (row.macs or row.pooled or row.inputs.graded or row.inputs.analog)


def _padded(row: LayerRow) -> float:
    """Multiply-accumulates of the dense layer with those that meet the padding, as often as it was evaluated."""
    if row.geometry is None or row.kind == "recurrent":
        return row.dense_macs
    layer = row.geometry
    return row.steps * layer.weights * prod(layer.input if layer.kind == "transposed" else layer.output)


def _dense(row: LayerRow, to: _Entries) -> None:
    """A tool multiplies every value with every weight: what is analog here, the padding too, and all else."""
    if row.macs:
        to.add(PADDING, macs=[_padded(row), -row.macs])
    else:
        to.instead(row, POOLED if row.pooled else SUMS, macs=_padded(row))


def _unseen(row: LayerRow, to: _Entries) -> bool:
    if _is_function(row):
        to.instead(row, UNSEEN)
        return True
    return False


def _neurobench(row: LayerRow, to: _Entries) -> None:
    if _unseen(row, to):
        return
    if row.macs:
        to.add(ZEROS, macs=[row.effective_macs, -row.macs])
    elif _reads_ones(row):
        to.add(ZERO_WEIGHTS, acs=[row.sops_nonzero_weights, -row.sops])
    elif row.sops_nonzero_weights and not row.pairs:
        to.unknown.append(f"{row.name}: how many of its inputs are not 0 is not in a report of an earlier version")
    else:
        to.instead(row, POOLED if row.pooled else SUMS, macs=row.pairs)


def _syops(row: LayerRow, to: _Entries) -> None:
    if _unseen(row, to):
        return
    if row.kind == "recurrent":
        to.unknown.append(f"{row.name}: recurrent layers have no split into operations on spikes and others there")
        return
    layer = row.geometry
    padded, biased = _padded(row), 0.0
    if layer is not None and layer.kind == "transposed":
        padded = row.steps * layer.weights * prod(layer.output)
    if layer is not None and layer.bias and layer.kind != "linear":
        biased = row.steps * layer.output_positions
    if row.macs:
        to.add(PADDING, macs=[padded, -row.macs])
        to.add(BIAS, macs=[biased])
    elif _reads_ones(row):
        to.add(BORDERS, acs=[row.rate * padded, -row.sops])
        to.add(BIAS, acs=[row.rate * biased])
    else:
        to.instead(row, POOLED if row.pooled else SUMS, macs=padded)
        to.add(BIAS, macs=[biased])


def _syops_elsewhere(row: LayerRow, to: _Entries) -> None:
    if row.kind == "neuron":
        to.add(UPDATES, acs=[row.updates_active, row.updates_idle])
    elif row.kind == "average pool":
        values = row.inputs.zeros + row.inputs.spikes + row.inputs.graded + row.inputs.analog
        ones = not (row.inputs.graded or row.inputs.analog)
        read = ([], [row.inputs.spikes]) if ones else ([values], [])
        to.add(POOLS, macs=read[0], acs=[*read[1], -row.adds, -row.analog_adds])
    else:
        _adds_left_out(row, to)


def _simple(row: LayerRow, to: _Entries) -> None:
    if row.kind == "matmul" and row.macs + row.inputs.graded + row.inputs.analog:
        to.unknown.append(f"{row.name}: of a product of activations the tool looks at each factor by itself")
    elif row.kind == "recurrent":
        to.unknown.append(f"{row.name}: what it multiplies inside is looked at value by value")
    elif not _reads_ones(row):
        _dense(row, to)


def _lemaire(row: LayerRow, to: _Entries) -> None:
    layer = row.geometry
    if _unseen(row, to):
        return
    if layer is None or layer.kind == "transposed" or row.kind == "recurrent":
        to.unknown.append(f"{row.name}: the formulas know convolutions and linear layers")
        return
    if _reads_ones(row):
        taps = prod(ceil(size / stride) for size, stride in zip(layer.kernel, layer.stride, strict=True))
        outputs = layer.out_channels // layer.groups
        to.add(KERNEL, acs=[row.inputs.spikes * outputs * taps, -row.sops])
    else:
        _dense(row, to)
    if layer.bias:
        to.add(BIAS, acs=[row.steps * layer.output_positions])


def _lemaire_elsewhere(row: LayerRow, to: _Entries, leaking: frozenset[str]) -> None:
    if row.kind == "neuron":
        to.add(RESETS, acs=[row.spikes])
        to.add(LEAK, macs=[row.updates_active, row.updates_idle] if row.name in leaking else ())
    else:
        _adds_left_out(row, to)


def _neuromc(row: LayerRow, to: _Entries) -> None:
    if row.geometry is None or row.kind == "recurrent" or _is_function(row):
        to.unknown.append(f"{row.name}: only modules of convolutions and linear layers are mapped to the accelerator")
        return
    layer = row.geometry
    every = row.steps * layer.weights * prod(layer.output)
    if _reads_ones(row):
        to.add(SILENT, acs=[every, -row.sops])
        to.add(GROUPS, acs=[(layer.groups - 1) * every])
    else:
        if row.macs:
            to.add(PADDING, macs=[every, -row.macs])
        else:
            to.instead(row, POOLED if row.pooled else SUMS, macs=every)
        to.add(GROUPS, macs=[(layer.groups - 1) * every])


def _fvcore(row: LayerRow, to: _Entries) -> None:
    if row.kind == "recurrent":
        to.unknown.append(f"{row.name}: recurrent layers have no rule there")
    elif row.macs:
        to.add(PADDING, macs=[_padded(row), -row.macs])
    else:
        to.instead(row, DENSE, macs=_padded(row))


def _adds_left_out(row: LayerRow, to: _Entries) -> None:
    to.add(ADDS, acs=[-row.adds, -row.analog_adds])


def _simple_elsewhere(row: LayerRow, to: _Entries) -> None:
    to.add(ELSEWHERE, acs=[-row.adds, -row.analog_adds])


def _neuromc_elsewhere(row: LayerRow, to: _Entries) -> None:
    if row.kind in ("average pool", "max pool"):
        to.unknown.append(f"{row.name}: networks with pools are refused")
    else:
        _adds_left_out(row, to)


def _leaking(layers: Iterable[LayerRow]) -> frozenset[str]:
    """Neurons that are known to leak, by the layers that drive them."""
    return frozenset(row.drives for row in layers if row.geometry is not None and row.geometry.leaky)
