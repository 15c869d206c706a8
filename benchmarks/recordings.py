"""Recorded runs of Intel's Lava: a folder with one subfolder for each network, and `lava_timing.json` beside them.

A subfolder holds `network.net`, `input.npz`, `expected.npz` (what Lava computed, axes `(W, H, C, T)` or `(N, T)`) and
`case.json` (how it was run). The timings are those of Lava's CPU simulation, of the second of two runs in one process: steps
only, without reading, compiling and starting.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import RecordedLava
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava import read
from neurodeploy_exporters.lava.network import Network

# of the second series that the file holds, without details; the first names its cases by folder
_EARLIER = {"g01_pilotnet_bias": "g01 output recorder", "g06_decays_threshold": "g06", "g10b_residual_aligned": "g10b chain"}


@dataclass(frozen=True, eq=False)
class Recording:
    """One recorded run.

    Attributes:
        name: of its folder.
        network: the chain.
        settings: options of `simulate`; without skips, as Lava's time was taken.
        skips: what was added to the chain for the recorded states.
        steps: of the run.
        inputs: one sample, `[T, 1, …]`, or `[1, …]` in mode "bias".
        expected: block and state → `[T, 1, …]`.
    """

    name: str
    network: Network
    settings: dict[str, Any]
    skips: tuple[Any, ...]
    steps: int
    inputs: NDArray[Any]
    expected: dict[str, NDArray[Any]]

    def batch(self, samples: int) -> NDArray[Any]:
        """The sample and others like it: the same, rolled along its last axis."""
        axis = 0 if self.settings["mode"] == "bias" else 1
        return np.concatenate([np.roll(self.inputs, shift, -1) for shift in range(samples)], axis)


def recording(folder: Path, name: str) -> Recording:
    """Read a run whose subfolder begins with `name`.

    Raises:
        UserError: there is no such run, or none that can be read.
    """
    found = sorted(folder.glob(f"{name}*/case.json"))
    if not found:
        raise UserError(f"{folder}: no recorded run {name}*; give the folder of the recordings")
    case = json.loads(found[0].read_text())
    names = ("mode", "reset_interval", "reset_offset", "input_message_bits")
    with np.load(found[0].with_name("input.npz"), allow_pickle=False) as file:
        inputs = file["input"]
    with np.load(found[0].with_name("expected.npz"), allow_pickle=False) as file:
        expected = {key: _ours(file[key]) for key in file.files}
    return Recording(
        name=found[0].parent.name,
        network=read(found[0].with_name("network.net")),
        settings={name: case[name] for name in names},
        skips=tuple(case["skips"]),
        steps=case["steps"],
        inputs=inputs.transpose()[None] if case["mode"] == "bias" else _ours(inputs),
        expected=expected,
    )


def recorded_time(folder: Path, name: str) -> RecordedLava:
    """The shortest time that was recorded for a run: of the machine at its least busy.

    Raises:
        UserError: no time was recorded for it.
    """
    path = folder / "lava_timing.json"
    try:
        recorded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); the recorded timings expected") from error
    mine = [case for case in recorded["results"] if case["case"] == name]
    seconds = [case["lava"]["second_run_s"] for case in mine]
    if not seconds:
        raise UserError(f"{path}: no time of {name} found")
    earlier = recorded.get("earlier_series", {}).get("second_run_s_median", {}).get(_EARLIER.get(name))
    return RecordedLava(
        case=name,
        what=mine[0]["what"],
        steps=mine[0]["steps"],
        seconds=min(seconds if earlier is None else [*seconds, earlier]),
        machine=f"{recorded['machine']['model'][0]}, {recorded['machine']['cpus']} cores",
        load=recorded["machine"]["load"],
    )


def _ours(array: NDArray[Any]) -> NDArray[Any]:
    """`(W, H, C, T)` or `(N, T)` → `[T, 1, C, H, W]` or `[T, 1, N]`."""
    return array.transpose()[:, None]
