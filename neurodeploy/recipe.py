"""Recipes: a whole experiment as validated TOML. The methods of the papers are recipes, not code paths."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurodeploy import surrogate
from neurodeploy.augmentation import AnyAugmentation
from neurodeploy.data import AnyDataSet
from neurodeploy.distillation import AnyLossTerm, CrossEntropy
from neurodeploy.errors import UserError
from neurodeploy.layers import CubaNeuron, Neuron, ParametricNeuron
from neurodeploy.networks import Code, NetworkSpec, Relu, Spiking
from neurodeploy.neurons import NeuronParameters, Reset
from neurodeploy.optimization import TrainingSettings

Precision = Literal["float32", "bfloat16", "float16"]

_BUILT_IN = resources.files("neurodeploy") / "recipes"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SurrogateSettings(_Section):
    """`[neuron.surrogate]`: the derivative of the spike; each kind takes its own constant (see `neurodeploy.surrogate`)."""

    kind: Literal["rectangle", "triangle", "arctangent", "sigmoid", "fast-sigmoid", "straight-through", "tanh"] = "rectangle"
    width: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    gamma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    alpha: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    slope: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _only_its_own_constant(self) -> "SurrogateSettings":
        own = surrogate.SURROGATES[self.kind].__dataclass_fields__
        for name in self.model_dump(exclude={"kind"}, exclude_none=True).keys() - own.keys():
            raise ValueError(f"a {self.kind} takes {', '.join(own) or 'no constant'}, not {name}")
        return self

    def build(self) -> surrogate.Surrogate:
        constants = self.model_dump(exclude={"kind"}, exclude_none=True)
        return surrogate.SURROGATES[self.kind](**constants)


class NeuronSettings(_Section):
    """`[neuron]`: every spiking layer of the students.

    Attributes:
        kind: "lif" (with decay 1: IF), "parametric" (the leak is learned) or "cuba" (a synaptic current before the membrane).
        decay, threshold, reset: see `neurodeploy.neurons.NeuronParameters`; where training learns them, their start.
        learn_threshold: of "parametric": the threshold is learned too.
        current_decay: of "cuba".
        detach_reset: no gradient flows through the spike in the reset.
    """

    kind: Literal["lif", "parametric", "cuba"] = "lif"
    decay: float = Field(default=0.25, ge=0, le=1)
    threshold: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    reset: Reset = "hard"
    learn_threshold: bool | None = None
    current_decay: float | None = Field(default=None, ge=0, le=1)
    detach_reset: bool = False
    surrogate: SurrogateSettings = SurrogateSettings()

    @model_validator(mode="after")
    def _only_what_the_kind_takes(self) -> "NeuronSettings":
        if self.learn_threshold is not None and self.kind != "parametric":
            raise ValueError(f'learn_threshold belongs to kind = "parametric", {self.kind!r} found')
        if (self.current_decay is None) == (self.kind == "cuba"):
            raise ValueError(f'current_decay belongs to kind = "cuba" and is required there, {self.kind!r} found')
        if self.kind == "parametric" and not 0 < self.decay < 1:
            raise ValueError(f"decay: {self.decay} found, a number between 0 and 1 expected where it is learned")
        return self

    def build(self) -> Neuron:
        """One layer of neurons."""
        parameters = NeuronParameters(self.decay, self.threshold, self.reset)
        slope = self.surrogate.build()
        if self.kind == "parametric":
            learn = bool(self.learn_threshold)
            return ParametricNeuron(parameters, slope, detach_reset=self.detach_reset, learn_threshold=learn)
        if self.current_decay is not None:
            return CubaNeuron(parameters, slope, current_decay=self.current_decay, detach_reset=self.detach_reset)
        return Neuron(parameters, slope, detach_reset=self.detach_reset)


class TeacherSettings(TrainingSettings):
    """`[teacher]`: how the ReLU network is trained, with cross-entropy.

    Attributes:
        label_smoothing: share of the target that is spread over all classes.
        network: of the teacher, if it is not the students'; terms that compare features or taps then need equal shapes.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    network: NetworkSpec | None = None


