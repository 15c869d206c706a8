"""Finding the model that a command is asked about: a checkpoint, a bundle, a NIR file, or a torch module of the user's code."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.app.deployment import Deployment, deploy, deployed_cuts, headline
from neurodeploy.app.origins import is_chip_file, is_nir, is_onnx_file
from neurodeploy.app.ready import located
from neurodeploy.data import DataSet, Normalization, Samples
from neurodeploy.data.samples import Normalized
from neurodeploy.dynamics import layers
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import GraphModule, place
from neurodeploy.graph.tracing import Entrance, entrance_of, follow
from neurodeploy.io.arrays import read_array
from neurodeploy.io.errors import UserError
from neurodeploy.io.modules import module_named
from neurodeploy.io.values import as_samples
from neurodeploy.training import checkpoint
from neurodeploy.training.evaluation import evaluate
from neurodeploy_energy.count.onnx_file import OnnxNetwork
from neurodeploy_exporters.bundle.visibility import CANDIDATES
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.graded import SigmaDeltaNetwork
from neurodeploy_exporters.lava.graphs import Check, check, chip_graph, differing, float_graph
from neurodeploy_exporters.lava.reading import open_circuit
from neurodeploy_exporters.lava.sanafe import simulate_body
from neurodeploy_exporters.lava.sigmadelta import are_graded
from neurodeploy_exporters.nir import Reading, read_with_conventions
from neurodeploy_exporters.simulation import ChipSimulation, Simulator
from neurodeploy_exporters.target import ModuleAnswers, Place, Subject, find, places_of
from neurodeploy_exporters.verify.artefact import Artefact, read_artefact


@dataclass(frozen=True)
class NirChoices:
    """What a NIR file does not tell; see `neurodeploy_exporters.nir.read_with_conventions`.

    Attributes:
        convention, dt, reset, input_shape: for reading.
        steps: how often a static sample is fed; None if the samples are sequences.
    """

    convention: str | None = None
    dt: float | None = None
    reset: Literal["hard", "soft"] | None = None
    input_shape: tuple[int, ...] | None = None
    steps: int | None = None

    def read(self, path: Path) -> Reading:
        """The network in a file.

        Raises:
            UserError: it is none, or the choices do not fit it.
        """
        reading = read_with_conventions(
            path, convention=self.convention, dt=self.dt, reset=self.reset, input_shape=self.input_shape
        )
        if self.steps is not None and reading.graph.steps is not None:
            raise UserError(f"{path}: tells its own number of steps, {reading.graph.steps}; leave out --steps")
        return reading


def as_fed(graph: Graph, samples: Tensor, steps: int | None, origin: Path) -> Tensor:
    """Samples of a file as the graph's module takes them: `[N, *shape]`, or `[N, T, *shape]` where its input is a sequence.

    Args:
        graph: of a NIR file.
        samples: sequences `[N, T, *shape]`; static samples `[N, *shape]` if the graph's input is static, or `steps` given.
        steps: how often a static sample is fed to an input that is a sequence.
        origin: of the samples, for messages.

    Raises:
        UserError: they have another shape.
    """
    shape, repeated = graph.input.shape, graph.input.timed and steps is not None
    leading = 2 if graph.input.timed and not repeated else 1
    if samples.ndim != leading + len(shape) or tuple(samples.shape[leading:]) != shape:
        axes = ", ".join(map(str, shape))
        wanted = f"[N, T, {axes}], or [N, {axes}] with --steps," if graph.input.timed else f"[N, {axes}]"
        raise UserError(f"{origin}: samples of shape {tuple(samples.shape)} found, {wanted} expected by the NIR file")
    return samples.unsqueeze(1).expand(-1, steps or 1, *shape).contiguous() if repeated else samples


_VALUES = 1 << 25  # spikes of a batch, all layers and steps together: 128 MiB as the runtimes give them


class ArtefactModule(GraphModule):
    """The network that a bundle's files hold; its synapses are computed in torch, its spikes are the artefact's.

    A batch runs through ONNX Runtime, the fixed-point simulator or the reference interpreter, and every spiking layer answers
    with what it fired there, whatever the currents of its own would have made of it.

    Args:
        artefact: read back from a bundle.
    """

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(artefact.graph, batch_first=artefact.graph.input.timed)
        self.artefact = artefact
        self._samples: Tensor | None = None
        self._spikes: dict[str, Tensor] = {}
        for name in artefact.graph.spiking:
            node = artefact.graph[name]
            assert isinstance(node, ops.Spiking)
            place(self, name, _Recorded(name, node, self._spikes_of))

    @property
    def batch(self) -> int:
        """Samples to run at a time, so that the spikes of all layers stay in bounded memory."""
        graph, steps = self.artefact.graph, self.artefact.bundle.manifest.steps
        each = steps * sum(torch.Size(graph.shape(name)).numel() for name in graph.spiking)
        return max(1, _VALUES // each)

    def forward(self, *inputs: Tensor) -> Any:
        """`[B, *shape]`, or `[B, T, *shape]` of a network that takes sequences → logits `[B, K]`; a tuple of several answers.

        Raises:
            UserError: the samples have another shape, or an artefact cannot be run.
        """
        (samples,) = inputs
        shape, timed = self.graph.input.shape, self.graph.input.timed
        if samples.ndim != 1 + timed + len(shape) or tuple(samples.shape[1 + timed :]) != shape:
            folder, found = self.artefact.bundle.folder, tuple(samples.shape)
            axes = ", ".join(map(str, (*(("T",) if timed else ()), *shape)))
            raise UserError(f"{folder}: samples of shape {found} found, [N, {axes}] expected by the bundle")
        self._samples, self._spikes = samples, {}
        try:
            return super().forward(samples)
        finally:
            self._samples, self._spikes = None, {}

    def _spikes_of(self, layer: str) -> Tensor:
        """`[T, B, …]`. The artefact runs when its first layer is asked for: inside a layer, where nothing else is counted."""
        if self._samples is not None:
            inputs = self._samples.transpose(0, 1) if self.graph.input.timed else self._samples
            given = inputs.detach().cpu().float().contiguous().numpy()
            # in a thread of its own: a counter sees what torch computes in its thread, and a simulator's sums are none of the
            # network's, though a layer with recurrent weights is one that it looks into
            with ThreadPoolExecutor(1) as runtime:
                fired = runtime.submit(self.artefact.fire, given).result()
            self._spikes, self._samples = {name: torch.from_numpy(spikes) for name, spikes in fired.items()}, None
        return self._spikes.pop(layer)


class _Recorded(layers.Neuron):
    """A spiking layer that fires what was recorded."""

    def __init__(self, name: str, node: ops.Spiking, spikes_of: Callable[[str], Tensor]) -> None:
        super().__init__(node.constants)
        self._name, self._spikes_of = name, spikes_of
        cell = node if isinstance(node, ops.CellNode) else None
        self.update = None if cell is None else cell.update
        weight = node.recurrent if isinstance(node, ops.CellNode | ops.FixedPointNeuronNode) else None
        held = None if weight is None else torch.from_numpy(weight.astype(np.float32))
        self.recurrent = None if held is None else nn.Parameter(held, requires_grad=False)

    def forward(self, current: Tensor, *_others: Tensor) -> Tensor:
        """Input currents `[T, B, …]` → the artefact's spikes `[T, B, …]`."""
        spikes = self._spikes_of(self._name)
        if self.recurrent is not None:
            for fired in spikes[:-1]:  # what came back: computed to be counted, as other synapses are
                functional.linear(fired.flatten(1).to(self.recurrent), self.recurrent)
        if spikes.shape != current.shape:
            raise UserError(f"layer {self._name}: spikes {tuple(spikes.shape)} found, {tuple(current.shape)} expected")
        return spikes.to(current)


