"""The report as JSON, with a versioned schema: everything that the other formats show, unrounded."""

import json
from dataclasses import asdict
from typing import Any

from neurodeploy_energy.deployment import Deployment, deployment
from neurodeploy_energy.persample import model_series
from neurodeploy_energy.report.schema import SCHEMA_VERSION
from neurodeploy_energy.result import Report
from neurodeploy_energy.twins import Verdict, has_twins, verdicts


def as_document(report: Report) -> dict[str, Any]:
    """Plain dictionaries and lists. Energies are in µJ per sample; estimates are marked as such, measured ones apart."""
    comparison = report.comparison
    return {
        "schema_version": SCHEMA_VERSION,
        "name": report.name,
        "samples": report.samples,
        "steps": report.steps,
        "unit": "per sample",
        "answers": None if report.answers is None else dict(zip(("correct", "samples"), report.answers, strict=True)),
        "layers": [asdict(row) for row in report.layers],
        "total": asdict(report.total),
        "energy": [_energy(report, profile.name) for profile in report.profiles],
        "verdicts": [_verdict(verdict, measured=report.twin is not None) for verdict in verdicts(report) if has_twins(report)],
        "places": report.places,
        "host": None if report.host is None else asdict(report.host),
        "deployment": _deployment(report),
        "measured": [asdict(one) for one in report.measured],
        "uncounted": report.uncounted,
        "per_sample": _per_sample(report),
        "comparison": None
        if comparison is None
        else [
            {
                "profile": pair.profile.name,
                "estimate": True,
                "model_uj": pair.model,
                "baseline_uj": pair.baseline,
                "change_percent": pair.change_percent,
            }
            for pair in comparison.energies
        ],
        "baseline": None if comparison is None else as_document(comparison.baseline),
        "twin": None if report.twin is None else as_document(report.twin),
    }


def as_json(report: Report) -> str:
    return json.dumps(as_document(report), indent=2, ensure_ascii=False) + "\n"


def _energy(report: Report, profile: str) -> dict[str, Any]:
    breakdown = report.energy(profile)
    return {
        "profile": asdict(breakdown.profile),
        "estimate": True,
        "total_uj": breakdown.total_uj,
        "static_uj": breakdown.static_uj,
        "layers_uj": {layer.name: layer.total * 1e-6 for layer in breakdown.layers},
        "left_out": list(breakdown.left_out),
    }


def _verdict(verdict: Verdict, *, measured: bool) -> dict[str, Any]:
    return {
        "profile": verdict.profile.name,
        "estimate": True,
        "spiking_uj": verdict.model_uj,
        "dense_twin_uj": verdict.dense_uj,
        "quantised_twin_uj": verdict.quantised_uj,
        "quantised_twin_bits": verdict.bits,
        "twin_sparsity": verdict.sparsity,
        "twin_measured": measured,
        "break_even_rate": verdict.break_even_rate,
    }


def _deployment(report: Report) -> list[dict[str, Any]]:
    if report.host is None:
        return []
    found = [deployment(report, profile, report.host) for profile in report.profiles]
    return [_deployed(one) for one in found if one is not None]


def _deployed(one: Deployment) -> dict[str, Any]:
    return {
        "profile": one.chip.name,
        "host_profile": one.host.name,
        "estimate": True,
        "chip_uj": one.chip_uj,
        "chip_static_uj": one.static_uj,
        "encoder_macs": one.encoder_macs,
        "head_macs": one.head_macs,
        "encoder_uj": one.encoder_uj,
        "head_uj": one.head_uj,
        "left_out": list(one.left_out),
    }


def _per_sample(report: Report) -> dict[str, Any] | None:
    """Sums over the layers, so that a data set of any size stays a small file."""
    total = model_series(report)
    if total is None:
        return None
    neurons = {row.name for row in report.layers if row.kind == "neuron"}
    return {
        "spikes": total.spikes_per_sample.tolist(),
        "sops": total.sops_per_sample.tolist(),
        "macs": total.macs_per_sample.tolist(),
        "spikes_per_step": {name: one.spikes_per_step.tolist() for name, one in report.series.items() if name in neurons},
    }
