"""Names and modules that the guides of version 0.1 showed, under what they are called now; they go with the next version."""

RENAMED = {"profile": "neurodeploy_energy.account", "Deployment": "neurodeploy_energy.DeploymentEnergy"}
HOMES = {
    f"neurodeploy_energy.{old}": tuple(f"neurodeploy_energy.{home}" for home in homes)
    for old, homes in {
        "cost": ("price.profiles",),
        "deployment": ("price.deployment",),
        "memory_model": ("price.profiles", "price.memory"),
        "report.conventions": ("report.tables",),
        "report.terminal": ("report.formats", "report.tables"),
        "report.verdict_figures": ("report.figures",),
        "twins": ("price.estimate", "price.account"),
    }.items()
}
NAMES = {
    "neurodeploy_energy.deployment": {"Deployment": "DeploymentEnergy"},
    "neurodeploy_energy.memory_model": {"load": "load_memory_model", "names": "memory_model_names"},
}
