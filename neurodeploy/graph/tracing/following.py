"""Recording of any module: as it is, or with its loops over time rolled up."""

from dataclasses import replace

from torch import nn

from neurodeploy.graph.tracing.answers import FIRST, SeveralAnswersError
from neurodeploy.graph.tracing.entrance import Entrance
from neurodeploy.graph.tracing.recording import Recording, record
from neurodeploy.graph.tracing.stepping import NothingRepeatsError, record_steps
from neurodeploy.graph.tracing.traced_tensor import Inputs
from neurodeploy.io.errors import UserError


def follow(network: nn.Module, samples: Inputs, entrance: Entrance, *, keep: bool = False) -> Recording:
    """Run a module in evaluation mode, and write down what it does.

    A module whose functions all have a form in a graph is recorded at once; one that computes neurons of its own, or another
    framework's, step by step. Of several tensors that it answers, all are the graph's answers, unless `entrance` says which; if
    one has no form in a graph, as the states of neurons have none, the first alone is, and the recording says why.

    Args:
        network: left as it was.
        samples: `[B, …]`, or `[T, B, …]` if they are sequences; of each input.
        entrance: how the module takes them.
        keep: also keep what every layer answered.

    Raises:
        UserError: the module does not run, or does something that has no form in a graph; the message names layer and
            operation.
    """
    try:
        return _followed(network, samples, entrance, keep=keep)
    except SeveralAnswersError as error:
        first = _followed(network, samples, replace(entrance, answers=FIRST), keep=keep)
        return replace(first, why=str(error))


def _followed(network: nn.Module, samples: Inputs, entrance: Entrance, *, keep: bool) -> Recording:
    if entrance.steps is not None:
        return record_steps(network, samples, entrance, keep=keep)
    try:
        return record(network, samples, entrance, keep=keep)
    except UserError as error:
        try:
            return record_steps(network, samples, entrance, keep=keep)
        except NothingRepeatsError:
            raise error from None
