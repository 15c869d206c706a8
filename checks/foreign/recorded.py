"""Reads the reduced copies that `checks.foreign.reduced` writes; needs numpy alone. See `tests/files/foreign/README.md`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A layer, in the order of computation.

    Attributes:
        name: path of its module.
        kind: class of its module.
        reads: name of the layer whose answer it was given as it was, "input", or "" where the forward computes something in
            between.
        settings: stride, padding and the like.
        constants: of a neuron, as its framework names them: numbers, words, or arrays; empty for other layers.
        weights: by their names in the layer.
        given, spikes: `[T, B, …]` of a neuron; else None.
    """

    name: str
    kind: str
    reads: str
    settings: Mapping[str, Any]
    constants: Mapping[str, Any]
    weights: Mapping[str, Array]
    given: Array | None
    spikes: Array | None


@dataclass(frozen=True)
class Recorded:
    """A network that a framework built, and what it fires there.

    Attributes:
        name: of the network.
        what: is in it.
        framework: name and version, and torch's.
        called: how; see `checks.foreign.networks.CALLS`.
        samples: "static" or "sequence".
        steps: T.
        layers: those that are modules, by their names.
        weights: all of the network, by their names in it.
        spikes: spiking layer, in the order of computation → `[T, B, …]`, of neurons that are no modules too.
        inputs: `[T, B, …]` for a sequence, else `[B, …]`.
        output: `[T, B, …]` or `[B, …]`.
        nodes: of the graph that it became, as `neurodeploy.graph.stored` has them; none if it was refused.
        arrays: of these.
    """

    name: str
    what: str
    framework: Mapping[str, str]
    called: str
    samples: str
    steps: int
    layers: Mapping[str, Layer]
    weights: Mapping[str, Array]
    spikes: Mapping[str, Array]
    inputs: Array
    output: Array
    nodes: tuple[Mapping[str, Any], ...]
    arrays: Mapping[str, NDArray[Any]]


def read(path: Path) -> Recorded:
    """Read a file.

    Raises:
        ValueError: it is of another format.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    description = json.loads(str(arrays["description"]))
    if description["format"] != FORMAT:
        raise ValueError(f"{path}: format {description['format']} found, {FORMAT} expected")
    weights, given, spikes = (_under(f"{kind}/", arrays) for kind in ("weights", "given", "spikes"))
    layers = {
        layer["name"]: Layer(
            layer["name"],
            layer["kind"],
            layer["reads"],
            layer["settings"],
            {**layer.get("constants", {}), **_under(f"constants/{layer['name']}/", arrays)},
            _under(f"{layer['name']}.", weights),
            given.get(layer["name"]),
            spikes.get(layer["name"]),
        )
        for layer in description["layers"]
    }
    return Recorded(
        **{key: description[key] for key in ("name", "what", "framework", "called", "samples", "steps")},
        layers=layers,
        weights=weights,
        spikes={name: spikes[name] for name in description["spiking"]},
        inputs=arrays["input"].astype(np.float32),
        output=arrays["output"],
        nodes=tuple(description["graph"]),
        arrays={name.removeprefix("graph/"): values for name, values in arrays.items() if name.startswith("graph/")},
    )


def _under(start: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): values.astype(np.float32) for name, values in arrays.items() if name.startswith(start)}
