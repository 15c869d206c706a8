"""The networks of the check, small ones of every family, on the exact grid: a spike that differs is another computation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.dynamics.updates import Instruction, Update
from neurodeploy.graph import Graph, ops
from tests.conftest import SMALL
from tests.exporters.onnx.conftest import firing

STEPS, BATCH = 6, 3
_EIGHTHS = 8


@dataclass(frozen=True)
class Exported:
    """A network, in float.

    Attributes:
        name: of its files.
        what: it is, for the table.
        graph: makes it, from a seed.
    """

    name: str
    what: str
    graph: Callable[[], Graph]

    def samples(self, graph: Graph) -> NDArray[np.float32]:
        """`[B, …]` multiples of 1/256 in [0, 1], or `[T, B, …]` spikes."""
        rng = np.random.default_rng(0)
        if graph.input.timed:
            return (rng.random((STEPS, BATCH, *graph.input.shape)) < 0.4).astype(np.float32)
        return (rng.integers(0, 257, (BATCH, *graph.input.shape)) / 256).astype(np.float32)


def _small(name: str, neuron: str, reset: str) -> Callable[[], Graph]:
    def made() -> Graph:
        torch.manual_seed(0)
        return firing(SMALL[name], neuron, reset)

    return made


def _adapting() -> Update:
    """A leaky neuron whose threshold rises with every spike; all numbers are sums of few powers of two."""
    return Update(
        inputs=2,  # the second is what comes back
        instructions=(
            Instruction("mul", (("state", 0), ("number", 0.5))),
            Instruction("add", (("input", 0), ("input", 1))),
            Instruction("add", (("result", 0), ("result", 1))),
            Instruction("add", (("state", 1), ("number", 0.75))),
            Instruction("gt", (("result", 2), ("result", 3))),
            Instruction("mul", (("result", 4), ("result", 3))),
            Instruction("sub", (("result", 2), ("result", 5))),
            Instruction("mul", (("state", 1), ("number", 0.75))),
            Instruction("mul", (("result", 4), ("number", 0.25))),
            Instruction("add", (("result", 7), ("result", 8))),
        ),
        initial=(("number", 0.0), ("number", 0.0)),
        following=(("result", 6), ("result", 9)),
        output=("result", 4),
    )


def _cells() -> Graph:
    rng = np.random.default_rng(0)

    def eighths(*shape: int) -> NDArray[np.float32]:
        return (rng.integers(-_EIGHTHS, _EIGHTHS + 1, shape) / _EIGHTHS).astype(np.float32)

    def cell(name: str, source: str, size: int) -> ops.CellNode:
        return ops.CellNode(name=name, inputs=(source,), update=_adapting(), recurrent=eighths(size, size) / 4, largest=1)

    return Graph(
        [
            ops.InputNode(name="input", shape=(12,), timed=True),
            ops.LinearNode(name="fc1", inputs=("input",), weight=eighths(16, 12)),
            cell("cell1", "fc1", 16),
            ops.LinearNode(name="fc2", inputs=("cell1",), weight=eighths(10, 16)),
            cell("cell2", "fc2", 10),
            ops.LinearNode(name="classifier", inputs=("cell2",), weight=eighths(4, 10)),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


NETWORKS = (
    Exported("vgg", "VGG, batch norm, LIF with hard reset", _small("vgg batch-norm", "LIF", "hard")),
    Exported("residual", "residual network, LIF with soft reset", _small("resnet", "LIF", "soft")),
    Exported("signal", "residual network in one dimension, current-based LIF", _small("resnet1d standard", "CUBA", "hard")),
    Exported("cells", "recurrent cells with a threshold that adapts", _cells),
)
