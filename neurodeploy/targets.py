"""Export targets, found through the entry-point group `neurodeploy.exporters`, so that anyone can add one."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol

from neurodeploy.errors import UserError
from neurodeploy.evaluation import Accuracy
from neurodeploy.graph import Graph
from neurodeploy.graph.interpreter import Array

GROUP = "neurodeploy.exporters"


class Exporter(Protocol):
    """What an entry point of the group must be."""

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
