"""Writes bundles for Loihi of one network of each kind that the chip's file format can say, for `checks.netx` to run.

    python -m checks.lava_bundles runs/netx

Needs SLAYER beside the toolkit (`make netx` prepares an environment): its networks come from the suite of
`checks.foreign_modules`, with trained-like weights. The others are a torch module with neurons of the toolkit, trained, and
loops written out by hand.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neurodeploy as nd
from checks.foreign.firing import trained_like
from checks.foreign.models.slayer import SUITE

_INPUTS, _HIDDEN, _OUTPUTS, _STEPS, _SAMPLES, _EPOCHS = 12, 24, 4, 16, 64, 60


class Loop(nn.Module):
    """A layer that may read its own spikes, and a layer behind it; their updates are written out.

    Args:
        recurrent: whether the first layer reads its own spikes, a step later.
        current: what is left of a current after a step; 0 for neurons without one.
    """

    def __init__(self, recurrent: bool, current: float) -> None:
        super().__init__()
        # without a bias: one that fires before a sample has begun is refused in a recurrent layer
        self.entry, self.last = nn.Linear(_INPUTS, _HIDDEN, bias=False), nn.Linear(_HIDDEN, _OUTPUTS)
        self.back = nn.Linear(_HIDDEN, _HIDDEN, bias=False) if recurrent else None
        self.current = current

    def forward(self, x: Tensor) -> Tensor:
        spikes, state, answer = x.new_zeros(x.shape[1], _HIDDEN), self._rest(x, _HIDDEN), self._rest(x, _OUTPUTS)
        answers = []
        for step in x:
            drive = self.entry(step)
            if self.back is not None:
                drive = drive + self.back(spikes)
            spikes, state = self._fire(drive, state)
            out, answer = self._fire(self.last(spikes), answer)
            answers.append(out)
        return torch.stack(answers)

    def _rest(self, x: Tensor, neurons: int) -> tuple[Tensor, Tensor]:
        return x.new_zeros(x.shape[1], neurons), x.new_zeros(x.shape[1], neurons)

    def _fire(self, drive: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        current, potential = state
        current = self.current * current + drive if self.current else drive
        potential = 0.75 * potential + current
        spikes = (potential >= 0.5).float()
        return spikes, (current, potential * (1 - spikes))


def _trained(inputs: Tensor) -> nn.Module:
    """A layered network whose answers follow which quarter of the inputs fires most."""
    hidden, answer = (nd.CubaLIF(threshold=0.5, decay=0.75, current_decay=0.5, reset="hard") for _ in range(2))
    module = nn.Sequential(nn.Linear(_INPUTS, _HIDDEN), hidden, nn.Linear(_HIDDEN, _OUTPUTS), answer)
    labels = inputs.sum(0).unflatten(1, (_OUTPUTS, -1)).sum(2).argmax(1)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for _ in range(_EPOCHS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(4 * module(inputs).mean(0), labels).backward()
        optimizer.step()
    return module.eval()


def models() -> Iterator[tuple[str, nd.Model]]:
    """Name and deployed network."""
    torch.manual_seed(0)
    inputs = (torch.rand(_STEPS, _SAMPLES, _INPUTS) < 0.4).float()
    own: dict[str, nn.Module] = {
        "trained-cuba": _trained(inputs),
        "loop-recurrent": Loop(recurrent=True, current=0.0).eval(),
        "loop-recurrent-cuba": Loop(recurrent=True, current=0.5).eval(),
    }
    for name, module in own.items():
        yield name, nd.deploy(module, inputs, batch_axis=1, name=name)
    for name, network in SUITE.networks.items():
        module, values = network.built(), network.inputs()
        trained_like(network, module, values)
        samples, options = network.deployed(values)
        along: dict[str, Any] = dict(options)
        yield name, nd.deploy(module, samples, name=name, **along)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write bundles for Loihi, one of each kind of network.")
    parser.add_argument("folder", type=Path, help="receives a folder for each network")
    folder = parser.parse_args().folder
    for name, model in models():
        bundle = nd.export(model, "lava", folder / name, samples=2)
        print(f"{bundle.folder}: written", flush=True)


if __name__ == "__main__":
    main()
