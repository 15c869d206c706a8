"""sinabs: layers over `[B, T, …]`, convolutions repeated over time by its `Repeat`."""

from math import log
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.thresholds import non_strict
from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters


def constants(parameters: NeuronParameters) -> dict[str, Any]:
    """`LIF(norm_input=False)`: `h = α v + I`, α = exp(−1/τ) = λ; fires at `h ≥ θ'`, θ' the next float32 above θ.

    The soft reset subtracts a value of its own, `subtract`, which stays θ: exact for both resets.

    Raises:
        ValueError: λ is 0 or 1 (no such τ), or no reset, which it does not have.
    """
    if not 0 < parameters.decay < 1 or parameters.reset == "none":
        raise ValueError(f"sinabs' LIF: decay between 0 and 1 and a reset expected, {parameters} found")
    return {
        "tau_mem": -1 / log(parameters.decay),
        "spike_threshold": non_strict(parameters.threshold),
        "subtract": parameters.threshold if parameters.reset == "soft" else None,
    }


def arc_tangent(v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
    """`∂s/∂h = 1 / (1 + (π x)²)`, x = h − θ: our default surrogate, in the form that sinabs takes."""
    return 1 / (1 + (torch.pi * (v_mem - spike_threshold)).square())


def _lif(parameters: NeuronParameters) -> Any:
    from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike
    from sinabs.layers import LIF

    values = constants(parameters)
    layer = LIF(
        tau_mem=values["tau_mem"],
        spike_threshold=torch.tensor(values["spike_threshold"]),
        spike_fn=SingleSpike,
        reset_fn=MembraneReset() if values["subtract"] is None else MembraneSubtract(values["subtract"]),
        surrogate_grad_fn=arc_tangent,
        train_alphas=True,
        norm_input=False,
    )
    with torch.no_grad():
        layer.alpha_mem.fill_(parameters.decay)  # exp(−1/τ) is λ only up to rounding
    return layer.requires_grad_(False)


class _Network(Network):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, stride, padding=1))
            self.add_module(f"fire{i}", _lif(setting.neurons))
        self.classifier = nn.Linear(setting.channels[-1], setting.classes)

    def forward(self, images: Tensor) -> Tensor:
        from sinabs import reset_states
        from sinabs.layers import Repeat

        reset_states(self)
        steps = self.setting.steps
        if self.setting.first_layer == "once":
            x = self.conv1(images).unsqueeze(1).expand(-1, steps, -1, -1, -1)
        else:
            x = Repeat(self.conv1)(images.unsqueeze(1).expand(-1, steps, -1, -1, -1))
        x = self.fire1(x)
        for i in range(2, len(self.setting.strides) + 1):
            x = self.get_submodule(f"fire{i}")(Repeat(self.get_submodule(f"conv{i}"))(x))
        return self.classifier(x.mean((-2, -1))).mean(1)


class Sinabs(Subject):
    """`LIF` with single spikes; time constants fixed."""

    name = "sinabs, LIF"
    distribution = "sinabs"
    surrogate = "arc tangent, α = 2 (handed in), reset detached"
    same_gradient = True
    notes = (
        "α = λ, no input normalisation; fires at h ≥ θ', θ' the next float32 above θ; the soft reset subtracts θ: exact",
        "its hard reset compares spikes with 0, so no gradient flows through it: compared with our detached reset",
    )

    def network(self, setting: Setting) -> Network:
        return _Network(setting)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        (spikes,) = outputs
        assert isinstance(spikes, Tensor)
        return spikes.transpose(0, 1)

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        with torch.no_grad():
            return _lif(parameters).to(current.device)(current.transpose(0, 1)).transpose(0, 1)
