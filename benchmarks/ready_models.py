"""Make a ready model of a trained student: measure it, export it, verify its bundles, and write its folder with its card.

    python -m benchmarks.ready_models --run runs/resnet8-fsdd-t4 --commit d7b9890

Nothing on a card is typed: accuracies, spikes and energies are of the whole test set and of the network that is exported; a
target that cannot express it is on the card with its reason. Licences, which cannot be measured, are in `licences.toml` beside
this program. The checkpoint keeps the weights, and nothing of its optimizer.
"""

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from neurodeploy.app import ready
from neurodeploy.app.accounting import energy_report
from neurodeploy.app.cutting import weighed_for
from neurodeploy.app.deployment import Deployment, deployed_cuts, deployed_graph, headline
from neurodeploy.app.model import Model, of_checkpoint
from neurodeploy.data import DataSet
from neurodeploy.data.samples import chosen
from neurodeploy.io import tensors
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import atomic_folder, sha256, write_text
from neurodeploy.io.kinds import kind_of
from neurodeploy.io.version import VERSION
from neurodeploy.recipe import Recipe, built_in
from neurodeploy.training import checkpoint
from neurodeploy.training.carried import CARRIED, carry
from neurodeploy.training.checkpoint import HELD, Checkpoint, Progress
from neurodeploy.training.evaluation import Evaluation, evaluate
from neurodeploy.training.experiment import checkpoint_of
from neurodeploy.training.results import RESULTS, Results
from neurodeploy_energy import Report
from neurodeploy_energy.price.deployment import DeploymentEnergy
from neurodeploy_energy.price.deployment import headline as headline_of
from neurodeploy_energy.price.profiles import load as load_profile
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify import verify

TARGETS = ("onnx", "lava")
LICENCES = Path(__file__).with_name("licences.toml")


