"""What a bundle says of its inputs: their grid, what rounding them to it changes, and their normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, grid, ops
from neurodeploy.graph.entry import without
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.ops import Range
from neurodeploy_exporters.bundle import InputEffect, InputGrid, InputNormalization
from neurodeploy_exporters.bundle.bundle import Inputs

_BATCH = 50
HostNormalization: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


def grid_entry(deployed: Graph, sample: NDArray[np.float32], test: tuple[Inputs, NDArray[np.int64]] | None) -> InputGrid:
    """The grid of an exact network's inputs, and what it changes.

    Args:
        deployed: the network with its weights on the grid, and the node that rounds its inputs, if it has one.
        sample: inputs of the bundle's sample.
        test: inputs and labels of the test set.
    """
    node = grid.grid_node(deployed)
    if node is None:
        chosen = grid.DEFAULT
        encoding = f"Inputs are multiples of 2^-{chosen.exponent} from -1 to 1. A host rounds others: {_formula(chosen)}."
        return InputGrid(exponent=chosen.exponent, largest=chosen.largest, rounded=False, encoding=encoding)
    entered = deployed[node.inputs[0]]
    what = "their inputs, once they are normalised" if isinstance(entered, ops.NormalizeNode) else "their inputs"
    measure, axis = _Measure(deployed, node), int(deployed.input.timed)
    return InputGrid(
        exponent=node.exponent,
        largest=node.largest,
        rounded=True,
        encoding=f"The files round {what}: {_formula(Range(node.exponent, node.largest))}, halves to even.",
        sample=measure.effect(sample, sample.shape[axis], None),
        test=None if test is None else measure.effect(test[0], len(test[1]), test[1]),
    )


def _formula(chosen: Range) -> str:
    return f"x -> clip(round(x * 2^{chosen.exponent}), -{chosen.largest}, {chosen.largest}) / 2^{chosen.exponent}"


def normalization_entry(deployed: Graph, graph: Graph, host: HostNormalization | None) -> InputNormalization | None:
    """The normalisation of samples.

    Args:
        deployed: the network in the files, which normalises its samples by a node or, folded, by its weights.
        graph: the network before that.
        host: mean and std by which a host normalises.
    """
    node = next(iter(graph.of(ops.NormalizeNode)), None)
    if node is None:
        return None if host is None else InputNormalization(mean=host[0], std=host[1], inputs="normalised")
    mean, std = (tuple(float(str(value)) for value in values) for values in (node.mean, node.std))  # as short as float32 has it
    return InputNormalization(mean=mean, std=std, inputs="raw", folded=not deployed.of(ops.NormalizeNode))


class _Measure:
    """Runs a network with its inputs as they are, and rounded."""

    def __init__(self, rounded: Graph, node: ops.QuantizeNode) -> None:
        self._graph, self._node, self._grid = rounded, node, Range(node.exponent, node.largest)
        self._entered = [name for name in node.inputs if name != rounded.input.name]
        self._runs = tuple(map(torch_run, (without(rounded, node.name), rounded)))

    def effect(self, inputs: Inputs, count: int, labels: NDArray[np.int64] | None) -> InputEffect:
        found = _Counts()
        for start in range(0, count, _BATCH):
            batch = slice(start, min(start + _BATCH, count))
            samples = inputs[:, batch] if self._graph.input.timed else inputs[batch]
            self._add(found, samples, None if labels is None else labels[batch])
        right = {} if labels is None else {"correct_as_given": found.correct[0], "correct_rounded": found.correct[1]}
        return InputEffect(
            samples=count,
            values=found.values,
            saturated=found.saturated,
            spikes_compared=found.compared,
            changed_spikes=found.changed,
            changed_answers=found.answers,
            **right,
        )

    def _add(self, found: "_Counts", samples: NDArray[np.float32], labels: NDArray[np.int64] | None) -> None:
        answer, layers = self._graph.output.name, self._graph.spiking
        given, rounded = (run(samples, (*layers, *self._entered, answer)) for run in self._runs)
        values = given[self._entered[0]] if self._entered else samples
        found.values += values.size
        found.saturated += grid.saturated(values, self._grid)
        found.compared += sum(given[layer].size for layer in layers)
        found.changed += sum(int(np.count_nonzero(given[layer] != rounded[layer])) for layer in layers)
        classes = [made[answer].argmax(-1) for made in (given, rounded)]
        found.answers += int(np.count_nonzero(classes[0] != classes[1]))
        if labels is not None:
            found.correct = [right + int((made == labels).sum()) for right, made in zip(found.correct, classes, strict=True)]


@dataclass
class _Counts:
    values: int = 0
    saturated: int = 0
    compared: int = 0
    changed: int = 0
    answers: int = 0
    correct: Sequence[int] = (0, 0)
