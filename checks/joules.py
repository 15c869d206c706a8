"""Reads the machine's energy counters while a network runs on its GPU, and prints joules beside estimates; about a minute.

By hand, on a machine with an NVIDIA GPU, torch for CUDA and nvidia-ml-py: `python -m checks.joules`. Exit code 1 if the GPU's
energy could not be measured, or if more work did not take more of it.
"""

import argparse
import sys
import time
from dataclasses import replace

import torch
from rich.console import Console
from torch import nn

from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.layers import Conv2d, Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy_energy import account
from neurodeploy_energy.price.joules import Measurement, measured_on
from neurodeploy_energy.report import further_tables


class Network(nn.Sequential):
    """`[B, 3, 32, 32]` → `[B, 10]`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.unsqueeze(0))


def network(steps: int) -> Network:
    """Four convolutions, as of a small VGG."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [Conv2d(3, 64, 3, padding=1), DirectEncoding(steps), Neuron(NeuronParameters(0.5, 0.5))]
    for channels, out, stride in ((64, 64, 2), (64, 128, 1), (128, 128, 2)):
        layers += [Conv2d(channels, out, 3, stride=stride, padding=1), Neuron(NeuronParameters(0.5, 0.5))]
    return Network(*layers, Flatten(), nn.Linear(128 * 64, 10), TimeMean()).eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no usable GPU found")
        return 1
    device, began = torch.device(options.device), time.perf_counter()
    samples = torch.rand(options.batch, 3, 32, 32)
    print(
        f"torch {torch.__version__}, {torch.cuda.get_device_name(0) if device.type == 'cuda' else 'CPU'}, batch {options.batch}"
    )
    found = {}
    for steps in (4, 16):
        model = network(steps)
        report = account(model, [samples[:16]], name=f"T = {steps}")
        measured = measured_on(model, samples, device, repeats=options.repeats, seconds=options.seconds)
        found[steps] = [one for one in measured if isinstance(one, Measurement)]
        console = Console(width=140)
        for table in further_tables(replace(report, measured=measured)):
            console.print(table)
        for one in measured:
            print(f"T = {steps}: {one}")
    print(f"took {time.perf_counter() - began:.0f} s")
    if not found[4]:
        return 1
    grown = found[16][0].uj / found[4][0].uj
    print(f"16 steps take {grown:.2f} times the energy of 4 (measured, {found[4][0].device})")
    return 0 if grown > 1.5 else 1


if __name__ == "__main__":
    sys.exit(main())
