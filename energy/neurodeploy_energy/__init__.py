"""Layer-wise spike and energy accounting for any torch module."""

from neurodeploy_energy.comparison import Comparison, compare
from neurodeploy_energy.cost import Profile
from neurodeploy_energy.estimate import EnergyBreakdown
from neurodeploy_energy.neurons import register_neuron
from neurodeploy_energy.profiling import profile
from neurodeploy_energy.report import write_report
from neurodeploy_energy.result import LayerRow, Report

__all__ = [
    "Comparison",
    "EnergyBreakdown",
    "LayerRow",
    "Profile",
    "Report",
    "compare",
    "profile",
    "register_neuron",
    "write_report",
]
