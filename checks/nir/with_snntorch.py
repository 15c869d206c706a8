"""snnTorch's side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

import nir
from checks.nir.exchange import Make, serve, spikes

STEPS, BATCH = 12, 4


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """Step by step; where it flattens, one sample after the other without a batch axis, which its reader would flatten too."""
    graph = nir.read(path)
    if not any(isinstance(node, nir.Flatten) for node in graph.nodes.values()):
        return _sequence(graph, inputs)
    return np.stack([_sequence(graph, inputs[:, sample]) for sample in range(inputs.shape[1])], 1)


def _sequence(graph: Any, inputs: NDArray[np.float32]) -> NDArray[Any]:
    net, outputs = import_from_nir(graph), []
    with torch.no_grad():
        for step in torch.from_numpy(inputs.astype(np.float32)):
            answer = net(step)
            outputs.append(answer[0] if isinstance(answer, tuple) else answer)
    return torch.stack(outputs).numpy()


def _made(net: nn.Module, *shape: int) -> Make:
    def make(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
        inputs = spikes(7, STEPS, BATCH, *shape)
        with torch.no_grad():
            outputs = torch.stack([net(step) for step in torch.from_numpy(inputs)])
        nir.write(path, export_to_nir(net, torch.zeros(1, *shape), ignore_dims=[0]))
        return inputs, outputs.numpy()

    return make


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
    module = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(module.weight, 0.1, 0.5)
    return module


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Module:
    module = nn.Conv2d(inputs, outputs, 3, **options)
    nn.init.normal_(module.weight, 0.05, 0.4)
    return module


def _leaky(*shape: int, beta: float = 0.5, threshold: float = 1.0, **options: Any) -> nn.Module:
    """Every neuron has constants of its own: single numbers cannot be written."""
    constants = {"beta": torch.full(shape, beta), "threshold": torch.full(shape, threshold)}
    return snntorch.Leaky(**constants, init_hidden=True, **options)


def _synaptic(*shape: int, **options: Any) -> nn.Module:
    constants = {"alpha": torch.full(shape, 0.5), "beta": torch.full(shape, 0.75), "threshold": torch.ones(shape)}
    return snntorch.Synaptic(**constants, init_hidden=True, **options)


def makers() -> dict[str, Make]:
    """Networks of its own. Its neurons' default reset subtracts, late; what it writes is the reset to zero."""
    torch.manual_seed(0)
    zero: dict[str, Any] = {"reset_mechanism": "zero"}
    now: dict[str, Any] = {"reset_mechanism": "zero", "reset_delay": False}
    return {
        "lif": _made(nn.Sequential(_linear(20, 16), _leaky(16, beta=0.9, **zero)), 20),
        "lif-subtract": _made(nn.Sequential(_linear(20, 16), _leaky(16, beta=0.9, reset_delay=False)), 20),
        "lif-subtract-late": _made(nn.Sequential(_linear(20, 16), _leaky(16, beta=0.9)), 20),
        "lif-one-number": _made(nn.Sequential(_linear(20, 16), snntorch.Leaky(beta=0.9, init_hidden=True, **zero)), 20),
        "cuba": _made(nn.Sequential(_linear(20, 16), _synaptic(16, **now)), 20),
        "cuba-late": _made(nn.Sequential(_linear(20, 16), _synaptic(16, **zero)), 20),
        "conv": _made(
            nn.Sequential(
                _conv(2, 4, padding=1, bias=False),
                _leaky(4, 8, 8, **zero),
                nn.AvgPool2d(2),
                _conv(4, 6, stride=2, padding=1),
                _leaky(6, 2, 2, beta=0.75, threshold=0.5, **zero),
                nn.Flatten(),
                _linear(24, 10, bias=False),
                _leaky(10, **zero),
            ),
            2,
            8,
            8,
        ),
        "recurrent-zero": _made(
            nn.Sequential(
                _linear(20, 16),
                snntorch.RLeaky(beta=0.75, linear_features=16, init_hidden=True, reset_mechanism="zero", reset_delay=False),
            ),
            20,
        ),
        "recurrent-cuba": _made(
            nn.Sequential(_linear(20, 16), snntorch.RSynaptic(alpha=0.5, beta=0.75, linear_features=16, init_hidden=True)), 20
        ),
        "recurrent": _made(nn.Sequential(_linear(20, 16), snntorch.RLeaky(beta=0.5, linear_features=16, init_hidden=True)), 20),
    }


if __name__ == "__main__":
    serve(run, makers())