BATCH = 250


@dataclass(frozen=True, eq=False)
class Model:
    """A network that can be exported, counted and compared, wherever it comes from; `print` shows what it is.

    Attributes:
        name: for reports.
        module: in evaluation mode.
        test_samples: `[N, …]`: of the checkpoint's own data set, the sample of a bundle, or what it was deployed on; None for a
            NIR file or a torch module.
        data: what `test_samples` are, in a sentence.
        test_labels: of `test_samples`.
        places: layer name → part of the deployed network; empty for a torch module, and for one that cannot be cut.
        statements: what was assumed of a NIR file, or what fires a bundle's spikes, a sentence each.
        warnings: those of the assumptions that nobody made and on which spikes depend.
        graph: batch norm folded; None for a torch module that was not deployed, and for a ReLU network.
        steps: how often a NIR file's network is fed a static sample; None if samples are sequences.
        batch: samples to run at a time, at most; None for all that are given.
        is_module: whether it is a torch module of the caller's, of which it is not known how it takes its samples.
        deployed: an artefact, whose runtimes compute on the CPU and not on the machine's accelerators.
        deployment: of a checkpoint.
        title: of its bundles, where `name` says more.
        workers: processes that read samples which are not in memory.
        class_names: of the classes; empty if they have none.
        normalization: of the samples, where one is known.
        normalizes: `module` does that itself, and takes samples as they are stored; else it takes normalised ones. `graph`
            always takes them as they are stored.
        original: the user's module that `graph` was traced from; it takes normalised samples.
        entrance: how `original` takes its samples, if not as `entrance_of` says.
        cuts: ways in which it may be cut into chip and host: name → layer → part; empty where nothing but `places` is known.
        host_alone: it is deployed on a processor alone.
        further_samples: of the inputs beside the first, where the network takes several, as `test_samples`.
        stays: why it cannot be exported; empty if nothing is known against it.
        simulate: runs its chip part, on inputs `[B, …]` or `[T, B, …]`, in a simulator of the chip's architecture.
    """

    name: str
    module: nn.Module
    test_samples: Samples | None
    data: str
    test_labels: Tensor | None = None
    places: dict[str, Place] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    graph: Graph | None = None
    steps: int | None = None
    batch: int | None = BATCH
    is_module: bool = False
    deployed: bool = False
    deployment: Deployment | None = None
    title: str = ""
    workers: int = 0
    class_names: tuple[str, ...] = ()
    normalization: Normalization | None = None
    normalizes: bool = False
    original: nn.Module | None = None
    entrance: Entrance | None = None
    cuts: Mapping[str, Mapping[str, Place]] = field(default_factory=dict)
    host_alone: bool = False
    stays: str = ""
    further_samples: tuple[Tensor, ...] = ()
    simulate: Callable[[NDArray[Any], Simulator], ChipSimulation] | None = None

    def taking(self, samples: Samples, of: "Model") -> Samples:
        """The samples of another model as `module` takes them.

        A module of the caller's, of which nothing is known, takes normalised ones where the other model normalises them.

        Args:
            samples: as the module of the other model takes them.
            of: that model.

        Raises:
            UserError: they are normalised, this module does that itself, and they are unknown before it.
        """
        if self.normalizes == of.normalizes:
            return samples
        if of.normalizes:
            assert of.normalization is not None
            made = Normalized(samples, of.normalization, isinstance(of.module, GraphModule) and of.module.graph.input.timed)
            return made[:] if isinstance(samples, Tensor) else made
        if not isinstance(samples, Normalized):
            raise UserError(
                f"{self.name}: takes samples as they are stored, {of.name} normalised ones; give two models that take the same"
            )
        return samples.raw

    def subject(self, *, samples: int = 16, calibration: int = 64) -> Subject:
        """What an export target takes.

        Args:
            samples: so many of the test samples go into the bundle.
            calibration: so many training samples, or those after the former where there is no training set, are there to
                round by.

        Raises:
            UserError: it has no form as a graph, or no samples, or is an exported artefact already.
        """
        if self.stays:
            raise UserError(f"{self.name}: {self.stays}")
        if self.deployed or self.graph is None:
            what = "an exported artefact already" if self.deployed else "a torch module; call neurodeploy.deploy on it first"
            raise UserError(f"{self.name}: cannot be exported, it is {what}")
        if self.deployment is not None:
            assert self.test_samples is not None
            assert self.test_labels is not None
            accuracy = {"float": evaluate(self.module, self.test_samples, self.test_labels, workers=self.workers).accuracy}
            return self.deployment.subject(self.title or self.name, samples=samples, calibration=calibration, accuracy=accuracy)
        if self.test_samples is None:
            raise UserError(f"{self.name}: brings no samples of its own; give some")
        parts = (self.test_samples[:samples], self.test_samples[samples : samples + calibration])
        timed = self.graph.inputs[0].timed
        further = self.test_samples[samples : samples + CANDIDATES]
        carried, rest, candidates = (
            part.transpose(0, 1).contiguous().numpy() if timed else part.numpy() for part in (*parts, further)
        )
        beside = tuple(x[:samples] for x in self.further_samples)
        names = [node.name for node in self.graph.inputs[1:]]
        return Subject(
            graph=self.graph,
            sample_inputs=carried,
            name=self.title or self.name,
            calibration=rest if len(parts[1]) else None,
            candidates=None if self.further_samples else candidates,
            module=self._answered((parts[0], *beside)),
            assumed=tuple(f"Assumed of the NIR file: {text}." for text in self.warnings),
            further={
                name: (x.transpose(0, 1) if timed else x).contiguous().numpy() for name, x in zip(names, beside, strict=True)
            },
        )

    def _answered(self, samples: tuple[Tensor, ...]) -> ModuleAnswers | None:
        """What the user's own module answers to samples, of each input."""
        if self.original is None or self.graph is None:
            return None
        timed, count = self.graph.inputs[0].timed, len(samples[0])
        if self.normalizes and self.normalization is not None:
            samples = tuple(self.normalization(x, axis=2 if timed else 1) for x in samples)
        entrance = entrance_of(self.original, timed=timed) if self.entrance is None else self.entrance
        run = follow(self.original, tuple(x.transpose(0, 1) if timed else x for x in samples), entrance, keep=True)
        spikes = {name: run.values[name].cpu().numpy() for name in self.graph.spiking if name in run.values}
        logits, *others = (one.detach().cpu().numpy().reshape(count, -1) for one in run.answers.values())
        return ModuleAnswers(spikes, logits, dict(zip(list(run.answers)[1:], others, strict=True)))

    @property
    def _said(self) -> tuple[str, ...]:
        return (*self.statements, *(f"warning: {text}" for text in self.warnings))

    def __str__(self) -> str:
        lines = wrap(f"{self.name}: {self.data}", 80)
        if self.graph is not None:
            lines += ["", *_layer_lines(self.graph, self.places)]
        return "\n".join([*lines, *(line for text in self._said for line in wrap(text, 80))])

    def __repr__(self) -> str:
        return f"<Model {self.name}; print it for its layers>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _layer_lines(graph: Graph, places: Mapping[str, Place]) -> list[str]:
    """One line for each node that computes something, in 80 columns; the middle of a deep network is left out."""
    rows = [
        ("layer", "operation", "shape", "runs in"),
        *(
            (node.name, node.kind, "x".join(map(str, graph.shape(node.name))), places.get(node.name, ""))
            for node in graph.nodes
            if not isinstance(node, ops.InputNode | ops.OutputNode)
        ),
    ]
    if len(rows) > _MOST_LINES:
        half = _MOST_LINES // 2
        rows = [*rows[:half], (f"… {len(rows) - _MOST_LINES} more", "", "", ""), *rows[-half:]]
    return [f"{name[:32]:<33}{kind:<18}{shape:<16}{part}".rstrip() for name, kind, shape, part in rows]


