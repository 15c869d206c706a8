"""Reports of every kind, to look at: spiking and not, without prices, without verdicts, with odd names."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from neurodeploy_energy import LayerRow, Report, account
from neurodeploy_energy.price.account import compare
from neurodeploy_energy.price.contest import Contender, contest
from neurodeploy_energy.price.profiles import built_in, load
from neurodeploy_energy.report.versus import write_contest

HOSTILE = '</script><img src=x onerror="throw 1">\x1b[31m\u202e=1+1|*_`$\\'
"""Ends a script, loads a picture, colours a terminal, turns text round, and is a formula."""


class OwnModule(nn.Module):
    """Spiking neurons in the code of a loop over time, with a shortcut; `[B, 1, 8, 8]` → `[B, 10]`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.classifier = nn.Linear(8 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Four steps; the mean of the classifier's currents."""
        answers, u, v = [], torch.zeros(len(x), 8, 8, 8), torch.zeros(len(x), 8, 8, 8)
        for _ in range(4):
            u = 0.5 * u + self.first(x)
            spikes = (u > 0.3).float()
            u = u - 0.3 * spikes
            v = 0.5 * v + self.second(spikes) + spikes
            fired = (v > 0.5).float()
            v = v - 0.5 * fired
            answers.append(self.classifier(fired.flatten(1)))
        return torch.stack(answers).mean(0)


def spiking_report(name: str = "own module") -> Report:
    """A small module on random samples, with an accuracy."""
    torch.manual_seed(0)
    return replace(account(OwnModule(), torch.rand(16, 1, 8, 8), name=name), answers=(15, 16))


def dense_report(name: str = "ReLU network") -> Report:
    """A network without spikes."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    return replace(account(nn.Sequential(*layers), torch.rand(16, 1, 8, 8), name=name), answers=(16, 16))


def quantised_report(name: str = "int8 network") -> Report:
    """The same with rows as a quantised network has them: integers of 8 bits."""
    report = dense_report(name)
    wide = [replace(row, weight_bits=8, activation_bits=8) if row.kind == "synapse" else row for row in report.layers]
    return replace(report, layers=tuple(wide))


def deep_report(name: str = "deep", layers: int = 50) -> Report:
    """As large as a network of so many convolutions with neurons and shortcuts, under every profile."""
    generator = torch.Generator().manual_seed(layers)
    rows: list[LayerRow] = []
    before: tuple[str, ...] = ("the data",)
    for i in range(layers):
        spikes = float(torch.randint(100, 90_000, (), generator=generator))
        block, rate = f"features.stage{i // 10}.block{i % 10}", spikes / 65_536 / 4
        convolution, neuron = f"{block}.convolution", f"{block}.neuron"
        works = LayerRow(convolution, "synapse", steps=4, sops=spikes * 576, dense_macs=1e8, rate=rate)
        fires = LayerRow(neuron, "neuron", neurons=65_536, steps=4, spikes=spikes, rate=rate, updates_active=9e4)
        rows += [replace(works, reads=before), replace(fires, reads=(convolution,))]
        before = (neuron, *before[:1]) if i % 3 == 1 else (neuron,)
    return Report(name, 100, 4, tuple(rows), {}, tuple(built_in().values()))


def hostile_report() -> Report:
    """Every name and text is one that would do harm."""
    report = spiking_report(HOSTILE)
    names = {row.name: f"{HOSTILE}{i}" for i, row in enumerate(report.layers)}
    rows = tuple(
        replace(row, name=names[row.name], note=HOSTILE, reads=tuple(names.get(one, one) for one in row.reads), drives="")
        for row in report.layers
    )
    odd = {"title": HOSTILE, "source": HOSTILE, "note": HOSTILE}
    profiles = tuple(replace(profile, name=f"{HOSTILE}{profile.name}", **odd) for profile in report.profiles)
    return Report(HOSTILE, 16, 4, rows, {HOSTILE: HOSTILE}, profiles)


def write_reports(folder: Path) -> dict[str, Path]:
    """One of each kind; its name → its page."""
    own, dense, quantised = spiking_report(), dense_report(), quantised_report()
    unknown = {"attention": "an operation that is not known to the counter"}
    deep, deeper = deep_report(), deep_report("deeper, with a name that is rather long for a legend", 52)
    hostile = hostile_report()
    reports = {
        "own-module": replace(own, comparison=compare(own, dense)),
        "quantised": replace(quantised, comparison=compare(quantised, dense)),
        "no-price": replace(dense, profiles=(load("truenorth"),), host=None),
        "no-verdict": replace(own, uncounted=unknown),
        "hostile": replace(hostile, comparison=compare(hostile, hostile)),
        "deep": replace(deep, comparison=compare(deep, deeper)),
    }
    pages = {}
    for name, report in reports.items():
        odd = HOSTILE if name == "hostile" else report.name
        said = [HOSTILE] if name == "hostile" else []
        paths = report.save(folder / name, title=f"Energy of {odd}", facts={"Model": odd}, notices=said)
        pages[name] = paths["html"]
    other = replace(spiking_report("second module"), answers=(12, 16))
    several = contest([Contender(one.name, (one,)) for one in (dense, own, other, quantised)])
    paths = write_contest(several, folder / "comparison", title="Four networks", facts={"Compared": "four"})
    pages["comparison"] = paths["html"]
    return pages
