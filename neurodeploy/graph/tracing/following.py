"""Recording of any module: as it is, or with its loops over time rolled up."""

from torch import Tensor, nn

from neurodeploy.graph.tracing.entrance import Entrance
from neurodeploy.graph.tracing.recording import Recording, record
from neurodeploy.graph.tracing.stepping import NothingRepeatsError, record_steps
from neurodeploy.io.errors import UserError


def follow(network: nn.Module, samples: Tensor, entrance: Entrance, *, keep: bool = False) -> Recording:
    """Run a module in evaluation mode, and write down what it does.

    A module whose functions all have a form in a graph is recorded at once; one that computes neurons of its own, or another
    framework's, step by step.

    Args:
        network: left as it was.
        samples: `[B, …]`, or `[T, B, …]` if they are sequences.
        entrance: how the module takes them.
        keep: also keep what every layer answered.

    Raises:
        UserError: the module does not run, or does something that has no form in a graph; the message names layer and
            operation.
    """
    if entrance.steps is not None:
        return record_steps(network, samples, entrance, keep=keep)
    try:
        return record(network, samples, entrance, keep=keep)
    except UserError as error:
        try:
            return record_steps(network, samples, entrance, keep=keep)
        except NothingRepeatsError:
            raise error from None
