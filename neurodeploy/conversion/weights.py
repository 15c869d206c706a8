"""Copying the weights of a ReLU network into a spiking network of the same definition."""

from torch import nn

from neurodeploy.errors import UserError
from neurodeploy.layers import ThresholdNeuron


def copy_weights(teacher: nn.Module, student: nn.Module) -> None:
    """Give the student every parameter and buffer of the teacher; its thresholds stay.

    Raises:
        UserError: the two are not of one definition; the first tensor that only one has, or whose shape differs, is named.
    """
    own = {f"{name}.log_threshold" for name, module in student.named_modules() if isinstance(module, ThresholdNeuron)}
    given, expected = teacher.state_dict(), {n: t for n, t in student.state_dict().items() if n not in own}
    advice = "convert with the network definition that the teacher was built of"
    for name in [*expected, *given]:
        if name not in given or name not in expected:
            owner, other = ("student", "teacher") if name not in given else ("teacher", "student")
            raise UserError(f"tensor {name}: the {owner} has it, the {other} has not; {advice}")
        if given[name].shape != expected[name].shape:
            shapes = f"{list(given[name].shape)} in the teacher, {list(expected[name].shape)} in the student"
            raise UserError(f"tensor {name}: {shapes}; {advice}")
    student.load_state_dict({**student.state_dict(), **given})
