"""Layer-wise spike and energy accounting for any torch module."""

from typing import Any

from neurodeploy_energy.count import LayerRow, record, register_neuron
from neurodeploy_energy.moved import renamed, stand_in
from neurodeploy_energy.price import (
    Comparison,
    Contender,
    Contest,
    DeploymentEnergy,
    EnergyBreakdown,
    Profile,
    Verdict,
    compare,
    contest,
    deployment,
    verdicts,
    with_twin,
)
from neurodeploy_energy.report import Report, account, read_report, write_report

__all__ = [
    "Comparison",
    "Contender",
    "Contest",
    "DeploymentEnergy",
    "EnergyBreakdown",
    "LayerRow",
    "Profile",
    "Report",
    "Verdict",
    "account",
    "compare",
    "contest",
    "deployment",
    "read_report",
    "record",
    "register_neuron",
    "verdicts",
    "with_twin",
    "write_report",
]

stand_in(__name__)


def __getattr__(name: str) -> Any:
    return renamed(__name__, name)
