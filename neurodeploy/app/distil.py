"""`neurodeploy.distill`: a student of the user's own learns from labels and a teacher, as students of recipes do."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from neurodeploy.app.model import Model, load_model
from neurodeploy.app.progress import training_bar
from neurodeploy.app.ready import located
from neurodeploy.augmentation import AnyAugmentation, Augmentation, LabelAugmentation
from neurodeploy.data import DataSet, DataSetSettings, as_data_set
from neurodeploy.data.samples import chosen, on_device
from neurodeploy.distillation import AnyLossTerm, CrossEntropy, LossTerm, Response
from neurodeploy.io.errors import UserError
from neurodeploy.io.kinds import kind_of
from neurodeploy.io.modules import is_like, module_named, reference_of
from neurodeploy.recipe import Precision
from neurodeploy.recipe.reading import faults_named
from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training import METRICS, checkpoint
from neurodeploy.training.evaluation import Accuracy, evaluate
from neurodeploy.training.examination import Names, observed
from neurodeploy.training.experiment import silent
from neurodeploy.training.header import ModuleProgress
from neurodeploy.training.loop import carry_out
from neurodeploy.training.observed import Observed
from neurodeploy.training.pairing import check_apart, check_pair, check_weights, digest
from neurodeploy.training.parallel import fabric_on, leave
from neurodeploy.training.plan import Plan
from neurodeploy.training.stopping import split
from neurodeploy.training.teacher import frozen
from neurodeploy.training.twins import Derived, stored_twin, traced_teacher
from neurodeploy_energy.count.recognition import neurons_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Part = TypeVar("Part")
Values: TypeAlias = Tensor | NDArray[Any]
Data: TypeAlias = DataSet | DataSetSettings | Dataset[Any] | DataLoader[Any] | tuple[Values, Values]
AnyTeacher: TypeAlias = nn.Module | Model | str | Path
Pair: TypeAlias = str | tuple[str, str]
"""A layer's name in student and teacher, or one name for each of them."""


@dataclass(frozen=True)
class Distilled:
    """A student that has been trained; `print` shows what it reached.

    Attributes:
        student: the module that was given, in evaluation mode, with its new weights.
        folder: with `checkpoint.safetensors`, `metrics.jsonl` and curves for TensorBoard.
        accuracy: share of right answers, with sample count and interval.
        measured_on: which samples `accuracy` is about.
        loss: the terms with their weights, in words.
        metrics: of each epoch, as in `metrics.jsonl`.
    """

    student: nn.Module
    folder: Path
    accuracy: Accuracy
    measured_on: str
    loss: str
    metrics: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        epochs = len(self.metrics)
        lines = [
            f"{self.folder}: {type(self.student).__name__}, {epochs} epoch{'s' * (epochs != 1)}",
            f"accuracy {self.accuracy} on {self.measured_on}",
            f"loss: {self.loss}",
        ]
        if self.metrics:
            last = self.metrics[-1]
            terms = ", ".join(f"{name} {value:.4g}" for name, value in last["terms"].items())
            lines.append(f"last epoch: loss {last['loss']:.4g} ({terms}), training accuracy {last['train_accuracy']:.2f} %")
        return "\n".join(lines)


