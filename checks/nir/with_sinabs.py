"""sinabs' side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sinabs import layers
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir, to_nir
from torch import nn

import nir
from checks.nir.exchange import Make, serve, spikes

STEPS, BATCH = 12, 4


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """All samples and steps at once, `[B·T, …]`, as its layers want it."""
    steps, batch = inputs.shape[:2]
    net = from_nir(nir.read(path), batch_size=batch)
    with torch.no_grad():
        answer = net(_folded(inputs))
    answer = answer[0] if isinstance(answer, tuple) else answer
    return answer.unflatten(0, (batch, steps)).transpose(0, 1).numpy()


def _folded(inputs: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(inputs.astype(np.float32)).transpose(0, 1).flatten(0, 1)


def _made(net: nn.Module, *shape: int, rate: float = 0.4) -> Make:
    def make(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
        inputs = spikes(7, STEPS, BATCH, *shape, rate=rate)
        with torch.no_grad():
            outputs = net(_folded(inputs)).unflatten(0, (BATCH, STEPS)).transpose(0, 1)
        graph = to_nir(net, torch.zeros(BATCH * STEPS, *shape))
        graph.infer_types()
        nir.write(path, graph)
        return inputs, outputs.numpy()

    return make


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
    module = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(module.weight, 0.02, 0.2)
    return module


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Module:
    module = nn.Conv2d(inputs, outputs, 3, **options)
    nn.init.normal_(module.weight, 0.02, 0.2)
    return module


def _lif(tau: float = 10.0, **options: Any) -> nn.Module:
    return layers.LIFSqueeze(**{"tau_mem": tau, "batch_size": BATCH, "spike_fn": SingleSpike, **options})


def _iaf(**options: Any) -> nn.Module:
    return layers.IAFSqueeze(batch_size=BATCH, spike_fn=SingleSpike, **options)


def makers() -> dict[str, Make]:
    """Networks of its own, most with at most one spike per step; its default is any number. `from_model` sets a floor."""
    torch.manual_seed(0)
    return {
        "lif": _made(nn.Sequential(_linear(20, 16), _lif(norm_input=False)), 20),
        "lif-zero": _made(nn.Sequential(_linear(20, 16), _lif(norm_input=False, reset_fn=MembraneReset())), 20),
        "lif-normalised": _made(nn.Sequential(_linear(20, 16), _lif(2.0)), 20, rate=0.8),
        "lif-multi": _made(
            nn.Sequential(_linear(20, 16), layers.LIFSqueeze(tau_mem=10.0, batch_size=BATCH, norm_input=False)), 20
        ),
        "if": _made(nn.Sequential(_linear(20, 16, bias=False), _iaf()), 20),
        "li": _made(nn.Sequential(_linear(20, 16), layers.ExpLeakSqueeze(tau_mem=5.0, batch_size=BATCH)), 20),
        "conv-floor": _made(
            nn.Sequential(
                _conv(2, 4, padding=1, bias=False),
                layers.IAFSqueeze(batch_size=BATCH, min_v_mem=-1.0),
                layers.SumPool2d(2, 2),
                nn.Flatten(),
                _linear(64, 10),
                layers.IAFSqueeze(batch_size=BATCH, min_v_mem=-1.0),
            ),
            2,
            8,
            8,
        ),
        "conv": _made(
            nn.Sequential(
                _conv(2, 4, padding=1, bias=False),
                _iaf(),
                layers.SumPool2d(2, 2),
                _conv(4, 6, stride=2, padding=1),
                _lif(norm_input=False),
                nn.Flatten(),
                _linear(24, 10),
                _iaf(),
            ),
            2,
            8,
            8,
        ),
    }


if __name__ == "__main__":
    serve(run, makers())
