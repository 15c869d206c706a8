"""How weights are updated: the optimiser, its learning-rate schedule and state, and the average of the weights."""

from math import cos, pi

import torch
from torch import Tensor, nn

from neurodeploy.recipe.sections import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """Rate of the update number `step`, counted from 0 over the whole training."""
    warmup, total = settings.warmup_epochs * steps_per_epoch, settings.epochs * steps_per_epoch
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + cos(pi * (step - warmup) / max(1, total - warmup))) / 2
    if settings.schedule == "step":
        return float(settings.learning_rate * settings.step_factor ** (step // steps_per_epoch // settings.step_epochs))
    return settings.learning_rate


def build_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of a network, without state yet."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.learning_rate)


def state_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """`parameter name/state name` → tensor: momentum of SGD; moments and step count of Adam. Empty before the first update."""
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in network.named_parameters()}
    return {
        f"{name}/{key}": value for name, state in states.items() for key, value in state.items() if isinstance(value, Tensor)
    }


def restore(optimizer: torch.optim.Optimizer, network: nn.Module, state: dict[str, Tensor]) -> None:
    """Give an optimizer the state that `state_of` took."""
    parameters = dict(network.named_parameters())
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        parameter = parameters[name]
        # Adam counts its steps on the CPU, whatever the device of the parameter is
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)


class MovingAverage:
    """`a ← d a + (1 − d) w` for every floating-point tensor of the network, batch norm's statistics too; counters are copied.

    Args:
        network: whose weights are averaged; the average starts as a copy of them.
        decay: d.
        state: of an interrupted training.
    """

    def __init__(self, network: nn.Module, decay: float, state: dict[str, Tensor] | None = None) -> None:
        self._network, self._decay = network, decay
        now = network.state_dict()
        self.state = {name: value.clone() if state is None else state[name].to(value.device) for name, value in now.items()}

    @torch.no_grad()
    def update(self) -> None:
        """To be called after each update of the weights."""
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - self._decay)
            else:
                self.state[name].copy_(value)
