"""Two models side by side: layer by layer, and under every profile; and each spiking model against its dense twin."""

from dataclasses import dataclass

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.result import LayerRow, Report


@dataclass(frozen=True)
class LayerPair:
    """One layer in both models; None where a model has no such layer."""

    name: str
    model: LayerRow | None
    baseline: LayerRow | None


@dataclass(frozen=True)
class EnergyPair:
    """Estimated energies per sample under one profile, in µJ.

    Attributes:
        model, baseline: the two spiking models.
        twin: the model's dense ReLU twin: one dense evaluation of every synapse layer; None if the profile has no MAC cost.
        break_even_rate: firing rate below which the spiking model costs less than its twin in compute, if every layer fired
            alike: `E_MAC / (T · E_AC)`; None if the profile lacks a cost.
    """

    profile: Profile
    model: float
    baseline: float
    twin: float | None
    break_even_rate: float | None

    @property
    def change_percent(self) -> float | None:
        """Of the model against the baseline; negative is less."""
        return 100 * (self.model / self.baseline - 1) if self.baseline else None


@dataclass(frozen=True)
class Comparison:
    """A model against a baseline.

    Attributes:
        baseline: the other report.
        layers: matched by name, in the order of the model, then those that only the baseline has.
        energies: one per profile.
    """

    baseline: Report
    layers: tuple[LayerPair, ...]
    energies: tuple[EnergyPair, ...]


def compare(report: Report, baseline: Report) -> Comparison:
    """Compare a model with a baseline under the profiles of `report`."""
    ours = {row.name: row for row in report.layers}
    theirs = {row.name: row for row in baseline.layers}
    names = [*ours, *(name for name in theirs if name not in ours)]
    pairs = tuple(LayerPair(name, ours.get(name), theirs.get(name)) for name in names)
    return Comparison(baseline, pairs, tuple(_energies(report, baseline, profile) for profile in report.profiles))


def twin_uj(report: Report, profile: Profile) -> float | None:
    """Estimated energy of the dense ReLU twin, one evaluation of every synapse layer, in µJ per sample."""
    if profile.mac is None:
        return None
    return sum(row.dense_macs / row.steps for row in report.layers if row.kind == "synapse") * profile.mac * 1e-6


def _energies(report: Report, baseline: Report, profile: Profile) -> EnergyPair:
    known = Report(baseline.name, baseline.samples, baseline.steps, baseline.layers, {}, report.profiles)
    rate = profile.mac / (report.steps * profile.ac) if profile.mac and profile.ac and report.steps else None
    return EnergyPair(
        profile,
        report.energy(profile.name).total_uj,
        known.energy(profile.name).total_uj,
        twin_uj(report, profile),
        rate,
    )
