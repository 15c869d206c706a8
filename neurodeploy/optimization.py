"""How weights are updated: settings, optimizer, learning-rate schedule, and the optimizer's state as plain tensors."""

from math import cos, pi
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn


class TrainingSettings(BaseModel):
    """`[teacher]` or a student's `training`: length, optimizer and schedule.

    Weight decay acts on weights alone, not on biases, batch norm and learned constants of neurons.

    Attributes:
        epochs: over the training set; 0 only for a student that is converted.
        batch_size: samples per update of the weights.
        accumulate: pieces in which a batch is computed, one after another, to save memory.
        optimizer: "sgd" (Nesterov momentum), "adam" or "adamw".
        learning_rate: after the warm-up.
        momentum: of "sgd".
        weight_decay: L2 penalty; decoupled with "adamw".
        schedule: "cosine" falls to 0, "step" multiplies by `step_factor` every `step_epochs`, "constant" stays.
        warmup_epochs: the rate rises linearly from 0.
        average: d of an exponential moving average of the weights, `a ← d a + (1 − d) w` after each update; training then
            ends with the average. None: the last weights.
        patience: stop after so many epochs without a better validation accuracy, and end with the best weights. None: never.
        validation_samples: held out of the training set, for `patience`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: int = Field(ge=0, le=100_000)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    step_epochs: int = Field(default=30, ge=1)
    step_factor: float = Field(default=0.5, gt=0, lt=1)
    warmup_epochs: int = Field(default=1, ge=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    validation_samples: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "TrainingSettings":
        if (self.patience is None) != (self.validation_samples == 0):
            raise ValueError("patience and validation_samples belong together; give both or neither")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate: {self.accumulate} pieces found for batches of {self.batch_size}")
        return self


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
    for place, value in state.items():
        name, _, key = place.rpartition("/")
        parameter = parameters[name]
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
