"""From a tape to a graph: each loop over time steps becomes the layers that it is made of, each for all steps at once.

A function of a loop's body reads what other functions made in the same step, or in a step before. What reads its own past, by
whatever way around, is something with a state: a layer of neurons (`neurodeploy.graph.tracing.cells`). Everything else becomes
nodes by the rules that it has outside of loops too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Call
from neurodeploy.graph.ops.operation import LAYERS
from neurodeploy.graph.tracing.body import Body, Constant, OneStep, Outer, Past, Reference, Same, Varying, body_of, varying_axis
from neurodeploy.graph.tracing.cells import Unit, nodes_of, units_of
from neurodeploy.graph.tracing.loops import Loop, rolled_up
from neurodeploy.graph.tracing.rules import FUNCTIONS, OF_A_PART, REFUSED, Calling, Draft, takes_name
from neurodeploy.graph.tracing.running import first_line, registered
from neurodeploy.graph.tracing.tape import Event, Tape, Value, is_leaf, values_of
from neurodeploy.graph.tracing.traced_tensor import TIME_LAST, Lead, TracedTensor, arranged
from neurodeploy.io.errors import UserError


@dataclass
class Rolled:
    """What a tape became.

    Attributes:
        answers: of each call of the module, with signals in place of values; a `OneStep` is one step of a signal.
        values: node → what its tensor was in the run, `[T, B, *shape]`, or `[1, B, *shape]` without time.
        last: a signal's last step → that as a static value.
    """

    answers: list[Any]
    values: dict[str, Tensor]
    last: Callable[[OneStep], TracedTensor]


Signal = TracedTensor | OneStep


def roll(tape: Tape, draft: Draft, entering: Sequence[Signal]) -> Rolled:
    """Write the nodes of a tape into a draft.

    Args:
        tape: of a run.
        draft: with the input's node.
        entering: what each value that entered the module is.

    Raises:
        UserError: something has no form in a graph.
    """
    rolling = _Rolling(draft)
    for value, signal in zip(tape.entering, entering, strict=True):
        rolling.follow(value, signal)
    for item in rolled_up(tape):
        if isinstance(item, Loop):
            rolling.loop(item)
        else:
            rolling.event(item)
    answers = [rolling.signals(answer) for answer in tape.answers]
    return Rolled(answers, rolling.values, rolling.last)


class _Rolling:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.values: dict[str, Tensor] = {}
        self._signals: dict[int, Signal] = {}
        self._named: set[str] = set()
        self._encoded: dict[str, TracedTensor] = {}
        self._late: dict[tuple[str, int], TracedTensor] = {}
        self._last: dict[str, TracedTensor] = {}

    def follow(self, value: Value, signal: Signal) -> None:
        """From now on the value is this signal."""
        self._signals[id(value)] = signal
        if isinstance(signal, TracedTensor) and signal.node not in self.values:
            self.values[signal.node] = arranged(signal, value.tensor, self.draft.batch).detach()

    def signal_of(self, value: Value) -> Signal | None:
        return self._signals.get(id(value))

    def signals(self, given: Any) -> Any:
        """With signals, or the tensors of constants, in place of values."""
        if isinstance(given, Value):
            return self._signals.get(id(given), given.tensor)
        if isinstance(given, dict):
            return {key: self.signals(one) for key, one in given.items()}
        if isinstance(given, tuple):
            return tuple(map(self.signals, given))
        return given

    def event(self, event: Event) -> None:
        """A call outside of all loops."""
        reads = [self._signals[id(one)] for one in values_of((event.args, event.kwargs)) if id(one) in self._signals]
        if not reads:
            return
        args, kwargs = self.signals(event.args), self.signals(event.kwargs)
        if any(isinstance(read, OneStep) for read in reads):
            whole = self._gathered(event, args, kwargs)
            if whole is not None:
                self.follow(event.results[0], whole)
                return
            args, kwargs = self._settled(args), self._settled(kwargs)
        for value, signal in zip(event.results, self._answers(event, args, kwargs), strict=True):
            self.follow(value, signal)

    def _answers(self, event: Event, args: Any, kwargs: Any) -> list[Signal]:
        if is_leaf(event):
            return [self._leaf(event, [one for one in (*args, *kwargs.values()) if isinstance(one, TracedTensor)])]
        unbound = _unbound(event, args, kwargs)
        if unbound is not None:
            return unbound
        return list(self.function(event, args, kwargs))

    def _gathered(self, event: Event, args: Any, kwargs: Any) -> TracedTensor | None:
        """The steps of a signal, all of them in order, as one tensor again."""
        if event.name not in ("stack", "cat", "concat", "concatenate", "vstack") or not isinstance(args[0], tuple):
            return None
        steps = args[0]
        first = steps[0]
        if not all(isinstance(one, OneStep) and replace(one, t=first.t) == first for one in steps):
            return None
        if [one.t for one in steps] != list(range(first.t, self.draft.steps)):
            return None
        dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
        signal: TracedTensor = replace(first.signal, skip=first.t)
        made = event.results[0].tensor
        if event.name == "stack" and signal.lead == ("B",):
            dim %= made.ndim
            leads: dict[int, Lead] = {made.ndim - 1: ("B", TIME_LAST), 0: ("T", "B"), 1: ("B", "T")}
            if dim in leads:
                return replace(signal, lead=leads[dim])
            raise UserError(f"{event.where}: stacks time steps along axis {dim} of {made.ndim}; 0, 1 or the last one expected")
        if event.name != "stack" and signal.lead == ("1", "B") and dim == 0:
            return replace(signal, lead=("T", "B"))
        if event.name != "stack" and signal.lead == ("B",) and dim == 0:
            return replace(signal, lead=("TB",))
        return None

    def _settled(self, given: Any) -> Any:
        """With the value of the last step in place of that step."""
        if isinstance(given, OneStep):
            return self.last(given)
        if isinstance(given, dict):
            return {key: self._settled(one) for key, one in given.items()}
        if isinstance(given, tuple):
            return tuple(map(self._settled, given))
        return given

    def last(self, step: OneStep) -> TracedTensor:
        """A step of a signal, the last one, as a static value."""
        if step.t != self.draft.steps - 1 or step.signal.lead != ("B",):
            raise UserError(
                f"layer {step.signal.node}: its answer in step {step.t} alone is read; the mean over time, or the last step, "
                "has a form in a graph"
            )
        node = step.signal.node
        if node not in self._last and not self.draft.takes_sequences and _adds_up(self.draft.nodes[node]):
            (source,) = self.draft.nodes[node].inputs
            self._last[node] = self.draft.total(replace(step.signal, node=source), f"{node}.sum")
        if node not in self._last:
            name = self.draft.free_name(f"{node}.last")
            made = self.draft.add(ops.TimeMeanNode(name=name, inputs=(node,), skip=-1))
            self._last[node] = TracedTensor(made.name, ("B",), step.signal.shape)
        return self._last[node]

    def function(self, event: Event, args: Any, kwargs: Any) -> Sequence[TracedTensor]:
        """What a call of a function of signals becomes."""
        of_layer = bool(event.path) and event.path not in self._named and _is_layer(event.module)
        own = event.path if of_layer else f"{event.path}.{event.name}".lstrip(".")
        before = len(self.draft.nodes)
        call = Calling(self.draft, own, of_layer, event.where, event.answer)
        if event.name in REFUSED:
            call.refuse(f"has no form in a graph; {REFUSED[event.name]}")
        if event.name not in FUNCTIONS:
            call.refuse("has no form in a graph; build the layer of convolutions, linear layers, batch norm, pools and ReLU")
        signals = [one for one in _flat((args, kwargs)) if isinstance(one, TracedTensor)]
        call.check_time_last(event.name, signals)
        if event.name not in OF_A_PART and any(signal.skip for signal in signals):
            call.refuse_part()
        try:
            answer = FUNCTIONS[event.name](call, *args, **kwargs)
        except UserError:
            raise
        except Exception as error:  # arguments that its rule does not take
            call.refuse(f"is called in a way that has no form in a graph ({first_line(error)})")
        if takes_name(self.draft, before):
            self._named.add(event.path)
        return [answer] if isinstance(answer, TracedTensor) else list(answer)

    def _leaf(self, event: Event, reads: list[TracedTensor]) -> TracedTensor:
        Calling(self.draft, event.path, True, event.where, event.answer).check_time_last("", reads)
        call = Call(
            name=self.draft.free_name(event.path, layer=True),
            inputs=tuple(read.node for read in reads),
            shapes=tuple(read.shape for read in reads),
            timed=tuple(read.timed for read in reads),
        )
        made = [self.draft.add(node).name for node in LAYERS[registered(event.module)](event.module, call)]
        node = made[-1] if made else reads[0].node
        result = event.results[0].tensor
        if isinstance(self.draft.nodes[node], ops.EncodeNode):
            self.draft.steps = len(result)
        shape, timed = self.draft.shapes[node], self.draft.timed[node]
        return TracedTensor(node, ("T", "B") if timed else ("B",) if result.ndim == 1 + len(shape) else ("1", "B"), shape)

    # a loop

    def loop(self, loop: Loop) -> None:
        """Calls that repeat."""
        if self._added_up(loop):
            return
        body = body_of(loop, self.signal_of)
        if not any(body.depends):
            return
        self._set_steps(body)
        for unit in units_of(body):
            if unit.members:
                self._unit(body, unit)
            else:
                self._call(body, unit.position)

    def _added_up(self, loop: Loop) -> bool:
        """Whether a loop only adds up the steps of a signal, one after the other, as `sum(steps)` does."""
        calls = loop.body[0]
        if len(loop.body) > 1 or any(
            call is None or call.name != "add" or len(call.args) != 2 or call.kwargs for call in calls
        ):
            return False
        added: list[Any] = []
        for number, call in enumerate(calls):
            assert call is not None
            first, second = call.args
            before = calls[number - 1]
            if number and (before is None or first is not before.results[0]):
                return False
            added += [one for one in ((first, second) if not number else (second,)) if isinstance(one, Value) or one != 0]
        steps = [self.signal_of(one) if isinstance(one, Value) else None for one in added]
        signal = steps[0].signal if isinstance(steps[0], OneStep) else None
        if signal is None or signal.lead != ("B",) or steps != [OneStep(signal, t) for t in range(self.draft.steps)]:
            return False
        last = calls[-1]
        assert last is not None
        self.follow(last.results[0], self.draft.total(signal, f"{signal.node}.sum"))
        return True

    def _set_steps(self, body: Body) -> None:
        timed = [node for node, is_timed in self.draft.timed.items() if is_timed]
        if timed and self.draft.steps != body.steps:
            raise UserError(
                f"{body.where(0)}: a loop of {body.steps} steps found, {self.draft.steps} expected: those of the samples, or "
                "of the loops before it"
            )
        self.draft.steps = body.steps

    def _unit(self, body: Body, unit: Unit) -> None:
        """Something with a state, or that fires: a node for each value that others read."""
        for position, slot in unit.outputs:

            def signal(reference: Reference) -> TracedTensor:
                return self._timed(self._read(body, reference))

            event = body.last(position)
            base = unit.path or "neuron"
            own = bool(unit.path) and unit.path not in self._named and _is_layer(unit.module)
            self._named.add(unit.path)
            name = self.draft.free_name(base if own or not unit.path else f"{base}.{unit.title}", layer=own)
            node = [self.draft.add(one) for one in nodes_of(body, unit, (position, slot), name, signal)][-1]
            shape = tuple(event.results[slot].tensor.shape[1:])
            if shape != self.draft.shapes[node.name]:
                raise UserError(f"{event.where}: {shape} found in the module, {self.draft.shapes[node.name]} in its graph")
            body.made[position, slot] = TracedTensor(node.name, ("B",), shape)
            self._follow_steps(body, position, slot)

    def _call(self, body: Body, position: int) -> None:
        """A call without a state."""
        event = body.last(position)
        if event.name == "__setitem__":
            self._collect(body, position)
            return
        args, kwargs = body.mapped(position, lambda reference: self._read(body, reference))
        sliced = body.step_of(position, args)
        if sliced is not None:
            made: Sequence[Signal] = [sliced]
        else:
            if any(isinstance(one, Varying) for one in _flat((args, kwargs))):
                raise UserError(f"{event.where}: is given a number that differs from step to step")
            args, kwargs = self._alike((args, kwargs))
            made = self._answers(event, args, kwargs)
        for slot, signal in enumerate(made):
            if isinstance(signal, OneStep):
                raise UserError(f"{event.where}: takes a sequence apart in every step of a loop; take the step that is meant")
            body.made[position, slot] = signal
            self._follow_steps(body, position, slot)

    def _collect(self, body: Body, position: int) -> None:
        """`out[t] = x`: each step is written into a tensor that was there before the loop."""
        event = body.last(position)
        target, index, given = body.arguments[position][0]
        entries = list(index) if isinstance(index, tuple) else [index]
        axes = event.args[0].tensor.ndim
        axis, taken = varying_axis(entries, axes)
        leads: dict[int | None, Lead] = {axes - 1: ("B", TIME_LAST), 0: ("T", "B"), 1: ("B", "T")}
        constant = isinstance(given, Constant) or not isinstance(given, Outer | Same | Past)
        if axis not in leads or constant or not isinstance(target, Past | Constant):
            raise UserError(f"{event.where}: values are written into a tensor in place, other than step by step in order")
        if list(taken) != list(range(body.steps)):
            raise UserError(f"{event.where}: writes the steps {taken[:4]}…; each in order expected")
        signal = self._timed(self._read(body, given))
        if signal.lead != ("B",):
            raise UserError(f"{event.where}: writes a tensor with the axes {', '.join(signal.lead)} as a step")
        body.made[position, 0] = signal
        self.follow(event.results[0], replace(signal, lead=leads[axis]))

    def _read(self, body: Body, reference: Reference) -> Any:
        """What a reference of a body is, for rules."""
        match reference:
            case Constant(value):
                return value
            case Outer(signal):
                return signal
            case Same(position, slot):
                return body.made[position, slot]
            case Past(position, slot, distance):
                body.check_zero(reference)
                return self._delayed(body.made[position, slot], distance)
        raise AssertionError(reference)

    def _timed(self, signal: TracedTensor) -> TracedTensor:
        """A signal of a step; of a static value its repetition."""
        if self.draft.timed[signal.node]:
            return signal
        if signal.node not in self._encoded:
            name = self.draft.free_name(f"{signal.node}.repeated")
            node = self.draft.add(ops.EncodeNode(name=name, inputs=(signal.node,), steps=self.draft.steps))
            self._encoded[signal.node] = TracedTensor(node.name, signal.lead, signal.shape)
        return replace(signal, node=self._encoded[signal.node].node)

    def _alike(self, given: Any) -> Any:
        """With all signals timed if one is."""
        signals = [one for one in _flat(given) if isinstance(one, TracedTensor)]
        timed = {self.draft.timed[one.node] for one in signals}
        return _mapped(given, self._timed) if len(timed) > 1 else given

    def _delayed(self, signal: TracedTensor, distance: int) -> TracedTensor:
        signal = self._timed(signal)
        key = signal.node, distance
        if key not in self._late:
            name = self.draft.free_name(f"{signal.node}.before")
            node = self.draft.add(ops.DelayNode(name=name, inputs=(signal.node,), steps=distance))
            self._late[key] = TracedTensor(node.name, signal.lead, signal.shape)
        return self._late[key]

    def _follow_steps(self, body: Body, position: int, slot: int) -> None:
        """What later calls read of a loop is a step of a signal."""
        signal = body.made[position, slot]
        calls = body.calls(position)
        timed = self.draft.timed[signal.node]
        for t, event in enumerate(calls):
            if event is not None:
                self._signals[id(event.results[slot])] = OneStep(signal, t) if timed else signal
        if signal.node in self.values or None in calls:
            return
        per_step = [event.results[slot].tensor for event in calls if event is not None]
        if timed:
            made = torch.stack([arranged(signal, one, self.draft.batch)[0] for one in per_step]).float()
            self.values[signal.node] = _as_spikes(made) if isinstance(self.draft.nodes[signal.node], ops.Spiking) else made
        else:
            self.values[signal.node] = arranged(signal, per_step[-1], self.draft.batch).float()


def _as_spikes(values: Tensor) -> Tensor:
    """Spikes without the rounding of what was added to them and taken away again."""
    whole = values.round()
    return whole if (values - whole).abs().max() < _ROUNDING else values


_ROUNDING = 1e-5


def _is_layer(module: nn.Module) -> bool:
    """Whether a module is a layer, and no container of layers: what is inside of it has no weights."""
    return not any(True for child in module.children() for _ in (*child.parameters(), *child.children()))


def _adds_up(node: ops.Node) -> bool:
    """Whether a node is the sum of all that it has read so far."""
    if isinstance(node, ops.LowPassNode):
        return node.decay == 1
    if not isinstance(node, ops.MembraneNode) or len(node.inputs) > 1 or node.recurrent is not None:
        return False
    update = node.update
    added = [(one.operation, frozenset(one.operands)) for one in update.instructions]
    whole = [("add", frozenset((("state", 0), ("input", 0))))]
    return added == whole and update.initial in ((("number", 0),), (("number", 0.0),)) and update.following == (("result", 0),)


def _unbound(event: Event, args: Any, kwargs: Any) -> list[Signal] | None:
    """The steps that a sequence is taken apart into."""
    if event.name not in ("unbind", "__iter__") or not isinstance(args[0], TracedTensor):
        return None
    signal = args[0]
    if signal.name_of(args[1] if len(args) > 1 else kwargs.get("dim", 0)) != "T":
        return None
    return [OneStep(replace(signal, lead=signal.step_lead()), t) for t in range(len(event.results))]


def _flat(given: Any) -> list[Any]:
    if isinstance(given, dict):
        return [leaf for one in given.values() for leaf in _flat(one)]
    if isinstance(given, tuple | list):
        return [leaf for one in given for leaf in _flat(one)]
    return [given]


def _mapped(given: Any, change: Callable[[TracedTensor], TracedTensor]) -> Any:
    if isinstance(given, TracedTensor):
        return change(given)
    if isinstance(given, dict):
        return {key: _mapped(one, change) for key, one in given.items()}
    if isinstance(given, tuple):
        return tuple(_mapped(one, change) for one in given)
    return given
