"""SpikingJelly, multi-step mode: time folded into the batch, one neuron operator for all steps."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.thresholds import non_strict
from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters


def constants(parameters: NeuronParameters) -> dict[str, Any]:
    """`LIFNode(decay_input=False)`: `h = v − v/τ + I`, so λ = 1 − 1/τ; with `decay_input=True` the input would be I/τ.

    It fires at `h ≥ θ'`. The hard reset is exact with θ' the next float32 above θ. The soft reset subtracts θ', so θ' = θ
    there: spikes differ where h = θ exactly.

    Raises:
        ValueError: λ = 1 (τ would be infinite; that is `IFNode`), or no reset, which it does not have.
    """
    if parameters.decay == 1 or parameters.reset == "none":
        raise ValueError(f"SpikingJelly's LIFNode: decay below 1 and a reset expected, {parameters} found")
    hard = parameters.reset == "hard"
    return {
        "tau": 1 / (1 - parameters.decay),
        "decay_input": False,
        "v_threshold": non_strict(parameters.threshold) if hard else parameters.threshold,
        "v_reset": 0.0 if hard else None,
    }


def _node(parameters: NeuronParameters) -> Any:
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.LIFNode(**constants(parameters), surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m")


class _Network(Network):
    def __init__(self, setting: Setting) -> None:
        from spikingjelly.activation_based import layer

        super().__init__()
        self.setting = setting
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            self.add_module(f"conv{i}", layer.Conv2d(before, after, 3, stride, padding=1, step_mode="m"))
            self.add_module(f"fire{i}", _node(setting.neurons))
        self.classifier = layer.Linear(setting.channels[-1], setting.classes, step_mode="m")

    def forward(self, images: Tensor) -> Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self)
        x, steps = images.unsqueeze(0), (self.setting.steps, -1, -1, -1, -1)
        x = self.conv1(x).expand(steps) if self.setting.first_layer == "once" else self.conv1(x.expand(steps))
        x = self.fire1(x)
        for i in range(2, len(self.setting.strides) + 1):
            x = self.get_submodule(f"fire{i}")(self.get_submodule(f"conv{i}")(x))
        return self.classifier(x.mean((-2, -1))).mean(0)


class SpikingJelly(Subject):
    """`LIFNode` in multi-step mode; on a GPU it chooses its CUDA or Triton kernel itself."""

    name = "SpikingJelly, multi-step"
    distribution = "spikingjelly"
    surrogate = "arc tangent, α = 2, reset attached"
    same_gradient = True
    notes = (
        "λ = 1 − 1/τ with decay_input=False; fires at h ≥ θ', θ' the next float32 above θ: exact for the hard reset",
        "the soft reset subtracts θ', so θ' = θ there: differs where h = θ exactly",
    )

    def network(self, setting: Setting) -> Network:
        return _Network(setting)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        (spikes,) = outputs
        assert isinstance(spikes, Tensor)
        return spikes

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        with torch.no_grad():
            return _node(parameters).to(current.device)(current)
