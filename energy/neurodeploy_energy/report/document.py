"""The report as JSON, with a versioned schema: everything that the other formats show, unrounded."""

import json
from dataclasses import asdict
from typing import Any

from neurodeploy_energy.result import Report

SCHEMA_VERSION = 1


def as_document(report: Report) -> dict[str, Any]:
    """Plain dictionaries and lists. Energies are in µJ per sample and marked as estimates."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": report.name,
        "samples": report.samples,
        "steps": report.steps,
        "unit": "per sample",
        "layers": [asdict(row) for row in report.layers],
        "total": asdict(report.total),
        "energy": [_energy(report, profile.name) for profile in report.profiles],
        "uncounted": report.uncounted,
    }
    if report.comparison is not None:
        document["comparison"] = [
            {
                "profile": pair.profile.name,
                "model_uj": pair.model,
                "baseline_uj": pair.baseline,
                "change_percent": pair.change_percent,
                "dense_twin_uj": pair.twin,
                "break_even_rate": pair.break_even_rate,
            }
            for pair in report.comparison.energies
        ]
        document["baseline"] = as_document(report.comparison.baseline)
    return document


def as_json(report: Report) -> str:
    return json.dumps(as_document(report), indent=2, ensure_ascii=False) + "\n"


def _energy(report: Report, profile: str) -> dict[str, Any]:
    breakdown = report.energy(profile)
    return {
        "profile": asdict(breakdown.profile),
        "estimate": True,
        "total_uj": breakdown.total_uj,
        "layers_uj": {layer.name: layer.total * 1e-6 for layer in breakdown.layers},
        "left_out": list(breakdown.left_out),
    }
