"""Fine-tuning for a target: a trained student learns on in its arithmetic, from labels and its own answers in float."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from neurodeploy.app.deployment import calibration_inputs
from neurodeploy.augmentation import AnyAugmentation, augment
from neurodeploy.data import DataSet
from neurodeploy.data.feeding import feed
from neurodeploy.data.samples import Normalized, as_stored, chosen, on_device
from neurodeploy.distillation.term import label_loss, soft_divergence
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.io import tensors
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import sole_writer, writing
from neurodeploy.recipe import FinetuneSettings, Recipe
from neurodeploy.training import CHECKPOINT, Watch
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import Watcher, silent
from neurodeploy.training.metrics import Metrics
from neurodeploy.training.optimisation import build_optimizer, learning_rate, restore, state_of
from neurodeploy.training.parallel import determined
from neurodeploy.training.stopping import Split, split
from neurodeploy_exporters.target import Target, TuningSettings

KEY = "neurodeploy.finetuning"
"""What the header of its checkpoints is called."""
_FORMAT = 1
_HELD_OUT, _MOST_HELD_OUT = 0.1, 2000


@dataclass(frozen=True, eq=False)
class Tuned:
    """A network that has been fine-tuned.

    Attributes:
        graph: in float, its weights rounded as the target rounds them; what its export is given.
        tuned: see `neurodeploy_exporters.Subject.tuned`.
        start: the network as it was quantised, before its fine-tuning; takes samples as data sets hold them.
        module: the same after it; its spikes are those of the exported artefact.
    """

    graph: Graph
    tuned: Any
    start: GraphModule
    module: GraphModule


class FinetuneProgress(BaseModel):
    """The JSON part of a fine-tuning's checkpoint.

    Attributes:
        format: version of this layout.
        settings, augmentation, quantize, input_bits, calibration, held_out, stratified, seed: as `finetune` was given them.
        origin: SHA-256 of the network that it starts from.
        epoch: epochs that are complete.
        best_accuracy: in percent of the samples held out, of the best epoch so far.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = Field(default=_FORMAT, ge=_FORMAT, le=_FORMAT)
    settings: FinetuneSettings
    augmentation: tuple[AnyAugmentation, ...]
    quantize: Literal["none", "exact"]
    input_bits: int = INPUT_BITS
    calibration: int
    held_out: int
    stratified: bool = False
    seed: int
    origin: str
    epoch: int = Field(default=0, ge=0)
    best_accuracy: float = 0.0


def finetune_student(
    recipe: Recipe,
    role: str,
    seed: int,
    graph: Graph,
    folder: Path,
    settings: FinetuneSettings,
    *,
    target: Target,
    data: DataSet,
    quantize: Literal["none", "exact"],
    input_bits: int = INPUT_BITS,
    calibration: int,
    resume: bool = False,
    watcher: Watcher = silent,
    device: str | torch.device = "cpu",
) -> Tuned:
    """`finetune` with what the recipe says of a student: its neurons, augmentation, and the samples that its training held out.

    Where it held none out, a tenth of the training set chooses the epoch, 2000 samples at most.

    Raises:
        UserError: as `finetune`, or the network is not a student.
    """
    if not recipe.spikes(role):
        raise UserError(f"{role}: a ReLU network, and only spiking ones are fine-tuned; give a student's checkpoint")
    student, count = recipe.student_named(role), len(data.train_labels)
    held_out = student.training.validation_samples or min(_MOST_HELD_OUT, int(_HELD_OUT * count))
    with watcher(f"seed {seed} · {role}, fine-tuning", settings.epochs, count - held_out) as watch:
        return finetune(
            graph,
            data,
            folder,
            settings,
            target=target,
            seed=seed,
            held_out=held_out,
            stratified=student.training.stratified,
            neuron=(student.neuron or recipe.neuron).build(),
            quantize=quantize,
            input_bits=input_bits,
            calibration=calibration,
            augmentation=recipe.augmentation,
            resume=resume,
            watch=watch,
            device=device,
        )


