"""The frozen teacher: what it answers for a batch, and its answers kept for the whole training set."""

import torch
from torch import Tensor, nn

from neurodeploy.distillation import TeacherOutput
from neurodeploy.distillation.term import label_loss
from neurodeploy.networks import NetworkOutput


def freeze(teacher: nn.Module) -> nn.Module:
    """A teacher as distillation needs it: evaluation mode, no gradients for its weights."""
    return teacher.eval().requires_grad_(False)


def ask(teacher: nn.Module, x: Tensor, y: Tensor, *, gradients: bool) -> TeacherOutput:
    """What a frozen teacher answers for a batch, itself without gradient.

    Args:
        teacher: as `freeze` leaves it.
        x, y: samples `[B, …]` and labels, int64 `[B]` or probabilities `[B, K]`.
        gradients: also take the gradients of its cross-entropy, summed over the batch, with respect to its taps, at the cost of
            a backward pass.
    """
    classifier = teacher.get_submodule("classifier")
    if not gradients:
        with torch.no_grad():
            return TeacherOutput(teacher(x), classifier)
    with torch.enable_grad():
        output: NetworkOutput = teacher(x.detach().requires_grad_())
        loss = label_loss(output.logits, y) * len(y)
        gradient = torch.autograd.grad(loss, list(output.taps.values()), allow_unused=True, materialize_grads=True)
    logits, step_logits, features = (value.detach() for value in output[:3])
    answer = NetworkOutput(logits, step_logits, features, {name: tap.detach() for name, tap in output.taps.items()})
    return TeacherOutput(answer, classifier, dict(zip(output.taps, gradient, strict=True)))


class KnownAnswers:
    """A teacher's logits and features for a whole training set, asked once; without its taps, which would need far more room.

    Args:
        teacher: as `freeze` leaves it.
        samples: `[N, …]`; the same ones, unchanged, are trained on.
        device: where the teacher is.
        batch_size: samples per forward pass.
    """

    def __init__(self, teacher: nn.Module, samples: Tensor, device: torch.device, batch_size: int = 250) -> None:
        self._classify = teacher.get_submodule("classifier")
        with torch.no_grad():
            answers: list[NetworkOutput] = [teacher(x.to(device)) for x in samples.split(batch_size)]
        self._logits = torch.cat([answer.logits for answer in answers])
        self._step_logits = torch.cat([answer.step_logits for answer in answers], dim=1)
        self._features = torch.cat([answer.features for answer in answers], dim=1)

    def __getitem__(self, index: Tensor) -> TeacherOutput:
        """The answers for the samples of these numbers `[B]`."""
        index = index.to(self._logits.device)
        output = NetworkOutput(self._logits[index], self._step_logits[:, index], self._features[:, index], {})
        return TeacherOutput(output, self._classify)
