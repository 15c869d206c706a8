"""How much of a bundle verification sees: one value at a time is changed by its smallest step, all hashes made anew, and what
verification compares is compared: the sums of constants, and what the changed file makes of the sample."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece, Sample, read_bundle
from neurodeploy_exporters.bundle.constants import changed
from neurodeploy_exporters.bundle.values import Values
from neurodeploy_exporters.target import Target, Tensors, find
from neurodeploy_exporters.verify.ways import with_states

_SEED = 0
_PORTIONS = (2, 8, 32)
"""Samples after which an exact bundle is looked at: most changes show in the first ones."""


@dataclass(frozen=True)
class FileScore:
    """What was seen of one kind of values of a file.

    Attributes:
        file: in the bundle.
        kind: "weight", "bias", "threshold" or "decay".
        values: that the file has of it.
        tried: so many were changed, each alone.
        by_running: of these, so many changed what the file makes of the sample, beyond the bundle's tolerances: a spike, a
            sum of currents or potentials, or a logit.
        by_constants: of these, so many changed the sums of its constants.
        seen: so many were seen by either, or by a file that could no longer be run.
        missed: layer and place of the first that was not; "" if all were.
    """

    file: str
    kind: str
    values: int
    tried: int
    by_running: int
    by_constants: int
    seen: int
    missed: str = ""

    def __str__(self) -> str:
        share = f"{100 * self.seen / self.tried:.1f} %"
        text = (
            f"{self.file}, {self.kind}: {self.seen:,} of {self.tried:,} changes seen ({share}), {self.by_running:,} by running "
            f"and {self.by_constants:,} by the sums of constants"
        )
        return f"{text}; first missed: {self.missed}" if self.missed else text


def mutation_scores(folder: str | Path, count: int) -> Iterator[FileScore]:
    """Change `count` values of a bundle, shared out evenly among its files and kinds of values, at random places.

    A change shows in the file that it is in, or nowhere: what comes before it is the same. So each is looked for in the spikes,
    states and answers of that file, and in those after it where it hands on something that the sample does not have.

    Args:
        folder: of a sound bundle, which stays as it is.
        count: values to change; at least one of each kind is.

    Raises:
        UserError: the bundle cannot be read or run, or none of its files is of a format whose values are known.
    """
    bundle = read_bundle(Path(folder))
    target, sample = find(bundle.manifest.target), bundle.sample()
    groups = list(_groups(bundle, target))
    if not groups:
        raise UserError(f"{folder}: no file found whose values can be changed one by one; ONNX and Loihi files have some")
    rng = np.random.default_rng(_SEED)
    with TemporaryDirectory(prefix="neurodeploy-mutation-") as place:
        copy = Bundle(Path(shutil.copytree(bundle.folder, Path(place) / "bundle")), bundle.manifest)
        watches: dict[str, _Watch] = {}
        for piece, kind, values in groups:
            watch = watches.setdefault(piece.name, _Watch(copy, target, sample, piece))
            yield _score(watch, kind, values, max(1, count // len(groups)), rng)


def _groups(bundle: Bundle, target: Target) -> Iterator[tuple[Piece, str, list[Values]]]:
    """Piece, kind, and the layers that have values of it."""
    for piece in bundle.manifest.pieces:
        known = target.format_of(bundle, piece).values
        found = [] if known is None else list(known(bundle, piece))
        for kind in dict.fromkeys(one.kind for one in found):
            yield piece, kind, [one for one in found if one.kind == kind]


class _Watch:
    """Looks for changes of one file of a bundle.

    Args:
        bundle: a copy, whose files are changed.
        target: of it.
        sample: of it.
        piece: whose file is changed.
    """

    def __init__(self, bundle: Bundle, target: Target, sample: Sample, piece: Piece) -> None:
        self.bundle, self.piece = bundle, piece
        self._target, self._sample = target, sample
        manifest = bundle.manifest
        chain = () if piece.name == "whole" else manifest.chain
        at = chain.index(piece) if chain else 0
        alone = {"pieces": (piece,), "steps_alone": ()}
        self._alone = replace(bundle, manifest=manifest.model_copy(update=alone))
        known = {name: sums for name, sums in sample.constants.items() if name.startswith(f"{piece.name}/")}
        self._constants = replace(sample, constants=known)
        self._before, self._behind = chain[:at], chain[at + 1 :]
        # what enters the file, of each portion, is made once, by the sound files before it
        self._parts = [(part, self._entering(part)) for part in self._portions()]

    def _portions(self) -> Iterator[Sample]:
        """The first few samples and then more, for in an exact bundle most changes show early; others are judged as a whole."""
        manifest, count = self.bundle.manifest, len(self._sample.logits)
        ends = [*(end for end in _PORTIONS if end < count and manifest.is_exact), count]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield self._sample.part(slice(start, end), timed=manifest.timed_input)

    def _entering(self, part: Sample) -> Tensors:
        tensors: Tensors = {self.bundle.manifest.input_name: part.inputs, **part.further}
        for piece in self._before:
            tensors |= self._target.replay(self.bundle, piece, tensors, self._layers(piece))
        return tensors

    def _layers(self, piece: Piece) -> list[str]:
        return [layer.name for layer in self.bundle.manifest.spiking_layers if piece.name in ("whole", layer.part)]

    def constants_differ(self) -> bool:
        """Whether the sums of the constants in the file are not those of the sample."""
        return any(True for _ in changed(self._target, self._alone, self._constants))

    def running_differs(self) -> bool:
        """Whether the file makes of the sample something else than it has, beyond the tolerances.

        Raises:
            UserError: it cannot be run.
        """
        return any(self._differs_in(part, entering) for part, entering in self._parts)

    def _differs_in(self, part: Sample, entering: Tensors) -> bool:
        manifest, made = self.bundle.manifest, dict(entering)
        pieces = [self.piece]
        if not manifest.is_exact or not {*self.piece.outputs} <= {*self._layers(self.piece), *manifest.output_names}:
            pieces += self._behind
        for piece in pieces:
            made |= self._target.replay(self.bundle, piece, made, with_states(self._layers(piece), part))
        allowed = manifest.sample.allowed_mismatched_spikes
        return _differ(made, part, manifest.output_name, allowed, manifest.sample.logits_atol)


def _differ(made: Mapping[str, np.ndarray], part: Sample, output: str, allowed: int, atol: float) -> bool:
    answers = {output: part.logits, **part.answers}
    wrong = sum(int(np.count_nonzero(made[name] != spikes)) for name, spikes in part.spikes.items() if name in made)
    states = any(not np.array_equal(made[name], sums) for name, sums in part.states.items() if name in made)
    apart = any(not np.abs(made[name] - value).max() <= atol for name, value in answers.items() if name in made)
    return wrong > allowed or states or apart


def _score(watch: _Watch, kind: str, values: Sequence[Values], count: int, rng: np.random.Generator) -> FileScore:
    path = watch.bundle.path(watch.piece.file)
    sound, ends = path.read_bytes(), np.cumsum([one.count for one in values])
    chosen = rng.choice(int(ends[-1]), min(count, int(ends[-1])), replace=False)
    running = constants = seen = 0
    missed = ""
    for number in chosen.tolist():
        index = int(np.searchsorted(ends, number, side="right"))
        place = number - (int(ends[index - 1]) if index else 0)
        values[index].change(path, place)
        summed = ran = refused = False
        try:
            summed = watch.constants_differ()
            ran = watch.running_differs()
        except UserError:
            refused = True
        running, constants = running + ran, constants + summed
        seen += summed or ran or refused
        if not (summed or ran or refused) and not missed:
            missed = f"{values[index].layer}, value {place}"
        path.write_bytes(sound)
    return FileScore(watch.piece.file, kind, int(ends[-1]), len(chosen), running, constants, seen, missed)
