"""`summary.json`: what a run gave over all its seeds, as means with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from neurodeploy.app.deployment import Deployment, headline
from neurodeploy.app.finetune import Tuned
from neurodeploy.data import DataSet
from neurodeploy.graph import Graph, ops, partition
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.transforms import differences
from neurodeploy.io.json_text import json_text
from neurodeploy.io.version import VERSION
from neurodeploy.recipe import Recipe
from neurodeploy.training.evaluation import Accuracy, Evaluation, mean_and_interval
from neurodeploy_energy import Report
from neurodeploy_energy.price.account import change_percent
from neurodeploy_energy.price.deployment import headline as headline_of
from neurodeploy_exporters.target import Place, Target, TargetOptions
from neurodeploy_exporters.verify import Verification


@dataclass(frozen=True)
class Deployed:
    """A student as it is deployed: batch norm folded and, if the recipe says so, weights on the exact grid, or fine-tuned.

    Attributes:
        trained: the network as trained, on the test set.
        deployment: the trained network's graph, and the way in which samples enter it.
        graph: batch norm folded; what the exporters are given.
        module: the deployed network in torch; its spikes are those of the exported artefact.
        result: the deployed network on the test set.
        tuned: what fine-tuning gave, if there was one.
        quantised: the network before its fine-tuning, on the test set.
    """

    trained: Evaluation
    deployment: Deployment
    graph: Graph
    module: GraphModule
    result: Evaluation
    tuned: Tuned | None = None
    quantised: Evaluation | None = None

    def module_for(self, target: Target, options: TargetOptions) -> nn.Module:
        """The network in torch as one target computes it."""
        if self.tuned is not None:
            return self.module
        graph = target.deployed(self.graph, options)
        return self.module if not differences(graph, self.module.graph) else self.deployment.module(graph)

    @property
    def accuracies(self) -> dict[str, Accuracy]:
        """On the way to the exported artefact."""
        entries = {"float": self.trained.accuracy}
        if self.quantised is not None:
            entries |= {"quantised": self.quantised.accuracy, "tuned": self.result.accuracy}
        return entries


@dataclass(frozen=True)
class SeedResult:
    """All that one seed gave.

    Attributes:
        seed: of weights and batches.
        teacher: accuracy of the teacher on the test set.
        baseline, student: the two networks that are compared.
        bundles: target → folder.
        verifications: target → outcome.
        report: spikes and energy of the student against the baseline.
    """

    seed: int
    teacher: Accuracy
    baseline: Deployed
    student: Deployed
    bundles: dict[str, Path]
    verifications: dict[str, Verification]
    report: Report
    baseline_report: Report


def of_run(recipe: Recipe, data: DataSet, results: Sequence[SeedResult]) -> dict[str, Any]:
    """Accuracies in percent of the test set, spikes per sample summed over layers and steps, energies in µJ per sample.

    Accuracies and spikes of the students are those of the deployed networks (batch norm folded, weights quantised as the
    recipe says, fine-tuned if it says so); `trained_accuracy` is that of the network before, `quantised_accuracy` that of a
    fine-tuned one before its fine-tuning.
    """
    return {
        "recipe": recipe.name,
        "neurodeploy": VERSION,
        "data": data.note,
        "test_samples": len(data.test_labels),
        "seeds": [result.seed for result in results],
        "units": {
            "accuracy": "percent",
            "spikes_per_sample": "spikes over all layers and steps",
            "uj": "µJ per sample, estimated",
        },
        "interval": "95 %, Student's t over seeds, as half width beside each mean",
        "teacher": _statistics("accuracy", [result.teacher.percent for result in results]),
        "baseline": _student([result.baseline for result in results]),
        "student": _student([result.student for result in results])
        | _statistics("spikes_saved_percent", [_saved(result) for result in results]),
        "verify": _verification(results),
        "deployed": _deployed(recipe, results),
        "energy": _energy(recipe, results),
    }


def as_json(content: dict[str, Any]) -> str:
    return json_text(content)


def facts(recipe: Recipe, data: DataSet, content: dict[str, Any]) -> dict[str, str]:
    """What the report page states beside its tables."""
    energy, deployed = content["energy"], content["deployed"]
    pair = f"{deployed['chip_profile']}, host {deployed['host_profile']}"
    return {
        "Recipe": recipe.name,
        "Data": data.note,
        "Seeds": ", ".join(map(str, content["seeds"])),
        "Teacher accuracy": _with_interval(content["teacher"], "accuracy", " %")
        + ("" if recipe.teacher.epochs else ", not trained here"),
        f"Accuracy of {recipe.baseline}": _with_interval(content["baseline"], "accuracy", " %"),
        f"Accuracy of {recipe.deployed}": _with_interval(content["student"], "accuracy", " %"),
        f"Spikes per sample of {recipe.baseline}": _with_interval(content["baseline"], "spikes_per_sample"),
        f"Spikes per sample of {recipe.deployed}": _with_interval(content["student"], "spikes_per_sample"),
        "Spikes saved in the layers that spike in both": _with_interval(content["student"], "spikes_saved_percent", " %"),
        f"Energy of {recipe.baseline} as deployed, estimated ({pair})": _with_interval(deployed, "baseline_uj", " µJ"),
        f"Energy of {recipe.deployed} as deployed, estimated ({pair})": _with_interval(deployed, "student_uj", " µJ"),
        "Its change against the baseline": _with_interval(deployed, "change_percent", " %"),
        "Cut behind the chip, seed by seed": ", ".join(cut or "none" for cut in deployed["student_cuts"]),
        f"Energy of {recipe.baseline}, estimated ({energy['profile']})": _with_interval(energy, "baseline_uj", " µJ"),
        f"Energy of {recipe.deployed}, estimated ({energy['profile']})": _with_interval(energy, "student_uj", " µJ"),
        "Mismatched spikes of the exported artefacts": ", ".join(
            f"{key.removesuffix('_mismatched_spikes')} {value}"
            for key, value in content["verify"].items()
            if key.endswith("_mismatched_spikes")
        ),
    }


def parts(graph: Graph, placed: Mapping[str, Place]) -> dict[str, str]:
    """Which layers of the deployed network run where; `placed` is as its report has it."""
    headings = {"encoder": "On the host, before the chip", "body": "On the chip", "head": "On the host, after the chip"}
    costly = ops.Weighted | ops.Spiking
    cut = partition(graph, spikes_only=False)
    # without places more than spikes crosses its cuts, as a host allows
    places = placed or {name: cast(Place, part.name) for part in reversed(cut.parts) for name in part.members}
    return {
        headings[part.name]: ", ".join(
            node.name for node in graph.nodes if places.get(node.name) == part.name and isinstance(node, costly)
        )
        or "nothing"
        for part in cut.parts
    }


def notices(recipe: Recipe) -> list[str]:
    """What a reader of the report must know to read it rightly."""
    counted = headline(recipe.export.target_options())
    entries = [
        f"Tables and figures show seed {recipe.seeds[0]}; the list at the end gives means over all seeds with 95 % intervals.",
        "Counts are those of the deployed networks, batch norm folded.",
        *(() if counted is None else counted[0].notices(counted[1])),
        "The first figure is that of the deployment, chip and host together as the bundle is cut; profiles of arithmetic below "
        "it price every spike-driven layer by its synaptic operations, also where the bundle runs it densely on the host.",
    ]
    if recipe.export.finetune is not None:
        entries.insert(2, f"{recipe.deployed} has been fine-tuned for {recipe.export.targets[0]}, and is counted so.")
    if recipe.student_named(recipe.deployed).repact:
        entries.append(
            f"RepAct: the last activation of {recipe.deployed} is a ReLU, so that layer emits no spikes and the classifier "
            "after it costs multiply-accumulates. Its cost is in the energy as deployed, on the cut that costs least."
        )
    return entries


def _statistics(key: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Mean and interval over the seeds; None where one of them has no value."""
    per_seed = list(values)
    known = [value for value in per_seed if value is not None]
    average, half = mean_and_interval(known) if len(known) == len(per_seed) else (None, None)
    return {key: average, f"{key}_interval": half, f"{key}_per_seed": per_seed}


