"""Every kind of layer that SLAYER and others write into `.net` files, field by field as they write it.

A file is written here by h5py alone, read, and simulated; what comes out is what a small reference makes of the same numbers,
one neuron after the other, from the equations alone. What cannot be read is refused by the field that says so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.simulate import simulate

STEPS = 9
Fields: TypeAlias = dict[str, Any]


def even(seed: int, *shape: int, low: int = -20, high: int = 25) -> Any:
    return 2 * np.random.default_rng(seed).integers(low, high, shape)


def cuba(i_decay: Any = 1024, v_decay: Any = 123, threshold: Any = 60, **more: Any) -> Fields:
    """As SLAYER describes its neurons: numbers, and a text of variable length."""
    return {
        "type": "CUBA",
        "iDecay": i_decay,
        "vDecay": v_decay,
        "vThMant": threshold,
        "refDelay": 1,
        "gradedSpike": False,
    } | more


def sdnn(threshold: int = 6, **more: Any) -> Fields:
    return {"type": "SDNN", "activation": "relu", "vThMant": threshold} | more


def dense(outputs: int, inputs: int, seed: int = 0, neuron: Fields | None = None, **more: Any) -> Fields:
    sizes = {"shape": [outputs], "inFeatures": inputs, "outFeatures": outputs}
    return {"type": "dense", **sizes, "weight": even(seed, outputs, inputs), "neuron": neuron or cuba()} | more


def conv(
    shape: tuple[int, int, int], inputs: int, kernel: Any = (3, 3), seed: int = 1, neuron: Fields | None = None, **more: Any
) -> Fields:
    plan = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1} | more
    sizes = {"inChannels": inputs, "outChannels": shape[0], "kernelSize": list(kernel)}
    weight = even(seed, shape[0], inputs // plan["groups"], *kernel)
    return {"type": "conv", "shape": list(shape), **sizes, "weight": weight, "neuron": neuron or cuba()} | plan


def flatten(*shape: int) -> Fields:
    return {"type": "flatten"} | ({"shape": list(shape)} if shape else {})


def without(fields: Fields, name: str) -> Fields:
    return {key: value for key, value in fields.items() if key != name}


def written(path: Path, layers: list[Fields]) -> Path:
    """Weights, biases and delays as float32, types as arrays of one text, neurons' as a text of its own: as SLAYER does."""
    with h5py.File(path, "w") as file:
        for number, fields in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for name, value in fields.items():
                if name == "neuron":
                    for key, entry in value.items():
                        group[f"neuron/{key}"] = entry
                elif name == "type":
                    group.create_dataset("type", (1,), "S10", [value.encode()])
                elif name in ("weight", "bias", "delay", "weight_rec", "recWeight"):
                    group[name] = np.asarray(value, np.float32)
                else:
                    group[name] = value
        file["simulation/Ts"] = 1
    return path


# --- the reference -------------------------------------------------------------------------------------------------------


def pair(value: Any) -> tuple[int, int]:
    y, x = np.broadcast_to(np.ravel(value), (2,)).tolist()
    return y, x


