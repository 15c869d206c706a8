"""Recording of modules that go through time step by step: by a loop in their forward, or one call for each step."""

from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.tracing import sinabs, slayer, snntorch, spikingjelly  # noqa: F401 - register how their layers are opened
from neurodeploy.graph.tracing.answers import LOGITS, ChoiceError, SeveralAnswersError, node_names
from neurodeploy.graph.tracing.body import OneStep
from neurodeploy.graph.tracing.entrance import Entrance
from neurodeploy.graph.tracing.loops import Loop, rolled_up
from neurodeploy.graph.tracing.opening import RefusedLayerError, forget, tell_sizes
from neurodeploy.graph.tracing.recording import Recording, drafted, needed, not_running
from neurodeploy.graph.tracing.rolling import Rolled, roll
from neurodeploy.graph.tracing.rules import Draft
from neurodeploy.graph.tracing.running import evaluating, tensors_of
from neurodeploy.graph.tracing.tape import Tape, check_values_unread, needed_events, record_tape
from neurodeploy.graph.tracing.traced_tensor import Inputs, TracedTensor, arranged, each_of
from neurodeploy.io.errors import UserError


class NothingRepeatsError(UserError):
    """A module has no loop over time steps, or does not run in one call."""


def record_steps(network: nn.Module, samples: Inputs, entrance: Entrance, *, keep: bool = False) -> Recording:
    """Run a module, and write down what it does with its loops over time rolled up; see `recording.record`.

    States that its layers keep from call to call begin anew, in a copy of the module. Layers of other frameworks are opened
    (`neurodeploy.graph.tracing.opening`); what they answer is compared with what the module itself answers.

    Args:
        network: the module.
        samples: `[B, …]`, or `[T, B, …]` if they are sequences; of each input.
        entrance: how the module takes them.
        keep: also keep what every layer answered.

    Returns:
        An answer is the mean over time if the module answers a sequence, or is called for each step.

    Raises:
        NothingRepeatsError: there is no loop, or the module does not run.
        UserError: see `recording.record`; an opened layer answers something else than the module's own.
    """
    given, steps = each_of(samples), entrance.steps
    draft = drafted(network, samples, entrance)
    calls = entrance.calls(samples)
    if steps is not None:
        draft.steps = steps
    copied = forget(_copied(network))
    if entrance.lead == ("BT",):
        tell_sizes(copied, draft.batch, len(given[0]))
    hands_on = steps is not None and len(given) == 1 and _takes_state(network)
    try:
        tape = record_tape(copied, calls, hands_on=hands_on, choice=entrance.answers)
    except (ChoiceError, RefusedLayerError):
        raise
    except UserError as error:
        if steps is not None:
            raise
        raise NothingRepeatsError(str(error)) from None
    try:
        return _rolled_up(network, tape, samples, entrance, draft, hands_on=hands_on, keep=keep)
    except NothingRepeatsError:
        raise
    except UserError as error:
        if len(tape.names) > 1 and entrance.answers is None:
            raise SeveralAnswersError(str(error)) from None
        raise


def _rolled_up(
    network: nn.Module, tape: Tape, samples: Inputs, entrance: Entrance, draft: Draft, *, hands_on: bool, keep: bool
) -> Recording:
    given, timed, steps = each_of(samples), entrance.timed, entrance.steps
    batch, calls = draft.batch, entrance.calls(samples)
    entering = [TracedTensor(name, entrance.lead, draft.shapes[name]) for name in draft.entries]
    check_values_unread(tape)
    tape.events = needed_events(tape)
    signals = [OneStep(one, t) if steps is not None and timed else one for t in range(len(calls)) for one in entering]
    if steps is None and not tape.layers and not any(isinstance(item, Loop) for item in rolled_up(tape)):
        raise NothingRepeatsError(f"{type(network).__name__}: has no loop over time steps")
    rolled = roll(tape, draft, signals)
    for name, x in zip(draft.entries, given, strict=True):
        rolled.values[name] = x if timed else x.unsqueeze(0)
    answering = [
        _answer(network, name, [call[place] for call in rolled.answers], rolled, draft) for place, name in enumerate(tape.names)
    ]
    if keep:
        _check_opened(network, calls, tape.layers, hands_on=hands_on)
    answers = dict[str, Tensor]()
    for place, (name, signal) in enumerate(zip(node_names(tape.names, draft.nodes), answering, strict=True)):
        last = signal.node
        if draft.timed[last]:
            last = draft.add(ops.TimeMeanNode(name=draft.free_name("mean"), inputs=(last,))).name
        output = draft.add(ops.OutputNode(name=draft.free_name(name), inputs=(last,)))
        given_back = [call[place].tensor for call in tape.answers]
        if signal.timed:
            answers[output.name] = arranged(signal, given_back[0], batch).mean(0)
        else:
            answers[output.name] = torch.stack(given_back).mean(0) if draft.timed[signal.node] else given_back[-1]
    return Recording(needed(draft), rolled.values if keep else {}, answers, tape.left)