_MOST_LINES = 24


def load_model(source: str | Path, nir: NirChoices | None = None, *, module: nn.Module | None = None) -> Model:
    """A checkpoint, a bundle's folder or a NIR file by its path, a ready model by its name, or `package.module:name` of a torch
    module or a function.

    The last form imports and runs the user's own code, from the current folder too; a function makes the module. `nir` says how
    a NIR file is understood, `module` is what a checkpoint's weights are for, if it does not know.

    Raises:
        UserError: nothing usable is there; the message says what was found.
    """
    if not isinstance(source, str | Path):
        raise UserError(
            f"model: {type(source).__name__} found, a path, a ready model's name or what deploy or load gives expected; a "
            "module of your own is deployed on some samples first: neurodeploy.deploy(module, samples)"
        )
    source = located(source)
    if module is not None:
        return of_checkpoint(checkpoint.load(Path(source), module=module))
    if Path(source).is_dir():
        return of_bundle(Path(source))
    if is_nir(source):
        return _of_nir(Path(source), nir or NirChoices())
    if is_chip_file(source):
        return _of_chip_file(Path(source), nir or NirChoices())
    if is_onnx_file(source):
        return _of_onnx_file(Path(source))
    if ":" not in source or source.endswith(".safetensors"):
        return of_checkpoint(checkpoint.load(Path(source)))
    module = module_named(source, what="model", anything=True)
    return Model(source, module.eval(), None, "no samples of its own", is_module=True)


