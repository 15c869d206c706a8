"""Export targets, found through the entry-point group `neurodeploy.exporters`, so that anyone can add one."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from neurodeploy.data import DataSet
from neurodeploy.graph import Graph
from neurodeploy.graph.interpreter import Array
from neurodeploy.io.errors import UserError
from neurodeploy.training.evaluation import Accuracy

GROUP = "neurodeploy.exporters"


HeadCut = Literal["last-spike", "last-synapse"]
Quantization = Literal["none", "exact", "int8"]


class Exporter(Protocol):
    """What an entry point of the group must be.

    It may take further arguments by name, each with a default value (see `further_options`):

    - `calibration`, as `sample_inputs`, of the training set: inputs on which it may choose how it rounds.
    - `head_cut`, of a chip: "last-spike", spikes leave it, or "last-synapse", it computes the last synapse too.
    - `streaming`: states enter and leave the artefacts, so that a sequence may be cut into chunks.
    - `spike_counts`: the artefacts count their spikes.
    - `encoding`: a sentence on how a host makes the inputs of samples, for the manifest; None where it does not.
    """

    def __call__(
        self,
        graph: Graph,
        sample_inputs: Array,
        folder: Path,
        *,
        name: str,
        quantize: Quantization,
        accuracy: Mapping[str, Accuracy],
        test: tuple[Any, Array] | None,
    ) -> Path:
        """Write a bundle of `graph` into `folder`.

        Args:
            graph: batch norm folded.
            sample_inputs: `[B, …]`, inputs of the bundle's sample.
            folder: where the bundle goes; replaced if it is a bundle already.
            name: of the model, for the manifest.
            quantize: "exact" rounds the weights to a power-of-two grid on which every sum is exact; "int8" makes integers of
                them, for speed. A target may refuse it.
            accuracy: measured before export, for the manifest.
            test: inputs and labels on which the accuracy of the exported artefact is measured. The inputs can be indexed like
                `sample_inputs`, one batch after the other.
        """
        ...


def further_options(
    exporters: Mapping[str, Exporter],
    *,
    calibration: Array | None = None,
    head_cut: HeadCut = "last-spike",
    streaming: bool = False,
    spike_counts: bool = False,
    encoding: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Target → those of the further arguments that it takes.

    Raises:
        UserError: a head cut other than behind the last spikes, streaming or spike counts, and no target takes it.
    """
    given = {
        "calibration": calibration,
        "head_cut": head_cut,
        "streaming": streaming,
        "spike_counts": spike_counts,
        "encoding": encoding,
    }
    taken = {name: inspect.signature(exporter).parameters for name, exporter in exporters.items()}
    asked = {"head_cut": head_cut != "last-spike", "streaming": streaming, "spike_counts": spike_counts}
    for option in (option for option, used in asked.items() if used):
        if not any(option in parameters for parameters in taken.values()):
            raise UserError(_LACKING[option].format(targets=", ".join(exporters)))
    return {name: {key: value for key, value in given.items() if key in parameters} for name, parameters in taken.items()}


_LACKING = {
    "head_cut": (
        'head cut "last-synapse": no chip among the targets {targets} that could compute the last synapse; '
        'take "last-spike", or add the target lava'
    ),
    "streaming": "streaming: the target onnx alone can stream, {targets} found; add it, or export without streaming",
    "spike_counts": "spike counts: the target onnx alone can count spikes, {targets} found; add it, or export without counts",
}


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
    inputs: Array = (entering or data.sequences)(data.train_samples[::every][:count]).numpy()
    return inputs


def names() -> tuple[str, ...]:
    """All targets that are installed."""
    return tuple(sorted(entry_points(group=GROUP).names))


def find(name: str) -> Exporter:
    """The exporter of a target.

    Raises:
        UserError: no such target.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UserError(f"target {name!r}: not known; there are: {', '.join(names())}")
    exporter: Exporter = next(iter(found)).load()
    return exporter
