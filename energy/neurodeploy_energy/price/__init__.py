"""What counts cost: profiles, estimates, joules read from counters, and whole models held against each other."""

from neurodeploy_energy.price.account import (
    HOST,
    Account,
    Comparison,
    DeploymentEnergy,
    Place,
    compare,
    deployment,
    verdicts,
    with_twin,
)
from neurodeploy_energy.price.contest import Contender, Contest, contest
from neurodeploy_energy.price.estimate import EnergyBreakdown, Verdict
from neurodeploy_energy.price.profiles import Profile, built_in, load, templates, text_of

__all__ = [
    "HOST",
    "Account",
    "Comparison",
    "Contender",
    "Contest",
    "DeploymentEnergy",
    "EnergyBreakdown",
    "Place",
    "Profile",
    "Verdict",
    "built_in",
    "compare",
    "contest",
    "deployment",
    "load",
    "templates",
    "text_of",
    "verdicts",
    "with_twin",
]
