"""The training loop: Lightning Fabric on CPU or GPU, seeded, with a checkpoint after every epoch that resumes exactly."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from neurodeploy.augmentation import augment
from neurodeploy.conversion import initialise
from neurodeploy.data import DataSet
from neurodeploy.distillation import CrossEntropy, LossTerm, TeacherOutput
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import sole_writer, writing
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import Recipe
from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training import checkpoint
from neurodeploy.training.checkpoint import Checkpoint, Progress
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.metrics import METRICS, Metrics
from neurodeploy.training.optimisation import MovingAverage, build_optimizer, learning_rate, restore, state_of
from neurodeploy.training.parallel import determined, share, total
from neurodeploy.training.stopping import Best, Split, split
from neurodeploy.training.teacher import KnownAnswers, ask

CHECKPOINT = "checkpoint.safetensors"
__all__ = ["CHECKPOINT", "METRICS", "Watch", "train"]

Watch = Callable[[int, int], None]
"""Called after every step with the epochs completed so far and the samples of this step."""


def train(
    recipe: Recipe,
    role: str,
    seed: int,
    folder: Path,
    *,
    data: DataSet,
    teacher: nn.Module | None = None,
    source: nn.Module | None = None,
    resume: bool = False,
    fabric: Fabric | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """Train one network of a recipe.

    The batches, and every other random draw of an epoch, depend on nothing but the seed, the role and the epoch's number.
    So a run that was killed and resumed ends with the same weights as one that was not, bit for bit on a CPU.

    Args:
        recipe: the experiment.
        role: "teacher", "source" or the name of a student.
        seed: of weights and batches.
        folder: receives `checkpoint.safetensors`, `metrics.jsonl` (one line per epoch) and curves for TensorBoard.
        data: the training set.
        teacher: the trained teacher; required if a loss term of this student needs it.
        source: the trained ReLU network that this student starts from, if its settings say that it is converted.
        resume: continue from the folder's checkpoint, if there is one.
        fabric: where to train, and in which precision; one CPU process in float32 if None.
        watch: progress.

    Returns:
        The trained network, on its device, in evaluation mode.

    Raises:
        UserError: the folder holds a checkpoint and `resume` is False, or it belongs to another recipe, role or seed; or
            another process is training there.
        Failure: the loss is not finite, or the disk is full.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder) if fabric.is_global_zero else nullcontext():
        fabric.barrier()  # the others read nothing before the folder is ours
        return _train(recipe, role, seed, folder, data, teacher, source, fabric, watch, resume=resume)


def _train(
    recipe: Recipe,
    role: str,
    seed: int,
    folder: Path,
    data: DataSet,
    teacher: nn.Module | None,
    source: nn.Module | None,
    fabric: Fabric,
    watch: Watch | None,
    *,
    resume: bool,
) -> nn.Module:
    start = Progress(recipe=recipe, role=role, seed=seed, epoch=0, in_channels=data.sample_shape[0], classes=data.classes)
    found = _found(folder / CHECKPOINT, start, resume=resume)
    if found is not None and found.progress.complete:
        return found.network.to(fabric.device)
    run = _Run.begin(recipe, role, seed, data, teacher, source, fabric, start, found)
    metrics = Metrics(folder, run.epoch) if fabric.is_global_zero else None
    if run.done and fabric.is_global_zero:
        checkpoint.save(folder / CHECKPOINT, run.network, run.progress, {})
    while not run.done:
        with determined(seed, role, f"epoch {run.epoch}"):
            values = run.train_epoch(watch)
        progress = run.end_epoch()
        if metrics is not None:
            metrics.write(run.epoch, values)
            checkpoint.save(folder / CHECKPOINT, run.network, progress, run.tensors())
        fabric.barrier()
    return run.network.eval()


def _found(path: Path, start: Progress, *, resume: bool) -> Checkpoint | None:
    if not path.exists():
        return None
    if not resume:
        raise UserError(f"{path}: exists; add --resume to continue it, or choose another folder")
    found = checkpoint.load(path)
    for field in ("recipe", "role", "seed", "in_channels", "classes"):
        if getattr(found.progress, field) != getattr(start, field):
            raise UserError(f"{path}: its {field} differs from this run's; choose another folder, or remove the old one")
    return found


