"""What a network of the suite is: how it is made and called, and of which framework it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

STEPS, BATCH = 16, 4
RECORDED_BATCH = 2  # of a reduced copy, so that its file is small

Shape = tuple[int, ...]
Make = Callable[[Shape, int], nn.Module]
Samples = Literal["static", "sequence"]


@dataclass(frozen=True)
class Call:
    """How a module takes its samples, and gives its answer.

    Attributes:
        name: by which networks name it.
        what: in a few words.
        enter: inputs, `[T, B, …]` if they are a sequence, else `[B, …]` → what the module is given.
        answer: what the module returned, or the stack of what it returned step by step → `[T, B, …]` or `[B, …]`.
        samples: inputs → what `nd.deploy` is given, if that is something else than the module is.
        by_step: whether its caller has the loop over time.
        state: whether the caller also hands its state on.
        options: of `nd.deploy`, beside the module and what it is given.
    """

    name: str
    what: str
    enter: Callable[[Tensor], Tensor] = lambda values: values
    answer: Callable[[Tensor], Tensor] = lambda values: values
    samples: Callable[[Tensor], Tensor] | None = None
    by_step: bool = False
    state: bool = False
    options: Mapping[str, int] = field(default_factory=dict)


def _fold(values: Tensor) -> Tensor:
    return values.transpose(0, 1).flatten(0, 1)


def _unfold(values: Tensor) -> Tensor:
    return values.unflatten(0, (-1, STEPS)).transpose(0, 1)


CALLS = {
    call.name: call
    for call in (
        Call("own loop", "static samples `[B, …]`, repeated inside"),
        Call("sequence", "a sequence `[T, B, …]` in one call", options={"batch_axis": 1}),
        Call(
            "batch first",
            "a sequence `[B, T, …]` in one call",
            lambda x: x.transpose(0, 1).contiguous(),
            lambda y: y.transpose(0, 1),
            options={"time_axis": 1},
        ),
        Call(
            "folded",
            "a sequence `[B·T, …]` in one call",
            _fold,
            _unfold,
            options={"time_axis": 1},
            samples=lambda x: x.transpose(0, 1),
        ),
        Call(
            "time last",
            "a sequence `[B, …, T]` in one call",
            lambda x: x.movedim(0, -1).contiguous(),
            lambda y: y.movedim(-1, 0),
            options={"time_axis": -1},
        ),
        Call("step", "called once per step", by_step=True, options={"steps": STEPS}),
        Call(
            "step with state", "called once per step, its state handed on", by_step=True, state=True, options={"steps": STEPS}
        ),
    )
}


@dataclass(frozen=True)
class Framework:
    """What its networks have in common.

    Attributes:
        name: of its environment and requirements.
        title: as its makers write it.
        package: whose version the page tells.
        spiking: whether a module is a layer of its neurons; none is where networks write their neurons out.
        reset: forgets the state that a module keeps between calls.
        whole: a neuron that was called once for all steps, and its output → `[T, B, …]`.
        joined: outputs of a neuron that was called once per step → `[T, B, …]`.
        weights: parameters of a neuron that scale what it gets, if it has weights of its own.
        threshold: name of a neuron's attribute, a number.
        constants: of a neuron, as its framework names them: numbers, words, and arrays where each neuron has its own.
    """

    name: str
    title: str
    package: str
    spiking: Callable[[nn.Module], bool] = lambda _: False
    reset: Callable[[nn.Module], None] = lambda _: None
    whole: Callable[[nn.Module, Tensor], Tensor] = lambda _, output: output
    joined: Callable[[list[Tensor]], Tensor] = torch.stack
    weights: Callable[[nn.Module], list[Tensor]] = lambda _: []
    threshold: str = ""
    constants: Callable[[nn.Module], dict[str, Any]] = lambda _: {}


def number(value: Any) -> Any:
    """A constant as a file has it: a number, a word or a truth value, or an array where it has several values."""
    if isinstance(value, Tensor):
        return value.detach().item() if value.numel() == 1 else value.detach().numpy().copy()
    return value


@dataclass(frozen=True)
class Network:
    """One network of the suite.

    Attributes:
        name: unique in the suite.
        what: is in it, for the table.
        framework: that built it.
        call: how it is called.
        samples: static or a sequence.
        make: shape of a sample, and a width to scale it by → the module, untrained.
        shape, width: for `make`.
        small: the same for a reduced copy that is recorded; None if there is none.
        layers: its spiking layers, where its neurons are no modules, in the order in which they fire within a step.
        fires: name of the torch function that makes their spikes, such as "ge" for `mem >= threshold`.
        layerwise: whether a layer takes all steps before the next one begins.
        output: which of several outputs is compared.
    """

    name: str
    what: str
    framework: Framework
    call: Call
    samples: Samples
    make: Make
    shape: Shape
    width: int
    small: tuple[Shape, int] | None = None
    layers: tuple[str, ...] = ()
    fires: str = ""
    layerwise: bool = False
    output: int = 0

    def built(self, *, small: bool = False) -> nn.Module:
        """The module with seeded weights, in evaluation mode."""
        torch.manual_seed(sum(map(ord, self.name)))
        shape, width = self._size(small)
        return self.make(shape, width).eval()

    def inputs(self, *, small: bool = False) -> Tensor:
        """`[T, B, …]` spikes for a sequence, else `[B, …]` multiples of 1/16 in [0, 1], so that sums of them are exact."""
        generator = torch.Generator().manual_seed(sum(map(ord, self.name)) + 1)
        shape, batch = self._size(small)[0], RECORDED_BATCH if small else BATCH
        if self.samples == "sequence":
            return (torch.rand(STEPS, batch, *shape, generator=generator) < 0.3).float()
        return torch.randint(0, 17, (batch, *shape), generator=generator) / 16

    def run(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """The module's answer, `[T, B, …]` or `[B, …]`, from a fresh state."""
        self.framework.reset(module)
        with torch.no_grad():
            if not self.call.by_step:
                return self.call.answer(self._chosen(module(self.call.enter(inputs))))
            state, answers = None, []
            for step in inputs if self.samples == "sequence" else [inputs] * STEPS:
                if self.call.state:
                    answer, state = module(step, state)
                else:
                    answer = self._chosen(module(step))
                answers.append(answer)
        return torch.stack(answers)

    def deployed(self, inputs: Tensor) -> tuple[Tensor, dict[str, int]]:
        """Samples and options for `nd.deploy`."""
        options = dict(self.call.options)
        if self.call.by_step and self.samples == "sequence":
            options["batch_axis"] = 1
        return (self.call.samples or self.call.enter)(inputs), options

    def _size(self, small: bool) -> tuple[Shape, int]:
        if not small:
            return self.shape, self.width
        assert self.small is not None
        return self.small

    def _chosen(self, answer: Any) -> Tensor:
        return answer[self.output] if isinstance(answer, tuple) else answer


@dataclass(frozen=True)
class Suite:
    """The networks of a framework, in the order in which they were added."""

    framework: Framework
    networks: dict[str, Network] = field(default_factory=dict)

    def network(self, name: str, what: str, call: str, samples: Samples, **fields: Any) -> Callable[[Make], Make]:
        """Decorates the function that makes a network; further fields are those of `Network`."""

        def add(make: Make) -> Make:
            full = f"{self.framework.name}-{name}"
            self.networks[full] = Network(full, what, self.framework, CALLS[call], samples, make, **fields)
            return make

        return add
