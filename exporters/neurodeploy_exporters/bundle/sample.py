"""A bundle's sample: inputs, and what the network answers to them, which every way of running its files must answer too.

Spikes and answers say what a network does; sums see what spikes do not. They are exact in whatever order they are taken: those
of potentials and currents as integers, and those of a file's constants, as they are read back, with odd factors modulo 2^64, so
that no single change cancels.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, interpreter
from neurodeploy.io.arrays import read_arrays
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle.claims import MutationScore
from neurodeploy_exporters.bundle.manifest import SAMPLE, SampleEntry
from neurodeploy_exporters.bundle.states import CURRENTS, POTENTIALS, Sums, state_sums
from neurodeploy_exporters.bundle.visibility import LOGITS_ATOL, scores

_SPIKES, _INPUTS, _ANSWERS, _CONSTANTS = "spikes/", "inputs/", "answers/", "constants/"
UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs, and what the network answers to them.

    Attributes:
        inputs: float32 `[B, …]` (or `[T, B, …]`).
        spikes: spiking layer → uint8 `[T, B, …]`.
        logits: float32 `[B, K]`.
        further: of a network with several inputs, those beside the first, by name.
        answers: of one with several answers, those beside the logits, by name.
        labels: int64 `[B]`, the class of each input, `UNLABELLED` where nobody knows it; None where none is known.
        states: `currents/LAYER` and `potentials/LAYER` → int64 `[B, C]`, of exact networks; see `bundle.states`.
        constants: `PIECE/NODE.FIELD` → uint64 `[C]`, see `bundle.constants`.
        chosen: so many of the last inputs were added to show more changes of single values; not in the file.
        mutations: what the inputs show of those, of exact networks; not in the file.
    """

    inputs: NDArray[np.float32]
    spikes: dict[str, NDArray[np.uint8]]
    logits: NDArray[np.float32]
    further: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    answers: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    states: Sums = field(default_factory=dict)
    constants: Sums = field(default_factory=dict)
    chosen: int = 0
    mutations: tuple[MutationScore, ...] = ()

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.spikes.values())))

    @property
    def correct(self) -> int | None:
        """Right answers among the inputs with a label; None where none has one."""
        if self.labels is None or not (self.labels != UNLABELLED).any():
            return None
        return int((self.logits.argmax(-1) == self.labels).sum())

    def first(self, count: int, *, timed: bool) -> "Sample":
        """The first samples, `timed` where inputs are sequences; without what says something of all of them."""
        return self.part(slice(0, count), timed=timed)

    def part(self, batch: slice, *, timed: bool) -> "Sample":
        """Some of the samples, as `first`."""

        def cut(named: dict[str, NDArray[Any]], axis: int) -> dict[str, NDArray[Any]]:
            return {name: value[:, batch] if axis else value[batch] for name, value in named.items()}

        inputs = cut({"": self.inputs}, int(timed))[""]
        further, answers = cut(self.further, int(timed)), cut(self.answers, 0)
        return Sample(inputs, cut(self.spikes, 1), self.logits[batch], further, answers, states=cut(self.states, 0))

    def disagreement(self, made: Mapping[str, NDArray[Any]], logits: str) -> tuple[int, float]:
        """Spikes in which a float artefact differs from the sample, and the tolerance of the logits that this asks for.

        Args:
            made: tensor name → value, by the artefact; at least the spiking layers and the logits.
            logits: name of that tensor.
        """
        wrong = sum(int(np.count_nonzero(made[layer] != spikes)) for layer, spikes in self.spikes.items())
        apart = (float(np.abs(made[name] - value).max()) for name, value in {logits: self.logits, **self.answers}.items())
        return wrong, max(LOGITS_ATOL, *apart)

    def entry(self, allowed: int, atol: float = LOGITS_ATOL) -> SampleEntry:
        """The manifest's, with the number of spikes and the difference of a logit by which a replay may differ."""
        return SampleEntry(
            file=SAMPLE,
            samples=len(self.logits),
            chosen=self.chosen,
            mutations=self.mutations,
            correct=self.correct,
            logits_atol=atol,
            allowed_mismatched_spikes=allowed,
        )