class OnnxFileModule(nn.Module):
    """A network without spikes in an ONNX file, run by ONNX Runtime.

    Args:
        network: of the file.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> Tensor:
        """`[N, …]` → the file's first output."""
        return self.network.answers(samples)


def _of_onnx_file(path: Path) -> Model:
    said = ("no neurons: ONNX Runtime runs the file as it is",)
    module = OnnxFileModule(OnnxNetwork(path)).eval()
    return Model(path.stem, module, None, "no samples of its own", statements=said, deployed=True, host_alone=True)


def _of_nir(path: Path, choices: NirChoices) -> Model:
    reading = choices.read(path)
    graph = reading.graph
    return Model(
        path.stem,
        GraphModule(graph, batch_first=graph.input.timed),
        None,
        "no samples of its own",
        places=_places(graph),
        statements=reading.statements,
        warnings=reading.warnings,
        graph=graph,
        steps=choices.steps,
    )


def check_chip_file(path: Path) -> Check:
    """A `.net` or circuit file, held against the chip's ranges and run twice; see `neurodeploy_exporters.lava.graphs.check`."""
    return check(path)


def lost_in_floats(model: Model, inputs: NDArray[np.float32]) -> str:
    """How many spikes of a network in a chip's integers differ from those of its form in floats, in a sentence; or nothing.

    Args:
        model: of whatever origin.
        inputs: `[T, B, …]`.
    """
    if not isinstance(model.module, GraphModule) or model.graph is None or model.module.graph is model.graph:
        return ""
    if not any(isinstance(node, ops.FixedPointNeuronNode) for node in model.module.graph.nodes):
        return ""
    wrong, total = differing(model.module.graph, model.graph, inputs)
    return f"{wrong:,} of {total:,} spikes of the sample differ between the chip's integers and floats"


