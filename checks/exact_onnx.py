"""Whether exact ONNX exports fire torch's spikes on real images: whole, and as streams of chunks of several lengths.

    python -m checks.exact_onnx --samples 1000 --steps 4 16 100 --chunks 1 4 16

A VGG-type network and a residual one, with hard and soft reset, their batch norms filled with CIFAR-10's training images, their
weights on the exact grid. Every spike of every layer is compared; the exit code is 1 if one differs.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import table
from neurodeploy.data import Cifar10
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.graph import Graph, fold_batch_norm, ops
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import NetworkSpec, ResNetSpec, SpikingActivations, VggSpec
from neurodeploy_exporters.onnx import Session, build

NETWORKS: dict[str, NetworkSpec] = {
    "vgg": VggSpec(layers=(16, "A", 32, 32, "A", 64, 64, "A"), hidden=(128,), form="batch-norm"),
    "resnet": ResNetSpec(channels=(16, 32, 64), blocks=(1, 1, 1)),
}
_BATCH = 25
Spikes = dict[str, NDArray[np.float32]]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--resets", nargs="+", choices=("hard", "soft"), default=["hard", "soft"])
    parser.add_argument("--first", type=int, default=0, help="index of the first test image")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16, 100], help="T")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 16], help="steps of a stream's chunks")
    return parser.parse_args()


def network(name: str, reset: Reset, images: torch.Tensor) -> Graph:
    """On the exact grid, with batch norms that know the images."""
    torch.manual_seed(0)
    module = NETWORKS[name].build(3, 10, SpikingActivations(partial(Neuron, NeuronParameters(0.5, 0.5, reset)), 4))
    for norm in (each for each in module.modules() if isinstance(each, torch.nn.BatchNorm2d)):
        norm.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        for batch in images.split(64):
            module(batch)
    return to_grid(fold_batch_norm(trace(module.eval(), (3, 32, 32))))


def by_torch(graph: Graph, images: torch.Tensor, steps: int) -> Spikes:
    """Spikes of every layer, `[T, B, …]`."""
    module = GraphModule(
        Graph(replace(node, steps=steps) if isinstance(node, ops.EncodeNode) else node for node in graph.nodes)
    )
    found: Spikes = {}
    for layer in graph.spiking:
        module.get_submodule(layer).register_forward_hook(lambda _m, _x, y, layer=layer: found.update({layer: y.numpy()}))
    with torch.inference_mode():
        module(images)
    return found


def in_chunks(session: Session, images: NDArray[np.float32], steps: int, chunk: int) -> Iterator[tuple[slice, Spikes]]:
    """A stream's spikes, chunk after chunk, with the steps that they belong to."""
    stream = session.stream()
    for start in range(0, steps, chunk):
        some = min(chunk, steps - start)
        yield slice(start, start + some), stream.step(images, steps=some).tensors


def compare(graph: Graph, images: torch.Tensor, steps: int, chunks: list[int]) -> dict[str, tuple[int, int, int]]:
    """Way of running → spikes that differ from torch's, values compared, spikes among them."""
    whole = Session(build(graph, name="exact"), also=graph.spiking)
    streaming = Session(build(graph, name="exact", streaming=True), also=graph.spiking)
    counts: dict[str, list[int]] = {}

    def count(way: str, expected: Spikes, when: slice, found: Spikes) -> None:
        total = counts.setdefault(way, [0, 0, 0])
        for layer in graph.spiking:
            one, other = expected[layer][when], found[layer]
            for place, value in enumerate((np.count_nonzero(one != other), one.size, np.count_nonzero(one))):
                total[place] += int(value)

    for batch in images.split(_BATCH):
        expected = by_torch(graph, batch, steps)
        count("whole", expected, slice(None), whole.run({graph.input.name: batch.numpy()}, steps=steps))
        for chunk in chunks:
            for when, found in in_chunks(streaming, batch.numpy(), steps, chunk):
                count(f"chunks of {chunk}", expected, when, found)
    return {way: (different, compared, spikes) for way, (different, compared, spikes) in counts.items()}


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    data = Cifar10(train_limit=100).load()
    images = data.test_samples[given.first :][: given.samples]
    rows = [["network", "reset", "T", "way", "values compared", "spikes among them", "that differ"]]
    different = 0
    for name in given.networks:
        for reset in given.resets:
            graph = network(name, reset, data.train_samples)
            for steps in given.steps:
                for way, (wrong, compared, spikes) in compare(graph, images, steps, given.chunks).items():
                    different += wrong
                    rows.append([name, reset, str(steps), way, f"{compared:,}", f"{spikes:,}", f"{wrong:,}"])
                    sys.stderr.write(f"{', '.join(rows[-1])}\n")
    sys.stdout.write(f"{len(images)} test images of CIFAR-10\n\n{table(rows)}\n")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
