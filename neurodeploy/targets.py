"""Export targets, found through the entry-point group `neurodeploy.exporters`, so that anyone can add one."""

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from neurodeploy.data import DataSet
from neurodeploy.errors import UserError
from neurodeploy.evaluation import Accuracy
from neurodeploy.graph import Graph
from neurodeploy.graph.interpreter import Array

GROUP = "neurodeploy.exporters"


HeadCut = Literal["last-spike", "last-synapse"]


class Exporter(Protocol):
    """What an entry point of the group must be.

    One for a chip may take further arguments by name, each with a default value (see `chip_options`):

    - `calibration`, as `sample_inputs`, of the training set: inputs on which it may choose how it rounds.
    - `head_cut`: "last-spike", spikes leave the chip, or "last-synapse", it computes the last synapse too.
    """

    def __call__(
        self,
        graph: Graph,
        sample_inputs: Array,
        folder: Path,
        *,
        name: str,
        quantize: Literal["none", "exact"],
        accuracy: Mapping[str, Accuracy],
        test: tuple[Array, Array] | None,
    ) -> Path:
        """Write a bundle of `graph` into `folder`.

        Args:
            graph: batch norm folded.
            sample_inputs: `[B, …]`, inputs of the bundle's sample.
            folder: where the bundle goes; replaced if it is a bundle already.
            name: of the model, for the manifest.
            quantize: "exact" rounds the weights to a power-of-two grid on which every sum is exact.
            accuracy: measured before export, for the manifest.
            test: inputs and labels on which the accuracy of the exported artefact is measured.
        """
        ...


def chip_options(exporters: Mapping[str, Exporter], calibration: Array | None, head_cut: HeadCut) -> dict[str, dict[str, Any]]:
    """Target → those of the arguments for chips that it takes.

    Raises:
        UserError: no target takes a head cut other than behind the last spikes.
    """
    given = {"calibration": calibration, "head_cut": head_cut}
    taken = {name: inspect.signature(exporter).parameters for name, exporter in exporters.items()}
    if head_cut != "last-spike" and not any("head_cut" in parameters for parameters in taken.values()):
        raise UserError(
            f'head cut "{head_cut}": no chip among the targets {", ".join(exporters)} that could compute the last synapse; '
            'take "last-spike", or add the target lava'
        )
    return {name: {key: value for key, value in given.items() if key in parameters} for name, parameters in taken.items()}


def calibration_inputs(data: DataSet, count: int) -> Array | None:
    """So many training samples, spread over the whole set, as a graph takes them; None for 0."""
    if not count:
        return None
    every = max(1, len(data.train_labels) // count)
    inputs: Array = data.sequences(data.train_samples[::every][:count]).numpy()
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