def with_samples_first(data: DataSet, count: int) -> DataSet:
    """The data set with `count` test samples from all over the test set before the others: those that a bundle carries."""
    total = len(data.test_labels)
    first = torch.arange(0, total, max(1, total // count))[:count]
    rest = torch.ones(total, dtype=torch.bool)
    rest[first] = False
    order = torch.cat([first, rest.nonzero()[:, 0]])
    return replace(data, test_samples=chosen(data.test_samples, order), test_labels=data.test_labels[order])


def bare(path: Path) -> tuple[Progress, dict[str, dict[str, torch.Tensor]]]:
    """A checkpoint's header, without the folder of its teacher's weights, and its tensors without the optimizer's.

    Raises:
        UserError: it is no checkpoint of a recipe's student, or its training has not come to its end.
    """
    header, groups = checkpoint.read(path)
    if not isinstance(header, Progress) or header.relu:
        raise UserError(f"{path}: a student of a recipe expected")
    if not header.complete:
        raise UserError(f"{path}: after {header.epoch} of {header.settings.epochs} epochs; finish its training first")
    header = header.model_copy(update={"recipe": bare_recipe(header.recipe)})
    return header, {name: groups[name] for name in ("network", HELD) if name in groups}


def exported(
    model: Model, deployment: Deployment, trained: Evaluation, folder: Path, samples: int, prices: tuple[str, str]
) -> dict[str, ready.CardBundle]:
    """The exact bundles below `folder`, cut where chip and host together cost least under these profiles, and the refusals.

    Raises:
        Failure: a bundle does not verify.
    """
    subject = deployment.subject(model.title, samples=samples, calibration=64, accuracy={"float": trained.accuracy})
    bundles = {}
    for name in TARGETS:
        target, given = find(name), {"quantize": "exact"}
        try:
            cut = weighed_for(target, target.options(given), subject, *map(load_profile, prices))
            written = target.export(cut.subject, folder / name, cut.options)
        except UserError as error:
            bundles[name] = ready.CardBundle(options=given, refusal=str(error))
            continue
        outcome = verify(written)
        if not outcome.passed:
            raise Failure(f"{written}: the exported artefact differs: {'; '.join(outcome.findings)}")
        measured = read_bundle(written).manifest.accuracy.get("exported")
        bundles[name] = ready.CardBundle(
            options=given,
            samples=samples,
            spikes_compared=outcome.spikes_compared,
            mismatches=outcome.mismatches,
            answers=None if measured is None else ready.CardAnswers(correct=measured.correct, samples=measured.samples),
        )
    return bundles


def priced(report: Report, profiles: tuple[str, ...]) -> ready.CardEnergy:
    """The energy as deployed, and under the further profiles.

    Raises:
        UserError: it has none.
    """
    found: DeploymentEnergy | None = headline_of(report)
    if found is None:
        raise UserError("energy.profiles: the first one prices no deployment; a chip's expected, such as loihi1")
    others = {one: report.energy(one).total_uj for one in profiles[1:]}
    return ready.CardEnergy(
        chip=found.chip.name,
        host=found.host.name,
        cut=report.cut,
        total_uj=found.total_uj,
        chip_uj=found.chip_uj,
        host_uj=found.host_uj,
        left_out=found.left_out,
        further={name: uj for name, uj in others.items() if uj is not None},
    )


def relu_of(run: Path, header: Progress, role: str, data: DataSet, licences: Mapping[str, Any]) -> ready.CardTeacher:
    """The teacher, or the source, on the same test set, and what it would cost on the host."""
    recipe, path = header.recipe, checkpoint_of(run, header.seed, role)
    network, settings = checkpoint.load(path).network, recipe.relu(role)
    assert settings is not None
    answers = evaluate(network, data.test_samples, data.test_labels, workers=data.workers).accuracy
    model = Model(role, network, data.test_samples, data.note, workers=data.workers, host_alone=True)
    host = energy_report(model, data.test_samples, (recipe.energy.profiles[0],), host=recipe.energy.host)
    cost = headline_of(host)
    if settings.module is None:
        what, licence = f"trained by the same recipe (epochs: {settings.epochs})", "Apache-2.0, as this package"
    elif settings.module in licences["teacher"]:
        what, licence = licences["teacher"][settings.module]
    else:
        raise UserError(f"{LICENCES}: teacher.{settings.module!r}: missing; write where it is from and its licence")
    if settings.arguments:
        what += f" ({', '.join(f'{name} = {value}' for name, value in settings.arguments.items())})"
    right = ready.CardAnswers(correct=answers.correct, samples=answers.samples)
    return ready.CardTeacher(what=what, licence=licence, answers=right, host_uj=None if cost is None else cost.total_uj)


def make(
    run: Path, name: str | None, role: str | None, seed: int | None, commit: str | None, samples: int, notes: Sequence[str] = ()
) -> Path:
    """A ready model's folder, of a run's folder; replaced whole or left as it was.

    Raises:
        UserError: the run has no such student, or it cannot be used.
        Failure: a bundle does not verify.
    """
    results = Results.model_validate_json((run / RESULTS).read_bytes()) if (run / RESULTS).is_file() else None
    path = student_of(run, role, seed)
    header, groups = bare(path)
    check_recipe(header)
    recipe, licences = header.recipe, tomllib.loads(LICENCES.read_text("utf-8"))
    kind = kind_of(recipe.data)
    if kind not in licences["data"]:
        raise UserError(f"{LICENCES}: data.{kind}: missing; write where they are from and their licence")
    loaded = checkpoint.load(path)
    data = with_samples_first(loaded.load_data(), samples)
    title = name or recipe.name
    with atomic_folder(ready.root() / title, marker=ready.CARD) as folder:
        tensors.write(folder / ready.CHECKPOINT, "neurodeploy", header, groups)
        carry(folder / CARRIED, first_only(data, samples))
        card = measured(title, loaded, header, data, run, samples, folder, licences)
        origin = card.origin.model_copy(update={"commit": commit or (None if results is None else results.commit)})
        files = {str(one.relative_to(folder)): sha256(one) for one in sorted(folder.rglob("*")) if one.is_file()}
        write_text(
            folder / ready.CARD,
            card.model_copy(update={"origin": origin, "files": files, "notes": tuple(notes)}).model_dump_json(indent=1) + "\n",
        )
    return ready.checked(title)


def check_recipe(header: Progress) -> None:
    """Refuse a network whose recipe is not the embedded one of that name: the command on its card would train another.

    Raises:
        UserError: it is not, or there is none.
    """
    embedded, trained = built_in().get(header.recipe.name), header.recipe
    if embedded is None:
        raise UserError(f"{trained.name}: no embedded recipe of that name; put it in neurodeploy/recipes first")
    made, wanted = (bare_recipe(one).model_dump(exclude={"seeds", "description"}) for one in (trained, embedded))
    differing = [field for field in made if made[field] != wanted[field]]
    if differing:
        raise UserError(f"{trained.name}: trained with other settings than the embedded recipe's: {', '.join(differing)}")


def bare_recipe(recipe: Recipe) -> Recipe:
    """The recipe without the folders of weights of teacher and source."""
    found = {"teacher": recipe.teacher, "source": recipe.source}
    bare = {
        role: relu.model_copy(update={"weights": Path(relu.weights.name)})
        for role, relu in found.items()
        if relu is not None and relu.weights is not None
    }
    return recipe.model_copy(update=bare)


def first_only(data: DataSet, count: int) -> DataSet:
    """The data set with its first test samples alone."""
    return replace(data, test_samples=data.test_samples[:count], test_labels=data.test_labels[:count])


def student_of(run: Path, role: str | None, seed: int | None) -> Path:
    """The checkpoint of the deployed student, or of the one asked for."""
    found = sorted(run.glob("seed-*/*/checkpoint.safetensors"))
    if not found:
        raise UserError(f"{run}: no checkpoint found; the folder of `neurodeploy run` or `neurodeploy train` expected")
    header, _ = checkpoint.read(found[0])
    if not isinstance(header, Progress):
        raise UserError(f"{found[0]}: a network of a recipe expected")
    recipe = header.recipe
    return checkpoint_of(run, recipe.seeds[0] if seed is None else seed, role or recipe.deployed)


def measured(
    title: str,
    loaded: Checkpoint,
    header: Progress,
    data: DataSet,
    run: Path,
    samples: int,
    folder: Path,
    licences: Mapping[str, Any],
) -> ready.Card:
    """The card, but for the files' hashes and the commit."""
    recipe, model = header.recipe, of_checkpoint(loaded, data=data)
    if model.deployment is None or model.deployment.code is not None:
        raise UserError(f"{title}: a network that takes samples as they are and has a form as a graph expected")
    deployment, targets = model.deployment, header.targets()
    counted = headline(targets)
    if counted is None:
        raise UserError(f"{recipe.name}: export.targets: empty, the target expected that the energy is to be counted for")
    trained = evaluate(model.module, data.test_samples, data.test_labels, workers=data.workers)
    graph = deployed_graph(deployment.graph, targets)
    stored = deployment.data
    exact = replace(
        model,
        module=deployment.module(graph),
        test_samples=stored.test_samples,
        test_labels=None,  # its right answers are counted once, below
        normalization=stored.normalization,
        cuts=deployed_cuts(deployment.graph, targets),
        graph=graph,
    )
    profiles = tuple(recipe.energy.profiles)
    report = energy_report(exact, stored.test_samples, profiles, host=recipe.energy.host)
    result = evaluate(exact.module, stored.test_samples, stored.test_labels, workers=data.workers)
    total, bundles = report.total, exported(model, deployment, trained, folder, samples, (profiles[0], recipe.energy.host))
    # a file may round more than the network in torch does, such as a classifier that is on the chip: the file is what runs
    right = bundles[counted[0].name].answers if counted[0].name in bundles else None
    return ready.Card(
        name=title,
        description=recipe.description,
        data=data.note,
        data_licence=licences["data"][kind_of(recipe.data)],
        weights_licence="Apache-2.0, as this package",
        steps=recipe.steps_of(header.role),
        parameters=sum(one.numel() for one in loaded.network.parameters()),
        classes=data.classes,
        target=counted[0].name,
        deployed=right or ready.CardAnswers(correct=result.accuracy.correct, samples=result.accuracy.samples),
        trained=ready.CardAnswers(correct=trained.accuracy.correct, samples=trained.accuracy.samples),
        spikes=result.spikes_per_sample,
        synops=total.sops,
        macs=total.macs,
        spikes_by_layer=result.spikes,
        energy=priced(report, profiles),
        teacher=relu_of(run, header, "teacher", data, licences),
        source=None if recipe.source is None else relu_of(run, header, "source", data, licences),
        bundles=bundles,
        origin=ready.CardOrigin(
            recipe=recipe.name,
            role=header.role,
            seed=header.seed,
            epochs=header.epoch,
            command=f"neurodeploy train {recipe.name} --output runs/{recipe.name}",
            commit=None,
            neurodeploy=VERSION,
            torch=torch.__version__,
        ),
        files={},
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of `neurodeploy run` or `neurodeploy train`")
    parser.add_argument("--name", help="of the ready model; the recipe's if not given")
    parser.add_argument("--role", help="which student; the one that the recipe deploys if not given")
    parser.add_argument("--seed", type=int, help="the recipe's first if not given")
    parser.add_argument("--commit", help="of this repository that trained it; that of the run if it was noted there")
    parser.add_argument("--note", action="append", default=[], help="what a reader of the card must know, a sentence")
    parser.add_argument("--samples", type=int, default=16, help="test samples that come with it and verify its bundles")
    given = parser.parse_args()
    try:
        folder = make(given.run, given.name, given.role, given.seed, given.commit, given.samples, given.note)
    except (UserError, Failure) as error:
        parser.exit(2 if isinstance(error, UserError) else 1, f"error: {error}\n")
    print(folder)


if __name__ == "__main__":
    main()
