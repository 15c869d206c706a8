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

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants

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
    members: list[ops.Node] = []
    spikes = ["x"]

    def put(node):
        members.append(node)
        return node.name

    def sum_of_spikes(index, part):
        chosen = draw(st.lists(st.sampled_from(spikes), min_size=1, max_size=3))
        total = chosen[0]
        for number, other in enumerate(chosen[1:]):
            total = put(ops.AddNode(name=f"sum{index}.{part}.{number}", inputs=(total, other)))
        return total

    for index in range(draw(st.integers(1, 4))):
        ways = []
        for part in range(draw(st.integers(1, 3))):
            source = sum_of_spikes(index, part)
            kind = draw(st.sampled_from(["conv", "pool", "nothing"]))
            name = f"way{index}.{part}"
            if kind == "pool":
                source = put(ops.AvgPoolNode(name=name, inputs=(source,), kernel=(1,) * axes, stride=(1,) * axes))
            if kind == "conv":
                weight = rng.normal(0, 0.5, (2, draw(st.integers(1, 2)), *(3,) * axes))
                bias = rng.normal(0, 0.2, 2) if draw(st.booleans()) else None
                source = put(_conv(name, source, weight, bias))
            ways.append(source)
        total = ways[0]
        for number, other in enumerate(ways[1:]):
            total = put(ops.AddNode(name=f"total{index}.{number}", inputs=(total, other)))
        spikes.append(put(_neurons(draw, f"n{index}", total)))
    samples = (rng.random((5, 2, *shape)) < 0.4).astype(np.float32)
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))]), samples


def _conv(name: str, source: str, weight: np.ndarray, bias: np.ndarray | None) -> ops.ConvNode:
    one = (1,) * (weight.ndim - 2)
    return ops.ConvNode(
        name=name,
        inputs=(source,),
        weight=weight.astype(np.float32),
        bias=None if bias is None else bias.astype(np.float32),
        stride=one,
        padding=one,
        dilation=one,
        groups=2 // weight.shape[1],
    )


def _neurons(draw: Any, name: str, source: str) -> ops.NeuronNode:
    decay, threshold = draw(st.sampled_from([0.0, 0.5, 0.77, 1.0])), draw(st.sampled_from([0.3, 0.5, 1.0]))
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(decay, threshold, "hard"))


@pytest.fixture(scope="session")
def random_circuit() -> Callable[[int], Circuit]:
    """Makes a circuit, other for every seed, that a chip can hold: convolutions and matrices, branches, delays, feedback of a
    population to itself, input neurons, decays and biases of all kinds."""
    return _random_circuit


def _random_circuit(seed: int) -> Circuit:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)) * 2, int(rng.integers(2, 6)), int(rng.integers(2, 6)))
    flat = bool(rng.random() < 0.3)
    input_shape = (int(np.prod(shape)),) if flat else shape
    populations: list[Population] = []
    synapses: list[Synapse] = []
    if rng.random() < 0.3:
        populations.append(Population(key="driven", shape=input_shape, neuron=_neuron(rng, input_shape[0])))
    for _ in range(rng.integers(1, 5)):
        index = len(populations)
        sources = range(INPUT if not populations or populations[0].key != "driven" else 0, index)
        shapes = {i: input_shape if i == INPUT else populations[i].shape for i in sources}
        chosen = int(rng.choice(sources))
        first = _convolution(rng, shapes[chosen]) if len(shapes[chosen]) == 3 and rng.random() < 0.7 else None
        connection = first or _matrix(rng, shapes[chosen], int(rng.integers(1, 9)))
        target = connection.output_shape(shapes[chosen])
        synapses.append(Synapse(source=chosen, target=index, connection=connection, delay=int(rng.integers(0, 4))))
        for other in sources:  # whatever else fits
            if rng.random() < 0.5 and len(target) == 1:
                synapses.append(Synapse(source=other, target=index, connection=_matrix(rng, shapes[other], target[0])))
            elif rng.random() < 0.5 and shapes[other][1:] == target[1:] and len(target) == 3:
                weight = _even(rng, (target[0], shapes[other][0], 1, 1))
                synapses.append(Synapse(source=other, target=index, connection=Convolution(weight=weight), delay=1))
        bias = rng.integers(-300, 300, target if rng.random() < 0.3 else target[0]) if rng.random() < 0.6 else None
        recurrent = _even(rng, (target[0], target[0])) if len(target) == 1 and rng.random() < 0.3 else None
        neuron = _neuron(rng, target[0])
        populations.append(Population(key=f"p{index}", shape=target, neuron=neuron, bias=bias, recurrent=recurrent))
    order = rng.permutation(len(synapses))
    return Circuit(input_shape=input_shape, populations=tuple(populations), synapses=tuple(synapses[i] for i in order))


def _even(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 2 * rng.integers(-128, 128, shape)


def _neuron(rng: np.random.Generator, channels: int) -> CubaConstants:
    decays = [rng.choice([0, 4096, 2048, rng.integers(0, 4097)], channels if rng.random() < 0.3 else None) for _ in range(2)]
    i_decay, v_decay = (int(decay) if np.ndim(decay) == 0 else decay for decay in decays)
    return CubaConstants(i_decay, v_decay, int(rng.choice([1, 50, 1000, 131071])))


def _convolution(rng: np.random.Generator, shape: tuple[int, ...]) -> Convolution:
    groups = int(rng.choice([group for group in (1, 2, shape[0]) if shape[0] % group == 0]))
    kernel, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    return Convolution(
        weight=_even(rng, (2 * groups, shape[0] // groups, kernel, 1)),
        stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        padding=(dilation * (kernel - 1), int(rng.integers(0, 2))),
        dilation=(dilation, 1),
        groups=groups,
    )


def _matrix(rng: np.random.Generator, shape: tuple[int, ...], outputs: int) -> Matrix:
    weight = _even(rng, (outputs, int(np.prod(shape))))
    delay = [0, int(rng.integers(0, 5)), rng.integers(0, 5, weight.shape)][rng.integers(0, 3)]
    return Matrix(weight=weight, delay=delay)
