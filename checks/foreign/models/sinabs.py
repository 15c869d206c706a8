"""Networks of sinabs: converted from ReLU networks, and made of its layers; samples come before steps."""

from typing import Any

import torch
from sinabs import layers
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.from_torch import from_model
from torch import nn

from checks.foreign.networks import STEPS, Framework, Shape, Suite, number


def _reset(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, layers.StatefulLayer):
            part.reset_states()


def _whole(neuron: nn.Module, output: torch.Tensor) -> torch.Tensor:
    """Layers give `[B, T, …]`, or `[B·T, …]` where they are made for it."""
    return (output.unflatten(0, (-1, STEPS)) if isinstance(neuron, layers.SqueezeMixin) else output).transpose(0, 1)


def _fires(module: nn.Module) -> bool:
    return isinstance(module, layers.StatefulLayer) and not isinstance(module, layers.ExpLeak)


def _constants(neuron: nn.Module) -> dict[str, Any]:
    kept = {name: number(getattr(neuron, name)) for name in ("tau_mem", "tau_syn", "spike_threshold", "min_v_mem")}
    kept = {name: value for name, value in kept.items() if value is not None}
    kept |= {"spike_fn": neuron.spike_fn.__name__, "reset_fn": type(neuron.reset_fn).__name__}
    return {**kept, "norm_input": bool(neuron.norm_input)}


SUITE = Suite(Framework("sinabs", "sinabs", "sinabs", spiking=_fires, reset=_reset, whole=_whole, constants=_constants))

_CNN = {"shape": (1, 16, 16), "width": 6, "small": ((1, 6, 6), 2)}
_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}


def _converted(shape: Shape, width: int, pool: nn.Module, **options: Any) -> nn.Module:
    features = width * (shape[1] // 2) * (shape[2] // 2)
    ann = nn.Sequential(
        nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
        nn.ReLU(),
        pool,
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, 10),
    )
    return from_model(ann, num_timesteps=STEPS, add_spiking_output=True, **options).spiking_model


def _mlp(shape: Shape, width: int, first: nn.Module, last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], width), first, nn.Linear(width, 10), last)


@SUITE.network("converted-average", "from_model with average pools: IAF, many spikes per step", "folded", "sequence", **_CNN)
def _converted_average(shape: Shape, width: int) -> nn.Module:
    return _converted(shape, width, nn.AvgPool2d(2))


@SUITE.network("converted-sum", "from_model with SumPool2d", "folded", "sequence", **_CNN)
def _converted_sum(shape: Shape, width: int) -> nn.Module:
    return _converted(shape, width, layers.SumPool2d(2))


@SUITE.network("converted-single", "from_model with SingleSpike and reset to zero", "folded", "sequence", **_CNN)
def _converted_single(shape: Shape, width: int) -> nn.Module:
    return _converted(shape, width, nn.AvgPool2d(2), spike_fn=SingleSpike, reset_fn=MembraneReset())


@SUITE.network("iaf-squeeze", "IAFSqueeze between linear layers", "folded", "sequence", **_MLP)
def _iaf_squeeze(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, layers.IAFSqueeze(num_timesteps=STEPS), layers.IAFSqueeze(num_timesteps=STEPS))


@SUITE.network("iaf", "IAF, SingleSpike", "batch first", "sequence", **_MLP)
def _iaf(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, layers.IAF(spike_fn=SingleSpike), layers.IAF(spike_fn=SingleSpike))


@SUITE.network("lif", "LIF with normalised input, many spikes per step", "batch first", "sequence", **_MLP)
def _lif(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, layers.LIF(tau_mem=5.0), layers.LIF(tau_mem=10.0))


@SUITE.network("lif-single", "LIF, SingleSpike, threshold 0.5, potentials bounded below", "batch first", "sequence", **_MLP)
def _lif_single(shape: Shape, width: int) -> nn.Module:
    options: dict[str, Any] = {"spike_fn": SingleSpike, "spike_threshold": torch.tensor(0.5), "min_v_mem": -0.5}
    return _mlp(shape, width, layers.LIF(tau_mem=5.0, **options), layers.LIF(tau_mem=5.0, **options))


@SUITE.network("lif-synapse", "LIF with tau_syn", "batch first", "sequence", **_MLP)
def _lif_synapse(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, layers.LIF(tau_mem=5.0, tau_syn=3.0), layers.LIF(tau_mem=5.0, tau_syn=3.0))


@SUITE.network("lif-zero", "LIF without normalised input, SingleSpike, reset to zero", "batch first", "sequence", **_MLP)
def _lif_zero(shape: Shape, width: int) -> nn.Module:
    options: dict[str, Any] = {"spike_fn": SingleSpike, "reset_fn": MembraneReset(), "norm_input": False}
    return _mlp(shape, width, layers.LIF(tau_mem=4.0, **options), layers.LIF(tau_mem=4.0, **options))


@SUITE.network("exp-leak", "LIF and an ExpLeak read-out", "batch first", "sequence", **_MLP)
def _exp_leak(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, layers.LIF(tau_mem=5.0), layers.ExpLeak(tau_mem=8.0))


@SUITE.network("lif-recurrent", "LIFRecurrent, and an LIF behind it", "batch first", "sequence", **_MLP)
def _lif_recurrent(shape: Shape, width: int) -> nn.Module:
    recurrent = layers.LIFRecurrent(tau_mem=5.0, rec_connect=nn.Linear(width, width, bias=False), spike_fn=SingleSpike)
    return _mlp(shape, width, recurrent, layers.LIF(tau_mem=5.0))