def sample_of(
    graph: Graph,
    inputs: NDArray[np.float32],
    *,
    steps: int | None = None,
    further: Mapping[str, NDArray[np.float32]] | None = None,
    states: bool = False,
) -> Sample:
    """What the reference interpreter computes for `inputs`: the answer that every artefact must reproduce.

    Args:
        graph: the network.
        inputs: of the sample; of several those of the first.
        steps: T, if it is another one than the network was trained with.
        further: the other inputs, by name.
        states: with the sums of the neurons' states, which exact networks alone make in every runtime, and what that shows.

    Raises:
        UserError: there is no sample or no step in `inputs`, or they do not have the shape that the graph expects.
    """
    if 0 in inputs.shape:
        raise UserError(f"sample: inputs of shape {inputs.shape} found, at least one sample and one step expected")
    beside = {name: values.astype(np.float32) for name, values in (further or {}).items()}
    tensors = interpreter.run(graph, {graph.inputs[0].name: inputs, **beside}, steps=steps)
    spikes = {name: tensors[name].astype(np.uint8) for name in graph.spiking}
    first, *others = (node.name for node in graph.outputs)
    answers = {name: tensors[name] for name in others}
    made = Sample(inputs.astype(np.float32), spikes, tensors[first], beside, answers)
    return replace(made, states=state_sums(graph, tensors), mutations=scores(graph, tensors)) if states else made


def write_sample(path: Path, sample: Sample) -> None:
    """Write `sample.npz`; the same sample makes the same bytes."""
    arrays: dict[str, NDArray[Any]] = {"inputs": sample.inputs, "logits": sample.logits}
    arrays |= {f"{_SPIKES}{layer}": spikes for layer, spikes in sample.spikes.items()}
    arrays |= {f"{_INPUTS}{name}": values for name, values in sample.further.items()}
    arrays |= {f"{_ANSWERS}{name}": values for name, values in sample.answers.items()}
    arrays |= {} if sample.labels is None else {"labels": sample.labels}
    arrays |= sample.states | {f"{_CONSTANTS}{name}": values for name, values in sample.constants.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            memory = io.BytesIO()
            np.save(memory, array, allow_pickle=False)
            # a fixed date, so that the same network gives the same bytes
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, memory.getvalue(), zipfile.ZIP_DEFLATED)


def read_sample(path: Path) -> Sample:
    """Read `sample.npz`.

    Raises:
        UserError: it is damaged, lacks an array, has one that nobody reads, or one with values that are not finite.
    """
    arrays = read_arrays(path)
    for name in ("inputs", "logits"):
        if name not in arrays:
            raise UserError(f"{path}: array {name} is missing")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise UserError(f"{path}: array {name}: {array.dtype} found, numbers expected")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{path}: array {name}: values that are not finite found, at {_place(~np.isfinite(array))}")
        heads = (_SPIKES, _INPUTS, _ANSWERS, _CONSTANTS, CURRENTS, POTENTIALS)
        if name not in ("inputs", "logits", "labels") and not name.startswith(heads):
            raise UserError(f"{path}: array {name}: not one of a sample's; export the bundle again")

    def under(head: str, kind: Any = None) -> dict[str, NDArray[Any]]:
        found = {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)}
        return found if kind is None else {name: array.astype(kind) for name, array in found.items()}

    labels = arrays.get("labels")
    return Sample(
        arrays["inputs"].astype(np.float32),
        under(_SPIKES),
        arrays["logits"].astype(np.float32),
        under(_INPUTS, np.float32),
        under(_ANSWERS, np.float32),
        None if labels is None else labels.astype(np.int64),
        {name: array for name, array in arrays.items() if name.startswith((CURRENTS, POTENTIALS))},
        under(_CONSTANTS),
    )


def _place(where: NDArray[np.bool_]) -> str:
    return str(tuple(int(axis[0]) for axis in np.nonzero(where)))
