"""Asking and timing the programs of a benchmark, side by side."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.app.benchmark.compared import Compared
from neurodeploy.app.benchmark.contestants import Contestant, Watch, opened, said
from neurodeploy.app.benchmark.rows import Duration, Unknown
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.runtime import Run

ROUNDS, _FEWEST = 9, 3
_SHORTEST = 5e-3  # s of a round: shorter ones say more of the clock
_BATCH = 16  # samples whose spikes are compared at a time
_VALUES = 1 << 24  # spikes of such a batch, all layers and steps together


def ask(asked: Compared, contestants: Sequence[Contestant], seconds: float, watch: Watch) -> None:
    """Everybody's answers and spikes, batch by batch, until the samples or the time of each are used up."""
    runs = {one: run for one in contestants if (run := opened(one, one.layers)) is not None}
    size = _batch_size(contestants)
    spent = 0.0
    for start in range(0, asked.samples, size):
        numbers = slice(start, min(start + size, asked.samples))
        watch("comparing spikes", start, asked.samples)
        known: Mapping[str, NDArray[Any]] | None = None
        if not isinstance(asked.spikes, Unknown) and spent <= seconds:
            began = perf_counter()
            known = asked.spikes(numbers)
            spent += perf_counter() - began
        inputs, firsts = asked.batch(numbers), dict[Path, tuple[str, Mapping[str, NDArray[Any]]]]()
        for one, run in runs.items():
            if not one.fault and one.seconds <= seconds:
                labels = None if isinstance(asked.labels, Unknown) else asked.labels[numbers]
                made = _answered(one, run, inputs, known, labels)
                _hold_against_first(one, made, firsts)


def _hold_against_first(
    one: Contestant, made: Mapping[str, NDArray[Any]], firsts: dict[Path, tuple[str, Mapping[str, NDArray[Any]]]]
) -> None:
    """Count where a runtime fires otherwise than the one that its artefact is verified with."""
    if one.bundle is None or not made:
        return
    name, spikes = firsts.setdefault(one.bundle.folder, (one.runtime, made))
    if spikes is not made:
        one.first = name
        one.from_first += sum(int(np.count_nonzero(made[layer] != spikes[layer])) for layer in one.layers if layer in made)


def _batch_size(contestants: Sequence[Contestant]) -> int:
    """As many as memory holds the spikes of."""
    bundles = [one.bundle for one in contestants if one.bundle is not None]
    each = max((b.manifest.steps * sum(prod(layer.shape) for layer in b.manifest.spiking_layers) for b in bundles), default=1)
    return max(1, min(_BATCH, _VALUES // max(1, each)))


def _answered(
    one: Contestant,
    run: Run,
    inputs: NDArray[np.float32],
    known: Mapping[str, NDArray[Any]] | None,
    labels: NDArray[np.int64] | None,
) -> Mapping[str, NDArray[Any]]:
    """One batch, counted; nothing where it fails."""
    expected, began = {layer: spikes for layer, spikes in (known or {}).items() if layer in one.layers}, perf_counter()
    try:
        made = run(inputs)
        if not np.isfinite(made[one.output]).all():
            raise UserError(f"{one.runtime}: logits that are not finite")
        for layer, spikes in expected.items():
            if layer not in made or made[layer].shape != spikes.shape:
                raise UserError(f"{one.runtime}: layer {layer}: its spikes are not made, or have another shape")
    except UserError as error:
        one.fault = said(one, error)
        return {}
    one.seconds += perf_counter() - began
    one.answered += len(made[one.output])
    if labels is not None:
        one.correct += int((made[one.output].reshape(len(labels), -1).argmax(-1) == labels).sum())
    one.differing += sum(int(np.count_nonzero(made[layer] != spikes)) for layer, spikes in expected.items())
    one.values += sum(spikes.size for spikes in expected.values())
    one.compared += len(made[one.output]) if known is not None else 0
    return made


def time_batches(asked: Compared, contestants: Sequence[Contestant], size: int, seconds: float, watch: Watch) -> None:
    """Rounds in which everybody computes one batch, one after the other: what slows the machine for a while slows all."""
    inputs, runs, repeats = asked.repeated(size), dict[Contestant, Run](), dict[Contestant, int]()
    title = f"timing batches of {size}"
    for number, one in enumerate(contestants):
        watch(title, number, len(contestants))
        reason = _untimed(one, size, seconds)
        run = None if reason else opened(one, ())
        if run is None:
            one.durations[size] = Unknown(reason or one.fault or "cannot be opened")
            continue
        try:
            run(inputs)
            began = perf_counter()
            run(inputs)
        except UserError as error:
            one.durations[size] = Unknown(said(one, error))
            continue
        taken = perf_counter() - began
        if taken * _FEWEST > seconds:
            one.durations[size] = Unknown(_too_slow(size, taken))
            continue
        runs[one], repeats[one] = run, max(1, round(_SHORTEST / taken))
    measured: dict[Contestant, list[float]] = {one: [] for one in runs}
    for number in range(ROUNDS):
        watch(title, number, ROUNDS)
        for one, run in runs.items():
            if len(measured[one]) >= _FEWEST and sum(measured[one]) * repeats[one] > seconds:
                continue
            began = perf_counter()
            for _ in range(repeats[one]):
                run(inputs)
            measured[one].append((perf_counter() - began) / repeats[one])
    for one, times in measured.items():
        one.durations[size] = Duration(size, 1e3 * median(times) / size, len(times))


def _untimed(one: Contestant, size: int, seconds: float) -> str:
    """Why there is no use in trying; nothing if there is."""
    if isinstance(one.opens, Unknown):
        return one.opens.reason
    if one.fault or one.untimed:
        return one.fault or one.untimed
    expected = size * one.seconds / one.answered if one.answered else 0.0
    return _too_slow(size, expected) if expected * _FEWEST > 4 * seconds else ""


def _too_slow(size: int, taken: float) -> str:
    return f"a batch of {size} takes about {taken:,.0f} s; more --seconds let it be timed"