def _of_chip_file(path: Path, choices: NirChoices) -> Model:
    """A network for Loihi: it runs in the chip's integers, and has a form in floats where one can be exported."""
    if (choices.convention, choices.dt, choices.reset) != (None, None, None):
        raise UserError(f"{path}: a file for Loihi, whose integers say how it runs; leave out --written-by, --dt and --reset")
    circuit = open_circuit(path, input_shape=choices.input_shape)
    if are_graded(circuit.populations):
        return _of_sigma_delta_file(path, circuit, choices)
    try:
        chip = chip_graph(circuit)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    module, statements = GraphModule(chip, batch_first=True), ["runs in the chip's integers, every sample alone"]
    try:
        graph = float_graph(circuit)
    except UserError as error:
        graph = chip
        statements.append(f"has no form in floats: {error}")
    else:
        statements.append("is exported in floats, whose decays do not round; what it fires may differ from the chip's spikes")
    return Model(
        path.stem,
        module,
        None,
        "no samples of its own",
        places=_places(chip),
        statements=tuple(statements),
        graph=graph,
        steps=choices.steps,
        simulate=partial(simulate_body, circuit, origin=str(path)),
    )


def _of_sigma_delta_file(path: Path, circuit: Circuit, choices: NirChoices) -> Model:
    """It sends graded messages, which no graph holds: it can be run and counted."""
    module = SigmaDeltaNetwork(circuit, steps=choices.steps, origin=str(path))
    late = f"{module.late} step{'s' if module.late > 1 else ''}"
    held = "reading its last frame" if circuit.has_input_neurons else "without further messages"
    return Model(
        path.stem,
        module,
        None,
        "no samples of its own",
        statements=(
            f"sends graded messages; every sample runs alone, and {late} longer, {held}, until its last change has arrived",
        ),
        steps=choices.steps,
        batch=module.batch,
        stays=(
            "sigma-delta neurons (SDNN), whose graded messages and running sums no target but Loihi's own file has; run the "
            "file itself, with neurodeploy simulate, map, verify or energy"
        ),
    )


