"""Any module as loss terms need it: hooks make a `NetworkOutput` of its answer, with the features and taps that it computed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy_energy.count.recognition import reset_states

Layout = Literal["once", "step", "time first", "batch first", "flat", "flat, time first", "time last"]
"""Axes of a value: `[B, …]` of one step, `[B, …]` at each call of a loop over time, `[T, B, …]`, `[B, T, …]`, `[B·T, …]`,
`[T·B, …]` or `[B, …, T]`."""


@dataclass(frozen=True)
class LayerCall:
    """What a layer read and answered, and the version of the answer: a later one has been changed in place."""

    read: Tensor | None
    answer: Tensor
    version: int


@dataclass(frozen=True)
class LayerValue:
    """Where a value is seen: at every `every`-th call of a layer, from its call number `first`."""

    layer: str
    layout: Layout
    first: int = 0
    every: int = 1
    read: bool = False

    def raw(self, calls: Mapping[str, list[LayerCall]]) -> list[Tensor]:
        """The values as the layer has them, one for each of its calls."""
        chosen = calls.get(self.layer, [])[self.first :: self.every]
        for call in chosen:
            if not self.read and call.answer._version != call.version:
                raise UserError(
                    f"layer {self.layer}: what it answers is changed in place by a later layer, and is no tap then; set "
                    "inplace=False there"
                )
        values = [call.read if self.read else call.answer for call in chosen]
        return [value for value in values if value is not None]

    def arranged(self, values: list[Tensor], batch: int) -> Tensor:
        """Such values, or their gradients, as `[T, B, …]`."""
        if self.layout == "step":
            return torch.stack(values)
        (value,) = values
        if self.layout == "once":
            return value.unsqueeze(0)
        if self.layout == "batch first":
            return value.transpose(0, 1)
        if self.layout == "flat":
            return value.unflatten(0, (batch, -1)).transpose(0, 1)
        if self.layout == "flat, time first":
            return value.unflatten(0, (-1, batch))
        return value.movedim(-1, 0) if self.layout == "time last" else value


@dataclass(eq=False)
class Observed:
    """A module that answers with a `NetworkOutput`: of its own, or by the hooks of `observed`.

    Attributes:
        module: the user's; its names, weights and state dict are as they were.
        classes: K.
        taps: its taps, in the order of computation.
        classify: features `[B, F]` → logits `[B, K]`; None if no classifier was found.
        absent: "taps" or "features" → why there are none, and what to do.
        tapped, features, step_logits: where the hooks find them.
        native: it answers with a `NetworkOutput` of its own, and needs no hooks.
    """

    module: nn.Module
    classes: int
    taps: tuple[str, ...] = ()
    classify: Callable[[Tensor], Tensor] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    tapped: Mapping[str, LayerValue] = field(default_factory=dict)
    features: LayerValue | None = None
    step_logits: LayerValue | None = None
    native: bool = False
    _calls: dict[str, list[LayerCall]] = field(default_factory=dict)
    _inside: bool = False
    _keeping: bool = False

    def __call__(self, x: Tensor) -> NetworkOutput:
        output: NetworkOutput = self.module(x)
        return output

    def with_gradients(self, x: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[NetworkOutput, dict[str, Tensor]]:
        """The answer, and the gradients of a loss of its logits with respect to the taps, each of its tap's shape."""
        self._keeping = True
        try:
            output = self(x.detach().requires_grad_())
            # a tap is a view of what its layer answered, and only that is on the way to the loss
            raw = {name: place.raw(self._calls) for name, place in self.tapped.items()}
        finally:
            self._keeping = False
            self._calls.clear()
        raw = raw or {name: [tap] for name, tap in output.taps.items()}
        flat = [value for values in raw.values() for value in values]
        gradients = iter(torch.autograd.grad(loss(output.logits), flat, allow_unused=True, materialize_grads=True))
        arranged = {}
        for name, values in raw.items():
            found = [next(gradients) for _ in values]
            arranged[name] = self.tapped[name].arranged(found, len(x)) if name in self.tapped else found[0]
        return output, arranged

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """The hooks are on the module inside, and off it afterwards."""
        places = [*self.tapped.values(), *(place for place in (self.features, self.step_logits) if place is not None)]
        handles = [self.module.register_forward_pre_hook(self._enter), self.module.register_forward_hook(self._leave)]
        for layer in dict.fromkeys(place.layer for place in places):
            handles.append(self.module.get_submodule(layer).register_forward_hook(self._recorder(layer)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._calls.clear()

    def _enter(self, module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        self._calls.clear()
        self._inside = True
        reset_states(module)

    def _leave(self, _module: nn.Module, inputs: tuple[Any, ...], answer: Tensor) -> NetworkOutput:
        self._inside = False
        calls, batch = self._calls, len(inputs[0])
        taps = {name: place.arranged(place.raw(calls), batch) for name, place in self.tapped.items()}
        step_logits = answer if answer.ndim == 3 else answer.unsqueeze(0)
        if self.step_logits is not None:
            step_logits = self.step_logits.arranged(self.step_logits.raw(calls), batch)
        features = answer.new_zeros((1, batch, 0))
        if self.features is not None:
            features = self.features.arranged(self.features.raw(calls), batch)
        if not self._keeping:
            calls.clear()  # they hold the whole graph of the batch
        return NetworkOutput(answer.mean(0) if answer.ndim == 3 else answer, step_logits, features, taps)

    def _recorder(self, layer: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if self._inside:
                self._calls.setdefault(layer, []).append(call_of(inputs, output))

        return hook


def call_of(inputs: tuple[Any, ...], output: Any) -> LayerCall:
    answer = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(answer, Tensor):
        raise UserError(f"a {type(answer).__name__} found as the answer of a layer, a tensor expected")
    read = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
    return LayerCall(read, answer, answer._version)
