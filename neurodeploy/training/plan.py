"""What a training is made of: network, loss, data, teacher and settings; and how a recipe says it of one of its networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from neurodeploy.augmentation import AnyAugmentation
from neurodeploy.conversion import Method, SpikingTwin, initialise
from neurodeploy.data import DataSet
from neurodeploy.distillation import CrossEntropy, LossTerm
from neurodeploy.io.errors import UserError
from neurodeploy.io.weights import Weights, read_weights
from neurodeploy.recipe import Recipe
from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training.checkpoint import Header, Progress
from neurodeploy.training.observed import Observed
from neurodeploy.training.twins import balanced, stored_twin, twin_of_role


@dataclass(frozen=True, eq=False)
class Plan:
    """One training, whoever asks for it.

    Attributes:
        start: what its checkpoint says of itself, no epoch done; holds seed and settings.
        draws: tells its random draws from those of other trainings of the same seed.
        data: whose training set is learned from.
        terms: of the loss, summed with their weights.
        network: makes the network, in its first state unless `prepare` gives it another.
        prepare: called with the network on its device, before the first epoch of a training that is not resumed.
        augmentation: of the training samples, in this order.
        teacher: as `freeze` leaves it, of this toolkit or observed; None if no term needs one.
        ask_once: ask the teacher once for its logits and features of the whole training set, instead of for each batch.
        held: arrays that the checkpoint holds beside the weights, to build the network again.
    """

    start: Header
    draws: str
    data: DataSet
    terms: tuple[LossTerm, ...]
    network: Callable[[], nn.Module]
    prepare: Callable[[nn.Module], object] | None = None
    augmentation: tuple[AnyAugmentation, ...] = ()
    teacher: nn.Module | Observed | None = None
    ask_once: bool = False
    held: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return self.start.seed

    @property
    def settings(self) -> TrainingSettings:
        return self.start.settings


def plan_of_role(
    recipe: Recipe,
    role: str,
    seed: int,
    data: DataSet,
    *,
    teacher: nn.Module | Observed | None = None,
    source: nn.Module | None = None,
) -> Plan:
    """How one network of a recipe is trained; see `neurodeploy.training.train` for the arguments.

    Raises:
        UserError: the student needs a teacher, or a network to be converted, and none was given.
    """
    start = Progress(
        recipe=recipe,
        role=role,
        seed=seed,
        epoch=0,
        in_channels=data.sample_shape[0],
        classes=data.classes,
        class_names=data.class_names,
    )
    relu = recipe.relu(role)
    if relu is not None:
        weights = read_weights(recipe.teacher.weights) if role == "teacher" and recipe.teacher.weights is not None else None
        filling = None
        if weights is not None:
            start, filling = start.model_copy(update={"weights_sha256": weights.sha256}), _filling(weights, start)
        terms: tuple[LossTerm, ...] = (CrossEntropy(label_smoothing=relu.label_smoothing, class_weights=relu.class_weights),)
        return Plan(start, role, data, terms, start.build, filling, recipe.augmentation, teacher)
    student, prepare = recipe.student_named(role), None
    if student.needs_teacher and teacher is None:
        raise UserError(f"student {role}: its loss needs a teacher, none was given")
    if student.spiking is not None:
        if source is None:
            raise UserError(f"student {role}: it is the spiking twin of a trained ReLU network, none was given")
        samples = data.train_samples[: student.spiking.samples]
        twin = twin_of_role(recipe, role, source, samples)
        header, held = stored_twin(twin)
        return Plan(
            start.model_copy(update={"twin": header}),
            role,
            data,
            student.loss,
            lambda: twin,
            _balancing(twin, samples, student.spiking.method(twin.steps, twin.reset)),
            recipe.augmentation,
            teacher,
            student.known_teacher,
            held,
        )
    if student.conversion is not None:
        if source is None:
            raise UserError(f"student {role}: its conversion needs a trained ReLU network, none was given")
        prepare = _converting(source, data, student.conversion.samples, student.conversion.method())
    return Plan(start, role, data, student.loss, start.build, prepare, recipe.augmentation, teacher, student.known_teacher)


def _converting(source: nn.Module, data: DataSet, count: int, method: Method) -> Callable[[nn.Module], object]:
    """Makes of a student the converted `source`, by the first `count` training samples."""

    def prepare(network: nn.Module) -> None:
        samples = data.train_samples[:count].to(next(network.parameters()).device)
        initialise(network, source, samples, method=method)

    return prepare


def _filling(weights: Weights, start: Progress) -> Callable[[nn.Module], object]:
    """Puts weights into the network of a recipe's role."""
    name = start.recipe.teacher.module or f"the network of {start.title}"

    def prepare(network: nn.Module) -> None:
        weights.put_into(network, name=name)

    return prepare


def _balancing(twin: SpikingTwin, samples: Tensor, method: Method) -> Callable[[nn.Module], object]:
    """Balances a twin on samples."""
    return lambda _network: balanced(twin, samples, method)
