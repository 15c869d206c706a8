"""The training loop: Lightning Fabric on CPU or GPU, seeded, with a checkpoint after every epoch that resumes exactly."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import cos, pi
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from neurodeploy import checkpoint
from neurodeploy.checkpoint import Progress
from neurodeploy.data import DataSet
from neurodeploy.distillation import CrossEntropy, LossTerm, TeacherOutput
from neurodeploy.errors import Failure, UserError
from neurodeploy.files import write_text, writing
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import OptimizerSettings, Recipe

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"

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
    resume: bool = False,
    fabric: Fabric | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """Train one network of a recipe.

    The batches, and every other random draw of an epoch, depend on nothing but the seed, the role and the epoch's number.
    So a run that was killed and resumed ends with the same weights as one that was not, bit for bit on a CPU.

    Args:
        recipe: the experiment.
        role: "teacher" or the name of a student.
        seed: of weights and batches.
        folder: receives `checkpoint.safetensors` and `metrics.jsonl` (one line per epoch).
        data: the training set.
        teacher: the trained teacher; required if a loss term of this student needs it.
        resume: continue from the folder's checkpoint, if there is one.
        fabric: where to train; the CPU if None.
        watch: progress.

    Returns:
        The trained network, on its device, in evaluation mode.

    Raises:
        UserError: the folder holds a checkpoint and `resume` is False, or it belongs to another recipe, role or seed.
        Failure: the loss is not finite, or the disk is full.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    settings, terms = recipe.training(role), _terms(recipe, role)
    start = Progress(recipe=recipe, role=role, seed=seed, epoch=0, in_channels=data.sample_shape[0], classes=data.classes)
    found = _found(folder / CHECKPOINT, start, resume=resume)
    if found is not None and found.progress.complete:
        return found.network.to(fabric.device)
    if teacher is None and any(term.needs_teacher for term in terms):
        raise UserError(f"student {role}: its loss needs a teacher, none was given")
    with _determined(seed, role, "weights"):
        network = checkpoint.build_network(start) if found is None else found.network
    epoch = 0 if found is None else found.progress.epoch
    network.to(fabric.device)
    optimizer = _optimizer(network, settings)
    if found is not None:
        _restore_momentum(optimizer, network, found.momentum)
    model, wrapped = fabric.setup(network, optimizer)
    _keep_metrics(folder / METRICS, epoch)
    while epoch < settings.epochs:
        with _determined(seed, role, f"epoch {epoch}"):
            network.train()
            metrics = _epoch(fabric, model, wrapped, settings, terms, data, teacher, epoch, watch)
        epoch += 1
        with writing(folder / METRICS), (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
        progress = start.model_copy(update={"epoch": epoch})
        checkpoint.save(folder / CHECKPOINT, network, _momentum(optimizer, network), progress)
    return network.eval()


def _terms(recipe: Recipe, role: str) -> tuple[LossTerm, ...]:
    return (CrossEntropy(),) if role == "teacher" else recipe.student_named(role).loss


def _found(path: Path, start: Progress, *, resume: bool) -> checkpoint.Checkpoint | None:
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return None
    if not resume:
        raise UserError(f"{path}: exists; add --resume to continue it, or choose another folder")
    found = checkpoint.load(path)
    for field in ("recipe", "role", "seed", "in_channels", "classes"):
        if getattr(found.progress, field) != getattr(start, field):
            raise UserError(f"{path}: its {field} differs from this run's; choose another folder, or remove the old one")
    return found


def _epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: OptimizerSettings,
    terms: tuple[LossTerm, ...],
    data: DataSet,
    teacher: nn.Module | None,
    epoch: int,
    watch: Watch | None,
) -> dict[str, object]:
    count = len(data.train_labels)
    gradients = any(term.needs_teacher_gradients for term in terms)
    order = torch.randperm(count).split(settings.batch_size)
    sums, correct, began = [0.0] * len(terms), 0, time.perf_counter()
    for step, index in enumerate(order):
        rate = _learning_rate(settings, epoch * len(order) + step, len(order))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = data.train_samples[index].to(fabric.device), data.train_labels[index].to(fabric.device)
        seen = None if teacher is None else ask(teacher, x, y, gradients=gradients)
        output: NetworkOutput = model(x)
        values = [term(output, seen, y) for term in terms]
        loss = torch.stack([term.weight * value for term, value in zip(terms, values, strict=True)]).sum()
        if not torch.isfinite(loss):
            raise Failure(f"epoch {epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower training.learning_rate")
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimizer.step()
        sums = [total + value.item() * len(y) for total, value in zip(sums, values, strict=True)]
        correct += int((output.logits.argmax(-1) == y).sum())
        if watch is not None:
            watch(epoch, len(y))
    return {
        "loss": sum(term.weight * total for term, total in zip(terms, sums, strict=True)) / count,
        "terms": {name: total / count for name, total in zip(_names(terms), sums, strict=True)},
        "train_accuracy": 100 * correct / count,
        "learning_rate": rate,
        "seconds": round(time.perf_counter() - began, 3),
    }


