"""The verbs of `import neurodeploy`: each takes a module, a `Model`, a bundle, or the path of a file or folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, overload
from warnings import warn

import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from neurodeploy.app.accounting import energy_report
from neurodeploy.app.compare import Gathering
from neurodeploy.app.cutting import CHIP, weighed_for
from neurodeploy.app.deployment import normalising, split_code
from neurodeploy.app.model import Model, NirChoices, load_model, of_bundle
from neurodeploy.app.origins import is_nir
from neurodeploy.app.progress import training_bar
from neurodeploy.app.simulation import simulation
from neurodeploy.app.train import train_recipe
from neurodeploy.data import Normalization
from neurodeploy.dynamics.encodings import OwnEncoding
from neurodeploy.graph import Graph, fold_scales
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.grid import with_peak
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import FIRST, AnswerChoice, Recording, canonical, chosen, traced
from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_samples
from neurodeploy.recipe import Recipe, with_seeds
from neurodeploy.recipe import load as load_recipe
from neurodeploy.training.experiment import checkpoint_of, silent
from neurodeploy.training.parallel import fabric_on
from neurodeploy.training.results import Results
from neurodeploy_energy import Report
from neurodeploy_energy.count.batches import Several
from neurodeploy_energy.price.account import HOST
from neurodeploy_energy.price.contest import contest
from neurodeploy_energy.price.profiles import load as load_profile
from neurodeploy_energy.report.report import PROFILES
from neurodeploy_energy.report.versus import ContestReport
from neurodeploy_exporters.bundle import Bundle, read_bundle
from neurodeploy_exporters.simulation import Simulator
from neurodeploy_exporters.target import Target, find, places_of

Samples: TypeAlias = Tensor | NDArray[Any]
Inputs: TypeAlias = Samples | tuple[Samples, ...]
"""A tuple of a network that takes several tensors, one for each of its inputs."""
AnyModel: TypeAlias = nn.Module | Model | Bundle | str | Path


@dataclass(frozen=True)
class Run:
    """A training that is done: `run["student"]` is a network of its first seed, `run.summary` what all of them reached.

    Attributes:
        folder: with a checkpoint for every seed and network.
        summary: accuracies, spikes and energies, with their intervals; `print` shows a table.
    """

    folder: Path
    summary: Results

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of the networks, in the order of training."""
        return self.summary.recipe.roles

    def __getitem__(self, role: str) -> Model:
        return self.model(role)

    def model(self, role: str, seed: int | None = None) -> Model:
        """A trained network; of the first seed, if none is given.

        Raises:
            UserError: there is no such network or seed.
        """
        seeds = self.summary.recipe.seeds
        if role not in self.roles:
            raise UserError(f"{self.folder}: no network {role!r}; there are: {', '.join(self.roles)}")
        if seed is not None and seed not in seeds:
            raise UserError(f"{self.folder}: no seed {seed}; there are: {', '.join(map(str, seeds))}")
        return load_model(checkpoint_of(self.folder, seeds[0] if seed is None else seed, role))

    def __str__(self) -> str:
        return str(self.summary)


@overload
def train(
    recipe: str | Path | Recipe,
    folder: str | Path,
    *,
    seeds: Sequence[int] = (),
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Run: ...


@overload
def train(recipe: Recipe, folder: str, seed: int, path: Path, *others: Any, **options: Any) -> Any: ...


def train(recipe: Any, folder: Any, *others: Any, **options: Any) -> Any:
    """Train every network of a recipe, as `neurodeploy train` does; the second form is that of version 0.1, for one network.

    Args:
        recipe: an embedded recipe's name, a TOML file, or a recipe.
        folder: receives a folder per seed and network, and `results.json`.
        others: the arguments of version 0.1's form.
        options: `seeds` instead of the recipe's; `resume` an interrupted run, to the same weights; `device`: "cpu", "cuda", or
            the GPU if there is one ("auto"); `progress`: show each training on standard error.

    Raises:
        UserError: the recipe or its data cannot be used, or the folder holds another run.
        Failure: a loss is not finite, or the disk is full.
    """
    if others:
        from neurodeploy.training import train as train_network

        warn("neurodeploy.train trains whole recipes now; use neurodeploy.training.train", DeprecationWarning, stacklevel=2)
        return train_network(recipe, folder, *others, **options)
    return _train(recipe, Path(folder), **options)


def _train(
    recipe: str | Path | Recipe,
    folder: Path,
    *,
    seeds: Sequence[int] = (),
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Run:
    settings = with_seeds(recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe)), tuple(seeds))
    fabric, watcher = fabric_on(device, settings.precision), training_bar if progress else silent
    return Run(folder, train_recipe(settings, folder, fabric=fabric, watcher=watcher, resume=resume))


