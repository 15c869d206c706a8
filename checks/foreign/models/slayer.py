"""Networks of SLAYER, the trainer of lava-dl: blocks of CUBA neurons in fixed-point steps; time is the last axis."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from checks.foreign.networks import Framework, Shape, Suite, number

# Its object detection is imported with it, and asks for OpenCV and torchvision; no network here needs it.
sys.modules.setdefault("lava.lib.dl.slayer.object_detection", ModuleType("lava.lib.dl.slayer.object_detection"))
slayer = import_module("lava.lib.dl.slayer")

_NEURON = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03125}
block = slayer.block.cuba


def _reset(module: nn.Module) -> None:
    """Forget what recurrent blocks keep between calls."""
    for part in module.modules():
        if isinstance(part, slayer.neuron.cuba.Neuron):
            part.current_state, part.voltage_state = torch.zeros(1), torch.zeros(1)
        if hasattr(part, "spike_state"):
            part.spike_state = torch.zeros(1)
        if hasattr(part, "delay_buffer"):
            part.delay_buffer = None


def _constants(neuron: nn.Module) -> dict[str, Any]:
    """In the whole numbers in which it computes."""
    return {
        "current_decay": number(torch.round(neuron.current_decay)),
        "voltage_decay": number(torch.round(neuron.voltage_decay)),
        "threshold": neuron.threshold + neuron.threshold_eps,
        "s_scale": neuron.s_scale,
    }


SUITE = Suite(
    Framework(
        "slayer",
        "SLAYER (lava-dl)",
        "lava-dl",
        spiking=lambda module: isinstance(module, slayer.neuron.cuba.Neuron),
        reset=_reset,
        constants=_constants,
        whole=lambda _, output: output.movedim(-1, 0),
        joined=lambda outputs: torch.cat(outputs, -1).movedim(-1, 0),
    )
)

_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}
_CNN = {"shape": (2, 12, 12), "width": 6, "small": ((1, 6, 6), 2)}


class _Blocks(nn.Module):
    """Blocks one after the other, in a list as its tutorials have them."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, spike: Tensor) -> Tensor:
        for part in self.blocks:
            spike = part(spike)
        return spike


def _dense(inputs: int, outputs: int, neuron: dict[str, Any] | None = None, **options: Any) -> nn.Module:
    return block.Dense(neuron or _NEURON, inputs, outputs, weight_scale=2, **options)


@SUITE.network(
    "dense",
    "two dense blocks: CUBA, weights rounded to 8 bit as it runs, a delay of one step each",
    "time last",
    "sequence",
    **_MLP,
)
def _two(shape: Shape, width: int) -> nn.Module:
    return _Blocks(_dense(shape[0], width), _dense(width, 10))


@SUITE.network("dense-float", "two dense blocks whose weights are not rounded", "time last", "sequence", **_MLP)
def _float(shape: Shape, width: int) -> nn.Module:
    return _Blocks(_dense(shape[0], width, pre_hook_fx=None), _dense(width, 10, pre_hook_fx=None))


@SUITE.network("dense-now", "two dense blocks without the delay of a step", "time last", "sequence", **_MLP)
def _now(shape: Shape, width: int) -> nn.Module:
    return _Blocks(_dense(shape[0], width, delay_shift=False), _dense(width, 10, delay_shift=False))


@SUITE.network("dense-channels", "decays of its own for every neuron", "time last", "sequence", **_MLP)
def _channels(shape: Shape, width: int) -> nn.Module:
    neuron = {**_NEURON, "current_decay": (0.1, 0.6), "voltage_decay": (0.02, 0.4), "shared_param": False}
    return _Blocks(_dense(shape[0], width, neuron), _dense(width, 10, neuron))


@SUITE.network("conv", "convolutional blocks, a pool block, flatten, dense", "time last", "sequence", **_CNN)
def _conv(shape: Shape, width: int) -> nn.Module:
    features = width * (shape[1] // 2) * (shape[2] // 2)
    return _Blocks(
        block.Conv(_NEURON, shape[0], width, 3, padding=1, weight_scale=2),
        block.Pool(_NEURON, 2),
        block.Conv(_NEURON, width, width, 3, padding=1, weight_scale=2),
        block.Flatten(),
        _dense(features, 10),
    )


@SUITE.network("delays", "axonal delays, learnt as real numbers and taken as whole steps", "time last", "sequence", **_MLP)
def _delays(shape: Shape, width: int) -> nn.Module:
    net = _Blocks(_dense(shape[0], width, delay=True), _dense(width, 10))
    delay = net.blocks[0].delay
    delay.delay.data, delay.init = 5 * torch.rand(width), True
    return net


@SUITE.network(
    "recurrent", "a recurrent block, which starts from the state in which it was left", "time last", "sequence", **_MLP
)
def _recurrent(shape: Shape, width: int) -> nn.Module:
    return _Blocks(block.Recurrent(dict(_NEURON), shape[0], width, weight_scale=2), _dense(width, 10))


@SUITE.network("affine", "a read-out by potentials: an affine block", "time last", "sequence", **_MLP)
def _affine(shape: Shape, width: int) -> nn.Module:
    return _Blocks(_dense(shape[0], width), block.Affine(_NEURON, width, 10, weight_scale=2))


@SUITE.network("affine-current", "a read-out without dynamics: an affine block", "time last", "sequence", **_MLP)
def _affine_current(shape: Shape, width: int) -> nn.Module:
    return _Blocks(_dense(shape[0], width), block.Affine(_NEURON, width, 10, weight_scale=2, dynamics=False))
