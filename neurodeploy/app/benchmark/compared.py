"""What a benchmark runs artefacts on, and the spikes that it holds theirs against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.app.benchmark.rows import Unknown
from neurodeploy.app.model import ArtefactModule, Model, lost_in_floats
from neurodeploy.data.samples import as_stored
from neurodeploy.graph import Graph, interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle
from neurodeploy_exporters.target import Subject

_CARRIED, _CALIBRATION = 4, 64  # samples in the bundles that are written, and those to round by


@dataclass(frozen=True, eq=False)
class Compared:
    """A network, or a bundle as it is, and samples.

    Attributes:
        name: of the network.
        inputs: `[N, …]`, or `[T, N, …]` if `timed`, as the graph takes them.
        timed: whether they are sequences.
        labels: `[N]`, or why there are none.
        data: what the samples are, in a sentence.
        spikes: numbers of samples → layer → `[T, B, …]`: those to compare with; or why there are none.
        subject: what targets export; None of a bundle.
        bundle: that is run as it is; None of a network.
        notes: what a reader must know.
    """

    name: str
    inputs: NDArray[np.float32]
    timed: bool
    labels: NDArray[np.int64] | Unknown
    data: str
    spikes: Callable[[slice], Mapping[str, NDArray[Any]]] | Unknown
    subject: Subject | None = None
    bundle: Bundle | None = None
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """N."""
        return self.inputs.shape[1 if self.timed else 0]

    def batch(self, numbers: slice) -> NDArray[np.float32]:
        """Inputs of some samples."""
        return np.ascontiguousarray(self.inputs[:, numbers] if self.timed else self.inputs[numbers])

    def repeated(self, count: int) -> NDArray[np.float32]:
        """A batch of so many samples: the first ones again where there are fewer."""
        return np.ascontiguousarray(np.take(self.inputs, np.arange(count) % self.samples, axis=1 if self.timed else 0))


def compared(model: Model, samples: int, *, given: bool = False) -> Compared:
    """A model and its first test samples, ready to be exported and compared.

    Args:
        model: of whatever origin, with samples.
        samples: N, at most.
        given: the samples of a bundle are others than its own.

    Raises:
        UserError: it brings no samples, or has no form as a graph.
    """
    if model.test_samples is None:
        raise UserError(f"{model.name}: brings no data of its own; give samples with --input samples.npy, or --data")
    count = min(samples, len(model.test_samples))
    if not count:
        raise UserError(f"{model.name}: no samples found, at least one expected")
    labels: NDArray[np.int64] | Unknown = Unknown("no labels; give --labels, or --data, which has labels of its own")
    if model.test_labels is not None:
        labels = model.test_labels[:count].cpu().numpy()
    if isinstance(model.module, ArtefactModule):
        return _of_bundle(model, model.module.artefact.bundle, count, labels, given=given)
    graph = model.graph
    if graph is None:
        raise UserError(f"{model.name}: has no form as a graph, so nothing can be exported")
    inputs, timed = _entering(model, slice(0, count), timed=graph.input.timed), graph.input.timed

    def fired(numbers: slice) -> Mapping[str, NDArray[Any]]:
        return interpreter.spikes(graph, interpreter.run(graph, inputs[:, numbers] if timed else inputs[numbers]))

    subject, notes = _subject(model, graph, inputs, count)
    if lost := lost_in_floats(model, inputs if timed else inputs[None]):
        notes = (*notes, f"Of the file, {lost}; what is exported and compared here is in floats.")
    return Compared(model.name, inputs, timed, labels, model.data, fired, subject=subject, notes=notes)


def _of_bundle(model: Model, bundle: Bundle, count: int, labels: NDArray[np.int64] | Unknown, *, given: bool) -> Compared:
    timed, known = bundle.manifest.timed_input, bundle.sample().spikes
    inputs = _entering(model, slice(0, count), timed=timed)
    if given:
        unknown = Unknown("a bundle knows the spikes of its own sample alone; benchmark the network that it was made of")
        return Compared(model.name, inputs, timed, labels, model.data, unknown, bundle=bundle)
    note = "The network's spikes are those in the bundle's sample, as they were at its export."

    def stored(numbers: slice) -> Mapping[str, NDArray[Any]]:
        return {layer: spikes[:, numbers] for layer, spikes in known.items()}

    return Compared(model.name, inputs, timed, labels, model.data, stored, bundle=bundle, notes=(note,))


def _entering(model: Model, numbers: slice, *, timed: bool) -> NDArray[np.float32]:
    """Test samples as the graph takes them."""
    samples, known = model.test_samples, model.deployment
    assert samples is not None
    if known is not None:
        chosen = (samples if known.code is not None else as_stored(samples))[numbers]
        return np.ascontiguousarray(known.inputs(chosen), np.float32)
    values = samples[numbers].detach().cpu().float()
    return np.ascontiguousarray((values.transpose(0, 1) if timed else values).numpy())


def _subject(model: Model, graph: Graph, inputs: NDArray[np.float32], count: int) -> tuple[Subject, tuple[str, ...]]:
    """The network, and training inputs to round by where they are known, else the samples after those that are compared."""
    known, axis, notes = model.deployment, int(graph.input.timed), tuple[str, ...]()
    if known is not None:
        calibration = known.calibration(_CALIBRATION)
    else:
        calibration = _entering(model, slice(count, count + _CALIBRATION), timed=graph.input.timed)
        if not calibration.shape[axis]:
            calibration = np.take(inputs, np.arange(min(_CALIBRATION, count)), axis)
            notes = ("Targets that round by samples did so by those that are compared here: there are no others.",)
    subject = Subject(
        graph=graph,
        sample_inputs=np.take(inputs, np.arange(min(_CARRIED, count)), axis),
        name=model.title or model.name,
        calibration=calibration,
        encoding=None if known is None else known.encoding,
        host_normalization=None if known is None else known.host_normalization,
    )
    return subject, notes