@dataclass(eq=False)
class _Run:
    """One training in progress."""

    recipe: Recipe
    role: str
    data: DataSet
    fabric: Fabric
    settings: TrainingSettings
    terms: tuple[LossTerm, ...]
    progress: Progress
    network: nn.Module
    model: _FabricModule
    optimizer: torch.optim.Optimizer
    teacher: nn.Module | None
    known: KnownAnswers | None
    split: Split
    best: Best
    average: MovingAverage | None

    @classmethod
    def begin(
        cls,
        recipe: Recipe,
        role: str,
        seed: int,
        data: DataSet,
        teacher: nn.Module | None,
        source: nn.Module | None,
        fabric: Fabric,
        start: Progress,
        found: Checkpoint | None,
    ) -> "_Run":
        settings, terms = recipe.training(role), _terms(recipe, role)
        student = None if role in recipe.relu_roles else recipe.student_named(role)
        if student is not None and student.needs_teacher and teacher is None:
            raise UserError(f"student {role}: its loss needs a teacher, none was given")
        if student is not None and student.conversion is not None and source is None:
            raise UserError(f"student {role}: its conversion needs a trained ReLU network, none was given")
        with determined(seed, role, "weights"):
            network = checkpoint.build_network(start) if found is None else found.network
            network.to(fabric.device)
            if found is None and student is not None and student.conversion is not None and source is not None:
                samples = data.train_samples[: student.conversion.samples].to(fabric.device)
                initialise(network, source, samples, method=student.conversion.method())
        optimizer = build_optimizer(network, settings)
        best = Best()
        if found is not None:
            restore(optimizer, network, found.group("optimizer"))
            best = Best(found.progress.best_accuracy, found.progress.epochs_since_best, found.group("best"))
            if found.progress.scaler:
                fabric.strategy.precision.load_state_dict(found.progress.scaler)
        known = None
        if teacher is not None and student is not None and student.known_teacher:
            known = KnownAnswers(teacher, data.train_samples, fabric.device)
        model, wrapped = fabric.setup(network, optimizer)
        average = None
        if settings.average is not None:
            average = MovingAverage(network, settings.average, None if found is None else found.group("average"))
        held_out = split(data, settings.validation_samples, seed)
        progress = start if found is None else found.progress
        told = (recipe, role, data, fabric, settings, terms)
        return cls(*told, progress, network, model, wrapped, teacher, known, held_out, best, average)

    @property
    def epoch(self) -> int:
        return self.progress.epoch

    @property
    def done(self) -> bool:
        return self.progress.complete

    def train_epoch(self, watch: Watch | None) -> dict[str, object]:
        """One epoch; its metrics."""
        self.network.train()
        began, count = time.perf_counter(), len(self.split.train)
        order = list(self.split.train[torch.randperm(count)].split(self.settings.batch_size))
        if len(order) > 1 and len(order[-1]) == 1:  # batch norm may have no variance over a single sample
            order[-2:] = [torch.cat(order[-2:])]
        sums, rate = torch.zeros(len(self.terms) + 1, dtype=torch.float64), 0.0
        for step, index in enumerate(order):
            rate = learning_rate(self.settings, self.epoch * len(order) + step, len(order))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            sums += self._update(index, step)
            if watch is not None:
                watch(self.epoch, len(index))
        *totals, correct = total(sums.to(self.fabric.device), self.fabric).tolist()
        weighted = zip(self.terms, totals, strict=True)
        values: dict[str, object] = {
            "loss": sum(term.weight * value for term, value in weighted) / count,
            "terms": {name: value / count for name, value in zip(_names(self.terms), totals, strict=True)},
            "train_accuracy": 100 * correct / count,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 3),
        }
        if self.settings.patience is not None:
            values["validation_accuracy"] = self._validate()
        return values

    def _update(self, index: Tensor, step: int) -> Tensor:
        """One update of the weights; the sum of each term, and of right answers, over this process's samples."""
        sums = torch.zeros(len(self.terms) + 1, dtype=torch.float64)
        pieces = index.chunk(self.settings.accumulate)
        for i, piece in enumerate(pieces):
            mine, factor = share(len(piece), self.fabric, len(index))
            with self.fabric.no_backward_sync(self.model, enabled=i < len(pieces) - 1):
                values, correct = self._forward(piece, mine)
                loss = torch.stack([term.weight * value for term, value in zip(self.terms, values, strict=True)]).sum()
                if not torch.isfinite(loss):
                    raise Failure(
                        f"epoch {self.epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower training.learning_rate"
                    )
                self.fabric.backward(loss * factor)
            counted = factor * len(index) / self.fabric.world_size
            sums += counted * torch.tensor([*(value.item() for value in values), correct / len(mine)], dtype=torch.float64)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return sums

    def _forward(self, piece: Tensor, mine: Tensor) -> tuple[list[Tensor], int]:
        """Values of the terms for this process's samples of a piece, and how many were answered rightly."""
        index, x, y, targets = self._samples(piece, mine)
        output: NetworkOutput = self.model(x)
        seen = self._teacher_for(index, x, targets)
        values = [term(output, seen, targets) for term in self.terms]
        return values, int((output.logits.argmax(-1) == y).sum())

    def _samples(self, piece: Tensor, mine: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Numbers, samples, labels and targets. All processes augment the whole piece alike, and take their share after it."""
        device, index = self.fabric.device, piece[mine]
        y = self.data.train_labels[index].to(device)
        if not self.recipe.augmentation:
            return index, self.data.train_samples[index].to(device), y, y
        x, labels = self.data.train_samples[piece].to(device), self.data.train_labels[piece].to(device)
        x, targets = augment(x, labels, self.recipe.augmentation, classes=self.data.classes)
        return index, x[mine.to(device)], y, targets[mine.to(device)]

    def _teacher_for(self, index: Tensor, x: Tensor, y: Tensor) -> TeacherOutput | None:
        if self.known is not None:
            return self.known[index]
        if self.teacher is None:
            return None
        with self.fabric.autocast():
            return ask(self.teacher, x, y, gradients=any(term.needs_teacher_gradients for term in self.terms))

    def _validate(self) -> float:
        """Accuracy in percent on the samples that were held out, of the average if there is one."""
        index = self.split.validation
        samples, labels = self.data.train_samples[index], self.data.train_labels[index]
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        if self.average is not None:
            self.network.load_state_dict(self.average.state)
        accuracy = evaluate(self.network, samples.to(self.fabric.device), labels.to(self.fabric.device)).accuracy.percent
        self.best.see(accuracy, self.network)
        self.network.load_state_dict(own)
        return accuracy

    def end_epoch(self) -> Progress:
        """Count the epoch; at the end of the training, give the network the weights that it ends with."""
        scaler = {name: float(value) for name, value in self.fabric.strategy.precision.state_dict().items()}
        patience = self.settings.patience
        stopped = patience is not None and self.best.epochs_since >= patience
        self.progress = self.progress.model_copy(
            update={
                "epoch": self.epoch + 1,
                "stopped": stopped,
                "best_accuracy": self.best.accuracy,
                "epochs_since_best": self.best.epochs_since,
                "scaler": scaler,
            }
        )
        if self.done:
            last = self.best.state or (self.average.state if self.average is not None else None)
            if last is not None:
                self.network.load_state_dict(last)
        return self.progress

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a resumed run needs besides the weights; nothing once the training is done."""
        if self.done:
            return {}
        groups = {"optimizer": state_of(self.optimizer, self.network), "best": self.best.state}
        return groups | ({} if self.average is None else {"average": self.average.state})


def _terms(recipe: Recipe, role: str) -> tuple[LossTerm, ...]:
    relu = recipe.relu(role)
    if relu is not None:
        return (CrossEntropy(label_smoothing=relu.label_smoothing),)
    return recipe.student_named(role).loss


def _names(terms: tuple[LossTerm, ...]) -> list[str]:
    """The terms' kinds; a second one of a kind gets a number."""
    kinds = [str(getattr(term, "kind", "")) for term in terms]
    seen = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind}-{number}" for kind, number in zip(kinds, seen, strict=True)]
