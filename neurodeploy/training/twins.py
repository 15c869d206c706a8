"""Spiking twins in trainings: made of a recipe's teacher, taught by its traced network, and made again from a checkpoint."""

from collections.abc import Mapping
from copy import deepcopy
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from neurodeploy.conversion import Method, QcfsNetwork, SpikingTwin, TracedNetwork
from neurodeploy.conversion.balancing import balance
from neurodeploy.conversion.method import usual_delay
from neurodeploy.conversion.qcfs import set_first_thresholds
from neurodeploy.conversion.traced import relu_graph
from neurodeploy.conversion.twin import RateCode, pooled_first
from neurodeploy.data import DataSet
from neurodeploy.dynamics.neurons import Reset
from neurodeploy.graph import Graph
from neurodeploy.graph.stored import StoredNode, restored, stored
from neurodeploy.io.errors import UserError
from neurodeploy.io.kinds import kind_of
from neurodeploy.networks import classifier_of
from neurodeploy.recipe import QuantizedSettings, Recipe
from neurodeploy.training.observed import Observed


class _Derived(BaseModel):
    """A network that is made of another's graph: that graph without weights.

    Attributes:
        classifier: name of the node that makes logits of features; None without one.
        nodes: of the ReLU network's graph.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    classifier: str | None
    nodes: tuple[StoredNode, ...]

    def graph(self, arrays: Mapping[str, Tensor]) -> Graph:
        """The ReLU network's graph.

        Args:
            arrays: of the nodes: `node/field`, or `node.field` where the network's state dict holds them.

        Raises:
            UserError: an array is missing.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for node in self.nodes:
            for field in node.arrays:
                array = arrays.get(f"{node.name}/{field}", arrays.get(f"{node.name}.{field}"))
                if array is None:
                    raise UserError(f"node {node.name}: its {field} is missing")
                found[f"{node.name}/{field}"] = array.numpy()
        return restored(self.nodes, found)

    def checked(self, graph: Graph) -> None:
        """Refuse a derived network whose nodes are not in the order that was stored, as its weights would not be."""
        if [node.name for node in graph.nodes] != [node.name for node in self.nodes]:
            raise UserError("nodes: not in the order of the network's; written by another version?")


class StoredTwin(_Derived):
    """A spiking twin in a checkpoint's header: its graph without weights, and how it is built of it.

    Attributes:
        steps, repact, code, reset, learn_threshold, evaluate_after, precharge: as `neurodeploy.conversion.SpikingTwin` was
            given them.
    """

    steps: int
    repact: bool
    code: RateCode
    reset: Reset = "soft"
    learn_threshold: bool
    evaluate_after: int = 0
    precharge: bool = False

    def build(self, arrays: Mapping[str, Tensor]) -> SpikingTwin:
        """The twin, with whatever thresholds.

        Raises:
            UserError: an array is missing, or the nodes are those of no twin.
        """
        twin = SpikingTwin(
            self.graph(arrays),
            steps=self.steps,
            repact=self.repact,
            code=self.code,
            reset=self.reset,
            learn_threshold=self.learn_threshold,
            classifier=self.classifier,
            evaluate_after=self.evaluate_after,
            precharge=self.precharge,
        )
        self.checked(twin.graph)
        return twin


class StoredQcfs(_Derived):
    """A network with QCFS activations in a checkpoint's header.

    Attributes:
        levels, repact: as `neurodeploy.conversion.QcfsNetwork` was given them.
    """

    levels: int
    repact: bool

    def build(self, arrays: Mapping[str, Tensor]) -> QcfsNetwork:
        """The network, with whatever thresholds.

        Raises:
            UserError: see `StoredTwin.build`.
        """
        network = QcfsNetwork(self.graph(arrays), levels=self.levels, repact=self.repact, classifier=self.classifier)
        self.checked(network.graph)
        return network


Derived: TypeAlias = SpikingTwin | QcfsNetwork
"""Networks that a checkpoint makes again without code of the user's: of the graph that it holds."""


def quantized_of_role(recipe: Recipe, role: str, source: nn.Module, samples: Tensor) -> QcfsNetwork:
    """A ReLU network with the activations of a recipe's `[[quantized]]`, its thresholds not set yet.

    Args:
        recipe: the experiment.
        role: name of the quantized network.
        source: a trained ReLU network, or one with QCFS activations; left as it is.
        samples: `[N, …]`, on which it is compared with its graph.

    Raises:
        UserError: the network does something that has no form in a graph, or that firing rates cannot pass.
    """
    settings = recipe.taught(role)
    assert isinstance(settings, QuantizedSettings)
    graph = _graph(source, samples)
    return QcfsNetwork(graph, levels=settings.levels, repact=settings.repact, classifier=settings.classifier)


