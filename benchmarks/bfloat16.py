"""What `precision = "bfloat16"` gains on a CPU: time of a training step of ResNet-20 with levels and of its spiking twins.

    python -m benchmarks.bfloat16 --steps 2 4 --batch 64

The weights are random, the images noise: time does not depend on them. Both precisions begin with the same weights; time is
that of the processor, the median of interleaved rounds. A processor without tiles or products of bfloat16 gains nothing.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.networks.published import CifarResNet


def step(network: nn.Module, images: Tensor, labels: Tensor, *, narrow: bool) -> None:
    """One training step, without the update of the weights."""
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        logits = network(images).logits
    nn.functional.cross_entropy(logits.float(), labels).backward()


def measured(network: nn.Module, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds of processor time for each image, in both precisions, and their ratio."""
    images, labels = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for warm in range(rounds + 2):
        for narrow, taken in seconds.items():
            began = time.process_time()
            step(network, images, labels, narrow=narrow)
            if warm >= 2:
                taken.append(time.process_time() - began)
    wide, narrow = (1000 * statistics.median(seconds[key]) / batch for key in (False, True))
    return {"float32_ms": wide, "bfloat16_ms": narrow, "time": narrow / wide}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[4])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = torch.rand(64, 3, 32, 32)
    levels = nd.qcfs(CifarResNet(3).eval(), samples, levels=4)
    twins = {f"twin, T = {steps}": nd.spiking(levels, samples, steps=steps, learn_threshold=True) for steps in given.steps}
    for name, network in {"4 levels": levels, **twins}.items():
        found = {"network": name, "batch": given.batch} | measured(network.train(), given.batch, given.rounds)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