def _student(networks: Sequence[Deployed]) -> dict[str, Any]:
    quantised = [network.quantised.accuracy.percent for network in networks if network.quantised is not None]
    return {
        **_statistics("accuracy", [network.result.accuracy.percent for network in networks]),
        **_statistics("trained_accuracy", [network.trained.accuracy.percent for network in networks]),
        **(_statistics("quantised_accuracy", quantised) if quantised else {}),
        **_statistics("spikes_per_sample", [network.result.spikes_per_sample for network in networks]),
        "spikes_per_sample_by_layer": {
            layer: mean_and_interval(network.result.spikes[layer] for network in networks)[0]
            for layer in networks[0].result.spikes
        },
    }


def _saved(result: SeedResult) -> float:
    """Percent fewer spikes, over the layers that spike in both networks."""
    shared = result.student.result.spikes.keys() & result.baseline.result.spikes.keys()
    before, after = (sum(n.result.spikes[layer] for layer in shared) for n in (result.baseline, result.student))
    return 100 * (1 - after / before)


def _verification(results: Sequence[SeedResult]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for target in results[0].verifications:
        outcomes = [result.verifications[target] for result in results]
        answer[f"{target}_mismatched_spikes"] = sum(o.mismatches for o in outcomes)
        answer[f"{target}_spikes_compared"] = sum(o.spikes_compared for o in outcomes)
        answer[f"{target}_bundles"] = [str(result.bundles[target]) for result in results]
    return answer


def _deployed(recipe: Recipe, results: Sequence[SeedResult]) -> dict[str, Any]:
    """Chip and host together, as each network is cut, under the recipe's first profile and its host's."""
    answer: dict[str, Any] = {
        "chip_profile": recipe.energy.profiles[0],
        "host_profile": recipe.energy.host,
        "estimate": True,
        "baseline_cuts": [r.baseline_report.cut for r in results],
        "student_cuts": [r.report.cut for r in results],
    }
    pairs = [(headline_of(r.baseline_report), headline_of(r.report)) for r in results]
    for role, parts in zip(("baseline", "student"), zip(*pairs, strict=True), strict=True):
        answer |= _statistics(f"{role}_uj", [None if one is None else one.total_uj for one in parts])
        answer |= _statistics(f"{role}_chip_uj", [None if one is None else one.chip_uj for one in parts])
        answer |= _statistics(f"{role}_host_uj", [None if one is None else one.host_uj for one in parts])
    changes = [None if a is None or b is None else change_percent(b.total_uj, a.total_uj) for a, b in pairs]
    return answer | _statistics("change_percent", changes)


def _energy(recipe: Recipe, results: Sequence[SeedResult]) -> dict[str, Any]:
    profile, *others = recipe.energy.profiles
    reports = {"baseline_uj": [r.baseline_report for r in results], "student_uj": [r.report for r in results]}
    answer: dict[str, Any] = {"profile": profile, "estimate": True}
    for key, entries in reports.items():
        answer |= _statistics(key, [report.energy(profile).total_uj for report in entries])
    answer["other_profiles"] = {
        name: {key: _statistics(key, [r.energy(name).total_uj for r in entries])[key] for key, entries in reports.items()}
        for name in others
    }
    return answer


def _with_interval(section: dict[str, Any], key: str, unit: str = "") -> str:
    half = section[f"{key}_interval"]
    if section[key] is None:
        return "no price"
    return f"{section[key]:,.4g}{unit}" + ("" if half is None else f" ± {half:,.2g}")