def _answer(network: nn.Module, name: str, found: list[Any], rolled: Rolled, draft: Draft) -> TracedTensor:
    """The signal that a module answers under a name, from what it is in each call."""
    kind = type(network).__name__
    if any(not isinstance(one, TracedTensor | OneStep) for one in found):
        which = "its answer" if name == LOGITS else f"its answer {name}"
        raise UserError(
            f"{kind}: {which} cannot be followed back to the samples: something compiled, or outside torch, computes it, or "
            "it does not depend on them"
        )
    if len(found) == 1:
        return rolled.last(found[0]) if isinstance(found[0], OneStep) else found[0]
    if all(isinstance(one, TracedTensor) and one == found[0] for one in found):
        return found[0]
    if [one for one in found if isinstance(one, OneStep)] != [OneStep(found[0].signal, t) for t in range(draft.steps)]:
        raise UserError(f"{kind}: answers something else in every step, in no order that repeats")
    return found[0].signal


def _takes_state(network: nn.Module) -> bool:
    """Whether its caller hands on a state: `answer, state = network(x, state)`."""
    parameters = [*signature(network.forward).parameters]
    return len(parameters) > 1 and parameters[1].lower() in ("state", "states", "hidden", "hidden_state", "hidden_states")


def _copied(network: nn.Module) -> nn.Module:
    try:
        with torch.no_grad():
            return deepcopy(network)
    except Exception:  # a module may hold anything: then its own states begin anew
        return network


def _check_opened(
    network: nn.Module, calls: Sequence[tuple[Tensor, ...]], layers: dict[str, list[Tensor]], *, hands_on: bool
) -> None:
    """Whether opened layers answer what the module's own do."""
    if not layers:
        return
    copied = forget(_copied(network))
    own: dict[str, list[Tensor]] = {}

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            own.setdefault(path, []).append(next(tensors_of(output)).detach().clone())

        return hook

    handles = [module.register_forward_hook(keep(path)) for path, module in copied.named_modules() if path in layers]
    state: tuple[Any, ...] = ()
    try:
        with evaluating(copied), torch.no_grad():
            for x in calls:
                answer = copied(*(one.detach().clone() for one in x), *state)
                if hands_on and isinstance(answer, tuple):
                    state = (answer[1],)
    except Exception as error:  # the framework's own code may fail where an opened layer does not
        raise UserError(f"{type(network).__name__}: {not_running(network, calls[0], error)}") from None
    finally:
        for handle in handles:
            handle.remove()
    for path, answers in layers.items():
        kind = type(copied.get_submodule(path))
        where = f"layer {path} ({kind.__module__}.{kind.__qualname__})"
        if len(own.get(path, ())) != len(answers):
            raise UserError(f"{where}: is called {len(answers)} times, and {len(own.get(path, ()))} by the module itself")
        for call, (mine, theirs) in enumerate(zip(answers, own[path], strict=True)):
            if mine.shape != theirs.shape or not torch.equal(mine, theirs):
                count = int((mine != theirs).sum()) if mine.shape == theirs.shape else mine.numel()
                raise UserError(
                    f"{where}: {count:,} of {mine.numel():,} values of call {call} are others than those that its equation "
                    "makes, which the graph has; this version of the framework computes something else"
                )
