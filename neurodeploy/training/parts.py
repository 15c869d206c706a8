"""Networks, encoders and loss terms of the user's are tried on two samples before anything is trained."""

from collections.abc import Iterator

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from neurodeploy.data import DataSet
from neurodeploy.distillation import LossTerm, TeacherOutput
from neurodeploy.dynamics.encodings import OwnEncoding
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import told
from neurodeploy.io.kinds import is_foreign, kind_of
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import Recipe, StudentSettings
from neurodeploy.training.teacher import KnownAnswers, ask, freeze

_SAMPLES = 2


def check_parts(recipe: Recipe, data: DataSet) -> None:
    """Refuse parts of the user's that do not do what the training needs of them.

    Args:
        recipe: the experiment; if all its parts are this package's, nothing is done.
        data: its data set.

    Raises:
        UserError: a network does not run on the samples, answers with something else than a `NetworkOutput` of the right
            shapes, does not spike as a student or does as a teacher; an encoder's answers cannot be repeated; or a loss term
            fails or is no scalar. The message names the part, what was found and what was expected.
    """
    frames = recipe.data.event_frames
    if data.steps != frames:
        found = "static samples" if data.steps is None else f"{data.steps} event frames"
        expected = "static samples" if frames is None else f"{frames} event frames"
        raise UserError(f"data set {kind_of(recipe.data)!r}: {found} found, {expected} expected by its event_frames")
    if not any(map(is_foreign, _parts(recipe))):
        return
    specs = {role: spec for role in recipe.roles if (spec := recipe.network_of(role)) is not None}
    samples, labels = data.train_samples[:_SAMPLES], data.train_labels[:_SAMPLES]
    with torch.random.fork_rng(devices=[]):
        networks = {role: _built(recipe, role, data) for role in specs}
        outputs = {
            role: _checked(recipe, role, kind_of(spec), networks[role], samples, data.classes) for role, spec in specs.items()
        }
        if "teacher" not in specs:  # a module of the user's is tried together with the terms, see `own_teacher`
            return
        # what is made of another network, or taught by a student, is tried together with its terms, see `own_teacher`
        for student in (one for one in recipe.student if one.name in outputs and one.teacher is None):
            answer = _teacher(student, networks["teacher"], samples, labels)
            for term in student.loss:
                own = term.of_network(networks[student.name], tuple(samples.shape[1:]))
                check_term(own, outputs[student.name], answer if term.needs_teacher else None, labels)


def _parts(recipe: Recipe) -> Iterator[BaseModel]:
    """All that a training calls, besides the data."""
    yield from (spec for role in recipe.roles if (spec := recipe.network_of(role)) is not None)
    for one in recipe.with_terms:
        yield from one.loss
    for student in recipe.student:
        code = recipe.code_of(student.name)
        if code != "events":
            yield code


def _built(recipe: Recipe, role: str, data: DataSet) -> nn.Module:
    return recipe.build(role, data.sample_shape[0], data.classes).eval()


def _checked(recipe: Recipe, role: str, kind: str, network: nn.Module, samples: Tensor, classes: int) -> NetworkOutput:
    """What a network answers."""
    origin = f"{role}: network {kind!r}"
    spiking = any(isinstance(module, Neuron) for module in network.modules())
    if role in recipe.relu_roles and spiking:
        raise UserError(f"{origin}: spiking layers found in a ReLU network; take all its activations from activations.make()")
    if role not in recipe.relu_roles and not spiking:
        raise UserError(f"{origin}: no spiking layer found in a student; take its activations from activations.make()")
    for encoding in (module for module in network.modules() if isinstance(module, OwnEncoding)):
        encoding.check(samples)
    if not isinstance(getattr(network, "classifier", None), nn.Module):
        raise UserError(f"{origin}: no submodule `classifier` found, which makes logits of features")
    try:
        with torch.no_grad():
            output = network(samples)
    except UserError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{origin}: does not run on samples of shape {tuple(samples.shape)}: {told(error)}") from error
    if not isinstance(output, NetworkOutput):
        raise UserError(f"{origin}: answers with {type(output).__name__}, a neurodeploy.networks.NetworkOutput expected")
    steps = (recipe.data.event_frames or 1) if role in recipe.relu_roles else recipe.steps_of(role)
    count = len(samples)
    for name, found, expected in (
        ("logits", output.logits, (count, classes)),
        ("step_logits", output.step_logits, (steps, count, classes)),
        ("features", output.features[..., 0], (steps, count)),
    ):
        if tuple(found.shape) != expected:
            axes = expected if name != "features" else (*expected, "F")
            got = tuple(found.shape) if name != "features" else tuple(output.features.shape)
            raise UserError(f"{origin}: {name} of shape {got} found, {axes} expected: time steps, samples, classes")
    return output


def _teacher(student: StudentSettings, teacher: nn.Module, samples: Tensor, labels: Tensor) -> TeacherOutput | None:
    """What the student's terms are told of the teacher."""
    if not student.needs_teacher:
        return None
    if student.known_teacher:
        return KnownAnswers(freeze(teacher), samples, torch.device("cpu"))[torch.arange(len(samples))]
    return ask(freeze(teacher), samples, labels, gradients=any(term.needs_teacher_gradients for term in student.loss))


def check_term(term: LossTerm, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> None:
    """Refuse a loss term that fails on what the networks answer.

    Raises:
        UserError: it fails, or returns no scalar tensor; the message names its kind.
    """
    origin = f"loss term {kind_of(term)!r}"
    try:
        value = term(student, teacher, labels)
    except UserError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{origin}: {told(error)}") from error
    if not isinstance(value, Tensor) or value.ndim != 0:
        found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{origin}: {found} returned, a scalar tensor expected")
