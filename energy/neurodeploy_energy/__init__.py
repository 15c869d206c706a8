"""Layer-wise spike and energy accounting for any torch module."""

from typing import Any

from neurodeploy.io.moved import renamed, stand_in
from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.count.recognition import register_neuron
from neurodeploy_energy.count.recording import record
from neurodeploy_energy.moved import HOMES, NAMES, RENAMED
from neurodeploy_energy.price.account import Comparison, compare, verdicts, with_twin
from neurodeploy_energy.price.contest import Contender, Contest, contest
from neurodeploy_energy.price.deployment import DeploymentEnergy, deployment, headline
from neurodeploy_energy.price.estimate import EnergyBreakdown, Verdict
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report.report import Report, account, account_onnx, read_report, write_report

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
    "account_onnx",
    "compare",
    "contest",
    "deployment",
    "headline",
    "read_report",
    "record",
    "register_neuron",
    "verdicts",
    "with_twin",
    "write_report",
]

stand_in(HOMES, NAMES)


def __getattr__(name: str) -> Any:
    return renamed(__name__, RENAMED, name)