def distill(
    student: nn.Module,
    teacher: AnyTeacher | None,
    data: Data,
    *,
    epochs: int,
    folder: str | Path,
    losses: Sequence[LossTerm | Mapping[str, Any]] | None = None,
    batch_size: int = 64,
    optimizer: Literal["sgd", "adam", "adamw"] = "adam",
    learning_rate: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: Literal["cosine", "step", "constant"] = "cosine",
    step_epochs: int = 30,
    step_factor: float = 0.5,
    warmup_epochs: int = 0,
    accumulate: int = 1,
    recompute: bool = False,
    clip_norm: float | None = None,
    average: float | None = None,
    patience: int | None = None,
    validation: int = 0,
    augmentation: Sequence[AnyAugmentation | Mapping[str, Any]] = (),
    known_teacher: bool = False,
    precision: Precision = "float32",
    seed: int = 0,
    test: Data | None = None,
    classes: int | None = None,
    features: Pair | None = None,
    classifier: Pair | None = None,
    taps: Sequence[str] | Mapping[str, str] | None = None,
    source: str | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Distilled:
    """Train a module of your own, in place, on labels and the answers of a teacher.

    Everything that can be refused is refused before the first epoch. There is a checkpoint after every epoch, from which a run
    that was killed goes on to the same weights, bit for bit on a CPU. Several processes (`torchrun`) share each batch. Teacher
    and student are called with samples `[B, …]` as the data hold them, and answer with logits `[B, K]` or `[T, B, K]`, or with
    a `neurodeploy.networks.NetworkOutput`. The teacher is in evaluation mode while it is asked, and afterwards as it was.

    Features are what the last `nn.Linear` reads; taps are the outputs of spiking layers and of `nn.ReLU` modules, by the names
    of the layers. Terms that compare taps need layers of the same names in both, or paired with `taps`.

    Args:
        student: is trained; in evaluation mode afterwards.
        teacher: a module, a `Model`, the path of a checkpoint or bundle, or `my_module:make`; None if no term needs one.
        data: samples and labels as a pair of tensors or arrays, a torch `Dataset` or `DataLoader`, or a data set of this
            toolkit or its settings, which a checkpoint can load again.
        epochs: over the training set.
        folder: receives checkpoint and metrics.
        losses: terms of `neurodeploy.losses`, or tables as recipes have them, such as `{"kind": "my_losses:rate"}`; summed with
            their weights. None: a response term, if there is a teacher.
            Cross-entropy with weight 1 is added if none of them reads the labels; `CrossEntropy(weight=0)` says that none
            shall.
        batch_size: samples per batch; this and the next thirteen are as in recipes, see
            `neurodeploy.recipe.sections.TrainingSettings`.
        optimizer: "sgd", "adam" or "adamw".
        learning_rate: at the start of the schedule, after the warm-up.
        momentum: of SGD.
        weight_decay: of the optimiser.
        schedule: "cosine" to zero, "step" or "constant".
        step_epochs: between two steps of the schedule "step".
        step_factor: of the learning rate at each of these steps.
        warmup_epochs: with a learning rate that rises linearly from zero.
        accumulate: pieces in which a batch is computed, one after another, to save memory.
        recompute: what lies between layers of neurons is computed again instead of being kept: less memory, more time. For
            spiking twins and networks of this package.
        clip_norm: length to which the gradient of all weights together is shortened before each update, if it is longer.
        average: decay of a moving average of the weights, which is then the result.
        patience: epochs without a better validation before training stops early.
        validation: number of training samples held out, for `patience`.
        augmentation: of the training samples, such as `neurodeploy.augmentation.Crop(padding=1)`, or as in a recipe.
        known_teacher: ask the teacher once for its logits and features of the whole training set.
        precision: of the arithmetic: "float32", "bfloat16" or, on a GPU, "float16"; weights are kept in float32.
        seed: of the batches and of every other random draw.
        test: samples and labels to measure the accuracy on; the test set of `data`, or what was held out, or the training set
            if None.
        classes: K, where labels that are given leave classes out.
        features: the layer whose output is the features; one name, or that of student and teacher.
        classifier: the layer that makes logits of features, likewise.
        taps: layers whose outputs are the taps, of student and teacher; or student's layer → teacher's.
        source: `my_module:make` that makes the student's module, for its checkpoint; looked for if None.
        resume: continue from the folder's checkpoint, if there is one.
        device: "cpu", "cuda", or the GPU if there is one ("auto").
        progress: show epochs, samples per second and the time left on standard error.

    Raises:
        UserError: the folder is in use; data, teacher, student and terms do not suit one another; or a setting is wrong. The
            message names it.
        Failure: the loss is not finite, or the disk is full.
    """
    with faults_named("neurodeploy.distill"):
        settings = TrainingSettings(
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            recompute=recompute,
            optimizer=optimizer,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            step_epochs=step_epochs,
            step_factor=step_factor,
            warmup_epochs=warmup_epochs,
            clip_norm=clip_norm,
            average=average,
            patience=patience,
            validation_samples=validation,
        )
    terms, loss = _terms(losses, with_teacher=teacher is not None)
    job = _Distillation(
        student, _module_of(teacher), terms, settings, seed, tuple(map(_augmentation, augmentation)), precision, known_teacher
    )
    job.check()
    names = [Names(_of(side, classifier), _of(side, features), _taps_of(side, taps)) for side in (0, 1)]
    given, settings_of_data = _data_set(data, test, classes)
    fabric = fabric_on(device, precision)
    try:
        with job.placed(fabric, given, names, exactly=isinstance(data, DataSet | DataSetSettings)) as (learner, master):
            known = replace(given, classes=learner.classes)
            held_out = split(known, settings.validation_samples, seed).validation
            header = job.header(known, settings_of_data, source=_source(student, source), teacher=teacher)
            plan = job.plan(header, known, master)
            shown = training_bar if progress and fabric.is_global_zero else silent
            with shown(f"distill · {type(student).__name__}", epochs, len(known.train_labels) - len(held_out)) as watch:
                carry_out(plan, Path(folder), resume=resume, fabric=fabric, watch=watch)
            _agree(student, fabric)
            accuracy, measured_on = _measured(learner, known, held_out, fabric.device)
    finally:
        leave(fabric)
    lines = (Path(folder) / METRICS).read_text("utf-8").splitlines()
    return Distilled(student, Path(folder), accuracy, measured_on, loss, tuple(map(json.loads, lines)))


_TERM: TypeAdapter[LossTerm] = TypeAdapter(AnyLossTerm)
_AUGMENTATION: TypeAdapter[AnyAugmentation] = TypeAdapter(AnyAugmentation)


def _term(given: object) -> LossTerm:
    if isinstance(given, LossTerm):
        return given
    example = "terms of neurodeploy.losses expected, such as losses.Response(weight=0.5)"
    return _of_settings(given, "losses", example, _TERM.validate_python)


def _augmentation(given: object) -> AnyAugmentation:
    if isinstance(given, Augmentation | LabelAugmentation):
        return given
    example = "those of neurodeploy.augmentation expected, such as Crop(padding=1)"
    return _of_settings(given, "augmentation", example, _AUGMENTATION.validate_python)


def _of_settings(given: object, field: str, example: str, made: Callable[[object], Part]) -> Part:
    """What a recipe's settings stand for.

    Raises:
        UserError: these are none, or have an unknown kind or field.
    """
    if not isinstance(given, Mapping):
        found = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise UserError(f"{field}: {found} found, {example}")
    with faults_named(field):
        return made(given)


def _terms(losses: Sequence[LossTerm | Mapping[str, Any]] | None, *, with_teacher: bool) -> tuple[tuple[LossTerm, ...], str]:
    """The terms of the loss, cross-entropy among them, and what they are in words."""
    given = tuple(map(_term, losses)) if losses is not None else (Response(),) if with_teacher else ()
    added = not any(term.reads_labels for term in given)
    terms = (CrossEntropy(), *given) if added else given
    words = " + ".join(f"{'' if term.weight == 1 else f'{term.weight:g} '}{kind_of(term)}" for term in terms)
    return terms, words + (" (cross-entropy was added: no other term reads the labels)" if added and given else "")


_ANY = 2**31
"""Classes of data that do not say how many they are: the student's answer does, and few samples may lack some."""


def _data_set(data: Data, test: Data | None, classes: int | None) -> tuple[DataSet, DataSetSettings | None]:
    """The data, and the settings that load them again; None if they are in the caller's hands alone."""
    settings = data if isinstance(data, DataSetSettings) else None
    if isinstance(data, DataSet | DataSetSettings):
        if classes is not None:
            raise UserError("classes: a data set says its own; leave classes out")
        given = as_data_set(data)
    else:
        given = as_data_set(data, name="data given in memory", classes=classes or _ANY)
    if not len(given.train_labels):
        raise UserError("data: no training sample found, at least one expected")
    if test is None:
        return given, settings
    held = as_data_set(test) if isinstance(test, DataSet | DataSetSettings) else as_data_set(test, name="test", classes=_ANY)
    samples, labels = held.train_samples, held.train_labels
    if isinstance(test, DataSet | DataSetSettings):
        samples, labels = held.test_samples, held.test_labels
    found, expected = tuple(samples.shape[1:]), tuple(given.train_samples.shape[1:])
    if found != expected:
        raise UserError(f"test: samples of shape {found} found, {expected} expected, as in the training set")
    return replace(given, test_samples=samples, test_labels=labels), settings


def _module_of(teacher: AnyTeacher | None) -> nn.Module | None:
    if teacher is None or isinstance(teacher, nn.Module):
        return teacher
    if isinstance(teacher, Model):
        return teacher.module
    if str(teacher).endswith(".safetensors"):
        return checkpoint.load(Path(located(teacher))).network
    return load_model(teacher).module


def _of(side: int, pair: Pair | None) -> str | None:
    return pair if pair is None or isinstance(pair, str) else pair[side]


def _taps_of(side: int, taps: Sequence[str] | Mapping[str, str] | None) -> dict[str, str] | None:
    """Tap → layer: the student's own names in both networks."""
    if taps is None:
        return None
    if isinstance(taps, str):
        raise UserError(f"taps: {taps!r} found, a list of layers or a table of pairs expected")
    pairs = taps if isinstance(taps, Mapping) else {name: name for name in taps}
    return {name: (name, other)[side] for name, other in pairs.items()}


@dataclass(frozen=True)
class _Distillation:
    """What is to be trained, before data and device are known."""

    student: nn.Module
    teacher: nn.Module | None
    terms: tuple[LossTerm, ...]
    settings: TrainingSettings
    seed: int
    augmentation: tuple[AnyAugmentation, ...]
    precision: Precision
    known_teacher: bool

    def check(self) -> None:
        """Refuse what needs no run to be told.

        Raises:
            UserError: see `distill`.
        """
        if self.settings.epochs == 0:
            raise UserError("epochs: 0 found, at least 1 expected")
        if not any(weight.requires_grad for weight in self.student.parameters()):
            raise UserError("student: no parameter requires a gradient, there is nothing to train; thaw it: requires_grad_()")
        check_weights(self.student, "student")
        asked = [term for term in self.terms if term.needs_teacher]
        if self.teacher is not None:
            check_weights(self.teacher, "teacher")
            check_apart(self.student, self.teacher)
            if not asked:
                raise UserError("teacher: no loss term asks it; add one such as losses.Response(), or give teacher=None")
        if self.known_teacher and (self.augmentation or self._compares_taps):
            raise UserError(
                "known_teacher: its answers belong to samples without augmentation and have no taps; leave known_teacher out"
            )

    @property
    def _compares_taps(self) -> bool:
        return any(term.needs_teacher and term.needs_taps for term in self.terms)

    @contextmanager
    def placed(
        self, fabric: "Fabric", data: DataSet, names: Sequence[Names], *, exactly: bool
    ) -> Iterator[tuple[Observed, Observed | None]]:
        """Student and teacher on the device, answering as terms need it, checked; afterwards where they were.

        `exactly`: the data are known to have so many classes; else their labels may leave some of the student's out.
        """
        numbers = torch.arange(3) % len(data.train_labels)
        x, y = data.train_samples[numbers].to(fabric.device), data.train_labels[numbers].to(fabric.device)
        homes = {one: _device_of(one) for one in (self.student, self.teacher) if one is not None}
        try:
            with ExitStack() as stack:
                learner = stack.enter_context(observed(self.student.to(fabric.device), x, what="student", names=names[0]))
                master = None
                if self.teacher is not None:
                    stack.enter_context(frozen(self.teacher))
                    seen = observed(self.teacher.to(fabric.device), x, what="teacher", names=names[1])
                    relu = not any(map(neurons_of, self.teacher.modules()))  # a spiking teacher has the taps of a twin itself
                    if self._compares_taps and isinstance(self.student, Derived) and relu and not names[1].layers:
                        with seen as master:
                            classes = master.classes
                        master = traced_teacher(self.teacher, x, classes=classes)
                    else:
                        master = stack.enter_context(seen)
                count = data.classes if exactly else learner.classes
                _check_labels(data, count)
                with fabric.autocast():
                    check_pair(learner, master, self.terms, x, y, count)
                yield learner, master
        finally:
            for module, home in homes.items():
                module.to(home)

    def header(self, data: DataSet, settings: Any, *, source: str | None, teacher: AnyTeacher | None) -> ModuleProgress:
        """What the checkpoint says of itself."""
        named = isinstance(teacher, str | Path)
        twin = stored_twin(self.student)[0] if isinstance(self.student, Derived) else None
        return ModuleProgress(
            seed=self.seed,
            epoch=0,
            name=type(self.student).__name__,
            twin=twin,
            source=source,
            sample_shape=tuple(data.train_samples.shape[1:]),
            classes=data.classes,
            class_names=data.class_names,
            training=self.settings,
            loss=tuple(map(_stored, self.terms)),
            augmentation=tuple(map(_stored, self.augmentation)),
            precision=self.precision,
            data=settings,
            data_note=data.note,
            data_sha256=_digest_of(data),
            teacher=None if self.teacher is None else str(teacher) if named else type(self.teacher).__name__,
            teacher_sha256=None if self.teacher is None else digest(self.teacher),
        )

    def plan(self, header: ModuleProgress, data: DataSet, teacher: Observed | None) -> Plan:
        student = self.student
        return Plan(
            header,
            "distill",
            data,
            self.terms,
            lambda: student,
            augmentation=self.augmentation,
            teacher=teacher,
            ask_once=self.known_teacher,
            held=stored_twin(student)[1] if isinstance(student, Derived) else {},
        )


def _stored(settings: BaseModel) -> dict[str, Any]:
    return {"kind": kind_of(settings)} | settings.model_dump(mode="json", exclude={"kind"})


def _device_of(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def _check_labels(data: DataSet, classes: int) -> None:
    for part, labels in (("training", data.train_labels), ("test", data.test_labels)):
        outside = ((labels < 0) | (labels >= classes)).nonzero()
        if len(outside):
            first = int(outside[0])
            raise UserError(f"data: label of {part} sample {first} is {int(labels[first])}, 0 to {classes - 1} expected")


_LOOKED_AT = 64  # samples


def _digest_of(data: DataSet) -> str:
    """SHA-256 over what tells one training set from another without reading all of it."""
    first: Tensor = data.train_samples[:_LOOKED_AT]
    found = sha256(f"{tuple(data.train_samples.shape)}".encode())
    for values in (data.train_labels, first):
        found.update(values.contiguous().cpu().numpy().tobytes())
    return found.hexdigest()


def _source(student: nn.Module, source: str | None) -> str | None:
    """The import path that makes a module like the student.

    Raises:
        UserError: the one that is given makes another.
    """
    if isinstance(student, Derived):
        if source is not None:
            raise UserError(
                f"source: the checkpoint of a {type(student).__name__} holds its graph, and needs no code; leave source out"
            )
        return None
    if source is None:
        return reference_of(student)
    if not is_like(module_named(source, what="source"), student):
        raise UserError(f"source {source!r}: makes a module whose weights have other names or shapes than the student's")
    return source


def _agree(student: nn.Module, fabric: "Fabric") -> None:
    """Every process ends with the weights that are in the checkpoint; statistics of batch norm differ by their shares."""
    if fabric.world_size > 1:
        for tensor in student.state_dict().values():
            dist.broadcast(tensor, src=0)


def _measured(student: Observed, data: DataSet, held_out: Tensor, device: torch.device) -> tuple[Accuracy, str]:
    """The student's accuracy on samples that it was not trained on, if there are any; and which they are."""
    samples, labels, what = data.test_samples, data.test_labels, "the test set"
    if not len(labels):
        numbers = held_out if len(held_out) else torch.arange(len(data.train_labels))
        samples, labels = chosen(data.train_samples, numbers), data.train_labels[numbers]
        what = "the samples that were held out" if len(held_out) else "the training set itself: no test set was given"
    result = evaluate(student.module, on_device(samples, device), labels.to(device), workers=data.workers)
    return result.accuracy, what
