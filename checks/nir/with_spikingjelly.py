"""SpikingJelly's side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir
from torch import nn

from checks.nir.exchange import Make, serve, spikes

STEPS, BATCH = 12, 4


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """Step by step, the state handed on."""
    net, state, outputs = import_from_nir(path), None, []
    with torch.no_grad():
        for step in torch.from_numpy(inputs.astype(np.float32)):
            answer, state = net(step, state)
            outputs.append(answer)
    return torch.stack(outputs).numpy()


def _made(net: nn.Module, *shape: int) -> Make:
    def make(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
        inputs = spikes(7, STEPS, BATCH, *shape)
        with torch.no_grad():
            outputs = torch.stack([net(step) for step in torch.from_numpy(inputs)])
        for module in net.modules():
            if isinstance(module, neuron.BaseNode):
                module.reset()
        export_to_nir(net, torch.zeros(1, *shape), save_path=path)
        return inputs, outputs.numpy()

    return make


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
    module = layer.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(module.weight, 0.1, 0.5)
    return module


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Module:
    module = layer.Conv2d(inputs, outputs, 3, **options)
    nn.init.normal_(module.weight, 0.1, 0.6)
    return module


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = _linear(20, 16), neuron.LIFNode(tau=2.0)
        self.fc2, self.lif2 = _linear(16, 16), neuron.LIFNode(tau=2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.lif1(self.fc1(x))
        return self.lif2(self.fc2(first) + first)


def makers() -> dict[str, Make]:
    """Networks of its own."""
    torch.manual_seed(0)
    return {
        "lif": _made(nn.Sequential(_linear(20, 16), neuron.LIFNode(tau=2.0, v_threshold=0.8)), 20),
        "lif-undecayed": _made(nn.Sequential(_linear(20, 16), neuron.LIFNode(tau=4.0, decay_input=False)), 20),
        "lif-reset": _made(nn.Sequential(_linear(20, 16), neuron.LIFNode(tau=2.0, v_reset=-0.25)), 20),
        "plif": _made(nn.Sequential(_linear(20, 16), neuron.ParametricLIFNode(init_tau=3.0)), 20),
        "if": _made(nn.Sequential(_linear(20, 16, bias=False), neuron.IFNode()), 20),
        "cuba": _made(nn.Sequential(_linear(20, 16), neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75)), 20),
        "residual": _made(_Residual(), 20),
        "conv": _made(
            nn.Sequential(
                _conv(2, 4, padding=1, bias=False),
                neuron.LIFNode(tau=2.0),
                layer.AvgPool2d(2),
                _conv(4, 6, stride=2, padding=1),
                neuron.IFNode(),
                layer.Flatten(),
                _linear(24, 10),
                neuron.LIFNode(tau=2.0, v_threshold=0.5),
            ),
            2,
            8,
            8,
        ),
    }


if __name__ == "__main__":
    serve(run, makers())
