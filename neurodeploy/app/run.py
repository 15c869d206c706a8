"""The main job end to end: train, deploy, verify, account. The one place where exporters and energy meet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neurodeploy.app import summary
from neurodeploy.app.accounting import BATCH, completed
from neurodeploy.app.cutting import cut_best
from neurodeploy.app.deployment import Targets, check_targets, deploy, deployed_cuts, deployed_graph, headline, origin_of
from neurodeploy.app.finetune import Tuned, finetune_student
from neurodeploy.app.summary import Deployed, SeedResult
from neurodeploy.data import DataSet
from neurodeploy.data.feeding import in_batches
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.io.errors import Failure
from neurodeploy.io.files import write_text
from neurodeploy.recipe import FinetuneSettings, Recipe
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import Watcher, checkpoint_of, folder_of, silent, train_all
from neurodeploy.training.own_teacher import teacher_facts
from neurodeploy.training.parts import check_parts
from neurodeploy_energy import Report, account, write_report
from neurodeploy_energy.report.tables import deployed_line
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.verify import Verification, verify

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SUMMARY = "summary.json"
FINETUNING = "finetuning"


def run(
    recipe: Recipe,
    root: Path,
    *,
    fabric: "Fabric | None" = None,
    watcher: Watcher = silent,
    say: Callable[[str], None] = lambda _: None,
    resume: bool = False,
) -> dict[str, object]:
    """Teacher → students → bundles → verification → energy report, for every seed of a recipe.

    Args:
        recipe: the experiment.
        root: receives a folder per seed with checkpoints and bundles, `report.html` with its figures (first seed) and
            `summary.json` (all seeds).
        fabric: where to train; the CPU if None.
        watcher: shows the progress of training.
        say: told in a sentence what has been done.
        resume: continue an interrupted run.

    Returns:
        The content of `summary.json`.

    Raises:
        UserError: `root` is in use, or the recipe asks for what is not there.
        Failure: an exported artefact does not reproduce the network's spikes.
    """
    targets = recipe.export.target_options()
    data = recipe.data.load()
    check_parts(recipe, data)
    check_targets(recipe, data)
    for fact in teacher_facts(recipe):
        say(fact)
    results: list[SeedResult] = []
    device = "cpu" if fabric is None else fabric.device
    tune = partial(_tuned, recipe, data=data, resume=resume, watcher=watcher, device=device)
    for seed, networks in _by_seed(train_all(recipe, root, data, fabric=fabric, watcher=watcher, resume=resume), recipe):
        result = _one_seed(recipe, root, data, seed, networks, targets, tune, say)
        results.append(result)
    content = summary.of_run(recipe, data, results)
    write_report(
        results[0].report,
        root,
        title=f"{recipe.name}: {recipe.deployed} against {recipe.baseline}",
        facts=summary.facts(recipe, data, content) | summary.parts(results[0].student.graph, results[0].report.places),
        notices=summary.notices(recipe),
    )
    write_text(root / SUMMARY, summary.as_json(content))
    return content


def _by_seed(trained: Iterator[tuple[int, str, nn.Module]], recipe: Recipe) -> Iterator[tuple[int, dict[str, nn.Module]]]:
    networks: dict[str, nn.Module] = {}
    for seed, role, network in trained:
        networks[role] = network
        if role == recipe.roles[-1]:
            yield seed, networks
            networks = {}


def _one_seed(
    recipe: Recipe,
    root: Path,
    data: DataSet,
    seed: int,
    networks: dict[str, nn.Module],
    targets: Targets,
    tune: Callable[..., Tuned],
    say: Callable[[str], None],
) -> SeedResult:
    samples = data.test_samples
    teacher = evaluate(networks["teacher"].cpu(), samples, data.test_labels, workers=data.workers).accuracy
    say(f"seed {seed} · teacher: test accuracy {teacher}")
    baseline = _deploy(targets, networks[recipe.baseline].cpu(), data)
    tuning, folder = recipe.export.finetune, folder_of(root, seed, recipe.deployed) / FINETUNING
    tuner = None if tuning is None else partial(tune, seed, folder=folder, settings=tuning)
    student = _deploy(targets, networks[recipe.deployed].cpu(), data, tuner)
    for role, deployed in ((recipe.baseline, baseline), (recipe.deployed, student)):
        spikes = deployed.result.spikes_per_sample
        say(f"seed {seed} · {role}: deployed accuracy {deployed.result.accuracy}, {spikes:,.0f} spikes per sample")
    baseline_report, report, why = _reports(recipe, targets, data, networks, baseline, student)
    for sentence in filter(None, (deployed_line(report),)):
        say(f"seed {seed} · {sentence}")
    bundles, verifications = {}, {}
    subject = student.deployment.subject(
        f"{recipe.name}-{recipe.deployed}",
        samples=recipe.export.samples,
        calibration=recipe.export.calibration,
        accuracy=student.accuracies,
        graph=student.graph,
        tuned=None if student.tuned is None else student.tuned.tuned,
        provenance=origin_of(recipe, seed, checkpoint_of(root, seed, recipe.deployed)),
    )
    subject = replace(subject, cut=why)
    for name, (target, options) in targets.items():
        cut = options if (target, options) != headline(targets) else target.settled(report.cut, options)
        bundles[name] = target.export(subject, folder_of(root, seed, "bundles") / name, cut)
        module = student.module_for(target, options)
        carried = student.deployment.data.test_samples[: recipe.export.samples]
        verifications[name] = _verified(bundles[name], module, carried, say)
    return SeedResult(seed, teacher, baseline, student, bundles, verifications, report, baseline_report)


def _reports(
    recipe: Recipe, targets: Targets, data: DataSet, networks: Mapping[str, nn.Module], baseline: Deployed, student: Deployed
) -> tuple[Report, Report, str]:
    """Of the baseline, and of the student against it; both against the ReLU network of their own definition, if there is one.

    The last is why the student is cut into chip and host where it is; "" if it was asked for.
    """
    why: dict[str, str] = {}
    profiles, roles = recipe.energy.profiles, (recipe.baseline, recipe.deployed)
    batches, as_deployed = (in_batches(one.test_samples, BATCH, one.workers) for one in (data, student.deployment.data))
    dense = {
        name: account(networks[name].cpu(), batches, name=name, profiles=profiles, host=recipe.energy.host)
        for name in dict.fromkeys(map(recipe.dense_twin, roles))
        if name is not None
    }

    def counted(name: str, deployed: Deployed, before: Report | None) -> Report:
        report = account(deployed.module, as_deployed, name=name, profiles=profiles, host=recipe.energy.host, fold=False)
        cuts = deployed_cuts(deployed.graph, targets)
        if deployed.tuned is not None:  # its last synapse was not tuned in the chip's integers
            cuts = dict(list(cuts.items())[:1])
        report, why[name] = cut_best(report, deployed.module, lambda: as_deployed, cuts)
        counted = headline(targets)
        report = replace(report, host_alone=counted is not None and counted[0].host_alone)
        twin = recipe.dense_twin(name)
        relu = None if twin is None else dense[twin]
        return completed(report, accuracy=deployed.result.accuracy, baseline=before, twin=relu)

    before = counted(recipe.baseline, baseline, None)
    return before, counted(recipe.deployed, student, before), why[recipe.deployed]


def _deploy(targets: Targets, network: nn.Module, data: DataSet, tune: Callable[..., Tuned] | None = None) -> Deployed:
    """A network as the headline's target computes it."""
    trained = evaluate(network, data.test_samples, data.test_labels, workers=data.workers)
    deployment = deploy(network, data)
    graph, data = deployment.graph, deployment.data
    measured = partial(evaluate, samples=data.test_samples, labels=data.test_labels, workers=data.workers)
    if tune is not None:
        tuned = tune(graph=graph, data=data)
        quantised, result = (measured(module) for module in (tuned.start, tuned.module))
        return Deployed(trained, deployment, tuned.graph, tuned.module, result, tuned, quantised)
    module = deployment.module(deployed_graph(graph, targets))
    return Deployed(trained, deployment, graph, module, measured(module))


