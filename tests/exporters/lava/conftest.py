"""The recorded runs of Intel's Lava, where they are and their axes in ours; and networks that branch in every way."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from neurodeploy.graph import Graph, nodes
from neurodeploy.neurons import NeuronParameters

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "golden"


@dataclass(frozen=True)
class Case:
    """One recorded run.

    Attributes:
        settings: the case's `case.json`.
        network: path of its `.net` file.
        inputs: `[T, B=1, …]`, or `[B=1, …]` in mode "bias".
        expected: recorded arrays, `[T, B=1, …]`.
    """

    settings: dict[str, Any]
    network: Path
    inputs: np.ndarray
    expected: dict[str, np.ndarray]

    def digest(self, array: np.ndarray) -> str:
        """SHA-256 of an array `[T, B=1, …]` in the form in which `case.json` gives it."""
        return hashlib.sha256(np.ascontiguousarray(array[:, 0].transpose(), "<i4").tobytes()).hexdigest()


@pytest.fixture
def recorded() -> Callable[[str], Case]:
    """Reads the case whose folder begins with a name; skips the test where the recordings are absent."""
    return _load


def _load(name: str) -> Case:
    found = sorted(FOLDER.glob(f"{name}*"))
    if not found:
        pytest.skip(f"no recorded Lava runs at {FOLDER}")
    settings = json.loads((found[0] / "case.json").read_text())
    with np.load(found[0] / "input.npz", allow_pickle=False) as file:
        inputs = file["input"]
    with np.load(found[0] / "expected.npz", allow_pickle=False) as file:
        expected = {key: _ours(file[key]) for key in file.files}
    moved = inputs.transpose()[None] if settings["mode"] == "bias" else _ours(inputs)
    return Case(settings, found[0] / "network.net", moved, expected)


def _ours(array: np.ndarray) -> np.ndarray:
    """Lava's `(W, H, C, T)` or `(N, T)` → `[T, 1, C, H, W]` or `[T, 1, N]`."""
    return array.transpose()[:, None]


@pytest.fixture(scope="session")
def branching() -> st.SearchStrategy[tuple[Graph, np.ndarray]]:
    """Networks fed by events, whose layers each read sums of earlier spikes, pooled or not, through synapses or none."""
    return _branching()


@st.composite
def _branching(draw) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes = draw(st.integers(1, 2))
    shape = (2, *(draw(st.integers(4, 7)) for _ in range(axes)))
    members: list[nodes.Node] = []
    spikes = ["x"]

    def put(node):
        members.append(node)
        return node.name

    def sum_of_spikes(index, part):
        chosen = draw(st.lists(st.sampled_from(spikes), min_size=1, max_size=3))
        total = chosen[0]
        for number, other in enumerate(chosen[1:]):
            total = put(nodes.Add(name=f"sum{index}.{part}.{number}", inputs=(total, other)))
        return total

    for index in range(draw(st.integers(1, 4))):
        ways = []
        for part in range(draw(st.integers(1, 3))):
            source = sum_of_spikes(index, part)
            kind = draw(st.sampled_from(["conv", "pool", "nothing"]))
            name = f"way{index}.{part}"
            if kind == "pool":
                source = put(nodes.AvgPool(name=name, inputs=(source,), kernel=(1,) * axes, stride=(1,) * axes))
            if kind == "conv":
                weight = rng.normal(0, 0.5, (2, draw(st.integers(1, 2)), *(3,) * axes))
                bias = rng.normal(0, 0.2, 2) if draw(st.booleans()) else None
                source = put(_conv(name, source, weight, bias))
            ways.append(source)
        total = ways[0]
        for number, other in enumerate(ways[1:]):
            total = put(nodes.Add(name=f"total{index}.{number}", inputs=(total, other)))
        spikes.append(put(_neurons(draw, f"n{index}", total)))
    samples = (rng.random((5, 2, *shape)) < 0.4).astype(np.float32)
    x, mean = nodes.Input(name="x", shape=shape, timed=True), nodes.TimeMean(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, nodes.Output(name="out", inputs=("mean",))]), samples


def _conv(name: str, source: str, weight: np.ndarray, bias: np.ndarray | None) -> nodes.Conv:
    one = (1,) * (weight.ndim - 2)
    return nodes.Conv(
        name=name,
        inputs=(source,),
        weight=weight.astype(np.float32),
        bias=None if bias is None else bias.astype(np.float32),
        stride=one,
        padding=one,
        dilation=one,
        groups=2 // weight.shape[1],
    )


def _neurons(draw: Any, name: str, source: str) -> nodes.Neuron:
    decay, threshold = draw(st.sampled_from([0.0, 0.5, 0.77, 1.0])), draw(st.sampled_from([0.3, 0.5, 1.0]))
    return nodes.Neuron(name=name, inputs=(source,), parameters=NeuronParameters(decay, threshold, "hard"))
