"""The whole experiment."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from torch import nn

from neurodeploy.augmentation import AnyAugmentation
from neurodeploy.conversion.twin import RateCode
from neurodeploy.data import AnyDataSet
from neurodeploy.dynamics.encoders import AnyEncoder, DirectCode, EncoderSettings, PoissonCode
from neurodeploy.dynamics.layers import ThresholdNeuron
from neurodeploy.io.errors import UserError
from neurodeploy.io.kinds import kind_of
from neurodeploy.networks import NetworkSpec, Relu, SpikingActivations
from neurodeploy.recipe.sections import (
    AnyNeuron,
    FinetuneSettings,
    LifSettings,
    QuantizedSettings,
    Section,
    SourceSettings,
    StudentSettings,
    TeacherSettings,
    TrainingSettings,
    with_code,
)
from neurodeploy_exporters.target import Target, TargetOptions, find, option_defaults, shared_options, usable
from neurodeploy_exporters.target import names as target_names

Precision = Literal["float32", "bfloat16", "float16"]


class ExportSettings(Section):
    """`[export]`: what `neurodeploy run` makes of the deployed student.

    Options of the targets are here for every target that has them, or in a table of one target, such as `[export.onnx]`.

    Attributes:
        targets: names of export targets; empty for none.
        samples: test samples that a bundle carries for its verification.
        calibration: training samples on which a target may choose how it rounds; 0 for none.
        finetune: train it in the target's arithmetic first; only with one target, since others hold other weights.
        options: target → its options. `quantize`, where a target has it, is "exact" if nothing else is said.
    """

    targets: tuple[str, ...] = ("onnx",)
    samples: int = Field(default=16, ge=1, le=1024)
    calibration: int = Field(default=64, ge=0, le=4096)
    finetune: FinetuneSettings | None = None
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _options_find_their_target(cls, content: Any) -> Any:
        """Sort what is no field of this section into the options of the targets; a target that is not installed keeps all."""
        if not isinstance(content, dict) or not isinstance(content.get("targets", ()), list | tuple):
            return content
        targets = [str(name) for name in content.get("targets", ("onnx",))]
        installed, own = target_names(), content.get("options", {})
        tables = {name: content[name] for name in content if name in {*targets, *installed} and isinstance(content[name], dict)}
        flat = {key: value for key, value in content.items() if key not in cls.model_fields and key not in tables}
        for name in tables.keys() - {*targets}:
            raise ValueError(
                f"{name}: options of a target that is none of {', '.join(targets)}; add it to targets, or remove them"
            )
        known = [name for name in targets if name in installed]
        try:
            taken = {key for name in known for key in find(name).Options.model_fields}
            # recipes of version 0.1 that were stored say every option, also those that none of their targets has
            idle = {key for key, value in flat.items() if key not in taken and value in option_defaults().get(key, ())}
            if not targets:  # nothing is exported, and what a target would have been asked for is left out
                idle = flat.keys() & option_defaults().keys()
            if len(known) < len(targets):  # an option that no installed target has may be that of another
                idle |= flat.keys() - taken
            shared = shared_options(known, {key: value for key, value in flat.items() if key not in idle})
            options = {
                name: ({"quantize": "exact"} if name in known and "quantize" in find(name).Options.model_fields else {})
                | shared.get(name, flat)
                | own.get(name, {})
                | tables.get(name, {})
                for name in targets
            }
            options |= {name: find(name).options(options[name]).model_dump() for name in known}
        except UserError as error:
            raise ValueError(str(error)) from None
        return {key: value for key, value in content.items() if key in cls.model_fields} | {"options": options}

    @model_validator(mode="after")
    def _what_is_tuned_is_exported(self) -> "ExportSettings":
        if self.finetune is not None and not (len(self.targets) == 1 and find(self.targets[0]).tunable):
            tunable = " or ".join(f'["{name}"]' for name, target in usable().items() if target.tunable)
            raise ValueError(f"finetune: for targets = {tunable} alone, {', '.join(self.targets)} found")
        return self

    def target_options(self) -> dict[str, tuple[Target, TargetOptions]]:
        """Target by name, with its options.

        Raises:
            UserError: a target is not installed.
        """
        targets = {name: find(name) for name in self.targets}
        return {name: (target, target.options(self.options.get(name, {}))) for name, target in targets.items()}


class EnergySettings(Section):
    """`[energy]`: profiles of the report; the first, of the chip, gives the headline figure, together with that of the host."""

    profiles: tuple[str, ...] = Field(default=("loihi1", "cmos45-fp32"), min_length=1)
    host: str = "cmos45-fp32+lemaire"


_OF_ALL = ("description", "seeds", "baseline", "deployed", "export", "energy")
"""Parts of a recipe on which the training of no single network depends."""
_OF_STUDENTS = ("steps", "code", "neuron")


class Recipe(Section):
    """A whole experiment.

    Attributes:
        name: as run folders and reports print it.
        seeds: one teacher and one of each student per seed.
        steps: T of the students that give none of their own; of event data, its number of frames.
        code: how a static sample becomes spikes, for students that give none of their own; event frames are spikes already. May
            also be written `encoder`.
        augmentation: of the training samples of teacher and students, in this order.
        precision: of the arithmetic in training; weights are kept in float32.
        network: of the students, and of the teacher if it has none of its own; not needed where every student is a spiking twin
            of a teacher that has one.
        source: the ReLU network that students are made of where the teacher is another: of the students' definition (LaSNN), or
            a trained module.
        quantized: that network, or else the teacher, with activations of few levels; students can be made of these.
        baseline, deployed: names of the two students that the report compares; `deployed` is exported.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(default=(0,), min_length=1)
    steps: int = Field(ge=1, le=8192)
    baseline: str
    deployed: str
    code: AnyEncoder = DirectCode()
    precision: Precision = "float32"
    data: AnyDataSet
    augmentation: tuple[AnyAugmentation, ...] = ()
    network: NetworkSpec | None = None
    neuron: AnyNeuron = LifSettings()
    teacher: TeacherSettings
    source: SourceSettings | None = None
    quantized: tuple[QuantizedSettings, ...] = ()
    student: tuple[StudentSettings, ...] = Field(min_length=1)
    export: ExportSettings = Field(default_factory=ExportSettings)  # made when it is asked for: it imports the targets
    energy: EnergySettings = EnergySettings()

    @model_validator(mode="before")
    @classmethod
    def _encoder_is_the_code(cls, content: Any) -> Any:
        return with_code(content)

    @model_validator(mode="after")
    def _names_are_sound(self) -> "Recipe":
        names, quantized = [student.name for student in self.student], [one.name for one in self.quantized]
        if len(set(names)) != len(names) or {"teacher", "source"} & set(names):
            raise ValueError(f"students are named {', '.join(names)}; each needs a name of its own, not teacher or source")
        if len(set(quantized)) != len(quantized) or {"teacher", "source", *names} & set(quantized):
            raise ValueError(
                f"quantized networks are named {', '.join(quantized)}; each needs a name of its own, not teacher, source or "
                "that of a student"
            )
        for role in (self.baseline, self.deployed):
            if role not in names:
                raise ValueError(f"no student is named {role!r}; there are {', '.join(names)}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed occurs twice")
        return self

    @model_validator(mode="after")
    def _augmentation_suits_the_data(self) -> "Recipe":
        frames = self.data.event_frames is not None
        for kind in map(kind_of, self.augmentation):
            if kind.startswith("event-") != frames and kind.startswith(("event-", "autoaugment")):
                samples = "event frames" if frames else "static samples"
                raise ValueError(f"augmentation {kind}: does not suit the {samples} of {self.data.kind}")
        if self.augmentation and any(one.known_teacher for one in self.with_terms):
            raise ValueError("known_teacher: its answers belong to samples without augmentation; remove one of the two")
        return self

    @model_validator(mode="after")
    def _conversion_finds_what_it_needs(self) -> "Recipe":
        for student in self.student:
            neuron = student.neuron or self.neuron
            suits = issubclass(neuron.layer, ThresholdNeuron) and neuron.reset == "soft"
            if student.conversion is not None and not suits:
                raise ValueError(
                    f'student {student.name}: conversion needs neuron = {{ kind = "threshold", decay = 1, reset = "soft" }}, '
                    'or kind = "late-reset"'
                )
            if student.conversion is not None and neuron.decay != 1 and not student.training.epochs:
                raise ValueError(
                    f"student {student.name}: decay: {neuron.decay:g} found, 1 expected for a student that is converted and "
                    "not trained, since a leak takes from every rate; train it, or give it neurons without a leak"
                )
            other = self.teacher.network is not None or self.teacher.module is not None
            if student.conversion is not None and self.source is None and other:
                raise ValueError(f"student {student.name}: conversion needs a ReLU network of its own definition; add [source]")
            if student.conversion is not None and self.source is not None and self.source.module is not None:
                raise ValueError(
                    f"student {student.name}: conversion needs a ReLU network of its own definition, and source is a module; "
                    "say spiking = { } instead"
                )
        used = bool(self.quantized) or any(student.conversion or student.spiking for student in self.student)
        if self.source is not None and not used:
            raise ValueError("source: no student is made of it; remove it, or give a student conversion or spiking")
        return self

    @model_validator(mode="after")
    def _twins_have_a_network(self) -> "Recipe":
        quantized: dict[str, QuantizedSettings] = {}
        for one in self.quantized:
            if one.of is not None and one.of not in quantized:
                names = ", ".join(quantized) or "none"
                raise ValueError(f"quantized {one.name}: of: {one.of!r} found, one of [[quantized]] above it expected: {names}")
            quantized[one.name] = one
        for student in self.student:
            of = None if student.spiking is None else student.spiking.of
            if of is None:
                continue
            if of not in quantized:
                names = ", ".join(quantized) or "none"
                raise ValueError(f"student {student.name}: spiking.of: {of!r} found, one of [[quantized]] expected: {names}")
            if quantized[of].repact != student.repact:
                found, expected = (str(one.repact).lower() for one in (student, quantized[of]))
                raise ValueError(f"student {student.name}: repact: {found} found, {expected} expected as in {of}")
        return self

    @model_validator(mode="after")
    def _spiking_teachers_are_trained_before(self) -> "Recipe":
        above: list[str] = []
        for student in self.student:
            if student.teacher is not None and student.teacher not in above:
                names = ", ".join(above) or "none"
                found = f"teacher: {student.teacher!r} found"
                raise ValueError(f"student {student.name}: {found}, one of the students above it expected: {names}")
            above.append(student.name)
        return self

    @model_validator(mode="after")
    def _every_network_has_a_definition(self) -> "Recipe":
        own = self.teacher.module is not None or self.teacher.network is not None
        needing = [student.name for student in self.student if student.spiking is None]
        needing += [] if own else ["teacher"]
        needing += [] if self.source is None or self.source.module is not None else ["source"]
        if self.network is None and needing:
            raise ValueError(f"network: missing, {needing[0]} needs one; give it a value")
        return self

    @model_validator(mode="after")
    def _twins_take_static_samples(self) -> "Recipe":
        if self.quantized and self.data.event_frames is not None:
            raise ValueError(
                f"quantized {self.quantized[0].name}: for static samples, and those of {self.data.kind} are events"
            )
        for student in self.student:
            code = self.code_of(student.name)
            if student.spiking is not None and (code == "events" or kind_of(code) not in get_args(RateCode)):
                found = "events" if code == "events" else kind_of(code)
                raise ValueError(f'student {student.name}: spiking: for the codes "direct" and "poisson", {found!r} found')
            if student.spiking is not None and isinstance(code, PoissonCode) and code.signed:
                raise ValueError(
                    f"student {student.name}: code.signed: true found, and a spiking twin draws no negative spikes; leave it "
                    "out, or say conversion = { } instead of spiking"
                )
            after, steps = student.spiking.evaluate_after if student.spiking else None, self.steps_of(student.name)
            if after is not None and after >= steps:
                raise ValueError(
                    f"student {student.name}: spiking.evaluate_after: {after} found, from 0 to {steps - 1} of {steps} time "
                    "steps expected"
                )
        return self

    @model_validator(mode="after")
    def _what_is_tuned_reads_samples(self) -> "Recipe":
        code = self.code_of(self.deployed)
        if self.export.finetune is not None and not (code == "events" or isinstance(code, DirectCode)):
            found = f"{kind_of(code)!r} found; export without it"
            raise ValueError(f'export: finetune: for the code "direct" and for events, {found}')
        return self

    @model_validator(mode="after")
    def _students_take_the_event_frames(self) -> "Recipe":
        frames = self.data.event_frames
        for owner, steps in (("", self.steps), *((f"student {student.name}: ", student.steps) for student in self.student)):
            if steps is not None and frames not in (None, steps):
                raise ValueError(f"{owner}steps: {steps} found, the {frames} event frames of the data expected")
        for student in self.student:
            if student.code is not None and frames is not None:
                code = f"code: {kind_of(student.code)!r} found, but samples of {self.data.kind} are events; remove it"
                raise ValueError(f"student {student.name}: {code}")
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        """All networks of the recipe in the order of training."""
        return (*self.relu_roles, *(one.name for one in self.quantized), *(student.name for student in self.student))

    @property
    def relu_roles(self) -> tuple[str, ...]:
        """The ReLU networks: the teacher, and what students are made of if that is another one."""
        return ("teacher",) if self.source is None else ("teacher", "source")

    def spikes(self, role: str) -> bool:
        """Whether a network is a student; the others do not spike."""
        return any(student.name == role for student in self.student)

    def student_named(self, name: str) -> StudentSettings:
        return next(student for student in self.student if student.name == name)

    @property
    def with_terms(self) -> tuple[QuantizedSettings | StudentSettings, ...]:
        """The networks that have loss terms of their own, in the order of training."""
        return (*self.quantized, *self.student)

    def taught(self, role: str) -> QuantizedSettings | StudentSettings | None:
        """How a network that has loss terms of its own is trained; None for teacher and source."""
        return next((one for one in self.with_terms if one.name == role), None)

    def teacher_of(self, role: str) -> str | None:
        """The network that another one's loss terms ask: the teacher, or a student above it; None if none of them asks any."""
        settings = self.taught(role)
        if settings is None or not settings.needs_teacher:
            return None
        own = settings.teacher if isinstance(settings, StudentSettings) else None
        return own or "teacher"

    def beginning_of(self, role: str) -> str | None:
        """The network that another one is made of; None of one that begins with weights of its own."""
        settings = self.taught(role)
        if settings is None:
            return None
        if isinstance(settings, QuantizedSettings):
            return settings.of or self.relu_roles[-1]
        if settings.spiking is not None:
            return settings.spiking.of or self.relu_roles[-1]
        return None if settings.conversion is None else self.relu_roles[-1]

    def activations(self, role: str) -> Relu | SpikingActivations:
        """ReLU for teacher and source, spiking neurons for a student."""
        if role in self.relu_roles:
            return Relu(events=self.data.event_frames is not None)
        student = self.student_named(role)
        neuron = (student.neuron or self.neuron).build
        return SpikingActivations(neuron, self.steps_of(role), student.repact, self.code_of(role))

    def code_of(self, name: str) -> EncoderSettings | Literal["events"]:
        """How a sample becomes spikes for a student."""
        if self.data.event_frames is not None:
            return "events"
        return self.student_named(name).code or self.code

    def steps_of(self, name: str) -> int:
        """T of a student."""
        return self.student_named(name).steps or self.steps

    def network_of(self, role: str) -> NetworkSpec | None:
        """The definition that a network is built from; None of a user's module, and of what is made of another network."""
        settings, own = self.taught(role), self.relu(role)
        if own is not None and own.module is not None:
            return None
        if isinstance(settings, QuantizedSettings) or (settings is not None and settings.spiking is not None):
            return None
        definition = self.teacher.network if role == "teacher" else None
        return self.network if definition is None else definition

    def build(self, role: str, in_channels: int, classes: int) -> nn.Module:
        """An untrained network.

        Args:
            role: "teacher", "source" or the name of a student that is no spiking twin.
            in_channels: of a sample, or of one event frame.
            classes: K.

        Raises:
            UserError: it cannot be built.
        """
        definition = self.network_of(role)
        if definition is None:
            own = self.relu(role)
            assert own is not None, role
            return own.make(role)
        return definition.build(in_channels, classes, self.activations(role))

    def trains_like(self, other: "Recipe", role: str) -> bool:
        """Whether two recipes train a network alike. What they say of it, and of the networks that it is made of or taught by,
        counts, not their letters, so a run of an earlier version goes on; other networks, and how they are exported and priced
        afterwards, are no part of it."""
        return role in self.roles and role in other.roles and self._about(role) == other._about(role)

    def _about(self, role: str) -> dict[str, Any]:
        """What the training of a network depends on."""
        needed, more = set[str](), {role}
        while more:
            needed |= more
            asked = (one for name in more for one in (self.beginning_of(name), self.teacher_of(name)))
            more = {name for name in asked if name is not None} - needed
        content = {name: getattr(self, name) for name in type(self).model_fields if name not in _OF_ALL}
        for name in ("teacher", "source"):
            content[name] = content[name] if name in needed else None
        for name in ("quantized", "student"):
            content[name] = [one for one in content[name] if one.name in needed]
        if not content["student"]:
            content |= dict.fromkeys(_OF_STUDENTS)
        return content

    def dense_twin(self, role: str) -> str | None:
        """The ReLU network that a student is with spiking neurons; None if there is none."""
        if self.student_named(role).spiking is not None:
            return self.relu_roles[-1]
        own = self.network_of(role)
        return "teacher" if own is not None and self.network_of("teacher") == own else None

    def relu(self, role: str) -> SourceSettings | None:
        """How teacher and source are trained; None for the other networks."""
        return {"teacher": self.teacher, "source": self.source}.get(role)

    def training(self, role: str) -> TrainingSettings:
        settings = self.taught(role)
        return self.relu(role) or self.student_named(role).training if settings is None else settings.training
