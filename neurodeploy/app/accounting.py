"""A model's energy report as the toolkit makes it: counted on samples, with its accuracy, its parts and its ReLU twin."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurodeploy.app.model import BATCH as BATCH
from neurodeploy.app.model import Model
from neurodeploy.data import Samples
from neurodeploy.data.feeding import in_batches
from neurodeploy.graph import fold_scales
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import chosen, trace
from neurodeploy.io.errors import UserError
from neurodeploy.training.evaluation import Accuracy, evaluate
from neurodeploy_energy import Report, account
from neurodeploy_energy.count.recognition import neurons_of
from neurodeploy_energy.count.running import Batches, Several
from neurodeploy_energy.price.account import HOST, Account, Place, compare, with_twin
from neurodeploy_energy.price.profiles import load

_COMPARED = 16  # samples


def energy_report(
    model: Model,
    samples: Samples | Several,
    profiles: Sequence[str],
    *,
    host: str = HOST,
    baseline: Account | None = None,
    twin: Account | None = None,
    steps: int | None = None,
    batch_axis: int = 0,
) -> Report:
    """Count a model.

    Args:
        model: what is counted; if the samples are its own test set, its accuracy is measured too.
        samples: `[N, …]`, of each input.
        profiles: names or paths; the first is the headline.
        host: profile of the host that computes the encoder and the head.
        baseline: report of the model to compare with.
        twin: report of the trained ReLU network that stands for this one.
        steps, batch_axis: see `neurodeploy_energy.account`.

    Raises:
        UserError: see `neurodeploy_energy.account`.
    """
    if isinstance(samples, Tensor | Several):
        batches: Batches = samples if model.batch is None else samples.split(model.batch, batch_axis)
    else:
        batches = in_batches(samples, model.batch or BATCH, model.workers)
    report = account(model.module, batches, name=model.name, profiles=profiles, steps=steps, batch_axis=batch_axis)
    accuracy = None
    if model.test_labels is not None and not isinstance(samples, Several) and samples is model.test_samples:
        accuracy = evaluate(model.module, samples, model.test_labels, workers=model.workers).accuracy
    return completed(report, places=model.places, accuracy=accuracy, host=host, baseline=baseline, twin=twin)


def with_neurons(model: Model, samples: Samples | Several, batch_axis: int = 0) -> Model:
    """A torch module whose neurons are written out in a loop over time, with layers that can be counted in their place.

    Nothing in such a module says where its spikes are; its graph does, once that has been compared with the module on some of
    the samples. Any other model, and one that no graph can hold, is answered as it is.
    """
    known = model.graph is not None or any(neurons_of(module) is not None for module in model.module.modules())
    if known or not isinstance(samples, Tensor) or samples.ndim < 2 + batch_axis or not samples.numel():
        return model
    entrance = chosen(model.module, batch_axis=batch_axis, time_axis=None, steps=None)
    few = samples.narrow(batch_axis, 0, min(_COMPARED, samples.shape[batch_axis])).detach().float()
    try:
        graph = trace(model.module, tuple(few.shape[1 + batch_axis :]), entrance=entrance, length=len(few))
        check_agreement(model.module, graph, few, entrance)
    except UserError:
        return model
    return replace(model, module=GraphModule(fold_scales(graph))) if graph.spiking else model


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
