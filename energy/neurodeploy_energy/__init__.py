"""Layer-wise spike and energy accounting for any torch module."""

from neurodeploy_energy.comparison import Comparison, compare, with_twin
from neurodeploy_energy.contest import Contender, Contest, contest
from neurodeploy_energy.cost import Profile
from neurodeploy_energy.deployment import Deployment, deployment
from neurodeploy_energy.estimate import EnergyBreakdown
from neurodeploy_energy.neurons import register_neuron
from neurodeploy_energy.profiling import profile
from neurodeploy_energy.recording import record
from neurodeploy_energy.report import read_report, write_report
from neurodeploy_energy.result import LayerRow, Report
from neurodeploy_energy.twins import Verdict, verdicts

__all__ = [
    "Comparison",
    "Contender",
    "Contest",
    "Deployment",
    "EnergyBreakdown",
    "LayerRow",
    "Profile",
    "Report",
    "Verdict",
    "compare",
    "contest",
    "deployment",
    "profile",
    "read_report",
    "record",
    "register_neuron",
    "verdicts",
    "with_twin",
    "write_report",
]