class StudentSettings(_Section):
    """One `[[student]]`: a spiking network of the recipe's definition, and the loss that it is trained with.

    Attributes:
        name: of its folder and in reports.
        repact: see `networks.Spiking`.
        training: length, optimizer and schedule.
        loss: terms, summed with their weights.
        known_teacher: ask the teacher once for its logits and features of the whole training set, instead of for each batch;
            not with augmentation, nor with terms that read its taps.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    repact: bool = False
    training: TrainingSettings
    loss: tuple[AnyLossTerm, ...] = Field(default=(CrossEntropy(),), min_length=1)
    known_teacher: bool = False

    @property
    def needs_teacher(self) -> bool:
        return any(term.needs_teacher for term in self.loss)


class ExportSettings(_Section):
    """`[export]`: what `neurodeploy run` makes of the deployed student."""

    targets: tuple[str, ...] = ("onnx",)
    quantize: Literal["none", "exact"] = "exact"
    samples: int = Field(default=16, ge=1, le=1024)


class EnergySettings(_Section):
    """`[energy]`: profiles of the report; the first gives the headline figure."""

    profiles: tuple[str, ...] = Field(default=("cmos45-fp32",), min_length=1)


class Recipe(_Section):
    """A whole experiment.

    Attributes:
        name: as run folders and reports print it.
        seeds: one teacher and one of each student per seed.
        steps: T of the students; of event data, its number of frames.
        code: how a static sample becomes spikes; event frames are spikes already.
        augmentation: of the training samples of teacher and students, in this order.
        precision: of the arithmetic in training; weights are kept in float32.
        baseline, deployed: names of the two students that the report compares; `deployed` is exported.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(default=(0,), min_length=1)
    steps: int = Field(ge=1, le=4096)
    baseline: str
    deployed: str
    code: Literal["direct", "poisson", "latency"] = "direct"
    precision: Precision = "float32"
    data: AnyDataSet
    augmentation: tuple[AnyAugmentation, ...] = ()
    network: NetworkSpec
    neuron: NeuronSettings = NeuronSettings()
    teacher: TeacherSettings
    student: tuple[StudentSettings, ...] = Field(min_length=1)
    export: ExportSettings = ExportSettings()
    energy: EnergySettings = EnergySettings()

    @model_validator(mode="after")
    def _names_are_sound(self) -> "Recipe":
        names = [student.name for student in self.student]
        if len(set(names)) != len(names) or "teacher" in names:
            raise ValueError(f"students are named {', '.join(names)}; each needs a name of its own, other than teacher")
        for role in (self.baseline, self.deployed):
            if role not in names:
                raise ValueError(f"no student is named {role!r}; there are {', '.join(names)}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed occurs twice")
        return self

    @model_validator(mode="after")
    def _augmentation_suits_the_data(self) -> "Recipe":
        frames = self.data.event_frames is not None
        for one in self.augmentation:
            if one.kind.startswith("event-") != frames and one.kind.startswith(("event-", "autoaugment")):
                found = "event frames" if frames else "static samples"
                raise ValueError(f"augmentation {one.kind}: does not suit the {found} of {self.data.kind}")
        if self.augmentation and any(student.known_teacher for student in self.student):
            raise ValueError("known_teacher: its answers belong to samples without augmentation; remove one of the two")
        return self

    @model_validator(mode="after")
    def _steps_are_the_frames(self) -> "Recipe":
        if self.data.event_frames not in (None, self.steps):
            raise ValueError(f"steps: {self.steps} found, the {self.data.event_frames} event frames of the data expected")
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        """All networks of the recipe in the order of training."""
        return ("teacher", *(student.name for student in self.student))

    def student_named(self, name: str) -> StudentSettings:
        return next(student for student in self.student if student.name == name)

    def activations(self, role: str) -> Relu | Spiking:
        """ReLU for the teacher, spiking neurons for a student."""
        if role == "teacher":
            return Relu(events=self.data.event_frames is not None)
        code: Code = self.code if self.data.event_frames is None else "events"
        return Spiking(self.neuron.build, self.steps, self.student_named(role).repact, code)

    def network_of(self, role: str) -> NetworkSpec:
        """The definition that a network is built from."""
        own = self.teacher.network if role == "teacher" else None
        return self.network if own is None else own

    def training(self, role: str) -> TrainingSettings:
        return self.teacher if role == "teacher" else self.student_named(role).training


def built_in() -> dict[str, Recipe]:
    """Name → recipe, for every recipe that the package carries."""
    found = sorted(entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml"))
    return {name: parse((_BUILT_IN / f"{name}.toml").read_text("utf-8"), origin=name) for name in found}


def text_of(name: str) -> str:
    """The TOML text of an embedded recipe, with its comments.

    Raises:
        UserError: no embedded recipe has that name.
    """
    if name not in built_in():
        raise UserError(f"{name}: no embedded recipe of that name (there are: {', '.join(built_in())})")
    return (_BUILT_IN / f"{name}.toml").read_text("utf-8")


def with_seeds(recipe: Recipe, seeds: tuple[int, ...]) -> Recipe:
    """The recipe with other seeds; unchanged if `seeds` is empty.

    Raises:
        UserError: a seed is negative or occurs twice.
    """
    if not seeds:
        return recipe
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"seeds {', '.join(map(str, seeds))}: different numbers from 0 upwards expected")
    return recipe.model_copy(update={"seeds": seeds})


def load(name_or_path: str) -> Recipe:
    """The recipe of a TOML file, or an embedded one by its name.

    Raises:
        UserError: no such file or recipe, or a setting that is unknown or of the wrong type; the message names it.
    """
    embedded = _BUILT_IN / f"{name_or_path}.toml"
    if "/" not in name_or_path and embedded.is_file():
        return parse(embedded.read_text("utf-8"), origin=name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(built_in())
        raise UserError(f"{name_or_path}: no such recipe file, and no embedded recipe of that name (there are: {names})")
    try:
        return parse(path.read_text("utf-8"), origin=str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: no UTF-8 text found, a TOML recipe expected") from None


def parse(text: str, *, origin: str) -> Recipe:
    """Validate TOML text; `origin` is what error messages call it.

    Raises:
        UserError: every setting at fault is named, with what was found and what was expected.
    """
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from None
    except ValidationError as error:
        faults = "; ".join(_fault(detail) for detail in error.errors())
        raise UserError(f"{origin}: {faults}") from None


def _fault(detail: object) -> str:
    assert isinstance(detail, dict)
    place = ".".join(str(part) for part in detail["loc"]) or "recipe"
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown setting; remove it or check its spelling"
    if detail["type"] == "missing":
        return f"{place}: missing, give it a value"
    reason = detail["msg"].removeprefix("Value error, ")
    found = "" if detail["type"] == "value_error" else f"{detail['input']!r} found, "
    return f"{place}: {found}{reason[0].lower()}{reason[1:]}"
