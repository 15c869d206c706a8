"""The deployment bundle: a folder with the artefacts, a sample that verifies them, and a manifest that describes both."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from neurodeploy.graph import Graph, Part, partition
from neurodeploy.io.errors import UserError, field_name
from neurodeploy.io.files import atomic_folder
from neurodeploy.io.reading import text_of
from neurodeploy.io.version import VERSION
from neurodeploy_exporters.bundle.manifest import (
    MANIFEST,
    SAMPLE,
    FurtherAnswer,
    FurtherInput,
    GradedTensor,
    Manifest,
    Piece,
    SpikingLayer,
)
from neurodeploy_exporters.bundle.sample import Sample, read_sample, write_sample
from neurodeploy_exporters.bundle.seal import check_seal, content_of, sealed
from neurodeploy_exporters.bundle.states import Sums
from neurodeploy_exporters.bundle.visibility import LOGITS_ATOL as LOGITS_ATOL

_BATCH = 250


class Inputs(Protocol):
    """Test samples, `[N, …]` or `[T, N, …]`: an array, or something that makes one batch after the other."""

    def __getitem__(self, batch: Any, /) -> NDArray[np.float32]: ...


class RightAnswers(Protocol):
    """An accuracy measured before export."""

    @property
    def correct(self) -> int: ...

    @property
    def samples(self) -> int: ...


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle on disk, whose manifest has been read and checked."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        return self.folder / name

    def __str__(self) -> str:
        """Where it is and what it holds, in 80 columns."""
        manifest = self.manifest
        lines = [
            f"{self.folder}: {manifest.target} bundle of {manifest.model}",
            f"files: {', '.join(manifest.artefacts)}; quantization: {manifest.quantization.get('kind')}; "
            f"T = {manifest.steps}; {manifest.sample.samples} samples",
            *(f"{label}: {found.correct} of {found.samples} test samples right" for label, found in manifest.accuracy.items()),
            *([] if manifest.module is None else [str(manifest.module)]),
            *manifest.notes,
        ]
        return "\n".join(part for line in lines for part in wrap(line, 80))

    def __repr__(self) -> str:
        return f"<Bundle {self.folder}; print it>"

    def sample(self) -> Sample:
        """Read the sample.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_sample(self.path(self.manifest.sample.file))

    def given(self) -> Sample:
        """The sample without the inputs that were added to show changes of single values: what is counted is counted on these.

        Raises:
            UserError: the file is missing or damaged.
        """
        said = self.manifest.sample
        return self.sample().first(said.samples - said.chosen, timed=self.manifest.timed_input)


def most_likely(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]], samples: Inputs, count: int, *, timed: bool
) -> NDArray[np.int64]:
    """The most likely class of each sample, `[N]`.

    Args:
        answer: samples → logits `[B, K]`, by an artefact.
        samples: `[N, …]`, or sequences `[T, N, …]` if `timed`.
        count: N.
        timed: whether the samples are sequences.
    """
    batches = [slice(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return np.concatenate([answer(samples[:, batch] if timed else samples[batch]).argmax(-1) for batch in batches])


def piece_of(graph: Graph, part: Part | None, format: str, graded: tuple[GradedTensor, ...] = ()) -> Piece:
    """The manifest's entry of one part, or of the whole network: a file of the part's name and of the format's ending."""
    name = "whole" if part is None else part.name
    inputs, outputs = (tuple(node.name for node in nodes) for nodes in (graph.inputs, graph.outputs))
    if part is not None:
        inputs, outputs = part.inputs, part.outputs
    values = {"name": name, "file": f"{name}.{format}", "format": format, "inputs": inputs, "outputs": outputs}
    return Piece.model_validate(values | {"graded": graded})


def describe(graph: Graph, *, target: str, name: str, latencies: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The fields of a manifest that follow from the graph alone.

    Args:
        graph: the network that the bundle holds.
        target: of the export.
        name: of the network.
        latencies: spiking layer on a chip → steps from an input to its answer.

    Raises:
        UserError: the network does not end with one logit per class.
    """
    for node in graph.outputs:
        answer = graph.shape(node.name)
        if len(answer) != 1:
            raise UserError(
                f"node {node.name}: an answer of shape {answer} found, one logit per class expected; "
                "end the network with a Flatten or Linear layer"
            )
    entry, *inputs = graph.inputs
    first, *answers = (graph.shape(node.name)[0] for node in graph.outputs)
    where = {member: part.name for part in partition(graph, spikes_only=False).parts for member in part.members}
    late = latencies or {}
    return {
        "target": target,
        "model": name,
        "created_by": f"neurodeploy {VERSION}",
        "input_shape": entry.shape,
        "timed_input": entry.timed,
        "classes": first,
        "further_inputs": tuple(FurtherInput(name=node.name, shape=node.shape) for node in inputs),
        "further_answers": tuple(
            FurtherAnswer(name=node.name, size=size) for node, size in zip(graph.outputs[1:], answers, strict=True)
        ),
        "spiking_layers": tuple(
            SpikingLayer.model_validate(
                {"name": layer, "shape": graph.shape(layer), "part": where[layer], "latency_steps": late.get(layer, 0)}
            )
            for layer in graph.spiking
        ),
    }


def write_bundle(
    folder: Path,
    manifest: Manifest,
    writers: Mapping[str, Callable[[Path], None]],
    sample: Sample,
    *,
    constants: Callable[[Bundle], Sums] | None = None,
) -> Path:
    """Write a bundle as a whole or not at all.

    Args:
        folder: replaced if it is a bundle already.
        manifest: without the files' hashes.
        writers: file name → writes that file.
        sample: written as `sample.npz`.
        constants: reads the sums of the constants in the files, as they were just written; see `Sample.constants`.

    Raises:
        UserError: `folder` holds something other than a bundle.
    """
    with atomic_folder(folder, marker=MANIFEST) as temporary:
        for name, write in writers.items():
            write(temporary / name)
        if constants is not None:
            sample = replace(sample, constants=constants(Bundle(temporary, manifest)))
        write_sample(temporary / SAMPLE, sample)
        listed = manifest.model_copy(update={"files": dict.fromkeys(sorted(path.name for path in temporary.iterdir()), "")})
        unused: dict[str, Any] = {name: True for name in _UNSAID_IF_EMPTY if not getattr(listed, name)}
        unused["sample"] = {name for name in ("chosen", "mutations") if not getattr(listed.sample, name)}
        content = sealed(json.loads(listed.model_dump_json(exclude=unused)), temporary)
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return folder


_UNSAID_IF_EMPTY = ("further_inputs", "further_answers", "sources")
"""So that a bundle of one input and one answer is what it was before."""


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        UserError: it is missing, damaged, changed or of another version; the message names the field.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: no {MANIFEST} found, so this is no bundle; make one with `neurodeploy export`")
    if path.is_symlink():
        raise UserError(f"{path}: a symbolic link, a file expected")
    try:
        text = text_of(path, "a bundle's manifest")
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{path}: not a valid manifest: {_fault(error)}") from None
    named = {*manifest.artefacts, manifest.sample.file}
    unlisted = sorted(named - manifest.files.keys())
    if unlisted:
        raise UserError(f"{path}: field files: {unlisted[0]} is used by the bundle but not listed")
    check_seal(path, content_of(path, text), manifest)
    return Bundle(folder, manifest)


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    text = f"{field_name(first['loc']) or 'content'}: {first['msg']}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)  # the names are the file's
