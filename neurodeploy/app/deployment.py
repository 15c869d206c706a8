"""A trained network as exporters take it: a graph, and samples in the form in which they enter it."""

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.app.cutting import cuts_of
from neurodeploy.conversion import QcfsNetwork
from neurodeploy.data import DataSet, Normalization
from neurodeploy.data.samples import as_stored
from neurodeploy.dynamics.encodings import EventInput, HostEncoding, OwnEncoding
from neurodeploy.graph import Graph, fold_scales, ops
from neurodeploy.graph.entry import entering
from neurodeploy.graph.grid import with_peak
from neurodeploy.graph.interpreter import Array
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import sha256
from neurodeploy.recipe import Recipe
from neurodeploy.training.evaluation import Accuracy
from neurodeploy.training.twins import untrained
from neurodeploy_exporters.bundle import BundleProvenance
from neurodeploy_exporters.bundle.visibility import CANDIDATES
from neurodeploy_exporters.target import HostNormalization, Place, Subject, Target, TargetOptions, places_of

_SAMPLES_KNOWN = 256
"""Training samples whose values say to which grid inputs are rounded."""

_FEW = 4
"""Test samples whose values are looked at before a network is trained."""

Targets: TypeAlias = Mapping[str, tuple[Target, TargetOptions]]


def headline(targets: Targets) -> tuple[Target, TargetOptions] | None:
    """The target whose network a report counts: the first one of the recipe that has parts off the host, or else the first."""
    chips = (counted for counted in targets.values() if counted[0].chip)
    return next(chips, next(iter(targets.values()), None))


def deployed_graph(graph: Graph, targets: Targets) -> Graph:
    """The graph as the headline's target computes it; as it is where nothing is exported."""
    counted = headline(targets)
    return graph if counted is None else counted[0].deployed(graph, counted[1])


def deployed_cuts(graph: Graph, targets: Targets) -> dict[str, dict[str, Place]]:
    """Ways in which the headline's target may cut the graph: name → layer → part; one where it has no choice.

    Raises:
        UserError: it cannot be cut.
    """
    counted = headline(targets)
    return {"": places_of(graph)} if counted is None else cuts_of(counted[0], graph, counted[1])


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network and its data.

    A network that makes spikes of a sample itself (Poisson or latency code) is deployed without that layer: a host does it, and
    the graph's input is the sequence of spikes. Another network is deployed with the normalisation of its samples, so that it
    takes them as they are stored.

    Attributes:
        graph: batch norm folded.
        data: that the network was trained on, its samples as the deployed network takes them: before their normalisation.
        code: the layer of the host, or None; it takes normalised samples.
    """

    graph: Graph
    data: DataSet
    code: HostEncoding | None = None

    @property
    def encoding(self) -> str | None:
        """What the host does, for the manifest."""
        if self.code is None:
            return None
        what = "sequences" if isinstance(self.code, OwnEncoding) else "spikes"
        return (
            f"Inputs are {what} [T, B, ...] that a host makes of samples: {self.code.title}, as "
            f"{self.code.home} does in evaluation; sample and test set too."
        )

    @property
    def host_normalization(self) -> HostNormalization | None:
        """Mean and std by which a host normalises samples before they are coded."""
        normal = self.data.normalization
        return None if normal is None or self.code is None else (normal.mean, normal.std)

    def inputs(self, samples: Tensor) -> Array:
        """Samples of the data set as the graph takes them."""
        encoded: Array = self._encoded(samples).numpy()
        return encoded

    def calibration(self, count: int) -> Array | None:
        """So many training samples as the graph takes them; None for 0."""
        return calibration_inputs(self.data, count, self._encoded)

    @property
    def test(self) -> tuple[Any, NDArray[np.int64]]:
        """The inputs and labels of the test set; one batch after the other where a host encodes, or they are not in memory."""
        samples, labels = self.data.test_samples, self.data.test_labels.numpy()
        if self.code is None and isinstance(samples, Tensor):
            return self.inputs(samples), labels
        return _Encoded(self), labels

    def subject(
        self,
        name: str,
        *,
        samples: int,
        calibration: int,
        accuracy: Mapping[str, Accuracy],
        graph: Graph | None = None,
        tuned: Any = None,
        provenance: BundleProvenance | None = None,
    ) -> Subject:
        """The network and its data as an export target takes them.

        Args:
            name: of the network.
            samples: so many test samples go into the bundle.
            calibration: so many training samples are there to round by.
            accuracy: measured before the export.
            graph: of the network once it was fine-tuned; `self.graph` if None.
            tuned: see `Subject.tuned`.
            provenance: recipe, seed and checkpoint, where they are known.
        """
        return Subject(
            graph=graph or self.graph,
            sample_inputs=self.inputs(self.data.test_samples[:samples]),
            name=name,
            accuracy=accuracy,
            test=self.test,
            calibration=self.calibration(calibration),
            encoding=self.encoding,
            host_normalization=self.host_normalization,
            tuned=tuned,
            labels=self.data.test_labels[:samples].numpy().astype(np.int64),
            candidates=self.inputs(self.data.test_samples[samples : samples + CANDIDATES]),
            provenance=(provenance or BundleProvenance()).model_copy(update=self._origin()),
        )

    def _origin(self) -> dict[str, str]:
        """Name and digest of the test set, where it is in memory."""
        samples, labels = self.data.test_samples, self.data.test_labels
        if not isinstance(samples, Tensor):
            return {"data": self.data.name}
        digest = hashlib.sha256(samples.contiguous().numpy().tobytes())
        digest.update(labels.contiguous().numpy().tobytes())
        return {"data": self.data.name, "data_sha256": digest.hexdigest()}

    def module(self, graph: Graph | None = None) -> GraphModule:
        """The deployed network, or another graph of it, in torch: takes samples of `data`."""
        return GraphModule(graph or self.graph, batch_first=self.data.timed, encoding=self.code)

    def _encoded(self, samples: Tensor) -> Tensor:
        if self.code is None:
            return self.data.sequences(samples)
        with torch.no_grad():
            spikes: Tensor = self.code(samples)
        return spikes


def origin_of(recipe: Recipe | None, seed: int, checkpoint: Path) -> BundleProvenance:
    """What a bundle says of where its network comes from: digests of the recipe, as it was validated, and of the checkpoint."""
    text = "" if recipe is None else recipe.model_dump_json()
    return BundleProvenance(
        recipe=hashlib.sha256(text.encode()).hexdigest() if text else "",
        seed=seed,
        checkpoint=sha256(checkpoint) if checkpoint.is_file() else "",
    )


class _Encoded:
    """The test set as the graph takes it, which may be more than memory holds: a batch is made when it is asked for."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def __getitem__(self, index: slice | tuple[slice, slice]) -> Array:
        """Of static samples some, of sequences `[T, N, …]` steps and samples."""
        steps, batch = index if isinstance(index, tuple) else (slice(None), index)
        inputs: Array = self._deployment.inputs(self._deployment.data.test_samples[batch])
        return inputs[steps] if isinstance(index, tuple) else inputs


