"""What the artefacts of a benchmark take: energy, and room on the device that they are for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from neurodeploy.app.accounting import energy_report
from neurodeploy.app.benchmark.compared import Compared
from neurodeploy.app.benchmark.contestants import Contestant, Settings, Watch
from neurodeploy.app.benchmark.rows import DeployedEnergy, Unknown
from neurodeploy.app.model import of_bundle
from neurodeploy.io.errors import UserError
from neurodeploy_energy.price.account import deployment, host_macs
from neurodeploy_energy.price.profiles import load
from neurodeploy_exporters.bundle import Bundle
from neurodeploy_exporters.runtime import Fit
from neurodeploy_exporters.target import Target, find

PRICED = 64
"""Samples on which operations are counted, at most."""

Prices: TypeAlias = dict[Path, tuple[DeployedEnergy | Unknown, Fit | Unknown]]


def priced_bundles(asked: Compared, contestants: Sequence[Contestant], settings: Settings, watch: Watch) -> Prices:
    """Folder of a bundle → its energy and fit."""
    bundles = {one.bundle.folder: one.bundle for one in contestants if one.bundle is not None}
    made: Prices = {}
    for number, (folder, bundle) in enumerate(bundles.items()):
        watch("counting operations", number, len(bundles))
        target = find(bundle.manifest.target)
        made[folder] = (_energy(asked, bundle, target, settings), _fit(bundle, target))
    return made


def _energy(asked: Compared, bundle: Bundle, target: Target, settings: Settings) -> DeployedEnergy | Unknown:
    """Chip and host, each under its profile; a host computes densely, whatever fires."""
    inputs = torch.from_numpy(asked.batch(slice(0, PRICED)))
    chip, host = load(settings.chip), load(settings.host)
    try:
        model = of_bundle(bundle.folder)
        report = energy_report(model, inputs.transpose(0, 1) if asked.timed else inputs, (settings.chip,), host=settings.host)
        parts = deployment(report, chip, host)
    except UserError as error:
        return Unknown(str(error))
    if report.uncounted:
        layer, reason = next(iter(report.uncounted.items()))
        return Unknown(f"layer {layer} is not counted: {reason}")
    if not target.chip:
        assert host.mac is not None
        return DeployedEnergy(1e-6 * host.mac * sum(map(host_macs, report.layers)), (host.name,), report.samples)
    if parts is None:
        return Unknown("which layers run on the chip is not known")
    return DeployedEnergy(parts.chip_uj + parts.host_uj, (chip.name, host.name), report.samples, parts.left_out)


def _fit(bundle: Bundle, target: Target) -> Fit | Unknown:
    try:
        return target.fit(bundle) or Unknown(f"{target.name}: no device whose limits are known")
    except UserError as error:
        return Unknown(str(error))
