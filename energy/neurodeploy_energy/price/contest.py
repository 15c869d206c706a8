"""Any number of models against a baseline: means over seeds, intervals by bootstrap, layer by layer and profile by profile.

Bootstrap: seeds are drawn with replacement, then samples within each; an interval is a percentile interval of the means (Efron
1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_energy.declared import Declared, Number
from neurodeploy_energy.price.account import Account, change_percent, verdicts
from neurodeploy_energy.price.estimate import Verdict
from neurodeploy_energy.price.per_sample import energy_per_sample
from neurodeploy_energy.price.profiles import Profile

Values = NDArray[np.float64]
DRAWS, CONFIDENCE = 2000, 0.95


@dataclass(frozen=True)
class Interval(Declared):
    """A percentile interval.

    Attributes:
        low, high: its ends.
        over: what was drawn: "seeds", "samples", or "seeds and samples".
    """

    low: Number
    high: Number
    over: str


def mean_draws(seeds: Sequence[Values], *, draws: int = DRAWS, seed: int = 0) -> tuple[Values, str] | None:
    """Means of resampled data.

    The same `seed` and sizes give the same choice: the draws of two models on one test set are then paired, sample by sample
    and seed by seed, and so is the interval of their difference.

    Args:
        seeds: for each seed the values of its samples `[N]`, or one value `[1]` where only the mean is known.
        draws: how many.
        seed: of the random numbers.

    Returns:
        `[draws]` means and what was drawn; None if there is a single value.
    """
    several, sampled = len(seeds) > 1, max(len(values) for values in seeds) > 1
    if not several and not sampled:
        return None
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(seeds), size=(draws, len(seeds)))
    means = np.empty((draws, len(seeds)))
    for draw in range(draws):
        for place, index in enumerate(chosen[draw]):
            values = seeds[index]
            means[draw, place] = values[generator.integers(len(values), size=len(values))].mean()
    over = {(True, True): "seeds and samples", (True, False): "seeds", (False, True): "samples"}[several, sampled]
    return means.mean(axis=1), over


def interval(draws: Values, over: str, *, confidence: float = CONFIDENCE) -> Interval:
    """Percentiles of the draws."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(float(low), float(high), over)


@dataclass(frozen=True)
class Contender:
    """One model: a report for each of its seeds.

    Attributes:
        name: in tables.
        reports: of the same layers and data, one for each seed.
    """

    name: str
    reports: tuple[Account, ...]

    @property
    def accuracies(self) -> list[float]:
        """Percent, of each seed whose report knows it."""
        return [100 * report.answers[0] / report.answers[1] for report in self.reports if report.answers is not None]

    def accuracy_interval(self, seed: int = 0) -> Interval | None:
        """Of `accuracy`, by bootstrap: seeds are drawn, and right answers within each."""
        answers = [report.answers for report in self.reports if report.answers is not None]
        if not answers:
            return None
        generator = np.random.default_rng(seed)
        correct, asked = (np.array(column) for column in zip(*answers, strict=True))
        chosen = generator.integers(len(answers), size=(DRAWS, len(answers)))
        drawn = 100 * generator.binomial(asked[chosen], (correct / asked)[chosen]) / asked[chosen]
        return interval(drawn.mean(axis=1), "seeds and samples" if len(answers) > 1 else "samples")

    @property
    def accuracy(self) -> float | None:
        """Mean over the seeds in percent; None if no report knows it."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def spikes(self) -> float:
        """Per sample, mean over the seeds."""
        return fmean(report.total.spikes for report in self.reports)


@dataclass(frozen=True)
class Standing:
    """One model under one profile. Energies are estimates in µJ per sample.

    Attributes:
        model: its name.
        profile: whose constants.
        uj: mean over seeds and samples; None if the profile cannot price the model.
        interval: of `uj`; None for a single value.
        change_percent: against the baseline; negative is less; None for the baseline itself, and where one has no price.
        change_interval: of `change_percent`.
        verdict: against the twins without spikes, from the mean over the seeds.
    """

    model: str
    profile: Profile
    uj: float | None
    interval: Interval | None
    change_percent: float | None
    change_interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True)
class LayerChange(Declared):
    """Spikes per sample of one spiking layer in one model and in the baseline, means over seeds; None where it does not spike.

    Attributes:
        layer, model: which.
        spikes, baseline: of the two.
        interval: of the difference; None where a mean is all there is.
    """

    layer: str
    model: str
    spikes: Number | None
    baseline: Number | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Model minus baseline."""
        return None if self.spikes is None or self.baseline is None else self.spikes - self.baseline


