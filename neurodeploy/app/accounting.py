"""A model's energy report as the toolkit makes it: counted on samples, with its accuracy, its parts and its ReLU twin."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurodeploy.app.model import BATCH as BATCH
from neurodeploy.app.model import Model
from neurodeploy.data import Samples
from neurodeploy.data.feeding import in_batches
from neurodeploy.training.evaluation import Accuracy, evaluate
from neurodeploy_energy import Report, account
from neurodeploy_energy.count.running import Batches, samples_axis
from neurodeploy_energy.price.account import HOST, Account, Place, compare, with_twin
from neurodeploy_energy.price.profiles import load


def energy_report(
    model: Model,
    samples: Samples,
    profiles: Sequence[str],
    *,
    host: str = HOST,
    baseline: Account | None = None,
    twin: Account | None = None,
    steps: int | None = None,
    batch_axis: int | None = None,
    time_axis: int | None = None,
) -> Report:
    """Count a model.

    Args:
        model: what is counted; if the samples are its own test set, its accuracy is measured too.
        samples: `[N, …]`.
        profiles: names or paths; the first is the headline.
        host: profile of the host that computes the encoder and the head.
        baseline: report of the model to compare with.
        twin: report of the trained ReLU network that stands for this one.
        steps, batch_axis, time_axis: of a torch module; see `neurodeploy_energy.account`.

    Raises:
        UserError: see `neurodeploy_energy.account`.
    """
    if isinstance(samples, Tensor):
        axis = batch_axis if model.is_module else 0
        if model.is_module and model.batch is not None:  # before the samples are cut along it
            axis = samples_axis(model.module, samples, steps=steps, batch_axis=batch_axis, time_axis=time_axis, name=model.name)
        batches: Batches = samples if model.batch is None else samples.split(model.batch, axis or 0)
    else:
        axis, batches = batch_axis or 0, in_batches(samples, model.batch or BATCH, model.workers)
    report = account(
        model.module, batches, name=model.name, profiles=profiles, steps=steps, batch_axis=axis, time_axis=time_axis
    )
    accuracy = None
    if model.test_labels is not None and samples is model.test_samples:
        accuracy = evaluate(model.module, samples, model.test_labels, workers=model.workers).accuracy
    return completed(report, places=model.places, accuracy=accuracy, host=host, baseline=baseline, twin=twin)


def energy_of(network: nn.Module, samples: Samples, profiles: Sequence[str], *, workers: int = 0) -> dict[str, float]:
    """Estimated µJ per sample of a network that was just trained, on samples `[N, …]`, under each profile that prices it.

    A profile without a cost of multiply-accumulates says nothing of a ReLU network, which has nothing else.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    batches = (batch.to(device) for batch in in_batches(samples, BATCH, workers))
    report = account(network, batches, profiles=profiles)
    energies = {given: report.energy(cost.name).total_uj for given, cost in zip(profiles, report.profiles, strict=True)}
    return {given: uj for given, uj in energies.items() if uj or not report.total.macs}


def completed(
    report: Report,
    *,
    places: dict[str, Place],
    accuracy: Accuracy | None = None,
    host: str = HOST,
    baseline: Account | None = None,
    twin: Account | None = None,
) -> Report:
    """A report with what the counter cannot know: see `energy_report`."""
    answers = None if accuracy is None else (accuracy.correct, accuracy.samples)
    report = replace(report, places=places, host=load(host) if places else None, answers=answers)
    if twin is not None:
        report = with_twin(report, twin)
    return report if baseline is None else replace(report, comparison=compare(report, baseline))
