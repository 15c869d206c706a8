"""Running a module and writing down what it does to its samples, function by function.

Every function of torch that is called while the module runs passes through `_Recorder`, wherever it is called from: a layer's
own forward, a subclass, a hook, a patched method, a parametrisation. A tensor that depends on the samples is followed; a
function of such tensors becomes nodes by its rule, or is refused by name. What depends on no sample is a constant with the
value that it has in this run, such as a weight that is computed anew in every forward. Layers of the toolkit that compute
over time are written down as a whole, by the rules of `neurodeploy.graph.ops`; their class must be the registered one, or
one that overrides nothing of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Call
from neurodeploy.graph.ops.operation import LAYERS, REFUSED_LAYERS
from neurodeploy.graph.tracing import arithmetic, pooling, shapes, synapses  # noqa: F401 - registers their rules
from neurodeploy.graph.tracing.answers import Leaf, SeveralAnswersError, chosen_answers, leaves_of, node_names
from neurodeploy.graph.tracing.entrance import Entrance
from neurodeploy.graph.tracing.rules import FUNCTIONS, OF_A_PART, REFUSED, Calling, Draft, takes_name
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
from neurodeploy.graph.tracing.traced_tensor import Inputs, TracedTensor, arranged, each_of
from neurodeploy.io.errors import UserError


@dataclass(frozen=True)
class Recording:
    """A run of a module.

    Attributes:
        graph: what the module did.
        values: node → what it was in the run, `[T, B, *shape]`, or `[1, B, *shape]` without time; of those nodes alone that
            are a tensor of the module, and only where they were to be kept.
        answers: what the module answered, under the names of the graph's outputs.
        left: names of the tensors that the module answered beside them.
        why: they have no form in a graph; empty if they were not chosen.
    """

    graph: Graph
    values: dict[str, Tensor]
    answers: dict[str, Tensor]
    left: tuple[str, ...] = ()
    why: str = ""

    @property
    def answer(self) -> Tensor:
        """The first of them."""
        return next(iter(self.answers.values()))


def record(network: nn.Module, samples: Inputs, entrance: Entrance, *, keep: bool = False) -> Recording:
    """Run a module in evaluation mode, and write down what it does; it is left as it was.

    Args:
        network: takes `samples` and answers a tensor, several of them, or a `NetworkOutput`.
        samples: `[B, …]`, or `[T, B, …]` if they are sequences; of each input.
        entrance: how the module takes them, in one call.
        keep: also keep what every layer answered.

    Raises:
        UserError: the module does not run, or does something that has no form in a graph; the message names layer and
            operation.
    """
    draft = drafted(network, samples, entrance)
    recorder = _Recorder(network, draft, keep=keep)
    (entering,) = entrance.calls(samples)
    entering = tuple(x.detach().clone() for x in entering)  # other tensors than the caller's, which the module may change
    for name, x in zip(draft.entries, entering, strict=True):
        recorder.follow(x, TracedTensor(name, entrance.lead, draft.shapes[name]))
    with evaluating(network), torch.no_grad(), recorder.patched(), recorder:
        try:
            answer = network(*entering)
        except UserError:
            raise
        except Exception as error:  # the user's forward may raise anything
            where = recorder.state.failed or type(network).__name__
            raise UserError(f"{where}: {not_running(network, entering, error)}") from None
    leaves = leaves_of(network, answer)
    places = chosen_answers(network, [leaves], entrance.answers)
    refusal = SeveralAnswersError if len(places) > 1 and entrance.answers is None else UserError
    answers = dict[str, Tensor]()
    for name, place in zip(node_names([leaves[place].name for place in places], draft.nodes), places, strict=True):
        signal = recorder.signal_of(leaves[place].tensor)
        which = "its answer" if len(leaves) == 1 else f"its answer {place} ({leaves[place].name})"
        if signal is None:
            raise refusal(
                f"{type(network).__name__}: {which} cannot be followed back to the samples: something compiled, or outside "
                "torch, computes it, or it does not depend on them"
            )
        if signal.skip:
            raise refusal(
                f"{type(network).__name__}: {which}: answers a part of the time steps; a graph answers for all of them: take "
                "the mean over time of the part, as in x[k:].mean(0)"
            )
        last, tensor = signal.node, leaves[place].tensor
        if entrance.averages and draft.timed[last]:
            last = draft.add(ops.TimeMeanNode(name=draft.free_name("mean"), inputs=(last,))).name
            tensor = arranged(signal, tensor, draft.batch).mean(0)
        output = draft.add(ops.OutputNode(name=draft.free_name(name), inputs=(last,)))
        answers[output.name] = tensor
    return Recording(needed(draft), recorder.values, answers, left_out(leaves, places))


def drafted(network: nn.Module, samples: Inputs, entrance: Entrance) -> Draft:
    """A draft with the nodes of a module's inputs, by the names that its forward has for them if there are several.

    Raises:
        UserError: the module does not take so many, or has no weights to write down.
    """
    given, timed = each_of(samples), entrance.timed
    check_callable(network, len(given))
    steps, batch = len(given[0]) if timed else 1, given[0].shape[1 if timed else 0]
    draft = Draft(batch, frozenset(name for name, _ in network.named_modules()), steps, given[0].dtype)
    for name, x in zip(_input_names(network, len(given)), given, strict=True):
        leading = tuple(x.shape[: 2 if timed else 1])
        if leading != ((steps, batch) if timed else (batch,)):
            raise UserError(f"samples: {name} has {leading} first, {draft.batch} samples as in the others expected")
        shape = tuple(x.shape[2 if timed else 1 :])
        draft.entries.append(draft.add(ops.InputNode(name=name, shape=shape, timed=timed)).name)
    return draft


def _input_names(network: nn.Module, count: int) -> list[str]:
    if count == 1:
        return ["input"]
    try:
        named = [one.name for one in signature(network.forward).parameters.values() if one.kind in _POSITIONAL]
    except (TypeError, ValueError):
        named = []
    return named[:count] if len(named) >= count else [f"input{number}" for number in range(count)]


_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def not_running(network: nn.Module, entering: Sequence[Tensor], error: Exception) -> str:
    """Why a module does not run on what it was given."""
    found = " and ".join(str(tuple(x.shape)) for x in entering)
    return f"does not run on samples {found}: {precision_of(network, entering[0]) or first_line(error)}"


def left_out(leaves: Sequence[Leaf], places: Sequence[int]) -> tuple[str, ...]:
    """Names of the tensors of an answer that are not chosen."""
    return tuple(leaf.name for place, leaf in enumerate(leaves) if place not in places)


@dataclass
class _Entered:
    """A layer whose forward is running."""

    path: str
    module: nn.Module
    overrides: str = ""
    named: bool = False

    @property
    def kind(self) -> str:
        return full_name(type(self.module)) + self.overrides


@dataclass(eq=False)
class _Followed:
    """A tensor that depends on the samples; kept, so that nothing else gets its id."""

    tensor: Tensor
    signal: TracedTensor
    stale: str = ""


@dataclass(eq=False)
class _State:
    followed: dict[int, _Followed] = field(default_factory=dict)
    entered: list[_Entered] = field(default_factory=list)
    inside: bool = False
    failed: str = ""


class _Recorder(TorchFunctionMode):
    """Sees every function of torch that is called while it is active."""

    def __init__(self, network: nn.Module, draft: Draft, *, keep: bool) -> None:
        super().__init__()
        self.network, self.draft, self.keep = network, draft, keep
        self.values: dict[str, Tensor] = {}
        self.state = _State(entered=[_Entered("", network)])

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.state.inside:
            return func(*args, **kwargs)
        tensors = [tensor for tensor in tensors_of((args, kwargs)) if id(tensor) in self.state.followed]
        before: Sequence[Any] = args[:1]
        if tensors and args and isinstance(args[0], Tensor) and id(args[0]) not in self.state.followed:
            before = (args[0].clone(),)  # a constant that the function may change in place, as `total += x` does
        result = func(*args, **kwargs)
        args = (*before, *args[1:])
        name = function_name(func)
        if not tensors or name in FACTS:
            return result
        self._function(name, args, kwargs, result)
        return result

    def follow(self, tensor: Tensor, signal: TracedTensor) -> None:
        """From now on the tensor is this signal."""
        expected = self.draft.whole(signal)
        if tuple(tensor.shape) != expected:
            raise UserError(f"layer {signal.node}: {tuple(tensor.shape)} found in the module, {expected} in its graph")
        self.state.followed[id(tensor)] = _Followed(tensor, signal)
        if self.keep and not signal.skip and signal.node not in self.values:
            self.values[signal.node] = arranged(signal, tensor, self.draft.batch).detach().clone()

    def signal_of(self, tensor: Tensor) -> TracedTensor | None:
        found = self.state.followed.get(id(tensor))
        if found is not None and found.stale:
            raise UserError(
                f"{self._where('')}: reads a tensor that {found.stale} changed in place, in another view of its memory; "
                "leave inplace out"
            )
        return None if found is None else found.signal

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Every layer's forward says that it is running; that of a leaf becomes its node."""
        with restored(self.network):
            for path, module in self.network.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    raise UserError(
                        f"layer {path or type(module).__name__} ({type(module).__name__}): is compiled, and what it computes "
                        "cannot be followed; give the Python module that it was made of"
                    )
                compiled = module._orig_mod if type(module).__name__ == "OptimizedModule" else None
                module.__dict__["forward"] = self._forward(path, module, compiled)
            yield

    def _forward(self, path: str, module: nn.Module, compiled: nn.Module | None) -> Callable[..., Any]:
        own = module.forward if compiled is None else compiled
        base, name = base_of(module), registered(module)
        changed = "" if base is None else overridden(module, base)
        overrides = f", which is no {base.__name__}: it overrides {changed}" if base is not None and changed else ""

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self.state.inside:
                return own(*args, **kwargs)
            if name in REFUSED_LAYERS:
                raise UserError(f"layer {path} ({type(module).__name__}): has no form in a graph; {REFUSED_LAYERS[name]}")
            self.state.entered.append(_Entered(path, module, overrides))
            try:
                result = own(*args, **kwargs) if base is None or changed else self._leaf(path, module, own, args, kwargs)
                self._check_followed(args, result)
            except Exception:
                self.state.failed = self.state.failed or self._where("")
                raise
            finally:
                self.state.entered.pop()
            return result

        return forward

    def _leaf(self, path: str, module: nn.Module, own: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> Any:
        """Run a layer that is a node as a whole."""
        self.state.inside = True
        try:
            result = own(*args, **kwargs)
        finally:
            self.state.inside = False
        reads = [self.signal_of(tensor) for tensor in tensors_of((args, kwargs))]
        signals = [read for read in reads if read is not None]
        if not signals:
            return result
        calling = Calling(self.draft, path, True, self._where(""), result)
        calling.check_time_last("", signals)
        if any(signal.skip for signal in signals):
            calling.refuse_part()
        if len(signals) < len(reads):
            raise UserError(f"{self._where('')}: reads a constant beside what depends on the samples; signals alone expected")
        call = Call(
            name=self.draft.free_name(path, layer=True),
            inputs=tuple(signal.node for signal in signals),
            shapes=tuple(signal.shape for signal in signals),
            timed=tuple(signal.timed for signal in signals),
        )
        last = [self.draft.add(node).name for node in LAYERS[registered(module)](module, call)]
        node = last[-1] if last else signals[0].node
        if isinstance(self.draft.nodes[node], ops.EncodeNode):
            self.draft.steps = len(result)
        shape, timed = self.draft.shapes[node], self.draft.timed[node]
        flat = result.ndim == 1 + len(shape)
        self.follow(result, TracedTensor(node, ("T", "B") if timed else ("B",) if flat else ("1", "B"), shape))
        return result

    def _function(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        here = self.state.entered[-1]
        # the first node of a layer without layers of its own has the layer's name
        of_layer = bool(here.path) and not here.named and not any(True for _ in here.module.children())
        own = here.path if of_layer else f"{here.path}.{name}".lstrip(".")
        before = len(self.draft.nodes)
        call = Calling(self.draft, own, of_layer, self._where(name), result)
        if name in REFUSED:
            call.refuse(f"has no form in a graph; {REFUSED[name]}")
        if name not in FUNCTIONS:
            call.refuse("has no form in a graph; build the layer of convolutions, linear layers, batch norm, pools and ReLU")
        if "out" in kwargs:
            call.refuse("writes into a tensor that is given as out; assign its result instead")
        signals = [signal for signal in map(self.signal_of, tensors_of((args, kwargs))) if signal]
        call.check_time_last(name, signals)
        if name not in OF_A_PART and any(signal.skip for signal in signals):
            call.refuse_part()
        try:
            answer = FUNCTIONS[name](call, *map(self._argument, args), **{k: self._argument(v) for k, v in kwargs.items()})
        except UserError:
            raise
        except Exception as error:  # arguments that its rule does not take
            call.refuse(f"is called in a way that has no form in a graph ({first_line(error)})")
        here.named = here.named or takes_name(self.draft, before)
        results = [result] if isinstance(result, Tensor) else list(result)
        signals = [answer] if isinstance(answer, TracedTensor) else list(answer)
        for tensor, signal in zip(results, signals, strict=True):
            if tensor.dtype != self.draft.dtype:
                call.refuse(f"answers {tensor.dtype}, {self.draft.dtype} expected: a graph computes in one precision")
            if any(tensor is one for one in tensors_of(args)) and self.signal_of(tensor) != signal:
                self._changed_in_place(tensor, call.where)
            self.follow(tensor, signal)

    def _argument(self, value: Any) -> Any:
        """With signals in place of the tensors that depend on the samples."""
        if isinstance(value, Tensor):
            signal = self.signal_of(value)
            return value if signal is None else signal
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            return tuple(map(self._argument, value))
        return value

    def _changed_in_place(self, tensor: Tensor, where: str) -> None:
        memory = tensor.untyped_storage().data_ptr()
        for other in self.state.followed.values():
            if other.tensor is not tensor and other.tensor.untyped_storage().data_ptr() == memory:
                other.stale = where

    def _check_followed(self, args: Sequence[Any], result: Any) -> None:
        """Whether what a layer answers can be followed, if what it reads can."""
        if not any(id(tensor) in self.state.followed for tensor in tensors_of(args)):
            return
        # a tensor without values, such as the features of a network that has none, says nothing of what was read
        lost = [
            one for one in tensors_of(result) if id(one) not in self.state.followed and one.is_floating_point() and one.numel()
        ]
        if any(tensor.ndim and self.draft.batch in tensor.shape for tensor in lost):
            raise UserError(
                f"{self._where('')}: what it answers cannot be followed back to what it reads: something compiled, or outside "
                "torch, computes it; write it in torch's functions"
            )

    def _where(self, operation: str) -> str:
        here = self.state.entered[-1]
        kind = type(here.module).__module__
        if not here.path:
            return f"operation {operation} in {type(here.module).__name__}" if operation else type(here.module).__name__
        layer = f"layer {here.path} ({here.kind})"
        return layer if kind.startswith("torch.nn.modules") or not operation else f"operation {operation} in {layer}"


def check_callable(network: nn.Module, inputs: int = 1) -> None:
    """Whether a module can be called with so many samples alone, and has weights to write down."""
    _check_arguments(network, inputs)
    _check_weights(network)


def _check_arguments(network: nn.Module, inputs: int) -> None:
    """Whether the module can be called with so many samples alone."""
    try:
        parameters = list(signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    needed = [one.name for one in parameters if one.kind in kinds and one.default is Parameter.empty]
    several = any(one.kind is Parameter.VAR_POSITIONAL for one in parameters)
    taken = sum(one.kind in _POSITIONAL for one in parameters)
    if len(needed) > inputs:
        which = "a second input" if len(needed) == 2 else f"{len(needed)} inputs"
        raise UserError(
            f"{type(network).__name__}: takes {which}, {', '.join(needed[inputs:])}, and samples of {inputs} are given; give "
            "nd.deploy a tuple with one tensor for each, or wrap it in a module that gives the rest"
        )
    if not several and taken < inputs:
        raise UserError(f"{type(network).__name__}: takes {taken} inputs, and samples of {inputs} are given")


def _check_weights(network: nn.Module) -> None:
    """Whether there are weights to write down."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            layer = name.rpartition(".")[0] or type(network).__name__
            raise UserError(f"layer {layer}: its weights have no shape yet; call the module on samples once, and train it")
        if tensor.is_meta:
            raise UserError(f'tensor {name}: on the device "meta", which holds no values; load the weights first')


def needed(draft: Draft) -> Graph:
    """The graph, without what its answers do not depend on."""
    needed, pending = set(), [name for name, node in draft.nodes.items() if isinstance(node, ops.OutputNode)]
    pending += draft.entries
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(draft.nodes[name].inputs)
    return Graph(node for name, node in draft.nodes.items() if name in needed)
