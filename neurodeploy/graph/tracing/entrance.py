"""How a module takes its samples: which axes come first, and whether it is called once or once for each time step."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from neurodeploy.dynamics.encodings import EventInput
from neurodeploy.graph.tracing.answers import AnswerChoice
from neurodeploy.graph.tracing.opening import folded
from neurodeploy.graph.tracing.traced_tensor import TIME_LAST, Inputs, Lead, each_of
from neurodeploy.io.errors import UserError


@dataclass(frozen=True)
class Entrance:
    """How a module takes samples.

    Attributes:
        lead: first axes of the tensor that it gets in a call.
        timed: the samples are sequences.
        steps: it computes one time step in a call, and is called so many times: with each step of a sequence, or with the same
            samples every time. None: it is called once.
        answers: which of several tensors that it answers are the graph's; see `answers.AnswerChoice`.
        averages: of an answer that is a sequence the graph answers the mean over time. Where time steps are rolled up it always
            does.
    """

    lead: Lead
    timed: bool = False
    steps: int | None = None
    answers: AnswerChoice = None
    averages: bool = False

    def calls(self, samples: Inputs) -> list[tuple[Tensor, ...]]:
        """What the module gets in each call.

        Args:
            samples: `[B, …]`, or `[T, B, …]` if `timed`; of each input.

        Raises:
            UserError: the sequences have another number of steps.
        """
        return list(zip(*map(self._calls_of, each_of(samples)), strict=True))

    def _calls_of(self, samples: Tensor) -> list[Tensor]:
        if self.steps is not None:
            if self.timed and len(samples) != self.steps:
                raise UserError(f"steps: {self.steps} found, {len(samples)} expected, the steps of the samples")
            return list(samples.unbind(0)) if self.timed else [samples] * self.steps
        match self.lead:
            case ("B", "T"):
                return [samples.transpose(0, 1).contiguous()]
            case ("BT",):
                return [samples.transpose(0, 1).flatten(0, 1)]
            case ("TB",):
                return [samples.flatten(0, 1)]
            case ("B", axis) if axis == TIME_LAST:
                return [samples.movedim(0, -1).contiguous()]
        return [samples]


def lead_of(network: nn.Module, *, timed: bool) -> Lead:
    """The first axes of the samples that a module takes, if nobody says which."""
    if not timed:
        return ("B",)
    return ("B", "T") if any(isinstance(module, EventInput) for module in network.modules()) else ("T", "B")


def entrance_of(network: nn.Module, *, timed: bool) -> Entrance:
    """How a module takes samples, if nobody says how."""
    return Entrance(lead_of(network, timed=timed), timed)


def chosen(network: nn.Module, *, batch_axis: int, time_axis: int | None, steps: int | None) -> Entrance:
    """How a module takes samples, as somebody says.

    Args:
        network: the module.
        batch_axis: axis of the samples in what it gets: 0, or 1 behind time. A module whose layers take both as one axis
            (`neurodeploy.graph.tracing.opening.folds`) gets them so.
        time_axis: axis of time in what it gets: 0, 1, or −1 behind all others; None if the samples are static, or if
            `batch_axis` is 1, which puts time first.
        steps: see `Entrance`; time is no axis of what the module gets then, but still the one of the samples that are given.

    Raises:
        UserError: no such axes.
    """
    axes: Sequence[tuple[int, int | None]] = ((0, None), (0, 1), (0, -1), (1, 0), (1, None))
    if (batch_axis, time_axis) not in axes:
        raise UserError(
            f"batch_axis, time_axis: {batch_axis} and {time_axis} found; 0 and None (static samples), 0 and 1, 0 and -1, or 1 "
            "and 0 expected"
        )
    if steps is not None and steps < 1:
        raise UserError(f"steps: {steps} found, 1 or more expected")
    own = any(isinstance(module, EventInput) for module in network.modules())
    timed = batch_axis == 1 or time_axis is not None or own
    if not timed or steps is not None:
        return Entrance(("B",), timed, steps)
    if folded(network):
        return Entrance(("BT",), timed)
    if batch_axis == 1:
        return Entrance(("T", "B"), timed)
    return Entrance(("B", TIME_LAST) if time_axis == -1 else ("B", "T"), timed)


def canonical(samples: Tensor, *, batch_axis: int, time_axis: int | None, timed: bool) -> Tensor:
    """Samples as they are given → `[T, B, …]`, or `[B, …]` if they are static."""
    if not timed or batch_axis == 1:
        return samples
    return samples.movedim(-1 if time_axis == -1 else 1, 0)