def load(
    source: str | Path, *, module: nn.Module | None = None, written_by: str | None = None, dt: float | None = None
) -> Model:
    """A checkpoint, a bundle's folder or a NIR file by its path, a ready model by its name, or `package.module:name` of a torch
    module of your own.

    Args:
        source: as above; `neurodeploy models` lists the ready ones, of which `NAME/onnx` is a bundle. A path wins over a name.
        module: given the weights of the checkpoint, where that does not know how its network is made.
        written_by: of a NIR file, the framework whose steps its neurons take, with settings that the file does not hold, such
            as "snntorch:reset_mechanism=zero,reset_delay=false"; guessed from its numbers if None, with a warning.
        dt: of a NIR file, one time step in the unit of its time constants.

    Raises:
        UserError: nothing usable is there, or the weights are not those of `module`; the message says what was found.
    """
    if (written_by, dt) != (None, None) and not is_nir(source):
        raise UserError(f"written_by, dt: say how a NIR file is understood, {source} is none; leave them out")
    return load_model(source, NirChoices(convention=written_by, dt=dt), module=module)


def deploy(
    network: nn.Module,
    samples: Inputs,
    *,
    name: str | None = None,
    batch_axis: int = 0,
    time_axis: int | None = None,
    steps: int | None = None,
    normalization: Normalization | tuple[Sequence[float], Sequence[float]] | None = None,
    answer: AnswerChoice = None,
) -> Model:
    """Trace a network, and compare the graph with it on the samples: layer by layer, neuron by neuron, step by step.

    The network may be in plain torch, in layers of the toolkit, or of SpikingJelly, snnTorch, Norse, sinabs or SLAYER; it may
    take all time steps at once, loop over them itself, or compute one step in a call (`steps`). If it answers a sequence, the
    model answers its mean over time. If it answers several tensors, in a tuple, list or dictionary, the model answers all of
    them, but for states: potentials beside spikes, as snnTorch's layers give them, and what is in a tuple behind one tensor,
    as Norse's networks hand it back. Where another has no form in a graph it answers the first alone. What was left out is in
    `Model.statements`.

    Args:
        network: subclasses, hooks and patched methods are followed, or refused by name. States that its layers keep from call
            to call begin anew.
        samples: as the network takes them, `[N, …]`; sequences as `batch_axis` and `time_axis` say. A bundle's sample is taken
            from them. Of a network that takes several tensors a tuple with one for each, all of them sequences or none.
        name: for reports and manifests; the network's class if None.
        batch_axis: axis of the samples in `samples`; 1 for sequences `[T, N, …]`.
        time_axis: axis of time: 1 for sequences `[N, T, …]`, -1 for `[N, …, T]`; None for static samples, or with
            `batch_axis=1`.
        steps: the network computes one time step in a call, and is called so many times: with each step of a sequence, or with
            the same samples every time; one that takes a `state` as its second argument gets the one that it answered.
        normalization: mean and std of each channel. `samples` are then as they are stored, and so are those that the model and
            its bundles take: they normalise them before they compute what the network computes of normalised ones.
        answer: which of several tensors that the network answers are the model's answers: numbers or names, one or several.

    Raises:
        UserError: an operation has no form in a graph, or the graph does not compute what the network computes; the message
            names the layer.
    """
    without, code = split_code(network)
    entrance = replace(chosen(without, batch_axis=batch_axis, time_axis=time_axis, steps=steps), answers=answer, averages=True)
    values, *others = (_tensor(one, batch_axis) for one in (samples if isinstance(samples, tuple) else (samples,)))
    sequences = entrance.timed and code is None
    for one in (values, *others):
        if one.ndim < 2 + sequences or not one.numel():
            raise UserError(f"samples: shape {tuple(one.shape)} found, at least one sample with its axes expected")
    if others and (code is not None or normalization is not None):
        what = "a layer that makes spikes of samples" if code is not None else "normalization"
        raise UserError(f"samples: {1 + len(others)} inputs found with {what}, which is for one; give what enters the network")
    if isinstance(code, OwnEncoding):
        code.check(values[:2])
    given, *beside = (canonical(one, batch_axis=batch_axis, time_axis=time_axis, timed=sequences) for one in (values, *others))
    stored = given if code is None else code(values)
    timed = entrance.timed
    normal = None if normalization is None else _normalization(normalization, stored.shape[2 if timed else 1])
    if normal is not None and code is not None:
        raise UserError(
            f"normalization: {type(network).__name__} makes spikes of its samples, which a host does; give normalised ones"
        )
    entering = stored if normal is None else normal(stored, axis=2 if timed else 1)
    shapes = [tuple(one.shape[2 if timed else 1 :]) for one in (entering, *beside)]
    run = traced(without, shapes, timed=timed, entrance=entrance, length=len(entering) if timed else 1)
    graph = run.graph
    entrance = replace(entrance, answers=FIRST) if run.left and answer is None else entrance
    check_agreement(without, graph, (entering, *beside), entrance)
    folded = fold_scales(graph) if normal is None else normalising(fold_scales(graph), normal)
    held, *further = (one.transpose(0, 1) if timed else one for one in (stored, *beside))
    folded = folded if beside else with_peak(folded, [stored.numpy()])
    title = name or type(network).__name__
    try:
        places = places_of(folded)
    except UserError:
        places = {}
    return Model(
        title,
        GraphModule(folded, batch_first=timed),
        held,
        "samples that it was deployed on",
        places=places,
        graph=folded,
        normalization=normal,
        normalizes=normal is not None,
        original=without,
        entrance=entrance,
        statements=_left_out(run, chosen_by_user=answer is not None),
        further_samples=tuple(further),
    )