def ask(teacher: nn.Module, x: Tensor, y: Tensor, *, gradients: bool) -> TeacherOutput:
    """What a frozen teacher answers for a batch, itself without gradient.

    Args:
        teacher: as `freeze` leaves it.
        x, y: samples `[B, …]` and labels `[B]`.
        gradients: also take the gradients of its cross-entropy with respect to its taps, at the cost of a backward pass.
    """
    classifier = teacher.get_submodule("classifier")
    if not gradients:
        with torch.no_grad():
            return TeacherOutput(teacher(x), classifier)
    with torch.enable_grad():
        output: NetworkOutput = teacher(x.detach().requires_grad_())
        loss = cross_entropy(output.logits, y, reduction="sum")
        found = torch.autograd.grad(loss, list(output.taps.values()), allow_unused=True, materialize_grads=True)
    answer = NetworkOutput(
        output.logits.detach(),
        output.step_logits.detach(),
        output.features.detach(),
        {name: tap.detach() for name, tap in output.taps.items()},
    )
    return TeacherOutput(answer, classifier, dict(zip(output.taps, found, strict=True)))


def _names(terms: tuple[LossTerm, ...]) -> list[str]:
    """The terms' kinds; a second one of a kind gets a number."""
    kinds = [str(getattr(term, "kind", "")) for term in terms]
    seen = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind}-{number}" for kind, number in zip(kinds, seen, strict=True)]


def freeze(teacher: nn.Module) -> nn.Module:
    """A teacher as distillation needs it: evaluation mode, no gradients for its weights."""
    return teacher.eval().requires_grad_(False)


def _learning_rate(settings: OptimizerSettings, step: int, steps_per_epoch: int) -> float:
    warmup, total = settings.warmup_epochs * steps_per_epoch, settings.epochs * steps_per_epoch
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * (1 + cos(pi * (step - warmup) / max(1, total - warmup))) / 2


def _optimizer(network: nn.Module, settings: OptimizerSettings) -> torch.optim.SGD:
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0)


def _momentum(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in network.named_parameters()}
    return {name: state["momentum_buffer"] for name, state in states.items() if state.get("momentum_buffer") is not None}


def _restore_momentum(optimizer: torch.optim.Optimizer, network: nn.Module, momentum: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        if name in momentum:
            optimizer.state[parameter]["momentum_buffer"] = momentum[name].to(parameter.device)


def _keep_metrics(path: Path, epochs: int) -> None:
    """Drop the lines of epochs that the checkpoint does not know: they are computed again."""
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
        write_text(path, "".join(f"{line}\n" for line in lines[:epochs]))


@contextmanager
def _determined(*parts: object) -> Iterator[None]:
    """Torch's random generators seeded by `parts` inside, and left as they were outside."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        yield
