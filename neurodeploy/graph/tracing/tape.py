"""Everything that a module does in a run, function by function, with all its tensors: for modules that loop over time.

A module whose forward loops over time steps does each thing many times, and what it does in a step depends on the step before.
No function of it can be written down at once: which calls are steps of one loop is known at the end only. So the run is taped
first (`record_tape`), and `neurodeploy.graph.tracing.rolling` makes of the tape what repeats.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from neurodeploy.graph.ops.operation import LAYERS
from neurodeploy.graph.tracing.answers import AnswerChoice, Leaf, chosen_answers, leaves_of
from neurodeploy.graph.tracing.opening import Memory, Refusal, RefusedLayerError, opened
from neurodeploy.graph.tracing.running import (
    FACTS,
    base_of,
    evaluating,
    first_line,
    full_name,
    function_name,
    overridden,
    precision_of,
    registered,
    restored,
    tensors_of,
)
from neurodeploy.io.errors import UserError

Token: TypeAlias = tuple[Any, ...]
"""Where a call is in the code, and in which layer: equal for the calls of one place in a loop."""


@dataclass(eq=False)
class Value:
    """What a tensor held at a time.

    Attributes:
        tensor: it; a copy once the module has changed it in place.
        maker: the call that made it; None of what was there before.
        slot: number among the tensors that the call made.
    """

    tensor: Tensor
    maker: "Event | None" = None
    slot: int = 0


@dataclass(eq=False)
class Event:
    """A call of a function of torch, or of a layer that is a node as a whole.

    Attributes:
        name: the function's, without underscores; "" of a layer.
        token: where it is.
        args, kwargs: with a `Value` in place of each tensor.
        results: the tensors that it made.
        answer: its result, as it is.
        path: of the layer that was running.
        module: that layer.
        where: names the call in messages.
    """

    name: str
    token: Token
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answer: Any
    path: str
    module: nn.Module
    where: str
    results: tuple[Value, ...] = ()


@dataclass
class Tape:
    """A run.

    Attributes:
        events: in order.
        entering: what the module was called with, one value for each input; again in each step if it was called step by step.
        answers: what it answered, each call: the chosen tensors.
        left: names of the tensors that it answered beside them.
        names: of the chosen ones.
        layers: path → what each call of an opened layer answered.
    """

    events: list[Event] = field(default_factory=list)
    entering: list[Value] = field(default_factory=list)
    answers: list[tuple[Value, ...]] = field(default_factory=list)
    left: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    layers: dict[str, list[Tensor]] = field(default_factory=dict)


def record_tape(
    network: nn.Module, samples: Sequence[tuple[Tensor, ...]], *, hands_on: bool = False, choice: AnswerChoice = None
) -> Tape:
    """Run a module in evaluation mode on each of the samples, in order, and write down all that it does.

    Args:
        network: left as it was but for states that its layers keep: give a copy of it.
        samples: what each call gets, a tensor for each input.
        hands_on: each call answers a state too, which the next one gets.
        choice: which of several tensors it answers are kept.

    Raises:
        UserError: the module does not run.
    """
    recorder = _Taping(network)
    state: tuple[Any, ...] = ()
    with evaluating(network), torch.no_grad(), recorder.patched():
        calls = list[list[Leaf]]()
        for given in samples:
            entering = tuple(x.detach().clone() for x in given)
            recorder.tape.entering += [recorder.value_of(x) for x in entering]
            try:
                with recorder:
                    answer = network(*entering, *state)
            except UserError:
                raise
            except Exception as error:  # the user's forward may raise anything
                shapes = " and ".join(str(tuple(x.shape)) for x in entering)
                hint, where = precision_of(network, entering[0]), recorder.failed or type(network).__name__
                raise UserError(f"{where}: does not run on samples {shapes}: {hint or first_line(error)}") from None
            if hands_on and isinstance(answer, tuple) and len(answer) > 1:
                state, answer = (answer[1],), answer[0]
            calls.append(leaves_of(network, answer))
            recorder.keep(calls[-1])
    places = chosen_answers(network, calls, choice)
    recorder.tape.answers = [tuple(recorder.answered[id(call[place])] for place in places) for call in calls]
    recorder.tape.names = tuple(calls[0][place].name for place in places)
    recorder.tape.left = tuple(leaf.name for place, leaf in enumerate(calls[0]) if place not in places)
    return recorder.tape


def check_values_unread(tape: Tape) -> None:
    """Refuse a forward that does something else for other samples: it asks what a tensor holds that depends on them."""
    depends = {id(value) for value in tape.entering}
    for event in tape.events:
        if any(id(value) in depends for value in values_of((event.args, event.kwargs))):
            if event.name in _VALUES_READ:
                raise UserError(f"{event.where}: the forward reads values of its samples, and may do something else for others")
            depends |= {id(value) for value in event.results}


def needed_events(tape: Tape) -> list[Event]:
    """The calls that the answers depend on, and those of the same places in other steps.

    Others only ask for a shape, or compute what nobody reads. In its last step a loop makes states that nobody reads either.
    """
    places: dict[Token, list[Event]] = {}
    for event in tape.events:
        places.setdefault(event.token, []).append(event)
    pending, found = values_of(tuple(tape.answers)), set[Token]()
    while pending:
        maker = pending.pop().maker
        if maker is not None and maker.token not in found:
            found.add(maker.token)
            pending += [value for event in places[maker.token] for value in values_of((event.args, event.kwargs))]
    return [event for event in tape.events if event.token in found]


class _Taping(TorchFunctionMode):
    """Writes down every function of torch that is called while it is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.tape = Tape()
        self.failed = ""
        self.memory = Memory()
        self.answered: dict[int, Value] = {}
        self._values: dict[int, Value] = {}
        self._kept: list[Tensor] = []
        self._entered: list[tuple[str, nn.Module]] = [("", network)]
        self._inside = False

    def value_of(self, tensor: Tensor) -> Value:
        """What a tensor holds now."""
        found = self._values.get(id(tensor))
        if found is None:
            found = self._values[id(tensor)] = Value(tensor)
            self._kept.append(tensor)  # so that nothing else gets its id
        return found

    def keep(self, leaves: Sequence[Leaf]) -> None:
        """What the tensors of an answer hold now; a later call may change them."""
        self.answered |= {id(leaf): self.value_of(leaf.tensor) for leaf in leaves}

    def valued(self, given: Any) -> Any:
        """With values in place of tensors."""
        if isinstance(given, Tensor):
            return self.value_of(given)
        if isinstance(given, dict):
            return {key: self.valued(one) for key, one in given.items()}
        if isinstance(given, list | tuple) and not isinstance(given, torch.Size):
            return tuple(map(self.valued, given))
        return given

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function_name(func)
        if self._inside or name in FACTS:
            return func(*args, **kwargs)
        own_name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2]
        reads = self.valued(tuple(args)), self.valued(kwargs)
        if _in_place(own_name, kwargs) and args and isinstance(args[0], Tensor):
            self._keep_before(args[0])
        result = func(*args, **kwargs)
        made = [args[0]] if name == "__setitem__" else list(tensors_of(result))
        if made or name in _VALUES_READ:
            self._write(name, reads, result, made)
        return result

    def _write(self, name: str, reads: tuple[Any, Any], answer: Any, made: list[Tensor]) -> None:
        path, module = self._entered[-1]
        # a loop over layers around one over time repeats its code too, but with other weights
        weights = tuple(id(value.tensor) for value in values_of(reads) if isinstance(value.tensor, nn.Parameter))
        token = (name, path, *weights, *_place())
        event = Event(name, token, *reads, answer, path, module, self._where(name))
        self._number(event, made)

    def _number(self, event: Event, made: list[Tensor]) -> None:
        self.tape.events.append(event)
        values = []
        for slot, tensor in enumerate(made):
            self._values[id(tensor)] = Value(tensor, event, slot)
            self._kept.append(tensor)
            values.append(self._values[id(tensor)])
        event.results = tuple(values)

    def _keep_before(self, tensor: Tensor) -> None:
        """A tensor is about to be changed: what it held, and what its views hold, is kept."""
        self._inside = True
        memory = tensor.untyped_storage().data_ptr()
        for value in self._values.values():
            if value.tensor is tensor or value.tensor.untyped_storage().data_ptr() == memory:
                value.tensor = value.tensor.clone()
        self._inside = False

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Every layer's forward says that it is running; that of a leaf becomes one event, an opened one's what it is."""
        with restored(self.network):
            for path, module in self.network.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    raise UserError(
                        f"layer {path or type(module).__name__} ({type(module).__name__}): is compiled, and what it computes "
                        "cannot be followed; give the Python module that it was made of"
                    )
                module.__dict__["forward"] = self._forward(path, module)
            yield

    def _forward(self, path: str, module: nn.Module) -> Callable[..., Any]:
        own, inner = module.forward, opened(module)
        base = base_of(module)
        leaf = base is not None and not overridden(module, base)

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return own(*args, **kwargs)
            self._entered.append((path, module))
            try:
                if leaf:
                    return self._leaf(path, module, own, args, kwargs)
                if inner is None:
                    return own(*args, **kwargs)
                try:
                    answer = inner(module, self.memory.of(module), *args, **kwargs)
                except Refusal as reason:
                    raise RefusedLayerError(f"{self._where('')}: {reason}") from None
                self.tape.layers.setdefault(path, []).append(next(tensors_of(answer)))
                return answer
            except Exception:
                self.failed = self.failed or self._where("")
                raise
            finally:
                self._entered.pop()

        return forward

    def _leaf(self, path: str, module: nn.Module, own: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> Any:
        reads = self.valued(tuple(args)), self.valued(kwargs)
        self._inside = True
        try:
            result = own(*args, **kwargs)
        finally:
            self._inside = False
        event = Event("", ("", path, *_place()), *reads, result, path, module, self._where(""))
        self._number(event, list(tensors_of(result)))
        return result

    def _where(self, operation: str) -> str:
        path, module = self._entered[-1]
        if not path:
            return f"operation {operation} in {type(module).__name__}" if operation else type(module).__name__
        layer = f"layer {path} ({full_name(type(module))})"
        return (
            f"operation {operation} in {layer}" if operation and not full_name(type(module)).startswith("torch.nn") else layer
        )


# fmt: off
_VALUES_READ = frozenset((
    *("__bool__", "item", "tolist", "numpy", "__float__", "__int__", "__index__", "__array__", "__contains__", "__format__"),
    *("equal", "allclose", "is_nonzero"),
))
# fmt: on
"""What brings the values of a tensor out of torch."""


def is_leaf(event: Event) -> bool:
    """Whether it is the call of a layer that is a node as a whole."""
    return not event.name and registered(event.module) in LAYERS


def values_of(given: Any) -> list[Value]:
    """All values in tuples and dictionaries."""
    if isinstance(given, Value):
        return [given]
    inner = given.values() if isinstance(given, dict) else given if isinstance(given, tuple | list) else ()
    return [value for one in inner for value in values_of(one)]


def _in_place(name: str, kwargs: dict[str, Any]) -> bool:
    dunder = name.startswith("__")
    return (
        name == "__setitem__"
        or (dunder and name.startswith("__i") and name not in ("__invert__", "__index__", "__int__"))
        or (not dunder and name.endswith("_"))
        or bool(kwargs.get("inplace"))
    )


def _place() -> Token:
    """The lines of code that are running, from the function of torch outwards."""
    found: list[int] = []
    frame: FrameType | None = sys._getframe(3)
    while frame is not None and frame.f_code is not record_tape.__code__:
        found += [id(frame.f_code), frame.f_lasti]
        frame = frame.f_back
    return tuple(found)