def finetune(
    graph: Graph,
    data: DataSet,
    folder: Path,
    settings: FinetuneSettings,
    *,
    target: Target,
    seed: int,
    held_out: int,
    stratified: bool = False,
    neuron: Neuron,
    quantize: Literal["none", "exact"] = "none",
    input_bits: int = INPUT_BITS,
    calibration: int = 0,
    augmentation: Sequence[AnyAugmentation] = (),
    resume: bool = False,
    watch: Watch | None = None,
    device: str | torch.device = "cpu",
) -> Tuned:
    """Train a student in the arithmetic in which it will run on a target.

    As in `training.train`, every random draw of an epoch depends on nothing but the seed and the epoch's number, so a run that
    was killed and resumed ends with the same weights as one that was not. The best epoch is kept: the one with the highest
    accuracy on training samples that are held out, the last of equals, since the rate falls.

    Args:
        graph: the trained student, batch norm folded.
        data: the training set.
        folder: receives `checkpoint.safetensors`, `metrics.jsonl` (one line per epoch) and curves for TensorBoard.
        settings: length, rate and loss.
        target: in whose arithmetic it learns.
        seed: of the batches, and of the choice of samples that are held out.
        held_out: number of training samples that choose the epoch; with the student's own seed and number, they are those that
            its training held out too.
        stratified: as in that training, see `training.stopping.split`.
        neuron: gives every spiking layer its surrogate gradient.
        quantize: "exact" keeps the host's encoder on the power-of-two grid (see `neurodeploy.graph.grid`).
        input_bits: of inputs that "exact" rounds to a grid of theirs.
        calibration: number of training samples on which the scales are chosen, unless quantize is "exact"; 0: by their error.
        augmentation: of the training samples.
        resume: continue from the folder's checkpoint, if there is one.
        watch: progress.
        device: where to compute.

    Raises:
        UserError: the network has no form on the target, or nothing would be left to train on, or the folder holds a
            checkpoint and `resume` is False, or it belongs to another fine-tuning.
        Failure: the loss is not finite, or the disk is full.
    """
    origin = FinetuneProgress(
        settings=settings,
        augmentation=tuple(augmentation),
        quantize=quantize,
        input_bits=input_bits,
        calibration=calibration,
        held_out=held_out,
        stratified=stratified,
        seed=seed,
        origin=_digest(graph),
    )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder):
        run = _FinetuneRun(graph, data, origin, target, neuron, torch.device(device))
        run.train(folder, watch, resume=resume)
    return run.result()