def _left_out(run: Recording, *, chosen_by_user: bool) -> tuple[str, ...]:
    """What is to be said of the tensors that a network answers and its model does not."""
    if not run.left:
        return ()
    others = f"leaves out {', '.join(run.left)} of what the network answers"
    if chosen_by_user:
        return (f"{others}, as was chosen",)
    why = run.why or "taken for states of its neurons"
    return (f"{others}: {why}; choose with nd.deploy(…, answer=…)",)


def _normalization(given: Normalization | tuple[Sequence[float], Sequence[float]], channels: int) -> Normalization:
    try:
        made = given if isinstance(given, Normalization) else Normalization(mean=tuple(given[0]), std=tuple(given[1]))
    except (ValidationError, TypeError, IndexError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "mean and std of each channel expected"
        raise UserError(f"normalization: {given!r} found, {reason}") from None
    if not made.fits(channels):
        raise UserError(f"normalization: {len(made.mean)} channels found, the {channels} of the samples expected")
    return made


def export(
    model: Model | str | Path,
    target: str,
    folder: str | Path,
    *,
    inputs: Samples | None = None,
    samples: int = 16,
    calibration: int = 64,
    chip: str = CHIP,
    host: str = HOST,
    **options: Any,
) -> Bundle:
    """Write a bundle.

    Args:
        model: of `deploy` or `load`, or the path of a checkpoint.
        target: "onnx", "lava", "nir", "c" or another installed target.
        chip, host: energy profiles by name or path: where an option leaves it open, the network is cut into chip and host where
            both together cost least under them, on the samples of the bundle.
        folder: replaced if it is a bundle already.
        inputs: samples `[N, …]` of a model that brings none, such as a NIR file.
        samples: so many samples are in the bundle, for its verification.
        calibration: so many more are there for a target to round by.
        options: of the target, such as `quantize="exact"`.

    Raises:
        UserError: the target is unknown, lacks an option, or cannot express the network; the message names the layer.
    """
    chosen_target = find(target)
    chosen = chosen_target.options(options)
    source = model if isinstance(model, Model) else load_model(model)
    if source.graph is not None:
        _check_several(source.graph, chosen_target)
    if source.graph is not None:
        chosen_target.check(source.graph, chosen, calibrated=calibration > 0)  # before an accuracy is measured
    if inputs is not None:
        source = replace(source, test_samples=_tensor(inputs), deployment=None)
    subject = source.subject(samples=samples, calibration=calibration)
    found = weighed_for(chosen_target, chosen, subject, load_profile(chip), load_profile(host))
    return read_bundle(chosen_target.export(found.subject, Path(folder), found.options))


def _check_several(graph: Graph, target: Target) -> None:
    """Raises UserError where a graph has several inputs or answers, and a target's bundles have one."""
    taken, given = ([node.name for node in nodes] for nodes in (graph.inputs, graph.outputs))
    if target.several or len(taken) == len(given) == 1:
        return
    if len(given) > 1:
        what = f"{len(given)} answers found ({', '.join(given)}); choose one with nd.deploy(…, answer={given[0]!r})"
    else:
        what = f"{len(taken)} inputs found ({', '.join(taken)}); give the network one that holds them all"
    raise UserError(f"target {target.name}: its bundles have one input and one answer, {what}, or export to onnx")


def energy(
    model: AnyModel,
    samples: Inputs | None = None,
    *,
    baseline: AnyModel | None = None,
    twin: AnyModel | None = None,
    profiles: Sequence[str] = PROFILES,
    host: str = HOST,
    steps: int | None = None,
    batch_axis: int | None = None,
    time_axis: int | None = None,
    fold: bool = True,
    simulator: Simulator | None = None,
) -> Report:
    """Spikes and operations, counted layer by layer, and estimated energy; `print` it, look at it in a notebook, `save` it.

    Args:
        model: a torch module, a `Model`, a bundle, or the path of a checkpoint, bundle or NIR file.
        samples: `[N, …]`; a checkpoint's test set or a bundle's sample if None. They are run in batches of 250. A tuple of a
            model that takes several tensors, one for each of its inputs.
        baseline: a model to compare with, counted on the same samples: normalised where it takes them so, or is a torch
            module, and `model` normalises them itself.
        twin: the trained ReLU network that stands for the model, such as its teacher.
        profiles: energy profiles by name or path; the first is the headline.
        host: profile of the host that computes what is before and after a chip.
        steps: T of a torch module whose neurons take one step at a time and that has no loop over time of its own.
        batch_axis: axis of the samples of a torch module: 0, or 1 for `[T, B, …]`; None: that along which a sample alone counts
            what it counts among others.
        time_axis: axis of the time steps of a torch module; with `steps` it is called with one of them at a time.
        fold: whether layers with nothing between them that is not linear, such as those of RepConv and RepVGG, count as the one
            layer that computes the same. Batch norms are folded in any case.
        simulator: of a chip's architecture, a program of somebody else's, in which the chip's part of a bundle also runs on the
            first samples: `neurodeploy_exporters.simulation.Simulator("sana-fe", python)`.

    Raises:
        UserError: there are no samples, the model does not run on them, the axis of the samples is not clear, a profile is
            unknown, or the simulator is not there or cannot hold the model.
        Failure: the simulator fails.
    """
    subject, *others = (None if one is None else _model(one) for one in (model, baseline, twin))
    assert subject is not None
    values: Any = subject.test_samples
    if samples is not None:
        along = batch_axis or 0
        values = _several(samples, along) if isinstance(samples, tuple) else _tensor(samples, along)
    elif subject.further_samples:
        values = Several((values, *subject.further_samples))
    if values is None:
        raise UserError(f"{subject.name}: brings no data of its own; give samples")
    run: dict[str, Any] = {"fold": fold}
    if (steps, batch_axis, time_axis) != (None, None, None):
        if not subject.is_module or (others[0] is not None and not others[0].is_module):
            raise UserError(
                "steps, batch_axis, time_axis: for torch modules; a model, bundle or path takes samples [N, …] and has its T"
            )
        run |= {"steps": steps, "batch_axis": batch_axis, "time_axis": time_axis}
    relu, reference = None, None
    if others[1] is not None:
        relu = energy_report(others[1], others[1].taking(values, subject), profiles, fold=fold)
    if others[0] is not None:
        reference = energy_report(others[0], others[0].taking(values, subject), profiles, host=host, twin=relu, **run)
    simulated = () if simulator is None else (simulation(subject, values, simulator),)
    report = energy_report(subject, values, profiles, host=host, baseline=reference, twin=relu, **run)
    return replace(report, simulated=simulated)


def compare(
    *runs: str | Path, baseline: str | None = None, profiles: Sequence[str] = PROFILES, host: str = HOST
) -> ContestReport:
    """Accuracy against energy over runs and seeds, with intervals, the Pareto front, and where the profile decides.

    Args:
        runs: run folders, checkpoints, or `report.json` files.
        baseline: name of the model that the others are compared with; the first if None.
        profiles: energy profiles by name or path; the first is the headline.
        host: profile of the host.

    Raises:
        UserError: one of the runs cannot be used, or none is named like the baseline.
    """
    outcome = contest(Gathering(tuple(profiles), host).contenders([Path(run) for run in runs]), baseline=baseline)
    return ContestReport(**vars(outcome))


def _model(model: AnyModel) -> Model:
    if isinstance(model, Model):
        return model
    if isinstance(model, Bundle):
        return of_bundle(model.folder)
    if isinstance(model, nn.Module):
        return Model(type(model).__name__, model, None, "samples of the caller", batch=None, is_module=True)
    return load_model(model)


def _several(samples: tuple[Samples, ...], batch_axis: int) -> Several:
    tensors = tuple(_tensor(one, batch_axis) for one in samples)
    if len({one.shape[batch_axis] for one in tensors}) != 1:
        counts = ", ".join(str(one.shape[batch_axis]) for one in tensors)
        raise UserError(f"samples: {counts} found for the inputs, as many of each expected")
    return Several(tensors)


def _tensor(samples: Samples, batch_axis: int = 0) -> Tensor:
    if isinstance(samples, Tensor):
        as_samples(samples, "samples", axis=batch_axis, keep=True)
        return samples
    return torch.from_numpy(as_samples(samples, "samples", axis=batch_axis))
