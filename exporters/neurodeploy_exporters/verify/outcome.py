"""What a replay of a bundle found, as text, as JSON and in a notebook."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

from neurodeploy_exporters.bundle import MutationScore


@dataclass(frozen=True)
class Verification:
    """What a replay found.

    Attributes:
        mismatched_spikes: spiking layer → number of values (neuron, step, sample) that differ, over all ways of running it;
            None for a layer that was not compared.
        spikes_compared: number of values compared, spiking or silent.
        logits_max_difference: largest difference of a logit; NaN if none was compared.
        findings: what differs, one sentence each, with the file, layer or tensor; empty if the bundle is sound.
        notes: what the bundle did not let be checked, in sentences.
        shown: what the sample shows of single values, by layer and kind, as the manifest of a sound bundle has it.
    """

    mismatched_spikes: dict[str, int | None]
    spikes_compared: int
    logits_max_difference: float
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    shown: tuple[MutationScore, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def mismatches(self) -> int:
        """Values that differ, over all layers that were compared."""
        return sum(count or 0 for count in self.mismatched_spikes.values())

    def as_document(self) -> dict[str, Any]:
        """As JSON has it; what was not compared is null."""
        gap = self.logits_max_difference
        return {
            "passed": self.passed,
            "spikes_compared": self.spikes_compared,
            "mismatched_spikes": self.mismatched_spikes,
            "logits_max_difference": gap if isfinite(gap) else None,
            "findings": list(self.findings),
            "notes": list(self.notes),
            "shown": [one.model_dump() for one in self.shown],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Verification":
        """Of `as_document`."""
        gap = document["logits_max_difference"]
        return cls(
            mismatched_spikes=dict(document["mismatched_spikes"]),
            spikes_compared=document["spikes_compared"],
            logits_max_difference=float("nan") if gap is None else gap,
            findings=tuple(document["findings"]),
            notes=tuple(document["notes"]),
            shown=tuple(MutationScore.model_validate(one) for one in document["shown"]),
        )

    def __str__(self) -> str:
        """Layers with their mismatches, "–" where nothing was compared, and what differs."""
        counts = {layer: "–" if count is None else f"{count:,}" for layer, count in self.mismatched_spikes.items()}
        rows = {"spiking layer": "mismatched spikes", **counts}
        name, number = max(map(len, rows)), max(map(len, rows.values()))
        logits = f"logits differ by {self.logits_max_difference:.2g} at most" if self.spikes_compared else "no logits either"
        return "\n".join(
            [
                *(f"{layer:<{name}}  {count:>{number}}" for layer, count in rows.items()),
                "",
                f"{self.spikes_compared:,} spike values compared; {logits}",
                *_visibility(self.shown),
                *(f"differs: {finding}" for finding in self.findings),
                *(f"note: {note}" for note in self.notes),
            ]
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _visibility(shown: Sequence[MutationScore]) -> Iterator[str]:
    """What running the sample shows of single values, by kind, and the layers that hide some."""
    if not shown:
        return
    kinds = {kind: [one for one in shown if one.kind == kind] for kind in dict.fromkeys(one.kind for one in shown)}
    parts = (f"{kind} {_estimate(of)} of {sum(one.values for one in of):,}" for kind, of in kinds.items())
    yield f"one value changed by its smallest step shows by running, as measured at export: {', '.join(parts)}"
    hiding = [one for one in shown if one.shown < one.tried]
    for one in hiding[:_NAMED]:
        tried = f"{one.tried:,}" if one.tried == one.values else f"{one.tried:,} tried ones, of {one.values:,},"
        yield f"  {one.layer}, {one.kind}: {one.tried - one.shown:,} of {tried} show in the sums of constants alone"
    if len(hiding) > _NAMED:
        yield f"  and {len(hiding) - _NAMED} more layers and kinds"


_NAMED = 5


def _estimate(scores: Sequence[MutationScore]) -> str:
    """How many values show; where some were tried alone, for all of their layer, by their share."""
    known = all(one.tried == one.values for one in scores)
    shown = sum(one.values * one.shown / one.tried for one in scores)
    return f"{shown:,.0f}" if known else f"about {shown:,.0f}"
