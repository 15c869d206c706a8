"""What SANA-FE is to run, in a form that any Python reads: `job.json`, and its arrays of 32-bit integers in `job.bin`.

An array is given in the JSON by its first number and its length. `runner.py` reads both; it shares nothing else with this.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neurodeploy.io.errors import Failure
from neurodeploy_exporters.lava.connection import Integers

PROTOCOL = 1
"""Of job and result; as in `runner.py`."""

SynapseUnit = Literal["loihi_conv_synapse", "loihi_dense_synapse", "loihi_sparse_synapse"]
"""Hardware of a core, as SANA-FE's Loihi names it."""


@dataclass(frozen=True, eq=False)
class JobGroup:
    """Neurons; every array has one number for each.

    Attributes:
        name: of the group.
        inputs: they fire when they are told to, and nothing else is known of them.
        core: number of the core that each is in.
        threshold, bias: in units of the weights.
        v_keep, i_keep: what potential and current keep in a step, times 4096.
    """

    name: str
    inputs: bool
    core: Integers
    threshold: Integers
    bias: Integers
    v_keep: Integers
    i_keep: Integers

    @property
    def holds(self) -> bool:
        """Whether a part of the current stays from step to step; then the runner computes it."""
        return bool(self.i_keep.any())


@dataclass(frozen=True, eq=False)
class JobConnection:
    """Synapses between two groups.

    Attributes:
        source, target: numbers of groups.
        unit: that computes them.
        pre, post, weight, delay: of each synapse; a spike of step t arrives in step t + 1 + delay.
    """

    source: int
    target: int
    unit: SynapseUnit
    pre: Integers
    post: Integers
    weight: Integers
    delay: Integers


@dataclass(frozen=True, eq=False)
class JobRun:
    """Steps from a chip that has seen nothing.

    Attributes:
        steps: so many.
        inputs: `[n, 2]`: step, from 1, and neuron of the input.
        resets: (step, group): whose potentials are 0 before that step.
    """

    steps: int
    inputs: Integers
    resets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Job:
    """A network in its cores, and what it is to run.

    Attributes:
        width, height: of the mesh, in tiles of four cores.
        groups, connections, runs: see there; one group is the input.
    """

    width: int
    height: int
    groups: tuple[JobGroup, ...]
    connections: tuple[JobConnection, ...]
    runs: tuple[JobRun, ...]

    def write(self, folder: Path) -> None:
        """`job.json` and `job.bin` in a folder that is there."""
        numbers = _Numbers()
        document = {
            "protocol": PROTOCOL,
            "mesh": {"width": self.width, "height": self.height},
            "groups": [
                {
                    "name": group.name,
                    "size": len(group.core),
                    "kind": "input" if group.inputs else "neurons",
                    "holds": group.holds,
                    **{name: numbers.add(getattr(group, name)) for name in ("core", "threshold", "bias", "v_keep", "i_keep")},
                }
                for group in self.groups
            ],
            "connections": [
                {"source": one.source, "target": one.target, "unit": one.unit, "late": late}
                | {name: numbers.add(getattr(one, name)[which]) for name in ("pre", "post", "weight", *(["delay"] * late))}
                for one in self.connections
                for late in (False, True)
                if (which := (one.delay > 0) | self.groups[one.target].holds == late).any()
            ],
            "runs": [
                {"steps": run.steps, "inputs": numbers.add(run.inputs.ravel()), "resets": run.resets} for run in self.runs
            ],
        }
        (folder / "job.json").write_text(json.dumps(document), "utf-8")
        with (folder / "job.bin").open("wb") as file:
            for part in numbers.parts:
                file.write(part)


class _Numbers:
    """The arrays of a job, one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._length = 0

    def add(self, values: Any) -> tuple[int, int]:
        """Place and length of an array that is added."""
        where = self._length, len(values)
        self.parts.append(np.ascontiguousarray(values, "<i4").tobytes())
        self._length += len(values)
        return where


@dataclass(frozen=True, eq=False)
class StepTrace:
    """What every step of a run took; arrays `[steps]`.

    Attributes:
        total_j, synapse_j, dendrite_j, soma_j, network_j: energies, J.
        seconds: that the chip takes for the step.
        synapses, messages, hops, updated, fired: counts.
        spikes: `[n, 3]`: step, group, neuron of every spike.
    """

    total_j: Any
    synapse_j: Any
    dendrite_j: Any
    soma_j: Any
    network_j: Any
    seconds: Any
    synapses: Any
    messages: Any
    hops: Any
    updated: Any
    fired: Any
    spikes: Integers


@dataclass(frozen=True, eq=False)
class JobResult:
    """What the runner answered.

    Attributes:
        version: of SANA-FE.
        architecture: SHA-256 of the Loihi that it brings.
        runs: as the job's.
        seconds: that building the chip took, and that the steps took.
    """

    version: str
    architecture: str
    runs: tuple[StepTrace, ...]
    seconds: tuple[float, float]


_COLUMNS = tuple(name for name in StepTrace.__dataclass_fields__ if name != "spikes")


def read_result(folder: Path, runs: Sequence[JobRun]) -> JobResult:
    """What the runner wrote.

    Args:
        folder: of the job.
        runs: of the job.

    Raises:
        Failure: it is not what the runner of this version writes.
    """
    try:
        document = json.loads((folder / "result.json").read_text("utf-8"))
        if document["protocol"] != PROTOCOL:
            raise ValueError(f"protocol {document['protocol']}")
        fired = np.fromfile(folder / "result.bin", "<i4").reshape(-1, 3).astype(np.int64)
        traces, start = [], 0
        for run, entry in zip(runs, document["runs"], strict=True):
            columns = {name: np.array([step[name] for step in entry["steps"]], np.float64) for name in _COLUMNS}
            if len(entry["steps"]) != run.steps or not all(np.isfinite(column).all() for column in columns.values()):
                raise ValueError(f"{len(entry['steps'])} steps")
            stop = int(entry["spikes"])
            traces.append(StepTrace(**columns, spikes=fired[start:stop]))
            start = stop
        took = document["seconds"]
        return JobResult(
            str(document["versions"]["sanafe"]),
            str(document["architecture"]["sha256"]),
            tuple(traces),
            (float(took["building"]), float(took["running"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"SANA-FE's runner: its answer is not what it should be ({type(error).__name__}: {error})") from None
