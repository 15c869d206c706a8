"""One claim of a paper as a difference between two networks of a recipe, and what the seeds say of it."""

from dataclasses import dataclass
from typing import Literal

from neurodeploy.training.evaluation import mean_and_interval
from neurodeploy.training.results import NetworkResult, Results

Measure = Literal["accuracy", "spikes", "layers"]
_UNITS: dict[Measure, str] = {"accuracy": "points", "spikes": "%", "layers": "layers"}
Verdict = Literal["holds", "in this direction", "not seen", "contradicted"]
"""Towards the claim with an interval that excludes 0, or includes it; away from it or at 0, likewise the other way round."""
VERDICTS: tuple[Verdict, ...] = Verdict.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Claim:
    """`better` has the higher accuracy, or the fewer spikes, altogether or in most layers, than `worse`.

    Attributes:
        text: the claim in words.
        better, worse: roles of one recipe. They share seed, teacher, data and test set, so differences are taken seed by seed.
        measure: "accuracy" (points), "spikes" (percent of the spikes of `worse`; negative where they are fewer), or "layers"
            (how many more layers of `better` have fewer spikes than have more; positive where most have fewer).
        layers: of the measure "layers", the spiking layers that count.
        margin: by how much `better` may fall short, in the unit of the measure; then the claim is that it does not by more.
    """

    text: str
    better: str
    worse: str
    measure: Measure = "accuracy"
    margin: float = 0.0
    layers: tuple[str, ...] = ()

    def test(self, results: Results) -> "Finding":
        """What the seeds of a run say."""
        pairs = zip(results.of_role(self.better), results.of_role(self.worse), strict=True)
        mean, half = mean_and_interval(self._difference(one, other) for one, other in pairs)
        return Finding(self, mean, half)

    def _difference(self, better: NetworkResult, worse: NetworkResult) -> float:
        if self.measure == "accuracy":
            return better.accuracy.percent - worse.accuracy.percent
        if self.measure == "layers":
            changes = [better.spikes[layer] - worse.spikes[layer] for layer in self.layers]
            return float(sum(change < 0 for change in changes) - sum(change > 0 for change in changes))
        return 100 * (better.spikes_per_sample / worse.spikes_per_sample - 1)


@dataclass(frozen=True)
class Finding:
    """A claim with its difference: mean over seeds, and the half width of its 95 % interval (Student's t)."""

    claim: Claim
    mean: float
    half: float | None

    @property
    def difference(self) -> str:
        return f"{self.mean:+z.2f}" + ("" if self.half is None else f" ± {self.half:.2f}") + f" {_UNITS[self.claim.measure]}"

    @property
    def verdict(self) -> Verdict:
        towards = (-self.mean if self.claim.measure == "spikes" else self.mean) + self.claim.margin
        clear = self.half is not None and abs(towards) > self.half
        if towards > 0:
            return "holds" if clear else "in this direction"
        return "contradicted" if clear else "not seen"
