"""A NIR file by itself: run on samples, compared with a recording of who wrote it, written again in another dialect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.app.model import as_fed
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.standard import standardized
from neurodeploy.graph.transforms import fold_padding
from neurodeploy.io.arrays import read_array, read_arrays
from neurodeploy.io.errors import UserError, printable
from neurodeploy.io.values import as_samples, check_values
from neurodeploy_exporters.nir import write

_CLOSE = 1e-5  # of potentials; spikes are compared as they are


@dataclass(frozen=True)
class Difference:
    """Where a network and a recording of it part first.

    Attributes:
        layer, step, sample, neuron: where; the neuron as its indices.
        computed, expected: the two values.
        count, values: how many of the layer's values differ, of all.
    """

    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    computed: float
    expected: float
    count: int
    values: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.neuron))
        return (
            f"layer {self.layer}: {self.count:,} of {self.values:,} values differ, the first in step {self.step}, sample "
            f"{self.sample}, neuron [{where}]: {self.computed:g} computed, {self.expected:g} expected"
        )


@dataclass(frozen=True)
class NirRun:
    """A network on samples.

    Attributes:
        steps, samples: of the run.
        rates: spiking layer → mean number of spikes of a neuron in a step.
        compared: layers that a recording has, in order.
        difference: the first one; None if all layers of the recording are equal, or there is none.
    """

    steps: int
    samples: int
    rates: dict[str, float]
    compared: tuple[str, ...] = ()
    difference: Difference | None = None

    def __str__(self) -> str:
        lines = [f"run on {self.samples:,} samples, {self.steps} steps"]
        lines += [f"  {printable(name)}: {rate:.4g} spikes per neuron and step" for name, rate in self.rates.items()]
        lines += [f"warning: {text}" for text in self.warnings]
        if self.difference is not None:
            lines.append(f"not as recorded: {printable(str(self.difference))}")
        elif self.compared:
            lines.append(f"as recorded, value by value: {printable(', '.join(self.compared))}")
        return "\n".join(lines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A network that does not fire is read wrongly, as a rule."""
        silent = [name for name, rate in self.rates.items() if rate == 0]
        if not silent:
            return ()
        if len(silent) == len(self.rates):
            return ("no neuron fires on these samples: the file's numbers are taken for something else, or the samples are",)
        return (f"layers that never fire on these samples: {printable(', '.join(silent))}",)


def run_on(graph: Graph, inputs: Path, *, steps: int | None = None, expected: Path | None = None) -> NirRun:
    """NirRun a network, and compare its layers with a recording.

    Args:
        graph: of a NIR file.
        inputs: `.npy` of `[N, T, …]`, or `[N, …]` with `steps`.
        steps: how often a static sample is fed.
        expected: `.npy` of the output at every step, `[N, T, …]`; or `.npz` with such an array for each layer by its name.

    Raises:
        UserError: a file cannot be read, or has another shape or unknown layers.
    """
    samples = as_fed(graph, torch.from_numpy(as_samples(read_array(inputs), inputs, axes=2)), steps, inputs)
    fed = np.ascontiguousarray(samples.numpy(), np.float32)
    tensors = interpreter.run(graph, fed.swapaxes(0, 1).copy() if graph.input.timed else fed)
    some = next((tensors[name] for name in graph.spiking), None)
    taken = some.shape[0] if some is not None else 1 if not graph.input.timed else fed.shape[1]
    rates = {name: float(np.mean(tensors[name])) for name in graph.spiking}
    recorded = {} if expected is None else dict(_recorded(graph, expected))
    found = _difference(graph, tensors, recorded, expected)
    return NirRun(int(taken), len(fed), rates, tuple(recorded), found)


def _recorded(graph: Graph, path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Layer → what it is to answer `[T, N, …]`, in the graph's order."""
    arrays = read_arrays(path) if path.suffix == ".npz" else {_last(graph): read_array(path)}
    names = [node.name for node in graph.nodes]
    unknown = [name for name in arrays if name not in names]
    if unknown:
        raise UserError(f"{path}: {printable(unknown[0])}: no such layer; there are: {printable(', '.join(names))}")
    for name in sorted(arrays, key=names.index):
        array = arrays[name]
        if array.dtype.kind not in "fiub" or array.ndim < 2:
            raise UserError(f"{path}: {printable(name)}: numbers [N, T, …] expected, {array.dtype} {array.shape} found")
        check_values(array, f"{path}: {printable(name)}")
        yield name, array.swapaxes(0, 1)


def _last(graph: Graph) -> str:
    """What leaves a file, before the mean over time."""
    name = graph.output.inputs[0]
    return graph[name].inputs[0] if isinstance(graph[name], ops.TimeMeanNode) else name


def _difference(
    graph: Graph, tensors: Mapping[str, NDArray[Any]], recorded: Mapping[str, NDArray[Any]], path: Path | None
) -> Difference | None:
    first = None
    for name, expected in recorded.items():
        computed = tensors[name]
        if computed.shape != expected.shape:
            shown = (expected.shape[1], expected.shape[0], *expected.shape[2:])
            wanted = (computed.shape[1], computed.shape[0], *computed.shape[2:])
            raise UserError(f"{path}: {printable(name)}: shape {shown} found, {wanted} expected")
        spikes = name in graph.spiking
        wrong = computed != expected if spikes else ~np.isclose(computed, expected, rtol=_CLOSE, atol=_CLOSE)
        if first is None and wrong.any():
            step, sample, *neuron = (int(number) for number in np.argwhere(wrong)[0])
            at = (step, sample, *neuron)
            values = float(computed[at]), float(expected[at])
            first = Difference(name, step, sample, tuple(neuron), *values, int(np.count_nonzero(wrong)), wrong.size)
    return first


def write_again(graph: Graph, dialect: str, path: Path) -> tuple[str, ...]:
    """Write a network in a dialect; cells that are standard neurons become such.

    Returns:
        What it changes, a sentence each.

    Raises:
        UserError: it has no form in NIR, or there is no such dialect.
    """
    made = standardized(graph, arrays=True)
    write(fold_padding(made.graph), path, dialect=dialect)
    if not made.replaced:
        return ()
    names = printable(", ".join(made.replaced))
    return (f"{names}: written as standard neurons, whose operations have another order: a spike in many may differ",)
