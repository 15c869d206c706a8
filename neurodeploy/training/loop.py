"""The training loop: Lightning Fabric on CPU or GPU, seeded, with a checkpoint after every epoch that resumes exactly."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neurodeploy.augmentation import augment
from neurodeploy.data import DataSet
from neurodeploy.data.feeding import Fed, feed
from neurodeploy.data.samples import Normalized, as_stored, chosen, in_memory, on_device
from neurodeploy.distillation import LossTerm, TeacherOutput
from neurodeploy.dynamics.kernels.memory import BUFFERS
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import sole_writer, writing
from neurodeploy.io.kinds import kind_of
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import Recipe
from neurodeploy.training import checkpoint
from neurodeploy.training.checkpoint import Header
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.metrics import METRICS as METRICS
from neurodeploy.training.metrics import Metrics
from neurodeploy.training.observed import Observed
from neurodeploy.training.optimisation import MovingAverage, build_optimizer, learning_rate, restore, state_of
from neurodeploy.training.parallel import determined, share, total
from neurodeploy.training.plan import Plan, plan_of_role
from neurodeploy.training.rates import FiringRates, RateWarnings
from neurodeploy.training.recomputing import check_recomputing, recomputing
from neurodeploy.training.sanity import check_batch, check_training, check_weights_given
from neurodeploy.training.stopping import Best, split
from neurodeploy.training.teacher import KnownAnswers, ask, in_full

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT = "checkpoint.safetensors"

Watch = Callable[[int, int], None]
"""Called after every step with the epochs completed so far and the samples of this step. A method `fired`, if it has one,
is told now and then which share of all neurons and steps of the epoch so far had a spike."""
_RATES_SHOWN = 20  # steps from one showing of the firing rates to the next


def train(
    recipe: Recipe,
    role: str,
    seed: int,
    folder: Path,
    *,
    data: DataSet,
    teacher: nn.Module | Observed | None = None,
    source: nn.Module | None = None,
    resume: bool = False,
    fabric: "Fabric | None" = None,
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
    plan = plan_of_role(recipe, role, seed, data, teacher=teacher, source=source)
    return carry_out(plan, folder, resume=resume, fabric=fabric, watch=watch)


def carry_out(
    plan: Plan, folder: Path, *, resume: bool = False, fabric: "Fabric | None" = None, watch: Watch | None = None
) -> nn.Module:
    """Do what a plan says; for arguments, answer and errors see `train`."""
    if fabric is None:
        from lightning_fabric import Fabric

        fabric = Fabric(accelerator="cpu", devices=1)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder) if fabric.is_global_zero else nullcontext():
        fabric.barrier()  # the others read nothing before the folder is ours
        kept = _kept(folder / CHECKPOINT, plan.start, resume=resume)
        if kept is not None and kept.progress.complete:
            return kept.fill(plan.network()).to(fabric.device).eval()
        run = _Run(plan, kept, fabric)
        run.check()
        metrics, held = Metrics(folder, run.epoch) if fabric.is_global_zero else None, {checkpoint.HELD: plan.held}
        if run.done and fabric.is_global_zero:
            checkpoint.save(folder / CHECKPOINT, run.network, run.progress, held)
        while not run.done:
            with determined(plan.seed, plan.draws, f"epoch {run.epoch}"):
                values = run.train_epoch(watch)
            run.end_epoch()
            if metrics is not None:
                metrics.write(run.epoch, values)
                checkpoint.save(folder / CHECKPOINT, run.network, run.progress, run.tensors() | held)
            fabric.barrier()
        BUFFERS.release()
        return run.network.eval()


@dataclass(frozen=True)
class _Kept:
    """What an interrupted run left."""

    path: Path
    progress: Header
    groups: dict[str, dict[str, Tensor]]

    def fill(self, network: nn.Module) -> nn.Module:
        checkpoint.fill(network, self.groups["network"], self.path)
        return network

    def group(self, name: str) -> dict[str, Tensor]:
        return self.groups.get(name, {})


def _kept(path: Path, start: Header, *, resume: bool) -> _Kept | None:
    """What an interrupted run left; None if this one starts."""
    if not path.exists():
        return None
    if not resume:
        raise UserError(f"{path}: exists; add --resume to continue it, or choose another folder")
    progress, groups = checkpoint.read(path)
    field = progress.differing(start)
    if field is not None:
        raise UserError(f"{path}: its {field} differs from this run's; choose another folder, or remove the old one")
    return _Kept(path, progress, groups)


class _Run:
    """One training in progress.

    Args:
        plan: what is trained.
        kept: what an interrupted run left, to go on from.
        fabric: where.
    """

    def __init__(self, plan: Plan, kept: _Kept | None, fabric: "Fabric") -> None:
        self.plan, self.data, self.teacher, self.fabric = plan, plan.data, plan.teacher, fabric
        self.settings = plan.settings
        self.progress = plan.start if kept is None else kept.progress
        with determined(plan.seed, plan.draws, "weights"):
            self.network = plan.network().to(fabric.device)
            if kept is not None:
                kept.fill(self.network)
            elif plan.prepare is not None:
                plan.prepare(self.network)
        optimizer = build_optimizer(self.network, self.settings)
        self.best = Best()
        if kept is not None:
            restore(optimizer, self.network, kept.group("optimizer"))
            self.best = Best(kept.progress.best_accuracy, kept.progress.epochs_since_best, kept.group("best"))
            if kept.progress.scaler:
                fabric.strategy.precision.load_state_dict(kept.progress.scaler)
        self.known: KnownAnswers | None = None
        if self.teacher is not None and plan.ask_once:
            self.known = KnownAnswers(self.teacher, self.data.train_samples, fabric.device, workers=self.data.workers)
        self.model, self.optimizer = fabric.setup(self.network, optimizer)
        self.average: MovingAverage | None = None
        if self.settings.average is not None:
            average = None if kept is None else kept.group("average")
            self.average = MovingAverage(self.network, self.settings.average, average)
        self.split = split(self.data, self.settings.validation_samples, plan.seed, stratified=self.settings.stratified)
        labels = self.data.train_labels[self.split.train]
        shape = tuple(self.data.train_samples.shape[1:])
        self.reads = not in_memory(self.data.train_samples)
        self.rates, self.warnings = FiringRates(self.network), RateWarnings(plan.start.title)
        fitted = (term.fitted(labels, self.data.classes) for term in plan.terms)
        self.terms = tuple(term.of_network(self.network, shape) for term in fitted)

    @property
    def epoch(self) -> int:
        return self.progress.epoch

    @property
    def done(self) -> bool:
        return self.progress.complete

    def check(self) -> None:
        """Refuse what no training can come of, and say of what little will.

        Raises:
            UserError: see `check_training` and `check_recomputing`.
        """
        if self.settings.recompute:
            check_recomputing(self.network, self.progress.title)
        check_training(self.progress.title, self.settings, self.terms, self.data, len(self.split.train))
        if not self.epoch and self.settings.epochs:
            check_weights_given(self.progress.title, self.network)

    def train_epoch(self, watch: Watch | None) -> dict[str, object]:
        """One epoch; its metrics."""
        with self.rates.counting(), recomputing(self.network) if self.settings.recompute else nullcontext():
            values = self._train_epoch(watch)
        if rates := self.rates.read(self.fabric):
            values["rates"] = rates
            if self.fabric.is_global_zero:
                self.warnings.check(self.epoch + 1, rates)
        if self.settings.patience is not None:
            values["validation_accuracy"] = self._validate()
        return values

    def _train_epoch(self, watch: Watch | None) -> dict[str, object]:
        self.network.train()
        began, count = time.perf_counter(), len(self.split.train)
        order = list(self.split.train[torch.randperm(count)].split(self.settings.batch_size))
        if len(order) > 1 and len(order[-1]) == 1:  # batch norm may have no variance over a single sample
            order[-2:] = [torch.cat(order[-2:])]
        sums, rate = torch.zeros(len(self.terms) + 1, dtype=torch.float64), 0.0
        fed = self._fed(order)
        for step, index in enumerate(order):
            rate = learning_rate(self.settings, self.epoch * len(order) + step, len(order))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            sums += self._update(index, step, fed)
            if watch is not None:
                watch(self.epoch, len(index))
                fired: Callable[[float], None] | None = getattr(watch, "fired", None)
                if fired is not None and step % _RATES_SHOWN == 0 and (share_fired := self.rates.mean()) is not None:
                    fired(share_fired)
        *totals, correct = total(sums.to(self.fabric.device), self.fabric).tolist()
        weighted = zip(self.terms, totals, strict=True)
        return {
            "loss": sum(term.weight * value for term, value in weighted) / count,
            "terms": {name: value / count for name, value in zip(_names(self.terms), totals, strict=True)},
            "train_accuracy": 100 * correct / count,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _fed(self, order: Sequence[Tensor]) -> Iterator[Fed]:
        """The pieces of the batches as this process needs them: its share, or all of a piece that is augmented as a whole."""
        pieces = [piece for index in order for piece in index.chunk(self.settings.accumulate)]
        if not self.plan.augmentation:
            pieces = [piece[share(len(piece), self.fabric, 1)[0]] for piece in pieces]
        samples = self.data.train_samples
        read = as_stored(samples) if self.plan.augmentation else samples
        return feed(read, self.data.train_labels, pieces, self.data.workers)

    def _update(self, index: Tensor, step: int, fed: Iterator[Fed]) -> Tensor:
        """One update of the weights; the sum of each term, and of right answers, over this process's samples."""
        sums = torch.zeros(len(self.terms) + 1, dtype=torch.float64)
        pieces = index.chunk(self.settings.accumulate)
        for i, piece in enumerate(pieces):
            mine, factor = share(len(piece), self.fabric, len(index))
            with self.fabric.no_backward_sync(self.model, enabled=i < len(pieces) - 1):
                given = next(fed)
                if self.reads:  # NaN fires no spike, so that the loss would not show it
                    check_batch(given[0], given[1], f"{self.progress.title}: training")
                values, correct = self._forward(given, mine)
                loss = torch.stack([term.weight * value for term, value in zip(self.terms, values, strict=True)]).sum()
                if not torch.isfinite(loss):
                    raise Failure(
                        f"epoch {self.epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower training.learning_rate"
                    )
                self.fabric.backward(loss * factor)
            counted = factor * len(index) / self.fabric.world_size
            sums += counted * torch.tensor([*(value.item() for value in values), correct / len(mine)], dtype=torch.float64)
        if self.settings.clip_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.settings.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return sums

    def _forward(self, piece: Fed, mine: Tensor) -> tuple[list[Tensor], int]:
        """Values of the terms for this process's samples of a piece, and how many were answered rightly."""
        index, x, y, targets = self._samples(piece, mine)
        output = self._answer(x)
        answer = self._teacher_for(index, x, targets)
        values = [term(output, answer, targets) for term in self.terms]
        return values, int((output.logits.argmax(-1) == y).sum())

    def _answer(self, x: Tensor) -> NetworkOutput:
        """Through Fabric's wrapper, which gathers gradients; but alone, it would only round the samples to bfloat16, and copy
        every tap."""
        answer: NetworkOutput
        if self.fabric.world_size > 1 or self.fabric.device.type != "cpu":
            answer = self.model(x)
            return answer
        with self.fabric.autocast():
            answer = self.network(x)
        return in_full(answer)

    def _samples(self, piece: Fed, mine: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Numbers, samples, labels and targets. All processes augment the whole piece alike, and take their share after it."""
        device = self.fabric.device
        index, x, y = piece[0], piece[1].to(device), piece[2].to(device)
        if not self.plan.augmentation:
            return index, x, y, y
        x, targets = augment(x, y, self.plan.augmentation, classes=self.data.classes)
        if isinstance(self.data.train_samples, Normalized):
            x = self.data.train_samples.applied(x)
        own = mine.to(device)
        return index[mine], x[own], y[own], targets[own]

    def _teacher_for(self, index: Tensor, x: Tensor, y: Tensor) -> TeacherOutput | None:
        if self.known is not None:
            return self.known[index]
        if self.teacher is None:
            return None
        with self.fabric.autocast():
            if torch.is_autocast_enabled("cpu") and x.ndim == 4:  # the order in which bfloat16 is convolved fastest
                x = x.contiguous(memory_format=torch.channels_last)
            return ask(self.teacher, x, y, gradients=any(term.needs_teacher_gradients for term in self.terms))

    def _validate(self) -> float:
        """Accuracy in percent on the samples that were held out, of the average if there is one."""
        index = self.split.validation
        device, samples, labels = self.fabric.device, chosen(self.data.train_samples, index), self.data.train_labels[index]
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        if self.average is not None:
            self.network.load_state_dict(self.average.state)
        result = evaluate(self.network, on_device(samples, device), labels.to(device), workers=self.data.workers)
        accuracy = result.accuracy.percent
        self.best.see(accuracy, self.network)
        self.network.load_state_dict(own)
        return accuracy

    def end_epoch(self) -> None:
        """Count the epoch; at the end of the training, give the network the weights that it ends with.

        Raises:
            Failure: a weight is not finite, which a loss of spikes need not show.
        """
        for name, weight in self.network.named_parameters():
            if not bool(torch.isfinite(weight.detach()).all()):
                raise Failure(
                    f"epoch {self.epoch + 1}: {name} holds values that are not finite; lower training.learning_rate, or set "
                    "training.clip_norm"
                )
        patience, best = self.settings.patience, self.best
        update = {
            "epoch": self.epoch + 1,
            "stopped": patience is not None and best.epochs_since >= patience,
            "best_accuracy": best.accuracy,
            "epochs_since_best": best.epochs_since,
            "scaler": {name: float(value) for name, value in self.fabric.strategy.precision.state_dict().items()},
        }
        self.progress = self.progress.model_copy(update=update)
        if self.done:
            last = self.best.state or (self.average.state if self.average is not None else None)
            if last is not None:
                self.network.load_state_dict(last)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a resumed run needs besides the weights; nothing once the training is done."""
        if self.done:
            return {}
        groups = {"optimizer": state_of(self.optimizer, self.network), "best": self.best.state}
        return groups | ({} if self.average is None else {"average": self.average.state})


def _names(terms: tuple[LossTerm, ...]) -> list[str]:
    """The terms' kinds; a second one of a kind gets a number."""
    kinds = [kind_of(term) for term in terms]
    seen = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind}-{number}" for kind, number in zip(kinds, seen, strict=True)]