@dataclass(frozen=True)
class Contest:
    """Models against a baseline: energies under every profile, and spikes of every layer.

    Attributes:
        contenders: the baseline first.
        standings: for each profile every contender, in that order.
        layers: for each spiking layer every contender but the baseline.
        profiles: the first gives the headline.
    """

    contenders: tuple[Contender, ...]
    standings: tuple[Standing, ...]
    layers: tuple[LayerChange, ...]
    profiles: tuple[Profile, ...] = field(default=())

    @property
    def baseline(self) -> Contender:
        return self.contenders[0]

    def standing(self, model: str, profile: str) -> Standing:
        """One model under one profile."""
        return next(one for one in self.standings if one.model == model and one.profile.name == profile)

    def front(self, profile: str) -> list[str]:
        """Models that no other beats in accuracy without costing more energy, nor in energy without being less accurate."""
        known = {c.name: (c.accuracy, self.standing(c.name, profile).uj) for c in self.contenders}
        points = {n: (accuracy, uj) for n, (accuracy, uj) in known.items() if accuracy is not None and uj is not None}
        return [name for name, point in points.items() if not any(dominates(other, point) for other in points.values())]


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether (accuracy, energy) is at least as good in both, and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def contest(
    contenders: Sequence[Contender], *, baseline: str | None = None, profiles: Sequence[Profile] = (), seed: int = 0
) -> Contest:
    """Compare models that were counted on the same kind of data.

    Args:
        contenders: the models.
        baseline: name of the one that the others are compared with; the first if None.
        profiles: the reports' own if there are none.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than two models, two of one name, or no baseline of that name.
    """
    names = [one.name for one in contenders]
    if len(contenders) < 2:
        raise UserError(f"{', '.join(names) or 'nothing'}: at least two models are needed for a comparison")
    if len(set(names)) != len(names):
        raise UserError(f"model {max(names, key=names.count)!r}: occurs twice, a name of its own expected for each model")
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline {baseline!r}: not among the models, which are {', '.join(names)}")
    first = baseline or names[0]
    used = tuple(profiles) or contenders[0].reports[0].profiles
    known = [replace(c, reports=tuple(replace(r, profiles=used, comparison=None) for r in c.reports)) for c in contenders]
    ordered = tuple(sorted(known, key=lambda one: one.name != first))
    standings = tuple(one for profile in used for one in _standings(ordered, profile, seed))
    return Contest(ordered, standings, tuple(_layers(ordered, seed)), used)


def _standings(contenders: Sequence[Contender], profile: Profile, seed: int) -> list[Standing]:
    values = [_energies(one, profile) for one in contenders]
    draws = [mean_draws(samples, seed=seed) if samples else None for samples in values]
    means = [fmean(float(v.mean()) for v in samples) if samples else None for samples in values]
    standings = []
    for i, one in enumerate(contenders):
        drawn, before = draws[i], draws[0]
        change = change_percent(means[i], means[0]) if i else None
        between = None
        if change is not None and drawn is not None and before is not None and before[0].min() > 0:
            between = interval(100 * (drawn[0] / before[0] - 1), drawn[1])
        mean = None if drawn is None else interval(*drawn)
        standings.append(Standing(one.name, profile, means[i], mean, change, between, _mean_verdict(one, profile)))
    return standings


def _energies(one: Contender, profile: Profile) -> list[Values]:
    """For each seed the energy of every sample; empty if the profile cannot price one of them."""
    seeds = [energy_per_sample(report, profile) for report in one.reports]
    known = [values for values in seeds if values is not None]
    return known if len(known) == len(seeds) else []


def _mean_verdict(one: Contender, profile: Profile) -> Verdict:
    """From the mean of each energy over the seeds."""
    each = [next(v for v in verdicts(report) if v.profile == profile) for report in one.reports]

    def mean(name: str) -> float | None:
        known = [getattr(v, name) for v in each]
        return None if None in known else fmean(known)

    return replace(
        each[0],
        model_uj=mean("model_uj"),
        dense_uj=mean("dense_uj"),
        quantised_uj=mean("quantised_uj"),
        sparsity=fmean(v.sparsity for v in each),
        break_even_rate=mean("break_even_rate"),
        spikes_allowed=mean("spikes_allowed"),
        break_even_rate_in_all=mean("break_even_rate_in_all"),
        quantised_rate_in_all=mean("quantised_rate_in_all"),
    )


def _layers(contenders: Sequence[Contender], seed: int) -> list[LayerChange]:
    names = dict.fromkeys(row.name for one in contenders for r in one.reports for row in r.layers if row.kind == "neuron")
    changes = []
    for name in names:
        before = _spikes(contenders[0], name)
        for one in contenders[1:]:
            ours = _spikes(one, name)
            means = [fmean(float(v.mean()) for v in values) if values else None for values in (ours, before)]
            between = None
            if ours and before:
                drawn = mean_draws(ours, seed=seed), mean_draws(before, seed=seed)
                if drawn[0] is not None and drawn[1] is not None:
                    between = interval(drawn[0][0] - drawn[1][0], drawn[0][1])
            changes.append(LayerChange(name, one.name, means[0], means[1], between))
    return changes


def _spikes(one: Contender, layer: str) -> list[Values]:
    """For each seed the spikes of every sample, or their mean alone; empty if the layer does not spike in this model."""
    seeds = []
    for report in one.reports:
        row = next((row for row in report.layers if row.name == layer and row.kind == "neuron"), None)
        series = report.series.get(layer)
        if row is not None:
            known = series is not None and series.spikes_per_sample.numel() > 0
            seeds.append(series.spikes_per_sample.double().numpy() if series and known else np.array([row.spikes]))
    return seeds