class _FinetuneRun:
    """One fine-tuning in progress."""

    def __init__(
        self,
        graph: Graph,
        data: DataSet,
        progress: FinetuneProgress,
        target: Target,
        neuron: Neuron,
        device: torch.device,
    ) -> None:
        self.progress, self.data, self.device = progress, data, device
        self.split: Split = split(data, progress.held_out, progress.seed, stratified=progress.stratified)
        exact = progress.quantize == "exact"
        settings = TuningSettings(
            exact=exact,
            reset=progress.settings.reset,
            calibration=None if exact else calibration_inputs(data, progress.calibration),
            neuron=neuron,
            batch_first=data.timed,
            input_bits=progress.input_bits,
        )
        self.tuning = target.tuning(graph, settings)
        self.module: nn.Module = self.tuning.module.to(device)
        self.teacher = GraphModule(graph, batch_first=data.timed).to(device)
        self.optimizer = build_optimizer(self.module, progress.settings.optimization)
        self.best: dict[str, Tensor] = {}

    def train(self, folder: Path, watch: Watch | None, *, resume: bool) -> None:
        path = folder / CHECKPOINT
        if path.exists():
            self._resume(path, resume=resume)
        metrics = Metrics(folder, self.progress.epoch)
        while self.progress.epoch < self.progress.settings.epochs:
            with determined(self.progress.seed, "finetuning", f"epoch {self.progress.epoch}"):
                values = self._train_epoch(watch)
            values["validation_accuracy"] = self._end_epoch()
            metrics.write(self.progress.epoch, values)
            tensors.write(path, KEY, self.progress, self._tensors())
        self.module.load_state_dict(self.best)

    def result(self) -> Tuned:
        self.module.cpu()
        graph, tuned, module = self.tuning.result()
        return Tuned(graph, tuned, self.tuning.start, module)

    def _resume(self, path: Path, *, resume: bool) -> None:
        if not resume:
            raise UserError(f"{path}: exists; add --resume to continue it, or choose another folder")
        stored, groups = tensors.read(path, KEY, FinetuneProgress.model_validate_json)
        for field in set(FinetuneProgress.model_fields) - {"epoch", "best_accuracy"}:
            if getattr(stored, field) != getattr(self.progress, field):
                raise UserError(f"{path}: its {field} differs from this run's; choose another folder, or remove the old one")
        self.progress, self.best = stored, groups["best"]
        if stored.epoch < stored.settings.epochs:
            self.module.load_state_dict(groups["module"])
            restore(self.optimizer, self.module, groups["optimizer"])

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a resumed run needs; once it is done, the best weights alone."""
        if self.progress.epoch == self.progress.settings.epochs:
            return {"best": self.best}
        state = state_of(self.optimizer, self.module)
        return {"best": self.best, "module": self.module.state_dict(), "optimizer": state}

    def _train_epoch(self, watch: Watch | None) -> dict[str, object]:
        began, settings, epoch = time.perf_counter(), self.progress.settings, self.progress.epoch
        count = len(self.split.train)
        order = self.split.train[torch.randperm(count)].split(settings.batch_size)
        sums, rate = torch.zeros(3, dtype=torch.float64), 0.0
        samples = self.data.train_samples
        read = as_stored(samples) if self.progress.augmentation else samples
        fed = feed(read, self.data.train_labels, order, self.data.workers)
        for step, (index, x, y) in enumerate(fed):
            rate = learning_rate(settings.optimization, epoch * len(order) + step, len(order))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            sums += len(index) * self._update(x, y, f"epoch {epoch + 1}, step {step + 1}")
            if watch is not None:
                watch(epoch, len(index))
        by_labels, by_answers, right = (sums / count).tolist()
        return {
            "loss": by_labels + settings.distillation * by_answers,
            "terms": {"cross-entropy": by_labels, "response": by_answers},
            "train_accuracy": 100 * right,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _update(self, x: Tensor, y: Tensor, update: str) -> Tensor:
        """One update of the weights; the two terms of the loss, and the share of right answers."""
        settings = self.progress.settings
        x, y = x.to(self.device), y.to(self.device)
        x, targets = augment(x, y, self.progress.augmentation, classes=self.data.classes)
        if self.progress.augmentation and isinstance(self.data.train_samples, Normalized):
            x = self.data.train_samples.applied(x)
        logits = self.module(x)
        with torch.no_grad():
            answers = self.teacher(x)
        by_labels, by_answers = label_loss(logits, targets), soft_divergence(logits, answers, settings.temperature)
        loss = by_labels + settings.distillation * by_answers
        if not torch.isfinite(loss):
            raise Failure(f"{update}: the loss is {loss.item()}; lower finetune.learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.tuning.constrain()
        right = (logits.argmax(-1) == y).to(torch.float64).mean()
        return torch.tensor([by_labels.item(), by_answers.item(), right.item()], dtype=torch.float64)

    def _end_epoch(self) -> float:
        """Count the epoch, and keep its weights if they are the best; the accuracy in percent on the samples held out."""
        index = self.split.validation
        samples, labels = chosen(self.data.train_samples, index), self.data.train_labels[index].to(self.device)
        result = evaluate(self.module, on_device(samples, self.device), labels, workers=self.data.workers)
        accuracy = result.accuracy.percent
        best = self.progress.best_accuracy
        if accuracy >= best:
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        update = {"epoch": self.progress.epoch + 1, "best_accuracy": max(best, accuracy)}
        self.progress = self.progress.model_copy(update=update)
        return accuracy


def _digest(graph: Graph) -> str:
    """SHA-256 over all that a network is; `InputNode.peak`, which is known of its data, is no part of that."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        content = {key: value for key, value in ops.content(node).items() if key != "peak"}
        weights = [(key, value) for key, value in content.items() if hasattr(value, "tobytes")]
        rest = {key: repr(value) for key, value in content.items() if not hasattr(value, "tobytes")}
        digest.update(json.dumps([node.kind, rest]).encode())
        for key, value in weights:
            digest.update(f"{key}{value.shape}".encode() + value.tobytes())
    return digest.hexdigest()
