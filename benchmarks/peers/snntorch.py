"""snnTorch: a Python loop over time around the whole network, as its tutorials write it."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters


def constants(parameters: NeuronParameters) -> dict[str, Any]:
    """`Leaky`: β = λ, strict threshold; its reset comes one step late, at the start of the next update.

    Late or not, the hard reset is the same: `λ (1 − s[t−1]) h[t−1] + I[t]`. The late soft reset is not: it subtracts θ
    after the decay, we λ θ. With `reset_delay=False` it subtracts θ before, as we do, but takes a potential that is still above
    θ after the reset for one that needs no further reset: it differs once h > 2θ.
    """
    mechanism = {"hard": "zero", "soft": "subtract", "none": "none"}[parameters.reset]
    return {
        "beta": parameters.decay,
        "threshold": parameters.threshold,
        "reset_mechanism": mechanism,
        "reset_delay": parameters.reset != "soft",
    }


def _leaky(parameters: NeuronParameters) -> Any:
    import snntorch
    from snntorch import surrogate

    return snntorch.Leaky(**constants(parameters), spike_grad=surrogate.atan(alpha=2.0), init_hidden=True)


class _Network(Network):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, stride, padding=1))
            self.add_module(f"fire{i}", _leaky(setting.neurons))
        self.classifier = nn.Linear(setting.channels[-1], setting.classes)

    def forward(self, images: Tensor) -> Tensor:
        layers = len(self.setting.strides)
        for i in range(1, layers + 1):
            self.get_submodule(f"fire{i}").reset_mem()
        once = self.conv1(images) if self.setting.first_layer == "once" else None
        logits = []
        for _ in range(self.setting.steps):
            x = self.fire1(self.conv1(images) if once is None else once)
            for i in range(2, layers + 1):
                x = self.get_submodule(f"fire{i}")(self.get_submodule(f"conv{i}")(x))
            logits.append(self.classifier(x.mean((-2, -1))))
        return torch.stack(logits).mean(0)


class SnnTorch(Subject):
    """`Leaky`, step by step."""

    name = "snnTorch, step by step"
    distribution = "snntorch"
    surrogate = "arc tangent, α = 2, reset detached"
    same_gradient = True
    notes = (
        "the reset comes one step late, which for the hard reset is the same equation: exact",
        "soft reset with reset_delay=False: equation differs once h > 2θ (a potential still above θ is not reset again)",
    )

    def network(self, setting: Setting) -> Network:
        return _Network(setting)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        return torch.stack([step for step in outputs if isinstance(step, Tensor)])

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        neuron = _leaky(parameters).to(current.device)
        with torch.no_grad():
            return torch.stack([neuron(step) for step in current])