def _tuned(recipe: Recipe, seed: int, settings: FinetuneSettings, **others: Any) -> Tuned:
    """The deployed student, fine-tuned for the one target of the recipe."""
    ((target, options),) = recipe.export.target_options().values()
    exact = getattr(options, "quantize", "none") == "exact"
    return finetune_student(
        recipe,
        recipe.deployed,
        seed,
        settings=settings,
        target=target,
        quantize="exact" if exact else "none",
        input_bits=getattr(options, "input_bits", INPUT_BITS),
        calibration=recipe.export.calibration,
        **others,
    )


def _verified(folder: Path, module: nn.Module, samples: Tensor, say: Callable[[str], None]) -> Verification:
    outcome = verify(folder)
    if not outcome.passed:
        raise Failure(f"{folder}: the exported artefact differs: {'; '.join(outcome.findings)}")
    expected = read_bundle(folder).given().spikes
    with torch.no_grad():
        reported = evaluate(module, samples, torch.zeros(len(samples), dtype=torch.long)).spikes
    for layer, count in reported.items():
        if layer in expected and int(expected[layer].sum()) != round(count * len(samples)):
            raise Failure(f"{folder}: layer {layer}: its spikes differ from those that the energy report counts")
    say(f"{folder}: verified, {outcome.spikes_compared:,} spikes compared, {outcome.mismatches} differ")
    return outcome
