"""A model's energy report as the toolkit makes it: counted on samples, with its accuracy, its parts and its ReLU twin."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from neurodeploy.app.cutting import CHIP, cut_best
from neurodeploy.app.model import BATCH as BATCH
from neurodeploy.app.model import Model, OnnxFileModule, of_bundle
from neurodeploy.conversion import SpikingTwin
from neurodeploy.data import Samples
from neurodeploy.data.feeding import in_batches
from neurodeploy.data.samples import as_stored
from neurodeploy.dynamics.portions import Portions
from neurodeploy.graph.module import GraphModule
from neurodeploy.io.errors import UserError
from neurodeploy.networks import LayeredNetwork
from neurodeploy.training.evaluation import Accuracy, evaluate, evaluating
from neurodeploy_energy import Report, account, account_onnx
from neurodeploy_energy.count.batches import Batches, Several
from neurodeploy_energy.count.sample_axis import samples_axis
from neurodeploy_energy.price.account import HOST, Account, compare, with_twin
from neurodeploy_energy.price.deployment import DeploymentEnergy, deployment
from neurodeploy_energy.price.profiles import load


def energy_report(
    model: Model,
    samples: Samples | Several,
    profiles: Sequence[str],
    *,
    host: str = HOST,
    baseline: Account | None = None,
    twin: Account | None = None,
    steps: int | None = None,
    batch_axis: int | None = None,
    time_axis: int | None = None,
    fold: bool = True,
) -> Report:
    """Count a model.

    Args:
        model: what is counted; if the samples are its own test set, its accuracy is measured too.
        samples: `[N, …]`, of each input.
        profiles: names or paths; the first is the headline.
        host: profile of the host that computes the encoder and the head.
        baseline: report of the model to compare with.
        twin: report of the trained ReLU network that stands for this one.
        steps, batch_axis, time_axis: of a torch module; see `neurodeploy_energy.account`.
        fold: whether linear chains count as the one layer that computes the same; see there. Those of an artefact
            never do, nor those of a network that is exported as it is: a deployed one, a spiking twin.

    Raises:
        UserError: see `neurodeploy_energy.account`.
    """
    if isinstance(samples, Tensor | Several):
        axis = batch_axis if model.is_module else 0
        if model.is_module and model.batch is not None:  # before the samples are cut along it
            axis = samples_axis(model.module, samples, steps=steps, batch_axis=batch_axis, time_axis=time_axis, name=model.name)
        batches: Batches = samples if model.batch is None else samples.split(_at_once(model, samples), axis or 0)
    else:
        axis, batches = batch_axis or 0, in_batches(samples, _at_once(model, samples), model.workers)
    if isinstance(model.module, OnnxFileModule):
        if isinstance(samples, Several):
            raise UserError(f"{model.name}: several inputs given, an ONNX file of one input is counted")
        given = in_batches(samples, model.batch or BATCH, model.workers)
        report = account_onnx(model.module.network, given, name=model.name, profiles=profiles, host=host)
    else:
        # a file is what runs, and a network of the toolkit is exported as it is: nobody folds them any more
        exported = model.deployed or model.graph is not None or isinstance(model.module, SpikingTwin)
        alone = not fold or exported
        run = partial(account, model.module, batches, steps=steps, batch_axis=axis, time_axis=time_axis, fold=not alone)
        report = run(name=model.name, profiles=profiles, host=host)
    accuracy = None
    if model.test_labels is not None and not isinstance(samples, Several) and _are_same(samples, model.test_samples):
        accuracy = evaluate(model.module, samples, model.test_labels, workers=model.workers).accuracy
    report = replace(_cut(model, report, samples, axis or 0), host_alone=model.host_alone)
    return completed(report, accuracy=accuracy, baseline=baseline, twin=twin)


def _at_once(model: Model, samples: Samples | Several) -> int:
    """Samples of a pass: as the model says, or fewer where the activations of all time steps would take much memory."""
    most = model.batch or BATCH
    if model.is_module or isinstance(samples, Several) or not isinstance(model.module, LayeredNetwork | GraphModule):
        return most  # of other modules it is not known which axis their samples have
    if model.module.batch_axis:
        return most
    with evaluating(model.module):
        return Portions(model.module).at_once(samples[torch.arange(min(most, len(samples)))])


def _are_same(samples: Samples, own: Samples | None) -> bool:
    """Whether samples are a model's own, also if its baseline has read them once more."""
    return samples is own or (isinstance(samples, Tensor) and isinstance(own, Tensor) and torch.equal(samples, own))


def deployed_energy(
    bundle: str | Path, samples: Samples | None = None, *, chip: str = CHIP, host: str = HOST
) -> DeploymentEnergy:
    """The estimated energy of a bundle as deployed: chip and host together, as its files are cut, per sample.

    The spikes are those that the files fire. A bundle for a processor alone has all of it on the host.

    Args:
        bundle: its folder.
        samples: `[N, …]`; the bundle's own if None.
        chip, host: profiles by name or path.

    Raises:
        UserError: it is no bundle, or damaged; a profile is unknown, or the host's has no cost of multiply-accumulates.
    """
    model = of_bundle(Path(bundle))
    given = model.test_samples if samples is None else samples
    assert given is not None
    report = energy_report(model, given, [chip], host=host)
    found = deployment(report, report.profiles[0], load(host))
    if found is None:
        raise UserError(f"{bundle}: its layers cannot be told apart into chip and host; choose a profile of a chip")
    return found


def _cut(model: Model, report: Report, samples: Samples | Several, batch_axis: int) -> Report:
    """The report with its layers placed: where chip and host together cost least, if the model leaves the choice."""
    if isinstance(samples, Several):  # read-out neurons are counted in networks of one input alone
        return replace(report, places=dict(model.places))
    cuts = model.cuts or ({"": model.places} if model.places else {})
    module, given = model.module if isinstance(model.module, GraphModule) else None, samples
    if module is None and model.deployment is not None:
        stored = as_stored(samples) if model.normalization is not None else samples
        known = model.normalization is None or stored is not samples
        module, given = (model.deployment.module(), stored) if known and batch_axis == 0 else (None, samples)
    placed, _ = cut_best(report, module, lambda: in_batches(given, model.batch or BATCH, model.workers), cuts)
    return placed


def energy_of(
    network: nn.Module, samples: Samples, profiles: Sequence[str], *, host: str = HOST, workers: int = 0
) -> dict[str, float]:
    """Estimated µJ per sample of a network that was just trained, on samples `[N, …]`, under each profile that prices it.

    Under a chip's profile a host computes what is on analog values: a ReLU network as a whole.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    batches = (batch.to(device) for batch in in_batches(samples, BATCH, workers))
    report = account(network, batches, profiles=profiles, host=host)
    energies = {given: report.energy(cost.name).total_uj for given, cost in zip(profiles, report.profiles, strict=True)}
    return {given: uj for given, uj in energies.items() if uj is not None}


def completed(
    report: Report,
    *,
    accuracy: Accuracy | None = None,
    baseline: Account | None = None,
    twin: Account | None = None,
) -> Report:
    """A report with what the counter cannot know: see `energy_report`."""
    answers = None if accuracy is None else (accuracy.correct, accuracy.samples)
    report = replace(report, answers=answers)
    if twin is not None:
        report = with_twin(report, twin)
    return report if baseline is None else replace(report, comparison=compare(report, baseline))
