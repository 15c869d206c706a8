"""Which of the tensors that a module answers are the answers of its graph."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput

AnswerChoice: TypeAlias = int | str | Sequence[int | str] | None
"""Numbers or names of tensors that a module answers; None: all, but no states: see `chosen_answers`."""

LOGITS = "logits"
_BEFORE = "answer."
FIRST = (0,)


class SeveralAnswersError(UserError):
    """One of several tensors that a module answers, none of which was chosen, has no form in a graph."""


class ChoiceError(UserError):
    """A module does not answer what was chosen."""


@dataclass(frozen=True)
class Leaf:
    """A tensor of a module's answer.

    Attributes:
        name: its key in a dictionary, its path in nested ones, or `answer0`, `answer1`, …
        tensor: it.
        state: it is in a tuple or list beside one tensor, as in `output, (v, i)`, the states that recurrent layers hand back.
    """

    name: str
    tensor: Tensor
    state: bool = False


def leaves_of(network: nn.Module, answer: Any) -> list[Leaf]:
    """The tensors of a module's answer, in order; what has `logits`, such as a `NetworkOutput`, answers these alone.

    Raises:
        UserError: there is none.
    """
    found = answer.logits if isinstance(answer, NetworkOutput) else getattr(answer, LOGITS, answer)
    if isinstance(found, dict) and LOGITS in found:
        found = found[LOGITS]
    leaves = [Leaf(LOGITS, found)] if isinstance(found, Tensor) else list(_leaves(found, ""))
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Tensor) and isinstance(found[1], tuple | list):
        leaves = [leaves[0], *(replace(leaf, state=True) for leaf in leaves[1:])]
    if not leaves:
        raise UserError(
            f"{type(network).__name__}: its output is {type(found).__name__}, a tensor, several of them in a tuple, list or "
            "dictionary, or a NetworkOutput expected; wrap it in a module that returns its logits"
        )
    return leaves


def _leaves(found: Any, path: str) -> Iterator[Leaf]:
    if isinstance(found, Tensor):
        if found.is_floating_point():
            yield Leaf(path, found)
    elif isinstance(found, dict):
        for key, one in found.items():
            yield from _leaves(one, f"{path}.{key}" if path else str(key))
    elif isinstance(found, tuple | list):
        for number, one in enumerate(found):
            yield from _leaves(one, f"{path}.{number}" if path else f"answer{number}")


def chosen_answers(network: nn.Module, calls: Sequence[Sequence[Leaf]], choice: AnswerChoice) -> list[int]:
    """Numbers of the chosen ones among the tensors of each call's answer.

    Without a choice all are, but for states: what is in a tuple or list behind one tensor, and tensors of the shape of spikes
    before them that are none.

    Args:
        network: the module.
        calls: what it answered in each call.
        choice: of the user, or None.

    Raises:
        UserError: the module does not answer what was chosen, or something else in other calls.
    """
    names = [leaf.name for leaf in calls[0]]
    kind = type(network).__name__
    if any([leaf.name for leaf in call] != names for call in calls):
        raise UserError(f"{kind}: answers something else in every step, in no order that repeats")
    if choice is None:
        alone = len(names) > 1 and (calls[0][-1].state or _are_spikes_and_states(calls))
        return [0] if alone else list(range(len(names)))
    wanted = [choice] if isinstance(choice, int | str) else list(choice)
    places = list[int]()
    for one in wanted:
        name = one if isinstance(one, int) or one in names else one.removeprefix(_BEFORE)
        place = name if isinstance(name, int) else names.index(name) if name in names else len(names)
        if not 0 <= place < len(names):
            raise ChoiceError(f"answer: {one!r} found, and {kind} answers {described(names)}")
        places.append(place)
    if not places or len(set(places)) < len(places):
        raise ChoiceError(f"answer: {choice!r} found, one or several of {described(names)} expected, each once")
    return places


def _are_spikes_and_states(calls: Sequence[Sequence[Leaf]]) -> bool:
    """Whether the first tensor is spikes, and the others, of its shape, hold other values: what neurons of snnTorch give."""
    shape = calls[0][0].tensor.shape
    if any(leaf.tensor.shape != shape for leaf in calls[0]):
        return False
    binary = [all(_is_binary(call[place].tensor) for call in calls) for place in range(len(calls[0]))]
    return binary[0] and not any(binary[1:])


def _is_binary(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())


def described(names: Sequence[str]) -> str:
    """The tensors of an answer, by number and name."""
    return ", ".join(f"{number} ({name})" for number, name in enumerate(names))


def node_names(names: Sequence[str], taken: Container[str]) -> list[str]:
    """Of the graph's answers: `logits` of one, else those of the tensors, with `answer.` before what a layer is called too."""
    if len(names) == 1:
        return [LOGITS]
    return [f"{_BEFORE}{name}" if name in taken else name for name in names]
