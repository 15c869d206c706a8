"""The report as an object that can be queried: rows per layer, totals, energies. It computes and never prints."""

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from neurodeploy.io.errors import UserError
from neurodeploy_energy.accesses import MemoryAccesses
from neurodeploy_energy.cost import Profile
from neurodeploy_energy.estimate import EnergyBreakdown, estimate
from neurodeploy_energy.geometry import Geometry
from neurodeploy_energy.inputs import InputKinds
from neurodeploy_energy.series import Series

if TYPE_CHECKING:
    from neurodeploy_energy.comparison import Comparison
    from neurodeploy_energy.deployment import Place
    from neurodeploy_energy.joules import Measurement, Unmeasured

_NOT_SUMMED = {"name", "kind", "rate", "steps", "note", "drives", "inputs", "memory", "geometry"}


@dataclass(frozen=True)
class LayerRow:
    """One layer, per sample: the mean over the data set.

    Attributes:
        name: of the layer in the model.
        kind: "synapse", "neuron", "average pool", "max pool" or "sum".
        neurons: of a spiking layer.
        steps: time steps in which the layer is evaluated; 1 for a direct-coded first layer, computed once per sample.
        spikes: non-zero outputs of a spiking layer, summed over the steps.
        rate: firing rate, spikes / (neurons · steps), of a spiking layer; of a synapse layer the share of non-zero inputs.
        sops: synaptic operations: Σ over input spikes of their true fan-out.
        sops_nonzero_weights: the same, weights of zero not counted.
        sops_by_rate: rate · steps · dense MACs, the formula of most papers; over-counts at borders.
        dense_macs: multiply-accumulates of dense evaluations in every step.
        macs: multiply-accumulates on analog inputs (dense).
        effective_macs: the same without inputs and weights of zero.
        adds: accumulations of spikes in pooling and residual sums.
        analog_adds: accumulations of analog values in pooling.
        updates_active: neuron updates with a non-zero current or a spike in that step.
        updates_idle: all other neuron updates.
        note: what a reader must know.
        spikes_in: non-zero inputs of a synapse layer, whatever their kind: θ_in.
        spikes_out: spikes of the neurons that a synapse layer's currents drive: θ_out. Where several layers drive the same
            neurons it stands at the last of them, so that a sum counts no spike twice.
        spikes_value: Σ|value| of the outputs of a spiking layer: more than `spikes` where they are graded.
        drives: name of the spiking layer that a synapse layer's currents drive; "" if there is none that is known.
        inputs: values at the input of a synapse layer or a pool, by kind.
        memory: accesses, counted.
        geometry: of a synapse layer.
    """

    name: str
    kind: str
    neurons: int = 0
    steps: float = 0.0
    spikes: float = 0.0
    rate: float = 0.0
    sops: float = 0.0
    sops_nonzero_weights: float = 0.0
    sops_by_rate: float = 0.0
    dense_macs: float = 0.0
    macs: float = 0.0
    effective_macs: float = 0.0
    adds: float = 0.0
    analog_adds: float = 0.0
    updates_active: float = 0.0
    updates_idle: float = 0.0
    note: str = ""
    spikes_in: float = 0.0
    spikes_out: float = 0.0
    spikes_value: float = 0.0
    drives: str = ""
    inputs: InputKinds = field(default_factory=InputKinds)
    memory: MemoryAccesses = field(default_factory=MemoryAccesses)
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Report:
    """Spikes and operations of a model, layer by layer, measured on data; energies estimated from them.

    Attributes:
        name: of the model.
        samples: number of samples that were run.
        steps: T, the largest number of steps of a spiking layer.
        layers: rows in the order of the model.
        uncounted: layer name → why its operations are missing from the counts.
        profiles: under which energies were asked for; the first is the headline.
        comparison: with a baseline, if one was given.
        places: layer name → "encoder" or "head", which a host computes densely, or "body", which the chip does; empty if
            nobody said.
        host: profile of the host, for the layers that it computes.
        twin: of the trained dense ReLU network that stands for this one, measured on data; None if there is none.
        answers: right answers, and samples asked; None if the labels are not known.
        measured: joules read from the machine's counters while the model ran, or why there are none.
        whole: counts of the whole model by step and sample, where those of its layers are not kept (`series`).
        series: layer name → its counts by step and by sample, for layers where steps and samples can be told apart.
    """

    name: str
    samples: int
    steps: int
    layers: tuple[LayerRow, ...]
    uncounted: dict[str, str]
    profiles: tuple[Profile, ...]
    comparison: "Comparison | None" = None
    series: dict[str, Series] = field(default_factory=dict, compare=False)
    places: "dict[str, Place]" = field(default_factory=dict)
    host: Profile | None = None
    twin: "Report | None" = None
    answers: tuple[int, int] | None = None
    measured: "tuple[Measurement | Unmeasured, ...]" = ()
    whole: Series | None = field(default=None, compare=False)

    @property
    def total(self) -> LayerRow:
        """Sum over the layers; `rate` is over all neurons, `steps` is T."""
        names = [one.name for one in fields(LayerRow) if one.name not in _NOT_SUMMED]
        sums = {name: sum(getattr(row, name) for row in self.layers) for name in names}
        inputs = sum((row.inputs for row in self.layers), InputKinds())
        memory = sum((row.memory for row in self.layers), MemoryAccesses())
        slots = sum(row.neurons * row.steps for row in self.layers)
        spikes = sums["spikes"]
        rate = spikes / slots if slots else 0.0
        return replace(LayerRow("total", "total"), **sums, inputs=inputs, memory=memory, steps=float(self.steps), rate=rate)

    def layer(self, name: str) -> LayerRow:
        """One row by its name."""
        return next(row for row in self.layers if row.name == name)

    def energy(self, profile: str) -> EnergyBreakdown:
        """Estimated energy under one of the report's profiles: see `estimate`.

        Synaptic operations count weights of zero too, MACs are dense. A profile without a MAC cost is that of a chip which
        computes with spikes alone: work on analog values is then left out of the total and listed in `left_out`.

        Raises:
            UserError: the report was not made for this profile.
        """
        found = next((p for p in self.profiles if p.name == profile), None)
        if found is None:
            names = ", ".join(p.name for p in self.profiles)
            raise UserError(f"profile {profile!r}: not in this report, which has {names}")
        return estimate(self.layers, found, self.steps)
