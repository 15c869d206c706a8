"""The frozen teacher: what it answers for a batch, and its answers kept for the whole training set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neurodeploy.data import Samples
from neurodeploy.data.feeding import in_batches
from neurodeploy.data.samples import in_memory
from neurodeploy.distillation import TeacherOutput
from neurodeploy.distillation.term import label_loss
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput, classifier_of
from neurodeploy.training.evaluation import evaluating
from neurodeploy.training.observed import Observed

_MOST_KEPT = 1 << 31
"""Bytes of answers that are kept for samples which are not in memory themselves."""


def freeze(teacher: nn.Module) -> nn.Module:
    """A teacher as distillation needs it: evaluation mode, no gradients for its weights."""
    return teacher.eval().requires_grad_(False)


@contextmanager
def frozen(teacher: nn.Module) -> Iterator[nn.Module]:
    """The teacher is as `freeze` leaves it inside, and as it was afterwards, module by module and weight by weight."""
    learning = {weight: weight.requires_grad for weight in teacher.parameters()}
    try:
        with evaluating(teacher):
            yield freeze(teacher)
    finally:
        for weight, learns in learning.items():
            weight.requires_grad_(learns)


def ask(teacher: nn.Module | Observed, x: Tensor, y: Tensor, *, gradients: bool) -> TeacherOutput:
    """What a frozen teacher answers for a batch, itself without gradient.

    Args:
        teacher: as `freeze` leaves it: a network of this toolkit, or any module as `observed` makes it answer.
        x, y: samples `[B, …]` and labels, int64 `[B]` or probabilities `[B, K]`.
        gradients: also take the gradients of its cross-entropy, summed over the batch, with respect to its taps, at the cost of
            a backward pass.
    """
    seen = as_observed(teacher)
    if not gradients:
        with torch.no_grad():
            return TeacherOutput(in_full(seen(x)), _classify(seen))
    with torch.enable_grad():
        output, tap_gradients = seen.with_gradients(x, lambda logits: label_loss(logits, y) * len(y))
    answer = NetworkOutput(
        output.logits.detach(),
        output.step_logits.detach(),
        output.features.detach(),
        {name: tap.detach() for name, tap in output.taps.items()},
    )
    return TeacherOutput(in_full(answer), _classify(seen), tap_gradients)


def in_full(output: NetworkOutput) -> NetworkOutput:
    """With logits and features in float32 where autocast has left them in bfloat16: a softmax of those is coarse."""
    logits, step_logits, features = (
        one.float() if one.dtype in (torch.bfloat16, torch.float16) else one
        for one in (output.logits, output.step_logits, output.features)
    )
    return NetworkOutput(logits, step_logits, features, output.taps)


def as_observed(teacher: nn.Module | Observed) -> Observed:
    """A network of this toolkit as one that is observed; its last layer is called `classifier`."""
    if isinstance(teacher, Observed):
        return teacher
    classifier = classifier_of(teacher)
    return Observed(teacher, int(getattr(classifier, "out_features", 0)), classify=classifier, native=True)


def _classify(teacher: Observed) -> Callable[[Tensor], Tensor]:
    if teacher.classify is not None:
        return teacher.classify

    def refuse(_features: Tensor) -> Tensor:
        raise UserError(teacher.absent.get("features", "the teacher has no layer `classifier`; name it with classifier="))

    return refuse


class KnownAnswers:
    """A teacher's logits and features for a whole training set, asked once; without its taps, which would need far more room.

    Args:
        teacher: as `freeze` leaves it.
        samples: `[N, …]`; the same ones, unchanged, are trained on.
        device: where the teacher is.
        batch_size: samples per forward pass.
        workers: processes that read samples which are no tensor.

    Raises:
        UserError: the samples are not in memory, and neither could be the answers.
    """

    def __init__(
        self, teacher: nn.Module | Observed, samples: Samples, device: torch.device, batch_size: int = 250, workers: int = 0
    ) -> None:
        seen = as_observed(teacher)
        self._classify = _classify(seen)
        answers: list[NetworkOutput] = []
        with torch.no_grad():
            for x in in_batches(samples, batch_size, workers):
                answer = seen(x.to(device))
                if not answers and not in_memory(samples):
                    _check_room(answer, len(x), len(samples))
                # the taps are let go batch by batch
                answers.append(NetworkOutput(answer.logits, answer.step_logits, answer.features, {}))
        self._logits = torch.cat([answer.logits for answer in answers])
        self._step_logits = torch.cat([answer.step_logits for answer in answers], dim=1)
        self._features = torch.cat([answer.features for answer in answers], dim=1)

    def __getitem__(self, index: Tensor) -> TeacherOutput:
        """The answers for the samples of these numbers `[B]`."""
        index = index.to(self._logits.device)
        output = NetworkOutput(self._logits[index], self._step_logits[:, index], self._features[:, index], {})
        return TeacherOutput(output, self._classify)


def _check_room(answer: NetworkOutput, batch: int, samples: int) -> None:
    kept = (answer.logits, answer.step_logits, answer.features)
    needed = sum(tensor.nelement() * tensor.element_size() for tensor in kept) / batch * samples
    if needed > _MOST_KEPT:
        raise UserError(
            f"known_teacher: the teacher's answers for {samples:,} samples take {needed / 2**30:.1f} GiB, at most "
            f"{_MOST_KEPT / 2**30:.0f} GiB expected for data that are not in memory; leave out known_teacher"
        )
