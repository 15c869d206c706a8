"""Norse: stateful cells in a `SequentialState`, lifted over time."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters


def constants(parameters: NeuronParameters) -> dict[str, float]:
    """`LIFBoxCell`: `u' = u + dt/τ (I − u)`, strict threshold. With dt/τ = 1 − λ it is ours in the unit `u = (1 − λ) v`.

    So its threshold is `(1 − λ) θ`; with λ a power of two both are exact. `u + (1 − λ)(I − u)` may round other than
    `λ u + (1 − λ) I`.

    Raises:
        ValueError: λ = 1 (its input would vanish; that is `IAFCell`), or no reset, which it does not have.
    """
    if parameters.decay == 1 or parameters.reset == "none":
        raise ValueError(f"Norse's LIFBoxCell: decay below 1 and a reset expected, {parameters} found")
    share = 1 - parameters.decay
    return {"tau_mem_inv": share, "v_th": share * parameters.threshold, "dt": 1.0}


def _cell(parameters: NeuronParameters) -> Any:
    import norse.torch as norse
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.module.lif_box import LIFBoxCell

    values = constants(parameters)
    box = LIFBoxParameters(
        tau_mem_inv=torch.tensor(values["tau_mem_inv"]),
        v_th=torch.tensor(values["v_th"]),
        reset_method=norse.reset_value if parameters.reset == "hard" else norse.reset_subtract,
    )
    return LIFBoxCell(box, dt=values["dt"])


class _Network(Network):
    def __init__(self, setting: Setting) -> None:
        from norse.torch import Lift, SequentialState

        super().__init__()
        self.setting = setting
        body: list[nn.Module] = []
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            convolution, cell = nn.Conv2d(before, after, 3, stride, padding=1), _cell(setting.neurons)
            self.add_module(f"conv{i}", convolution)
            self.add_module(f"fire{i}", cell)
            body += [cell] if i == 1 and setting.first_layer == "once" else [convolution, cell]
        self.classifier = nn.Linear(setting.channels[-1], setting.classes)
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), self.classifier)
        self.lifted = Lift(SequentialState(*body, *head))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images) if self.setting.first_layer == "once" else images
        logits, _ = self.lifted(x.expand(self.setting.steps, *x.shape))
        return logits.mean(0)


class Norse(Subject):
    """`LIFBoxCell` in a lifted `SequentialState`."""

    name = "Norse, lifted cells"
    distribution = "norse"
    surrogate = "SuperSpike in the unit (1 − λ) v, reset attached"
    same_gradient = False
    notes = (
        "dt/τ = 1 − λ; the membrane is in the unit (1 − λ) v, threshold (1 − λ) θ: the same equation",
        "its surrogate, SuperSpike with a fixed slope, is not one of ours: gradients are not compared",
    )

    def network(self, setting: Setting) -> Network:
        return _Network(setting)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        return torch.stack([step[0] for step in outputs if isinstance(step, tuple)])

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        cell, state, spikes = _cell(parameters), None, []
        with torch.no_grad():
            for step in current:
                s, state = cell(step, state)
                spikes.append(s)
        return torch.stack(spikes)
