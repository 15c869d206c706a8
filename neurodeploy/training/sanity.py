"""What is wrong with a training before its first epoch: refused where nothing can come of it, said where little will."""

from collections.abc import Sequence
from warnings import warn

import torch
from torch import Tensor, nn

from neurodeploy.data import DataSet, Samples
from neurodeploy.data.samples import as_stored
from neurodeploy.distillation import LossTerm
from neurodeploy.io.errors import Notice, UserError
from neurodeploy.io.kinds import is_foreign, kind_of
from neurodeploy.recipe.sections import TrainingSettings

_CHUNK = 4096  # samples looked at together
FEW_STEPS = 16
"""A conversion without training loses most of its accuracy with fewer."""


def check_training(title: str, settings: TrainingSettings, terms: Sequence[LossTerm], data: DataSet, samples: int) -> None:
    """Refuse a loss of nothing and samples that are no numbers; warn of what a training makes little sense with.

    Args:
        title: of what is trained.
        settings: length, batches and schedule.
        terms: of the loss.
        data: whose training set is learned from.
        samples: so many are, without those held out.

    Raises:
        UserError: every weight of the loss is 0, or a training sample in memory holds NaN or an infinity.
    """
    if not settings.epochs:
        return
    weighted = [term for term in terms if term.weight]
    if not weighted:
        kinds = ", ".join(map(kind_of, terms)) or "no term"
        raise UserError(f"{title}: loss: every weight is 0 ({kinds}), and nothing would be learned; give one above 0")
    check_samples(as_stored(data.train_samples), f"{title}: training")
    if not any(term.reads_labels or term.needs_teacher or is_foreign(term) for term in weighted):
        kinds = ", ".join(map(kind_of, weighted))
        _say(f"{title}: the loss ({kinds}) reads neither labels nor a teacher, so that no right answer is learned")
    if settings.batch_size > samples:
        _say(
            f"{title}: batch_size: {settings.batch_size:,} found for {samples:,} training samples, so that every epoch is one "
            "update; choose smaller batches"
        )
    if settings.warmup_epochs > settings.epochs:
        _say(
            f"{title}: warmup_epochs: {settings.warmup_epochs} found for {settings.epochs} epochs, so that learning_rate is "
            "never reached; shorten the warm-up"
        )


def check_samples(samples: Samples, origin: str) -> None:
    """Refuse values that are no finite numbers, where samples are in memory.

    Raises:
        UserError: there is one; the message names its sample.
    """
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        return
    for start in range(0, len(samples), _CHUNK):
        part = samples[start : start + _CHUNK]
        if not bool(torch.isfinite(part).all()):
            check_batch(torch.arange(start, start + len(part)), part, origin)


def check_batch(numbers: Tensor, batch: Tensor, origin: str) -> None:
    """Refuse a batch with values that are no finite numbers.

    Args:
        numbers: int64 `[B]`, of its samples in their set.
        batch: `[B, …]`.
        origin: for the message.

    Raises:
        UserError: there is one; the message names its sample.
    """
    broken = ~torch.isfinite(batch.reshape(len(batch), -1)).all(1).cpu()
    if broken.any():
        first = int(broken.nonzero()[0])
        what = "NaN" if bool(batch[first].isnan().any()) else "an infinity"
        raise UserError(f"{origin} sample {int(numbers[first])} holds {what}, finite numbers expected; mend the data")


def check_weights_given(title: str, network: nn.Module) -> None:
    """Warn of layers that a training begins with all their weights 0."""
    empty = [
        name
        for name, weight in network.named_parameters()
        if weight.ndim > 1 and weight.numel() and not bool(torch.count_nonzero(weight.detach()))
    ]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        _say(f"{title}: {', '.join(empty[:3])}{more}: all weights are 0 before the first epoch; were they loaded?")


def check_conversion(title: str, steps: int, epochs: int) -> None:
    """Warn of a plain conversion, without training, at so few time steps that little of its accuracy is left."""
    if not epochs and steps < FEW_STEPS:
        _say(
            f"{title}: converted at T = {steps} and not trained: plain conversions need some {FEW_STEPS} steps or more; train "
            "it, or convert a network with activations of few levels (quantized)"
        )


def _say(text: str) -> None:
    warn(text, Notice, stacklevel=3)