def _graph(source: nn.Module, samples: Tensor) -> Graph:
    """That of a ReLU network, compared with it; of one with QCFS activations its own, with the weights as they are now."""
    if isinstance(source, QcfsNetwork):
        return source.graph_now()
    return relu_graph(source, samples.to(next(source.parameters()).device))


def twin_of_role(recipe: Recipe, role: str, source: nn.Module, samples: Tensor) -> SpikingTwin:
    """A student that is the spiking twin of another network, its thresholds not balanced yet.

    Args:
        recipe: the experiment.
        role: name of the student.
        source: a trained ReLU network, or one with QCFS activations; left as it is.
        samples: `[N, …]`, on which it is compared with its graph.

    Raises:
        UserError: the network does something that has no form in a graph, or that firing rates cannot pass.
    """
    student = recipe.student_named(role)
    settings, code = student.spiking, recipe.code_of(role)
    assert settings is not None
    assert code != "events"
    levels = source if isinstance(source, QcfsNetwork) else None
    graph = _graph(source, samples)
    steps = recipe.steps_of(role)
    reset = settings.usual_reset(steps)
    after = settings.evaluate_after
    if after is None:
        after = 0 if levels else usual_delay(steps, reset)
    return SpikingTwin(
        graph,
        steps=steps,
        repact=student.repact,
        code="poisson" if kind_of(code) == "poisson" else "direct",
        reset=reset,
        surrogate=settings.surrogate.build(),
        learn_threshold=settings.learn_threshold,
        classifier=levels.classifier_name if levels else settings.classifier,
        evaluate_after=after,
        precharge=settings.precharge,
    )


def balanced(twin: SpikingTwin, source: nn.Module, samples: Tensor, method: Method) -> None:
    """Balance a twin that has the weights of its network, wherever it is; see `neurodeploy.conversion.balancing`."""
    device = next(twin.parameters()).device
    reference = deepcopy(source).cpu() if isinstance(source, QcfsNetwork) else TracedNetwork(twin.graph)
    balance(twin.cpu().eval(), reference.eval(), samples.cpu(), method)
    twin.to(device)


def thresholds_set(network: QcfsNetwork, samples: Tensor, percentile: float | None) -> None:
    """Set the first thresholds of a network with QCFS activations, wherever it is; see `neurodeploy.conversion.qcfs`."""
    device = next(network.parameters()).device
    set_first_thresholds(network.cpu().eval(), samples.cpu(), percentile)
    network.to(device)


def untrained(recipe: Recipe, role: str, data: DataSet) -> nn.Module:
    """A network of a recipe before its training, to look at its structure; what is made of another, of an untrained one.

    Raises:
        UserError: it cannot be built.
    """
    if recipe.network_of(role) is not None or recipe.taught(role) is None:
        return recipe.build(role, data.sample_shape[0], data.classes)
    beginning, samples = recipe.beginning_of(role), data.train_samples[:_FEW]
    assert beginning is not None
    made = twin_of_role if recipe.spikes(role) else quantized_of_role
    return made(recipe, role, untrained(recipe, beginning, data).eval(), samples)


_FEW = 3  # samples


def stored_twin(twin: Derived) -> tuple[StoredTwin | StoredQcfs, dict[str, Tensor]]:
    """What a header says of a derived network, and the arrays of its nodes that are not in its state dict."""
    nodes, arrays = stored(twin.graph)
    state = twin.state_dict()
    held = {
        name: torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if (own := state.get(".".join(name.rsplit("/", 1)))) is None or own.shape != array.shape
    }
    if isinstance(twin, QcfsNetwork):
        own = StoredQcfs(levels=twin.levels, repact=twin.repact, classifier=twin.classifier_name, nodes=nodes)
        return own, held
    header = StoredTwin(
        steps=twin.steps,
        repact=twin.repact,
        code=twin.code,
        reset=twin.reset,
        learn_threshold=twin.learn_threshold,
        evaluate_after=twin.evaluate_after,
        precharge=twin.precharge,
        classifier=twin.classifier_name,
        nodes=nodes,
    )
    return header, held


def traced_teacher(ann: nn.Module, samples: Tensor, *, classes: int, classifier: str | None = None) -> Observed:
    """A ReLU network as its graph has it, which has the taps that its twin has, by the same names.

    Args:
        ann: the teacher, left as it is.
        samples: `[N, …]` as it takes them; the graph is compared with it on them.
        classes: K.
        classifier: see `neurodeploy.conversion.TracedNetwork`.

    Returns:
        On the device of the samples, frozen.

    Raises:
        UserError: it does something that has no form in a graph.
    """
    device = samples.device
    network = TracedNetwork(pooled_first(relu_graph(ann, samples))[0], classifier=classifier)
    frozen = network.eval().requires_grad_(False).to(device)
    return Observed(frozen, classes, network.activations, classifier_of(frozen), native=True)