def of_bundle(folder: Path) -> Model:
    """A bundle, whose every spike its artefacts fire; its samples are those that it carries.

    Raises:
        UserError: it is no bundle, or damaged.
    """
    artefact = read_artefact(folder)
    manifest, module = artefact.bundle.manifest, ArtefactModule(artefact)
    inputs = torch.from_numpy(artefact.bundle.given().inputs)
    samples = inputs.transpose(0, 1).contiguous() if manifest.timed_input and inputs.ndim > 1 else inputs
    said, places = manifest.normalization, dict(artefact.places) or _places(artefact.graph)
    return Model(
        f"{manifest.model} ({manifest.target} bundle)",
        module,
        samples,
        f"the sample of the bundle {folder}, {len(samples)} inputs",
        places=places,
        cuts={manifest.head_cut.chosen: places} if manifest.head_cut is not None else {},
        host_alone=find(manifest.target).host_alone,
        statements=(f"spikes fired by {artefact.origin}",),
        batch=min(BATCH, module.batch),
        deployed=True,
        normalization=None if said is None else Normalization(mean=said.mean, std=said.std),
        normalizes=said is not None and said.inputs == "raw",
        simulate=partial(find(manifest.target).simulate, artefact.bundle),
    )


def knows_no_data(path: Path) -> bool:
    """Whether a checkpoint's network was trained on data that were given in memory."""
    return checkpoint.read(path)[0].data_set is None


def of_checkpoint(loaded: checkpoint.Checkpoint, *, data: DataSet | None = None) -> Model:
    """A checkpoint's network with its test set; `data`: its data set, if that has been loaded already.

    Of a module that was trained on data given in memory there is the module alone.
    """
    progress = loaded.progress
    name, title = checkpoint.describe(progress), progress.file_name
    if data is None and progress.data_set is None:
        return Model(name, loaded.network, None, progress.data_words, title=title, class_names=progress.class_names)
    data = loaded.load_data() if data is None else data
    cuts, deployment, targets = dict[str, dict[str, Place]](), None, progress.targets()
    counted = headline(targets)
    if not progress.relu:
        with suppress(UserError):  # a network without a form as a graph is counted all the same
            deployment = deploy(loaded.network, data)
            cuts = deployed_cuts(deployment.graph, targets)
    graph = None if deployment is None else deployment.graph
    return Model(
        name,
        loaded.network,
        data.test_samples,
        data.note,
        data.test_labels,
        next(iter(cuts.values()), {}),
        graph=graph,
        cuts=cuts,
        host_alone=counted is not None and counted[0].host_alone,
        deployment=deployment,
        title=title,
        workers=data.workers,
        class_names=data.class_names or progress.class_names,
        normalization=data.normalization,
    )


def _places(graph: Graph) -> dict[str, Place]:
    """Layer name → part of the deployed network; empty for one that cannot be cut."""
    try:
        return places_of(graph)
    except UserError:
        return {}


def inputs_for(model: Model, path: Path | None) -> Samples:
    """The samples `[N, …]` of a `.npy` file, as the model takes them, or its own test set.

    Raises:
        UserError: neither is there, or the file is damaged, holds no numbers, or samples of another shape than the model's.
    """
    if path is None:
        if model.test_samples is None:
            raise UserError(f"{model.name}: brings no data of its own; give samples with --input samples.npy")
        return model.test_samples
    values = read_array(path)
    if values.dtype.kind not in "fiub" or values.ndim < 2 or values.size == 0:
        found = f"{values.dtype} of shape {values.shape} found"
        raise UserError(f"{path}: {found}, an array of numbers [N, …] with at least one sample expected")
    expected = None if model.test_samples is None else tuple(model.test_samples.shape[1:])
    if expected is not None and values.shape[1:] != expected:
        raise UserError(f"{path}: samples of shape {values.shape[1:]} found, {expected} expected by {model.name}")
    samples = torch.from_numpy(as_samples(values, path, axes=2))
    return as_fed(model.graph, samples, model.steps, path) if model.graph is not None and model.deployment is None else samples
