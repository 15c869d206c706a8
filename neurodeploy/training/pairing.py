"""Whether student, teacher and loss terms suit one another: tried on a few samples before anything is trained."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import torch
from torch import Tensor, nn

from neurodeploy.distillation import LossTerm
from neurodeploy.io.errors import UserError
from neurodeploy.io.kinds import kind_of
from neurodeploy.training.evaluation import evaluating
from neurodeploy.training.observed import Observed
from neurodeploy.training.parallel import determined
from neurodeploy.training.parts import check_term
from neurodeploy.training.teacher import ask


def check_pair(
    student: Observed, teacher: Observed | None, terms: Sequence[LossTerm], samples: Tensor, labels: Tensor, classes: int
) -> None:
    """Refuse a pair that cannot be trained with these terms.

    Args:
        student, teacher: with their hooks on; the teacher as `freeze` leaves it, None without one.
        terms: of the loss.
        samples, labels: `[B, …]` and int64 `[B]`, on the networks' device.
        classes: K of the data.

    Raises:
        UserError: they have other numbers of classes; a term needs a teacher, features or taps that are missing, or fails on
            what they answer. The message names the term, and says what to do.
    """
    if student.classes != classes:
        raise UserError(f"student: answers for {student.classes} classes, the data have {classes}; equal numbers expected")
    if teacher is not None and teacher.classes != classes:
        raise UserError(f"teacher: answers for {teacher.classes} classes, the data have {classes}; equal numbers expected")
    for term in terms:
        _check_needs(term, student, teacher)
    with evaluating(student.module), determined("pair"):
        with torch.no_grad():
            output = student(samples)
        gradients = any(term.needs_teacher_gradients for term in terms)
        answer = None if teacher is None else ask(teacher, samples, labels, gradients=gradients)
        for term in terms:
            own = term.of_network(student.module, tuple(samples.shape[1:]))
            check_term(own, output, answer if term.needs_teacher else None, labels)


def _check_needs(term: LossTerm, student: Observed, teacher: Observed | None) -> None:
    kind = kind_of(term)
    if not term.needs_teacher:
        if term.needs_taps and not student.taps:
            raise UserError(f"loss term {kind}: {student.absent['taps']}")
        return
    if teacher is None:
        raise UserError(f"loss term {kind}: needs a teacher, none was given; give one, or leave the term out")
    for what in (what for what, needed in (("features", term.needs_features), ("taps", term.needs_taps)) if needed):
        for network in (student, teacher):
            if what in network.absent and (what == "features" or not network.taps):
                raise UserError(f"loss term {kind}: {network.absent[what]}")
    paired = isinstance(getattr(term, "taps", None), Mapping)  # the term says which belong together
    if term.needs_taps and not paired and not set(student.taps) & set(teacher.taps):
        one, other = student.taps[0], teacher.taps[0]
        raise UserError(
            f"loss term {kind}: no tap of the student ({_few(student.taps)}) is called as one of the teacher "
            f"({_few(teacher.taps)}); pair layers of the two: taps={{{one!r}: {other!r}, …}}"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def check_weights(module: nn.Module, what: str) -> None:
    """Refuse weights of which no answer follows.

    Raises:
        UserError: a tensor of the state dict holds values that are not finite.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{what}: tensor {name} holds values that are not finite; load its weights again")


def check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """Refuse a student that would change its teacher.

    Raises:
        UserError: they have a parameter in common.
    """
    taught = {id(weight) for weight in teacher.parameters()}
    for name, weight in student.named_parameters():
        if id(weight) in taught:
            raise UserError(
                f"student: its parameter {name} is the teacher's too, and would be trained; copy one: copy.deepcopy"
            )


def digest(module: nn.Module) -> str:
    """SHA-256 over the names, types and values of a module's state dict, hexadecimal."""
    found = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
