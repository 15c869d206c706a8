"""Norse's side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import norse.torch as norse
import numpy as np
import torch
from norse.torch.module.iaf import IAFCell
from norse.torch.module.leaky_integrator_box import LIBoxCell
from norse.torch.module.lif_box import LIFBoxCell
from numpy.typing import NDArray
from torch import nn

import nir
from checks.nir.exchange import Make, serve, spikes

STEPS, BATCH = 12, 4
DT = 1e-4  # of the files that are written here; Norse's own default is ten times as long


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """Step by step; where it flattens, one sample after the other without a batch axis, which its reader would flatten too."""
    graph = nir.read(path)
    if not any(isinstance(node, nir.Flatten) for node in graph.nodes.values()):
        return _sequence(graph, inputs)
    return np.stack([_sequence(graph, inputs[:, sample]) for sample in range(inputs.shape[1])], 1)


def _sequence(graph: Any, inputs: NDArray[np.float32]) -> NDArray[Any]:
    net, state, outputs = norse.from_nir(graph, dt=DT), None, []
    with torch.no_grad():
        for step in torch.from_numpy(inputs.astype(np.float32)):
            answer, state = net(step, state)
            outputs.append(answer)
    return torch.stack(outputs).numpy()


def _made(net: nn.Module, *shape: int) -> Make:
    def make(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
        inputs, state, outputs = spikes(7, STEPS, BATCH, *shape), None, []
        with torch.no_grad():
            for step in torch.from_numpy(inputs):
                answer, state = net(step, state)
                outputs.append(answer)
        nir.write(path, norse.to_nir(net, torch.zeros(1, *shape)))
        return inputs, torch.stack(outputs).numpy()

    return make


def _linear(inputs: int, outputs: int, scale: float = 1.0, bias: bool = True) -> nn.Module:
    module = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(module.weight, 0.1 * scale, 0.5 * scale)
    return module


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Module:
    module = nn.Conv2d(inputs, outputs, 3, **options)
    nn.init.normal_(module.weight, 1.0, 3.0)
    return module


def makers() -> dict[str, Make]:
    """Networks of its own, with its own time constants of 5 and 10 ms and its step of 1 ms."""
    torch.manual_seed(0)
    return {
        "lif": _made(norse.SequentialState(_linear(20, 16, 8), LIFBoxCell()), 20),
        "lif-deep": _made(
            norse.SequentialState(_linear(20, 16, 8), LIFBoxCell(), _linear(16, 12, 8, bias=False), LIFBoxCell()), 20
        ),
        "cuba": _made(norse.SequentialState(_linear(20, 16, 3), norse.LIFCell()), 20),
        "if": _made(norse.SequentialState(_linear(20, 16), IAFCell()), 20),
        "li": _made(norse.SequentialState(_linear(20, 16, 8), LIFBoxCell(), _linear(16, 5), LIBoxCell()), 20),
        "conv": _made(
            norse.SequentialState(_conv(2, 4, padding=1), LIFBoxCell(), _conv(4, 6, stride=2), LIFBoxCell()), 2, 8, 8
        ),
    }


if __name__ == "__main__":
    serve(run, makers())