def calibration_inputs(data: DataSet, count: int, entering: Callable[[Tensor], Tensor] | None = None) -> Array | None:
    """So many training samples, spread over the whole set, as a graph takes them; None for 0.

    Args:
        data: the set.
        count: number of samples.
        entering: makes of samples what enters the graph, where it is not just them.
    """
    if not count:
        return None
    every = max(1, len(data.train_labels) // count)
    numbers = torch.arange(0, len(data.train_labels), every)[:count]
    inputs: Array = (entering or data.sequences)(data.train_samples[numbers]).numpy()
    return inputs


def check_targets(recipe: Recipe, data: DataSet) -> None:
    """Refuse, before anything is trained, what a target of the recipe cannot export.

    Raises:
        UserError: a target is not installed, or cannot express the deployed student or the samples that enter it, or it cannot
            be cut into what a host and what a chip computes; the message names the layer.
    """
    targets, tuning = recipe.export.target_options(), recipe.export.finetune
    with torch.random.fork_rng(devices=[]):
        student = untrained(recipe, recipe.deployed, data)
    deployment = deploy(student.eval(), data)
    # what is checked is the structure: no sum of untrained weights must be taken for one that leaves its range
    graph = Graph(map(_without_weights, deployment.graph.nodes))
    samples = deployment.inputs(deployment.data.test_samples[:_FEW])
    for target, options in targets.values():
        target.check(graph, options, calibrated=recipe.export.calibration > 0, reset=tuning is not None and tuning.reset)
        target.check_samples(graph, samples, options)
    deployed_cuts(graph, targets)  # which the energy report needs


def _without_weights(node: ops.Node) -> ops.Node:
    if not isinstance(node, ops.Weighted):
        return node
    return replace(node, weight=np.zeros_like(node.weight), bias=None if node.bias is None else np.zeros_like(node.bias))


def split_code(network: nn.Module) -> tuple[nn.Module, HostEncoding | None]:
    """A network that takes spikes, and the layer that makes spikes of samples, which a host does once it is deployed.

    Raises:
        UserError: there is more than one such layer.
    """
    codes = {name: one for name, one in network.named_modules() if isinstance(one, HostEncoding)}
    if not codes:
        return network, None
    if len(codes) > 1:
        raise UserError(f"layer {list(codes)[1]}: a second code found, one expected, at the network's input")
    (name, code), without = *codes.items(), deepcopy(network)
    without.set_submodule(name, EventInput())
    return without, deepcopy(code).eval().cpu()


def deploy(network: nn.Module, data: DataSet) -> Deployment:
    """What exporters take of a trained network.

    Raises:
        UserError: it has no form as a graph; the message names the layer.
    """
    if isinstance(network, QcfsNetwork):
        raise UserError(
            "QcfsNetwork: its activations of few levels are a stage on the way to spikes, and no target has them; deploy its "
            "spiking twin: neurodeploy.spiking, or a student with spiking.of"
        )
    without, code = split_code(network)
    if isinstance(code, OwnEncoding):
        code.check(data.test_samples[:2])
    timed = data.timed if code is None else True
    graph = fold_scales(trace(without, data.sample_shape, timed=timed))
    if code is not None:
        return Deployment(graph, data, code)
    if data.normalization is not None:
        graph, data = normalising(graph, data.normalization), stored(data)
    known = calibration_inputs(data, _SAMPLES_KNOWN)
    return Deployment(graph if known is None else with_peak(graph, [known]), data)


def stored(data: DataSet) -> DataSet:
    """A data set with its samples as they are stored, before their normalisation."""
    train, test = as_stored(data.train_samples), as_stored(data.test_samples)
    return replace(data, normalization=None, train_samples=train, test_samples=test)


def normalising(graph: Graph, normalization: Normalization) -> Graph:
    """The graph that takes samples before their normalisation.

    Raises:
        UserError: there are other numbers of means than of channels.
    """
    mean, std = (np.array(values, np.float32) for values in (normalization.mean, normalization.std))
    return entering(graph, ops.NormalizeNode(name="normalization", inputs=(), mean=mean, std=std))
