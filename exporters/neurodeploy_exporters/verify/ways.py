"""Every way in which a bundle can be run, with all spikes and the answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import MANIFEST, Bundle, Piece, Sample
from neurodeploy_exporters.runtime import layers_in, pieces_run
from neurodeploy_exporters.target import Target, Tensors

STEPWISE = " step by step"


def runs(
    bundle: Bundle, target: Target, sample: Sample, entering: Mapping[str, NDArray[Any]] | None = None
) -> Iterator[tuple[str, Tensors]]:
    """Way → tensors: whole, in pieces and step by step.

    Args:
        bundle: to run.
        target: of it.
        sample: what is run, and whose states are asked for.
        entering: inputs by name; the sample's if None, and without its states if given.

    Raises:
        UserError: a file cannot be read or run.
    """
    manifest = bundle.manifest
    tensors: Tensors = {manifest.input_name: sample.inputs, **sample.further} if entering is None else dict(entering)
    sample = sample if entering is None else replace(sample, states={})
    layers = [layer.name for layer in manifest.spiking_layers]
    if manifest.whole is not None:
        wanted = with_states(layers, sample)
        yield manifest.whole.file, target.replay(bundle, manifest.whole, tensors, wanted)
    for piece in manifest.chain:
        inside = [layer.name for layer in manifest.spiking_layers if layer.part == piece.name]
        tensors |= target.replay(bundle, piece, tensors, with_states(inside, sample))
    if manifest.chain:
        absent = [layer.name for layer in manifest.spiking_layers if layer.name not in tensors]
        if absent:
            raise UserError(f"{bundle.path(MANIFEST)}: layer {absent[0]}: in no piece of the bundle")
        yield ", ".join(piece.file for piece in manifest.chain), tensors
    if manifest.whole is not None and manifest.streaming:
        stepwise = target.replay_each_step(bundle, manifest.whole, sample.inputs, layers)
        yield f"{manifest.whole.file}{STEPWISE}", stepwise
    for way in manifest.step_ways:
        made: Tensors = {manifest.input_name: sample.inputs}
        for model in way:
            inside = [layer.name for layer in manifest.spiking_layers if model.name in ("whole", layer.part)]
            made |= target.replay_steps(bundle, model, made, inside)
        yield ", ".join(model.file for model in way) + STEPWISE, made


def with_states(layers: Sequence[str], sample: Sample) -> list[str]:
    """What is asked of a replay: layers, and their states where the sample has them."""
    return [*layers, *(name for name in sample.states if name.partition("/")[2] in layers)]


_FEW = 5
"""Samples that are run in every further way: two batches, of which the last is smaller."""


def further_runs(bundle: Bundle, target: Target, sample: Sample) -> Iterator[tuple[str, Tensors, Sample]]:
    """Further ways of running an exact network of one input, and what of the sample each has run.

    In chunks of one step and of others, whole and in pieces, where the bundle streams; each sample alone, and batches of which
    the last is smaller, by files that are opened once; samples one after the other where a chip takes them so.

    Raises:
        UserError: a file cannot be read or run.
    """
    manifest = bundle.manifest
    if not manifest.is_exact or manifest.further_inputs:
        return
    layers = [layer.name for layer in manifest.spiking_layers]
    few = sample.first(_FEW, timed=manifest.timed_input)
    if manifest.streaming:
        for pieces in filter(None, ((manifest.whole,) if manifest.whole else (), manifest.chain)):
            for chunks in _chunks(manifest.steps, pieces):
                made = target.replay_chunks(bundle, pieces, few.inputs, layers, chunks)
                if made is not None:
                    files = ", ".join(piece.file for piece in pieces)
                    yield f"{files} in chunks of {', '.join(map(str, chunks))} steps", made, few
    files = ", ".join(piece.file for piece in pieces_run(bundle))
    run, count, axis = target.open(bundle, layers, 1), len(few.logits), int(manifest.timed_input)
    for size in (1, 3):
        if size > 1 and count <= size:
            continue
        starts = range(0, count, size)
        batches = [run(np.ascontiguousarray(few.inputs.take(range(k, min(k + size, count)), axis))) for k in starts]
        made = {name: np.concatenate([one[name] for one in batches], int(name in layers)) for name in batches[0]}
        yield f"{files} in batches of {size}", made, few
    yield from _in_a_row(bundle, target, few)


def _chunks(steps: int, pieces: Sequence[Piece]) -> list[tuple[int, ...]]:
    """Steps of each chunk: one at a time in pieces (whole has been run so), and chunks of which the last is shorter."""
    alone = [(1,) * steps] if len(pieces) > 1 else []
    halves = [(steps - steps // 2, steps // 2)] if steps > 1 else []
    return [*alone, *halves, *([(1, steps - 1)] if steps > 2 else [])]


def _in_a_row(bundle: Bundle, target: Target, sample: Sample) -> Iterator[tuple[str, Tensors, Sample]]:
    """Bodies that a chip runs one sample after the other."""
    manifest = bundle.manifest
    kinds = {piece.name: target.format_of(bundle, piece) for piece in manifest.chain}
    if not any(kind.replay_in_a_row for kind in kinds.values()):
        return
    tensors: Tensors = {manifest.input_name: sample.inputs}
    for piece in manifest.chain:
        inside = layers_in(bundle, piece, [layer.name for layer in manifest.spiking_layers])
        in_a_row = kinds[piece.name].replay_in_a_row
        made = target.replay(bundle, piece, tensors, inside) if in_a_row is None else in_a_row(bundle, piece, tensors, inside)
        if made is None:
            return
        tensors |= made
    yield ", ".join(piece.file for piece in manifest.chain) + ", one sample after the other", tensors, sample


def first_difference(here: NDArray[Any], there: NDArray[Any], beside: str = "in the sample") -> str:
    """Where two tensors `[T, B, …]` differ first, by step, and both values."""
    where = tuple(int(axis[0]) for axis in np.nonzero(here != there))
    step, sample, *neuron = where
    place = f"at step {step}, sample {sample}, neuron ({', '.join(map(str, neuron))})"
    return f"{place}: {here[where]:g}, {there[where]:g} {beside}"