def reaching(fields: Fields, source: tuple[int, ...], index: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Source neuron, weight and delay of every synapse of one target neuron."""
    weight = np.asarray(fields["weight"], np.int64)
    if fields["type"] in ("conv", "pool"):
        weight = weight.reshape(weight.shape[:4])
        stride, padding, dilation = (pair(fields[name]) for name in ("stride", "padding", "dilation"))
        if fields["type"] == "pool":
            channels, kernel = [index[0]], weight[0]
        else:
            group = index[0] // (len(weight) // int(np.ravel(fields["groups"])[0]))
            channels, kernel = range(group * weight.shape[1], (group + 1) * weight.shape[1]), weight[index[0]]
        for number, channel in enumerate(channels):
            for i in range(kernel.shape[1]):
                for j in range(kernel.shape[2]):
                    y, x = (
                        at * s - p + d * k for at, s, p, d, k in zip(index[1:], stride, padding, dilation, (i, j), strict=True)
                    )
                    if 0 <= y < source[1] and 0 <= x < source[2]:
                        yield (channel, y, x), int(kernel[number, i, j]), 0
        return
    (row,) = index
    weight = weight.reshape(int(np.prod(fields["shape"])), -1)
    delay = np.asarray(fields.get("delay", 0), np.int64)
    for column, value in enumerate(weight[row]):
        late = np.broadcast_to(delay[:, None] if delay.shape == (len(weight),) else delay, weight.shape)
        yield (column,), int(value), int(late[row, column])


def per_channel(value: Any, index: tuple[int, ...]) -> int:
    values = np.asarray(value)
    if values.size == 1:
        return int(values.ravel()[0])
    return int(values[index[0]] if values.ndim == 1 else values[index[::-1]])  # one for every neuron is stored (W, H, C)


def toward_zero(value: int) -> int:
    return -(-value >> 12) if value < 0 else value >> 12


def cuba_neuron(currents: list[int], neuron: Fields, index: tuple[int, ...], bias: int) -> list[int]:
    u = v = 0
    fired = list[int]()
    for a in currents:
        u = toward_zero(u * (4096 - per_channel(neuron["iDecay"], index))) + (a << 6)
        u += -(1 << 24) if u > 1 << 23 else (1 << 24) if u <= -(1 << 23) else 0
        v = toward_zero(v * (4096 - per_channel(neuron["vDecay"], index))) + u + (bias << 6)
        v = max(-(1 << 23) + 1, min((1 << 23) - 1, v))
        fired.append(int(v > per_channel(neuron["vThMant"], index) << 6))
        v = 0 if fired[-1] else v
    return fired


def sigma_delta_neuron(sums: list[int], neuron: Fields, bias: int, *, entry: bool) -> list[int]:
    total = held = before = 0
    sent = list[int]()
    for a in sums:
        total += a
        if "sigma_output" in neuron:
            sent.append(total)
            continue
        now = 4096 * a if entry else max(0, total + 4096 * bias)
        change = now - before + held
        message = change if abs(change) >= 4096 * int(neuron["vThMant"]) else 0
        before, held = now, change - message
        sent.append(message >> 6)
    return sent


def reference(layers: list[Fields], x: Any) -> Any:
    """The last layer's messages `[T, *shape]` for one sample `[T, *shape]`, as whole numbers."""
    made = np.asarray(x, np.int64)
    for number, fields in enumerate(layers):
        if fields["type"] == "flatten":
            made = made.reshape(len(made), -1)
            continue
        if fields["type"] == "input" and "neuron" not in fields:
            continue
        neuron, entry = fields.get("neuron", {"type": "CUBA", "iDecay": 0, "vDecay": 4096, "vThMant": 1 << 17}), number == 0
        entry &= fields["type"] == "input"
        shape = tuple(np.ravel(fields["shape"]).tolist())
        shape = shape if fields["type"] in ("conv", "pool", "input") else (int(np.prod(shape)),)
        back = next((np.asarray(fields[name], np.int64) for name in ("weight_rec", "recWeight") if name in fields), None)
        fired = np.zeros((STEPS, *shape), np.int64)
        arriving = np.zeros((STEPS, *shape), np.int64)
        for index in np.ndindex(shape):
            if entry:
                arriving[(slice(None), *index)] = made[(slice(None), *index)]
                continue
            for source, weight, delay in reaching(fields, made.shape[1:], index):
                late = 1 + delay
                arriving[(slice(late, None), *index)] += weight * made[(slice(None, STEPS - late), *source)]
        if back is not None:  # all neurons together, step by step
            back = back.reshape(shape[0], shape[0])
            for step in range(STEPS):
                arriving[step] += back @ fired[step - 1] if step else 0
                for index in np.ndindex(shape):
                    fired[(step, *index)] = cuba_neuron(arriving[: step + 1, index[0]].tolist(), neuron, index, 0)[-1]
            made = fired
            continue
        for index in np.ndindex(shape):
            bias, currents = (
                per_channel(fields.get("bias", 0), index) if not entry else 0,
                arriving[(slice(None), *index)].tolist(),
            )
            if neuron["type"] == "SDNN":
                fired[(slice(None), *index)] = sigma_delta_neuron(currents, neuron, bias, entry=entry)
            else:
                fired[(slice(None), *index)] = cuba_neuron(currents, neuron, index, bias)
        made = fired
    return made


IMAGE, VECTOR = (2, 6, 6), (6,)
FLAT = flatten(36, 1, 1)
READ: dict[str, tuple[tuple[int, ...], list[Fields]]] = {
    "dense": (VECTOR, [dense(5, 6), dense(3, 5, 1)]),
    "dense of type LOIHI": (VECTOR, [dense(5, 6, neuron=cuba(type="LOIHI"))]),
    "dense with a flat weight": (VECTOR, [dense(5, 6) | {"weight": even(0, 30)}]),
    "dense of a shape of three sizes": (VECTOR, [dense(5, 6) | {"shape": [5, 1, 1]}]),
    "dense with a bias": (VECTOR, [dense(5, 6, bias=[4, -2, 0, -8, 30])]),
    "dense with one bias for all": (VECTOR, [dense(5, 6, bias=[7])]),
    "dense with a delay per output": (VECTOR, [dense(5, 6, delay=[0, 1, 2, 3, 1]), dense(3, 5, 1, delay=[2.0, 0.0, 1.0])]),
    "dense with a delay per input": (VECTOR, [dense(5, 6, delay=[0, 1, 2, 3, 1, 4])]),
    "dense with a delay per synapse": (VECTOR, [dense(5, 6, delay=even(7, 5, 6, low=0, high=3))]),
    "dense with one delay": (VECTOR, [dense(5, 6, delay=2)]),
    "dense without neurons": (VECTOR, [dense(5, 6), without(dense(3, 5, 1), "neuron")]),
    "decays and thresholds per channel": (VECTOR, [dense(3, 6, neuron=cuba([0, 4096, 900], [4096, 0, 77], [30, 60, 5]))]),
    "decays and thresholds in arrays of one": (VECTOR, [dense(3, 6, neuron=cuba([1024], [123], [60]))]),
    "what SLAYER trained with, and plain values": (
        VECTOR,
        [dense(3, 6, neuron=cuba(weight_exp=[0.0], wgtExp=0, messageBits=0, scaleRho=0.1, tauRho=1.0, theta=100))],
    ),
    "dense_rec": (VECTOR, [dense(5, 6), dense(4, 5, 1) | {"type": "dense_rec", "weight_rec": even(3, 4, 4)}]),
    "dense_rec with flat weights": (
        VECTOR,
        [dense(4, 6, 1) | {"type": "dense_rec", "weight": even(1, 24), "weight_rec": even(3, 16)}],
    ),
    "recurrent of SpyTorch2Loihi": (VECTOR, [dense(4, 6, 1) | {"type": "recurrent", "recWeight": even(3, 4, 4)}]),
    "input that tells a shape": (VECTOR, [{"type": "input", "shape": [6]}, dense(5, 6)]),
    "input with neurons": (
        VECTOR,
        [{"type": "input", "shape": [6], "weight": [64.0], "bias": [0.0], "neuron": cuba()}, dense(5, 6)],
    ),
    "input with neurons and no map": (
        IMAGE,
        [{"type": "input", "shape": [2, 6, 6], "neuron": cuba(threshold=2)}, conv((3, 6, 6), 2)],
    ),
    "conv": (IMAGE, [conv((3, 6, 6), 2), flatten(108, 1, 1), dense(3, 108)]),
    "conv of a weight with a fifth axis": (IMAGE, [conv((3, 6, 6), 2) | {"weight": even(1, 3, 2, 3, 3, 1)}]),
    "conv with stride, padding and dilation in both axes": (
        IMAGE,
        [conv((4, 6, 2), 2, (3, 2), stride=[1, 2], padding=[1, 0], dilation=[1, 2]), flatten(), dense(3, 48)],
    ),
    "conv with numbers for stride, padding and dilation": (IMAGE, [conv((3, 3, 3), 2, stride=2, padding=1, dilation=1)]),
    "conv in groups": (IMAGE, [conv((4, 6, 6), 2, groups=2)]),
    "conv with groups in an array of one": (IMAGE, [conv((4, 6, 6), 2) | {"groups": [2], "weight": even(1, 4, 1, 3, 3)}]),
    "conv with a bias and thresholds per channel": (
        IMAGE,
        [conv((3, 6, 6), 2, bias=[5, 0, -9], neuron=cuba(threshold=[40, 9, 0]))],
    ),
    "conv with a bias for every neuron": (IMAGE, [conv((3, 6, 6), 2, bias=even(4, 6, 6, 3))]),
}
POOL: Fields = {
    "type": "pool",
    "shape": [4, 3, 3],
    "kernelSize": [2, 2],
    "stride": [2, 2],
    "padding": [0, 0],
    "dilation": [1, 1],
    "weight": np.full((1, 1, 2, 2), 64),
}
FROM_IMAGE = {"type": "input", "shape": [2, 6, 6], "weight": [64.0], "bias": [0.0], "neuron": sdnn(2)}
READ |= {
    "pool": (IMAGE, [conv((4, 6, 6), 2), POOL | {"neuron": cuba()}, flatten(36, 1, 1), dense(3, 36)]),
    "sigma-delta dense": (
        VECTOR,
        [{"type": "input", "shape": [6], "neuron": sdnn(2)}, dense(5, 6, neuron=sdnn()), dense(3, 5, 1, sdnn())],
    ),
    "sigma-delta conv, bias and sigma output": (
        IMAGE,
        [
            FROM_IMAGE,
            conv((4, 3, 3), 2, stride=[2, 2], neuron=sdnn(9), bias=[5, -3, 0, 2]),
            FLAT,
            dense(3, 36, 0, sdnn(sigma_output=True)),
        ],
    ),
    "sigma-delta pool": (
        IMAGE,
        [FROM_IMAGE, conv((4, 6, 6), 2, neuron=sdnn()), POOL | {"neuron": sdnn(3)}, FLAT, dense(3, 36, 0, sdnn())],
    ),
    "sigma-delta with plain values": (
        VECTOR,
        [{"type": "input", "shape": [6], "neuron": sdnn()}, dense(5, 6, 0, sdnn(weight_exp=0, messageBits=16))],
    ),
    "sigma-delta with delays of 0": (
        VECTOR,
        [{"type": "input", "shape": [6], "neuron": sdnn()}, dense(5, 6, 0, sdnn(), delay=np.zeros(5))],
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_it_is_read_and_gives_what_its_numbers_say(tmp_path, kind):
    shape, layers = READ[kind]
    network = read(written(tmp_path / "a.net", layers))
    rng, driven = np.random.default_rng(len(kind)), network.has_input_neurons
    x = rng.integers(-30, 90, (STEPS, *shape)) if driven else rng.integers(0, 2, (STEPS, *shape))
    found = simulate(network, x[:, None], STEPS, mode="ain" if driven else "spikes")
    last = [values for key, values in found.items() if key.endswith("_s")][-1][:, 0].astype(np.int64)
    expected = reference(layers, x)
    np.testing.assert_array_equal(last.reshape(expected.shape), expected)
    silent = "neuron" not in layers[-1]
    assert bool(last.any()) is not silent


COMPLEX = {"weight/real": even(0, 5, 6), "weight/imag": even(1, 5, 6)}
RESONATES = {"type": "RF_PHASE", "sinDecay": 2335, "cosDecay": 3214, "vThMant": 80, "gradedSpike": False}
REFUSED: dict[str, tuple[list[Fields], str]] = {
    "resonators": (
        [without(dense(5, 6, neuron=RESONATES), "weight") | COMPLEX],
        "/layer/0/neuron/type: 'RF_PHASE' found, CUBA, LOIHI or SDNN expected; these are resonate-and-fire neurons",
    ),
    "resonators of Izhikevich": (
        [dense(5, 6, neuron=RESONATES | {"type": "RF_IZHIKEVICH"})],
        "/layer/0/neuron/type: 'RF_IZHIKEVICH' found",
    ),
    "adaptive resonators": (
        [dense(5, 6, neuron={"type": "ADRF_PHASE"})],
        "neuron/type: 'ADRF_PHASE' found.* adaptive resonate-and-fire",
    ),
    "adaptive LIF": ([dense(5, 6, neuron=cuba(type="ALIF"))], "/layer/0/neuron/type: 'ALIF' found.* adaptive LIF neurons"),
    "complex weights": ([without(dense(5, 6), "weight") | COMPLEX], "/layer/0/weight: Group found"),
    "unpool": ([conv((4, 6, 6), 2), POOL | {"type": "unpool", "neuron": cuba()}], "/layer/1/type: 'unpool' found"),
    "transposed conv": ([conv((4, 6, 6), 2) | {"type": "convT"}], "/layer/0/type: 'convT' found"),
    "concat": ([dense(5, 6), {"type": "concat", "layers": [0, 0]}], "/layer/1/type: 'concat' found"),
    "add": ([dense(5, 6), {"type": "add", "shape": [5]}], "/layer/1/type: 'add' found"),
    "average, whose export breaks off": ([dense(6, 6), {"type": "average"}], "/layer/1/shape: missing"),
    "no type, as of k-winners": ([without(dense(5, 6), "type")], "/layer/0/type: missing"),
    "delay of a conv": ([conv((4, 6, 6), 2, delay=[0, 1, 2, 3])], "/layer/0/delay: found on a convolution"),
    "delay beyond what netx keeps": ([dense(5, 6, delay=[0, 0, 0, 0, 63])], "/layer/0.*delay: 63 found, 0 to 62"),
    "delay of another length": ([dense(5, 6, delay=[0, 1])], r"/layer/0.*delay: shape \(2,\) found"),
    "delay of a recurrent layer": (
        [dense(4, 6, delay=1) | {"type": "dense_rec", "weight_rec": even(3, 4, 4)}],
        "/layer/0/delay: found on a recurrent",
    ),
    "sigma-delta with delays": (
        [{"type": "input", "shape": [6], "neuron": sdnn()}, dense(5, 6, 0, sdnn(), delay=1)],
        "/layer/1.*delay, weight_rec: found with sigma-delta",
    ),
    "weights scaled by a norm": (
        [dense(5, 6, neuron=cuba(weight_exp=[-2.0]))],
        "/layer/0/neuron/weight_exp: -2 found, 0 expected",
    ),
    "sigma-delta scaled by a norm": (
        [{"type": "input", "shape": [6], "neuron": sdnn()}, dense(5, 6, 0, sdnn(weight_exp=-1))],
        "/layer/1/neuron/weight_exp: -1 found",
    ),
    "graded spikes": ([dense(5, 6, neuron=cuba(gradedSpike=True))], "/layer/0/neuron/gradedSpike: 1 found, 0 expected"),
    "refractory time": ([dense(5, 6, neuron=cuba(refDelay=3))], "/layer/0/neuron/refDelay: 3 found, 1 expected"),
    "both kinds of neurons": ([dense(5, 6), dense(3, 5, 1, sdnn())], "neurons of both kinds"),
    "thresholds of another length": ([dense(5, 6, neuron=cuba(threshold=[1, 2]))], r"/layer/0.*vThMant: shape \(2,\) found"),
    "recurrent weight of another size": (
        [dense(4, 6) | {"type": "dense_rec", "weight_rec": even(3, 4, 3)}],
        "/layer/0.*weight_rec",
    ),
    "no recurrent weight": ([dense(4, 6) | {"type": "dense_rec"}], "/layer/0/weight_rec: missing"),
    "sizes told twice": ([dense(5, 6, inFeatures=7)], "/layer/0/inFeatures: 7 found, but the weight says 6"),
    "no stride": ([without(conv((4, 6, 6), 2), "stride")], "/layer/0/stride: missing"),
    "an input that comes second": ([dense(5, 6), {"type": "input", "shape": [5]}], "/layer/1: input entry found"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_by_the_field_that_says_so(tmp_path, kind):
    layers, message = REFUSED[kind]
    with pytest.raises(UserError, match=f"a.net: {message}" if message.startswith("/") else message):
        read(written(tmp_path / "a.net", layers))


def test_a_file_that_git_has_not_fetched_is_named_as_such(tmp_path):
    path = tmp_path / "a.net"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(UserError, match=r"a\.net: a pointer of Git LFS, a \.net file expected; fetch the file itself"):
        read(path)
