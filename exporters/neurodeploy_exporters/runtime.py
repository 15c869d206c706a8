"""Who runs a target's bundles: what they are verified with, and other programs that read the same files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.bundle import Bundle, Piece

Run: TypeAlias = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
"""Inputs `[B, …]`, or `[T, B, …]` → the logits `[B, K]` and the spikes `[T, B, …]` that were asked for, by name."""


@dataclass(frozen=True)
class Runtime:
    """A program that runs bundles of a target.

    Attributes:
        name: as its makers write it: "OpenVINO".
        open: bundle, the spiking layers whose spikes are wanted, threads to compute with → what runs it again and again. It
            raises a UserError in one line where the program cannot read the files, and what it gives where it cannot run them.
        module: that is imported; "" for what is always there.
        packages: distributions that bring the module, in the order in which they are looked for.
        reopens: every run reads the files again, so that its time says nothing of the program.
        files: of the bundle, those that it reads; those of `pieces_run` if empty.
    """

    name: str
    open: Callable[[Bundle, Sequence[str], int], Run]
    module: str = ""
    packages: tuple[str, ...] = ()
    reopens: bool = False
    files: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return not self.module or find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Of its package; "" where there is none, or it does not say."""
        for package in self.packages:
            try:
                return version(package)
            except PackageNotFoundError:
                continue
        return ""


@dataclass(frozen=True)
class Variant:
    """One of the ways in which a target exports a network.

    Attributes:
        title: in a word or two: "8-bit integers"; "" for the only one.
        options: of the target, by name, that make it.
        further: options that add files for more runtimes, where the network can be exported with them.
    """

    title: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Whether a bundle fits on what it is for.

    Attributes:
        device: that was looked at: "Loihi 1".
        verdict: "fits", "may fit" or "does not fit".
        detail: what it takes there, or what does not fit, in a few words.
    """

    device: str
    verdict: str
    detail: str


def pieces_run(bundle: Bundle) -> tuple[Piece, ...]:
    """The files that run the network: one that holds it whole, or else encoder, body and head."""
    whole = bundle.manifest.whole
    return bundle.manifest.chain if whole is None else (whole,)


def files_read(bundle: Bundle, runtime: Runtime) -> tuple[str, ...]:
    """The names of a bundle's files that a runtime reads."""
    models = runtime.files or tuple(piece.file for piece in pieces_run(bundle))
    weights = bundle.manifest.weights_file
    return models if weights is None else (*models, weights)


def layers_in(bundle: Bundle, piece: Piece, layers: Sequence[str]) -> list[str]:
    """Those of the spiking layers that a piece has, in the manifest's order."""
    known = bundle.manifest.spiking_layers
    return [layer.name for layer in known if layer.name in layers and piece.name in ("whole", layer.part)]


def in_sequence(
    bundle: Bundle,
    layers: Sequence[str],
    open_piece: Callable[[Piece, Sequence[str]], Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]],
) -> Run:
    """Runs the pieces of a bundle one after the other, each opened once.

    Args:
        bundle: to run.
        layers: spiking layers whose spikes are wanted.
        open_piece: a piece, and the layers wanted of it → tensors by name → those that the piece makes.
    """
    steps = [open_piece(piece, layers_in(bundle, piece, layers)) for piece in pieces_run(bundle)]
    entry, wanted = bundle.manifest.input_name, (*layers, bundle.manifest.output_name)

    def run(inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        tensors: dict[str, NDArray[Any]] = {entry: inputs}
        for step in steps:
            tensors |= step(tensors)
        return {name: tensors[name] for name in wanted if name in tensors}

    return run
