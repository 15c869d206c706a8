"""What a training is made of: network, loss, data, teacher and settings; and how a recipe says it of one of its networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from neurodeploy.augmentation import AnyAugmentation
from neurodeploy.conversion import Method, QcfsNetwork, SpikingTwin, initialise
from neurodeploy.data import DataSet
from neurodeploy.distillation import CrossEntropy, LossTerm
from neurodeploy.io.errors import UserError
from neurodeploy.io.weights import Weights, read_weights
from neurodeploy.recipe import QuantizedSettings, Recipe
from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training.checkpoint import Header, Progress
from neurodeploy.training.observed import Observed
from neurodeploy.training.sanity import check_conversion
from neurodeploy.training.twins import Derived, balanced, quantized_of_role, stored_twin, thresholds_set, twin_of_role


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
        UserError: the network needs a teacher, or another network that it is made of, and none was given.
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
        filling = None
        if relu.weights is not None:
            weights = read_weights(relu.weights)
            start = start.model_copy(update={"weights_sha256": weights.sha256})
            filling = _filling(weights, relu.module or f"the network of {start.title}")
        terms: tuple[LossTerm, ...] = (CrossEntropy(label_smoothing=relu.label_smoothing, class_weights=relu.class_weights),)
        return Plan(start, role, data, terms, start.build, filling, recipe.augmentation, teacher)
    settings = recipe.taught(role)
    assert settings is not None
    what = f"student {role}" if recipe.spikes(role) else f"quantized {role}"
    if settings.needs_teacher and teacher is None:
        raise UserError(f"{what}: its loss needs a teacher, none was given")
    if source is None and (beginning := recipe.beginning_of(role)) is not None:
        raise UserError(f"{what}: is made of the trained network {beginning}, none was given")
    common = (recipe.augmentation, teacher, settings.known_teacher)
    prepare: Callable[[nn.Module], object] | None = None
    if isinstance(settings, QuantizedSettings):
        assert source is not None
        samples = data.train_samples[: settings.samples]
        quantized = quantized_of_role(recipe, role, source, samples)
        prepare = _setting_thresholds(quantized, samples, settings.percentile)
        return _derived(start, quantized, role, data, settings.loss, prepare, common)
    if settings.spiking is not None:
        assert source is not None
        samples = data.train_samples[: settings.spiking.samples]
        twin = twin_of_role(recipe, role, source, samples)
        if not isinstance(recipe.taught(settings.spiking.of or ""), QuantizedSettings):
            check_conversion(start.title, twin.steps, settings.training.epochs)
        prepare = _balancing(twin, source, samples, settings.spiking.method(twin.steps, twin.reset))
        return _derived(start, twin, role, data, settings.loss, prepare, common)
    if settings.conversion is not None:
        assert source is not None
        check_conversion(start.title, recipe.steps_of(role), settings.training.epochs)
        prepare = _converting(source, data, settings.conversion.samples, settings.conversion.method())
    return Plan(start, role, data, settings.loss, start.build, prepare, *common)


def _derived(
    start: Progress,
    network: Derived,
    role: str,
    data: DataSet,
    terms: tuple[LossTerm, ...],
    prepare: Callable[[nn.Module], object],
    common: tuple[tuple[AnyAugmentation, ...], nn.Module | Observed | None, bool],
) -> Plan:
    """The plan of a network that is made of another one's graph."""
    header, held = stored_twin(network)
    return Plan(start.model_copy(update={"twin": header}), role, data, terms, lambda: network, prepare, *common, held)


def _converting(source: nn.Module, data: DataSet, count: int, method: Method) -> Callable[[nn.Module], object]:
    """Makes of a student the converted `source`, by the first `count` training samples."""

    def prepare(network: nn.Module) -> None:
        samples = data.train_samples[:count].to(next(network.parameters()).device)
        initialise(network, source, samples, method=method)

    return prepare


def _filling(weights: Weights, name: str) -> Callable[[nn.Module], object]:
    """Puts weights into the network of a recipe's role; `name` is what messages call it."""

    def prepare(network: nn.Module) -> None:
        weights.put_into(network, name=name)

    return prepare


def _setting_thresholds(network: QcfsNetwork, samples: Tensor, percentile: float | None) -> Callable[[nn.Module], object]:
    """Sets the first thresholds of a network with QCFS activations."""
    return lambda _network: thresholds_set(network, samples, percentile)


def _balancing(twin: SpikingTwin, source: nn.Module, samples: Tensor, method: Method) -> Callable[[nn.Module], object]:
    """Balances a twin on samples."""
    return lambda _network: balanced(twin, source, samples, method)
