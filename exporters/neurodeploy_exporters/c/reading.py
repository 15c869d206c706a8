"""Bundles of C files, run again with the host's compiler and read back as a graph."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.bundle.constants import weighted_sums
from neurodeploy_exporters.c.bundled import read_program
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.running import NO_COMPILER, compiled, compiler
from neurodeploy_exporters.target import Format, Tensors

_PROGRAM = ("model.h", "support.h", "model.c", "body.c", "head.c")


def _files(bundle: Bundle) -> dict[str, str]:
    files = {}
    for name in bundle.manifest.artefacts:
        path = bundle.path(name)
        try:
            files[name] = path.read_text(encoding="ascii")
        except UnicodeDecodeError:
            raise UserError(f"{path}: not ASCII text") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return files


def program_in(bundle: Bundle) -> tuple[CProgram, dict[str, str]]:
    """The program in a bundle's files, and those of them that are compiled.

    Raises:
        UserError: a file is damaged, or the manifest is of another network.
    """
    files = _files(bundle)
    program, _ = read_program(files, bundle.folder)
    steps, most = bundle.manifest.steps, program.steps
    if steps > most or (steps != most and not program.steps_vary):
        least = "at most " if program.steps_vary else ""
        raise UserError(f"{bundle.folder}: steps: {steps} found, {least}{most} as in the C files expected")
    return program, {name: text for name, text in files.items() if name in _PROGRAM}


def _open(
    bundle: Bundle,
    piece: Piece,
    layers: Sequence[str],
    threads: int,  # noqa: ARG001 - C runs in one
) -> Callable[[Mapping[str, NDArray[Any]]], Tensors]:
    program, files = program_in(bundle)
    for layer in layers:
        if layer not in program.spiking:
            raise UserError(f"{bundle.path(piece.file)}: layer {layer}: not in the C files")
    command = compiler()
    if command is None:
        raise UserError(f"{bundle.path(piece.file)}: {NO_COMPILER}")
    folder = TemporaryDirectory(prefix="neurodeploy-c-")
    try:
        answer = compiled(program, files, Path(folder.name), command)
    except UserError as error:
        folder.cleanup()
        raise UserError(f"{bundle.path(piece.file)}: {error}") from None

    def run(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        try:
            spikes, logits = answer(np.asarray(tensors[piece.inputs[0]], np.float32))
        except UserError as error:
            raise UserError(f"{bundle.path(piece.file)}: {error}") from None
        return {piece.outputs[0]: logits} | {layer: spikes[layer] for layer in layers}

    weakref.finalize(run, folder.cleanup)
    return run


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    return _open(bundle, piece, layers, 1)(tensors)


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:  # noqa: ARG001
    return program_in(bundle)[0].graph.nodes


def _constants(bundle: Bundle, file: str) -> dict[str, NDArray[np.uint64]]:  # noqa: ARG001 - one piece of several files
    """`FILE` → a sum for each of its lines."""

    def sums(text: str) -> NDArray[np.uint64]:
        lines = (np.frombuffer(line.encode(), np.uint8) for line in text.splitlines())
        return np.array([weighted_sums(line[None])[0] for line in lines], np.uint64)

    return {name: sums(text) for name, text in _files(bundle).items()}


FORMAT = Format(runtime="the host's C compiler", replay=_replay, members=_members, open=_open, constants=_constants)
