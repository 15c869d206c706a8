"""Two models side by side: layer by layer, and under every profile; and each spiking model against its dense twin."""

from dataclasses import dataclass, replace

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.result import LayerRow, Report
from neurodeploy_energy.twins import Verdict, verdicts


@dataclass(frozen=True)
class LayerPair:
    """One layer in both models; None where a model has no such layer."""

    name: str
    model: LayerRow | None
    baseline: LayerRow | None

    def difference(self, field: str) -> float:
        """Of one count, the model's minus the baseline's; a layer that is not there counts nothing."""
        ours, theirs = (0.0 if row is None else getattr(row, field) for row in (self.model, self.baseline))
        return float(ours - theirs)


@dataclass(frozen=True)
class EnergyPair:
    """Estimated energies per sample under one profile, in µJ.

    Attributes:
        model, baseline: the two spiking models.
        verdict: the model against its twins without spikes.
    """

    profile: Profile
    model: float
    baseline: float
    verdict: Verdict

    @property
    def twin(self) -> float | None:
        """The model's dense ReLU twin; see `Verdict`."""
        return self.verdict.dense_uj

    @property
    def break_even_rate(self) -> float | None:
        """See `Verdict`."""
        return self.verdict.break_even_rate

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
    known = replace(baseline, profiles=report.profiles, comparison=None)
    energies = tuple(
        EnergyPair(found.profile, found.model_uj, known.energy(found.profile.name).total_uj, found)
        for found in verdicts(report)
    )
    return Comparison(known, pairs, energies)


def with_twin(report: Report, twin: Report) -> Report:
    """The report, judged against its measured ReLU twin: with the twin's layers, and the zeros that its ReLUs make."""
    judged = replace(report, twin=twin)
    return judged if report.comparison is None else replace(judged, comparison=compare(judged, report.comparison.baseline))
