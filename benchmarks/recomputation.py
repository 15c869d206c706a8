"""What `recompute = true` costs and saves: time and peak memory of a training step of a thin ResNet-20, side by side.

    python -m benchmarks.recomputation --steps 16 64 --batch 64

Both steps begin with the same weights, and their gradients must be equal to the bit. Time is that of the processor, the median
of interleaved rounds; memory is the peak above what the process held before the step (see `benchmarks.memory`).
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import Tensor, nn

from benchmarks.memory import peak_of
from neurodeploy.dynamics.layers import LIF
from neurodeploy.networks import SpikingActivations
from neurodeploy.networks.resnet import ResNetSpec
from neurodeploy.training.recomputing import recomputing


def step(network: nn.Module, images: Tensor, labels: Tensor, *, recompute: bool) -> dict[str, Tensor]:
    """Gradients of one training step."""
    network.zero_grad(set_to_none=True)
    if recompute:
        with recomputing(network):
            nn.functional.cross_entropy(network(images).logits, labels).backward()
    else:
        nn.functional.cross_entropy(network(images).logits, labels).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def measured(steps: int, batch: int, rounds: int) -> dict[str, float]:
    """Ratios of the step that computes again to the one that keeps everything, and both as they are: seconds and MiB."""
    torch.manual_seed(0)
    network = ResNetSpec(channels=(16, 32, 64), blocks=(3, 3, 3)).build(3, 10, SpikingActivations(LIF, steps))
    images, labels = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    kept = {name: grad.clone() for name, grad in step(network, images, labels, recompute=False).items()}
    again = step(network, images, labels, recompute=True)
    if not all(torch.equal(grad, again[name]) for name, grad in kept.items()):
        raise SystemExit("the gradients differ")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for recompute, taken in seconds.items():
            began = time.process_time()
            step(network, images, labels, recompute=recompute)
            taken.append(time.process_time() - began)
    median = {recompute: statistics.median(taken) for recompute, taken in seconds.items()}
    peak = {
        recompute: peak_of(
            lambda recompute=recompute: step(network, images, labels, recompute=recompute),  # type: ignore[misc]
            lambda: network.zero_grad(set_to_none=True),
        )[0]
        for recompute in seconds
    }
    return {
        "steps": steps,
        "batch": batch,
        "seconds_kept": median[False],
        "seconds_recomputed": median[True],
        "time": median[True] / median[False],
        "mib_kept": peak[False] / 2**20,
        "mib_recomputed": peak[True] / 2**20,
        "memory": peak[True] / peak[False],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[16])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for steps in given.steps:
        sys.stdout.write(json.dumps(measured(steps, given.batch, given.rounds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
