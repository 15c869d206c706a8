"""Every limit of Loihi and of lava-dl's reader, and an exporter's bug that would overstep it: none gets through unnoticed.

A bug is put into what the quantiser made or into what the writer wrote. It is refused where the value is impossible; where it
is possible and merely wrong, the chip's spikes differ from those of the interpreter. Each limit names its source: `netx` is
`lava.lib.dl.netx` of lava-dl, `Davies 2018` is "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer, Layer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body

ENTRY, CONV, FLATTEN, DENSE = range(4)
Bug = Callable[[Any], Any]


@cache
def exported() -> tuple[QuantizedBody, np.ndarray, dict[str, np.ndarray]]:
    """A body whose axes all differ in length, in integers; spikes for it; and what the interpreter says that it fires."""
    rng = np.random.default_rng(3)
    neuron = NeuronParameters(0.75, 0.5, "hard")
    graph = Graph(
        [
            ops.InputNode(name="x", shape=(4, 7, 6), timed=True),
            ops.ConvNode(
                name="conv",
                inputs=("x",),
                weight=rng.normal(0, 0.4, (6, 2, 3, 3)).astype(np.float32),
                bias=rng.normal(0, 0.2, 6).astype(np.float32),
                stride=(2, 1),
                padding=(2, 1),
                dilation=(1, 2),
                groups=2,
            ),
            ops.NeuronNode(name="first", inputs=("conv",), parameters=neuron),
            ops.FlattenNode(name="flat", inputs=("first",)),
            ops.LinearNode(
                name="dense",
                inputs=("flat",),
                weight=rng.normal(0, 0.3, (5, 120)).astype(np.float32),
                bias=rng.normal(0, 0.2, 5).astype(np.float32),
            ),
            ops.NeuronNode(name="second", inputs=("dense",), parameters=neuron),
            ops.TimeMeanNode(name="mean", inputs=("second",)),
            ops.OutputNode(name="out", inputs=("mean",)),
        ]
    )
    body = quantize_body(graph, partition(graph).body)
    spikes = (rng.random((8, 3, 4, 7, 6)) < 0.4).astype(np.uint8)
    return body, spikes, interpreter.spikes(body.graph, interpreter.run(body.graph, spikes))


def layers() -> list[Any]:
    """The layers of the exported network."""
    network = exported()[0].network
    assert isinstance(network, Network)
    assert [type(layer) for layer in network.layers] == [InputLayer, ConvLayer, FlattenLayer, DenseLayer]
    return list(network.layers)


def differing(network: Network) -> dict[str, int]:
    """Layer → spikes in which the chip differs from the interpreter."""
    body, spikes, expected = exported()
    replay = run_sequence(network, spikes)
    pairs = {layer.name: (replay.spikes[layer.key], expected[layer.name]) for layer in body.layers}
    return {name: int(np.count_nonzero(found.reshape(wanted.shape) != wanted)) for name, (found, wanted) in pairs.items()}


def test_without_a_bug_the_network_is_written_and_fires_what_the_interpreter_says(tmp_path):
    write(Network(tuple(layers())), tmp_path / "a.net")
    assert differing(read(tmp_path / "a.net")) == {"first": 0, "second": 0}
    fired = exported()[2]
    assert all(0.05 < spikes.mean() < 0.95 for name, spikes in fired.items() if name in ("first", "second"))


# --- values that are impossible ------------------------------------------------------------------------------------------


def field(position: int, name: str, change: Bug) -> Bug:
    """A bug in one field of a layer."""

    def bug(all_layers: list[Any]) -> None:
        layer = all_layers[position]
        all_layers[position] = replace(layer, **{name: change(getattr(layer, name))})

    return bug


def neuron(position: int, **changes: Any) -> Bug:
    """A bug in the neurons of a layer."""
    return field(position, "neuron", lambda before: replace(before, **changes))


def one(value: int) -> Bug:
    """The same array with one other value."""

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.flat[len(changed) // 2] = value
        return changed

    return change


def swapped(before: tuple[int, int]) -> tuple[int, int]:
    return before[::-1]


IMPOSSIBLE: dict[str, tuple[Bug, str]] = {
    # Davies 2018: a weight has 8 bits and a sign, and with signs of both kinds steps of 2
    "a weight of a convolution is even": (field(CONV, "weight", one(7)), "/layer/1/weight: odd value 7 found"),
    "a weight of a dense layer is even": (field(DENSE, "weight", one(-3)), "/layer/3/weight: odd value -3 found"),
    "a weight is at most 254": (field(CONV, "weight", one(256)), "/layer/1/weight: 256 found, -256 to 254 expected"),
    "a weight is at least -256": (field(CONV, "weight", one(-258)), "/layer/1/weight: -258 found, -256 to 254 expected"),
    # netx utils.optimize_weight_bits clips these
    "a dense weight is at most 254": (field(DENSE, "weight", one(256)), "weight: 256 found, -256 to 254 expected"),
    "a dense weight is at least -256": (field(DENSE, "weight", one(-258)), "weight: -258 found, -256 to 254 expected"),
    # netx utils.optimize_weight_bits divides by the largest weight, or shifts by a negative number of bits
    "a dense matrix has a weight that is not 0": (field(DENSE, "weight", np.zeros_like), "weight: only zeros found"),
    "a dense matrix without negative weights ends at 255": (
        field(DENSE, "weight", lambda weight: np.full_like(weight, 256)),
        "weight \\(none negative\\): 256 found, 0 to 255",
    ),
    "a dense matrix of negative weights ends at -255": (
        field(DENSE, "weight", lambda weight: np.full_like(weight, -256)),
        "weight \\(all negative\\): -256 found, -255 to -1",
    ),
    "a recurrent matrix counts with the other one": (
        field(DENSE, "weight_rec", lambda _: np.full((5, 5), 256)),
        "weight: 256 found, -256 to 254",
    ),
    # Davies 2018: a bias has a mantissa of 13 bits with its sign; netx fixes the exponent
    "a bias is at most 4095": (field(CONV, "bias", one(4096)), "/layer/1/bias: 4096 found, -4096 to 4095"),
    "a bias is at least -4096": (field(DENSE, "bias", one(-4097)), "/layer/3/bias: -4097 found, -4096 to 4095"),
    # Davies 2018: a threshold has 17 bits
    "a threshold is below 2^17": (neuron(DENSE, threshold=1 << 17), "/layer/3/neuron/vThMant: 131072 found, 0 to 131071"),
    "a threshold is not negative": (neuron(CONV, threshold=-1), "vThMant: -1 found"),
    # Davies 2018: a decay has 12 bits; 4096 is everything
    "a decay of the potential is at most 4096": (neuron(CONV, v_decay=4097), "vDecay: 4097 found, 0 to 4096"),
    "a decay of the current is at most 4096": (neuron(CONV, i_decay=4097), "iDecay: 4097 found, 0 to 4096"),
    "a decay is not negative": (neuron(DENSE, v_decay=-1), "vDecay: -1 found, 0 to 4096"),
    "a decay has one value per channel": (neuron(CONV, v_decay=np.full(7, 9)), "vDecay: shape \\(7,\\) found, .* \\(6,\\)"),
    # netx utils.num_delay_bits: 6 bits, of which 63 is taken; netx clips larger ones
    "a delay is at most 62": (field(DENSE, "delay", lambda _: 63), "delay: 63 found, 0 to 62"),
    "a delay is not negative": (field(DENSE, "delay", lambda _: -1), "delay: -1 found, 0 to 62"),
    # netx blocks.RecurrentDense gives the synapses no exponent when there are delays
    "a recurrent layer has no delays": (
        lambda all_layers: (
            field(DENSE, "weight_rec", lambda _: np.full((5, 5), 2))(all_layers),
            field(DENSE, "delay", lambda _: 1)(all_layers),
        ),
        "delay: found on a recurrent layer",
    ),
    # netx utils.NetDict casts weights and biases to integers, which cuts fractions off
    "weights are multiplied by their scale": (
        field(CONV, "weight", lambda weight: weight / 64),
        "weight: float64 found, integers expected",
    ),
    "biases are rounded": (field(CONV, "bias", lambda bias: bias + 0.5), "bias: float64 found, integers expected"),
    "thresholds are rounded": (neuron(CONV, threshold=99.5), "vThMant: float64 found, integers"),
    # netx hdf5.create_conv and create_dense: shapes in the order (C, H, W), geometry as (y, x)
    "a stride is (y, x)": (field(CONV, "stride", swapped), "/layer/1/shape: \\(6, 5, 4\\) found, but its input"),
    "a padding is (y, x)": (field(CONV, "padding", swapped), "/layer/1/shape: \\(6, 5, 4\\) found, but its input"),
    "a dilation is (y, x)": (field(CONV, "dilation", swapped), "/layer/1/shape: \\(6, 5, 4\\) found, but its input"),
    "a shape is (C, H, W)": (field(CONV, "shape", lambda shape: shape[::-1]), "shape: 4 channels found"),
    "an input is (C, H, W)": (field(ENTRY, "shape", lambda shape: shape[::-1]), "/layer/1: input of shape \\(6, 7, 4\\)"),
    "a weight is (C_out, C_in / groups, kH, kW)": (
        field(CONV, "weight", lambda weight: weight.transpose(1, 0, 2, 3)),
        "groups: 2 found|2 output channels",
    ),
    "groups divide the channels": (field(CONV, "groups", lambda _: 4), "groups: 4 found, a divisor of the 6"),
    "a matrix is (N_out, N_in)": (field(DENSE, "weight", np.transpose), "weight: shape \\(120, 5\\) found, \\(5, N_in\\)"),
    "a bias has one value per channel": (field(CONV, "bias", lambda bias: bias[:-1]), "bias: shape \\(5,\\) found"),
    # netx hdf5.Network._create connects what has three axes to a dense layer only through a flatten
    "a flatten comes between three axes and one": (
        lambda all_layers: all_layers.pop(FLATTEN),
        "/layer/2: input of shape \\(6, 5, 4\\) found, .* put a flatten layer before it",
    ),
    # netx hdf5.Network._create drops a flatten that comes before the first block
    "no flatten comes before the first block": (
        lambda all_layers: all_layers.__setitem__(slice(None), [InputLayer(shape=(6, 5, 4)), *all_layers[FLATTEN:]]),
        "/layer/1: flatten found before the first block",
    ),
    # netx hdf5.Network._create makes a second entry, and connects it to nothing
    "an input entry comes first": (
        lambda all_layers: all_layers.insert(3, InputLayer(shape=(120,), neuron=CubaConstants(0, 0, 1))),
        "/layer/3: input entry found; it can only be layer 0",
    ),
}


@pytest.mark.parametrize("limit", IMPOSSIBLE)
def test_an_exporter_that_oversteps_a_limit_cannot_write(tmp_path, limit):
    bug, message = IMPOSSIBLE[limit]
    changed: list[Layer] = layers()
    with pytest.raises(UserError, match=message):  # noqa: PT012 - some cannot even be put into a layer
        bug(changed)
        write(Network(tuple(changed)), tmp_path / "a.net")
    assert not any(tmp_path.iterdir())


# --- values that are possible, and wrong -----------------------------------------------------------------------------------


def columns_of_hwc(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(5, 6, 5, 4).transpose(0, 2, 3, 1).reshape(5, 120)


WRONG: dict[str, tuple[Bug, str]] = {
    # netx hdf5.create_conv turns the kernel, since Lava's Conv turns it back: a correlation, as in torch
    "kernels are not turned": (field(CONV, "weight", lambda weight: weight[..., ::-1, ::-1].copy()), "first"),
    "kernels are (kH, kW)": (field(CONV, "weight", lambda weight: weight.transpose(0, 1, 3, 2).copy()), "first"),
    # netx hdf5.Network._create transposes to (C, H, W) before it flattens
    "a flatten is in the order of (C, H, W)": (field(DENSE, "weight", columns_of_hwc), "second"),
    # lava lif models: bias and threshold have the same exponent
    "a bias is in units of the threshold": (field(CONV, "bias", lambda bias: bias // 64), "first"),
    "a bias keeps its sign": (field(CONV, "bias", np.negative), "first"),
    "a bias is not left out": (field(DENSE, "bias", lambda _: None), "second"),
    # lava lif models: a decay of the current of 4096 is none that lasts; the potential keeps 4096 - vDecay
    "a current does not last": (neuron(CONV, i_decay=0), "first"),
    "a decay is the share that is lost": (neuron(CONV, v_decay=3072), "first"),
    # weights, bias and threshold of a layer have one scale
    "a threshold has the scale of the weights": (
        field(CONV, "neuron", lambda before: replace(before, threshold=before.threshold * 2)),
        "first",
    ),
    "a weight has the scale of the others": (field(CONV, "weight", lambda weight: weight // 4 * 2), "first"),
}


@pytest.mark.parametrize("rule", WRONG)
def test_an_exporter_that_writes_something_else_is_found_by_the_spikes(tmp_path, rule):
    bug, layer = WRONG[rule]
    changed: list[Layer] = layers()
    bug(changed)
    write(Network(tuple(changed)), tmp_path / "a.net")
    found = differing(read(tmp_path / "a.net"))
    assert found[layer] > 0
    assert layer == "first" or found["first"] == 0


@pytest.mark.parametrize(("name", "value"), [("delay", 1), ("weight_rec", np.full((5, 5), 2))])
def test_delays_and_recurrent_weights_that_nobody_asked_for_are_found_by_the_replay(tmp_path, name, value):
    changed: list[Layer] = layers()
    field(DENSE, name, lambda _: value)(changed)
    write(Network(tuple(changed)), tmp_path / "a.net")
    with pytest.raises(UserError, match="would bring that into the sample"):
        differing(read(tmp_path / "a.net"))


# --- what a writer could write otherwise -----------------------------------------------------------------------------------


def stored(key: str, value: Any) -> Bug:
    """A data set with another content, or without one; a function makes it from the old one."""

    def bug(file: h5py.File) -> None:
        made = value(file[key][()]) if callable(value) else value
        if key in file:
            del file[key]
        if made is not None:
            file[key] = made

    return bug


STORED: dict[str, tuple[Bug, str]] = {
    # netx hdf5.Network._create knows these types, and cannot make them
    **{
        f"a layer of type {kind} is not written": (stored("layer/2/type", np.array([kind.encode()])), f"type: '{kind}' found")
        for kind in ("concat", "convT", "unpool", "dense_comp")
    },
    # netx hdf5.Network._create drops what it does not know, without a word
    "a layer of type add is not written": (stored("layer/2/type", np.array([b"add"])), "/layer/2/type: 'add' found"),
    "a type is in lower case": (stored("layer/1/type", np.array([b"Conv"])), "/layer/1/type: 'Conv' found"),
    # netx utils.NetDict decodes ASCII, of a scalar or of the first element
    "a type is text": (stored("layer/1/type", 1), "/layer/1/type: int64 found, a string expected"),
    "a type is in ASCII": (stored("layer/1/type", "cönv"), "/layer/1/type: b'c\\\\xc3\\\\xb6nv' found, ASCII expected"),
    "a type is one string": (stored("layer/1/type", np.array([b"conv", b"dense"])), "type: shape \\(2,\\) found"),
    "a type has at most one axis": (stored("layer/1/type", np.array([[b"conv"]])), "type: shape \\(1, 1\\) found"),
    # netx hdf5.create_conv and get_neuron_params read these without asking
    **{
        f"a convolution has its {name}": (stored(f"layer/1/{name}", None), f"/layer/1/{name}: missing")
        for name in ("shape", "weight", "stride", "padding", "dilation", "groups", "neuron")
    },
    **{
        f"neurons have their {name}": (stored(f"layer/3/neuron/{name}", None), f"/layer/3/neuron/{name}: missing")
        for name in ("type", "iDecay", "vDecay", "vThMant")
    },
    # netx utils.NetDict cuts fractions off, of weights and biases; of the others Lava does
    **{
        f"{name} of layer {position} is whole": (
            stored(f"layer/{position}/{name}", lambda before: np.asarray(before, np.float64) + 0.25),
            f"/layer/{position}/{name}: .*[27]5 found, whole numbers expected",
        )
        for position, name in (
            (1, "weight"),
            (1, "bias"),
            (1, "stride"),
            (1, "neuron/vDecay"),
            (3, "weight"),
            (3, "bias"),
            (3, "neuron/vThMant"),
        )
    },
    "a delay is whole": (stored("layer/3/delay", 1.5), "/layer/3/delay: 1.5 found, whole numbers expected"),
    # netx hdf5.create_conv and create_input do not look at delays; blocks.RecurrentDense takes delays of 0 for delays, too
    "a convolution has no delay": (stored("layer/1/delay", 1), "/layer/1/delay: found on a convolution"),
    "an input entry has no delay": (stored("layer/0/delay", 1), "/layer/0/delay: found on an input entry"),
    "a recurrent layer has no delay, not even of 0": (
        lambda file: (
            stored("layer/3/type", np.array([b"dense_rec"]))(file),
            stored("layer/3/weight_rec", np.full((5, 5), 2.0))(file),
            stored("layer/3/delay", np.zeros((5, 120)))(file),
        ),
        "/layer/3/delay: found on a recurrent layer",
    ),
    # netx hdf5.create_dense reads weight_rec of type dense_rec only
    "recurrent weights come with their type": (
        stored("layer/3/weight_rec", np.full((5, 5), 2.0)),
        '/layer/3/weight_rec: found on a layer of type "dense"',
    ),
    # netx hdf5.get_neuron_params makes neither refractory times nor graded spikes of CUBA neurons
    "there is no refractory time": (stored("layer/1/neuron/refDelay", 3), "/layer/1/neuron/refDelay: 3 found, 1 expected"),
    "spikes are not graded": (stored("layer/1/neuron/gradedSpike", True), "/layer/1/neuron/gradedSpike: 1 found, 0 expected"),
    "weights have no exponent": (stored("layer/1/neuron/wgtExp", 2), "/layer/1/neuron/wgtExp: 2 found, 0 expected"),
    **{
        f"neurons of type {kind} are not written": (
            stored("layer/1/neuron/type", kind),
            f"type: '{kind}' found, CUBA, LOIHI or SDNN",
        )
        for kind in ("ALIF", "RF", "RF_PHASE", "cuba")
    },
    # netx hdf5.get_neuron_params subtracts 1 from the decay of the current in the type in which it is stored
    "a decay of 0 has a sign": (
        stored("layer/1/neuron/iDecay", np.array([5, 0, 5, 5, 5, 5], np.uint16)),
        "/layer/1/neuron/iDecay: 0 stored without a sign found",
    ),
    # netx blocks.AbstractBlock._neuron: (C,), or (W, H, C)
    "a bias per neuron is stored as (W, H, C)": (
        stored("layer/1/bias", np.zeros((6, 5, 4))),
        "bias: shape \\(4, 5, 6\\) found",
    ),
    "a bias per channel has one axis": (stored("layer/1/bias", np.zeros((6, 1, 1))), "bias: shape \\(1, 1, 6\\) found"),
    # netx hdf5.Network._create counts the members of /layer
    "layers are numbered without gaps": (lambda file: file.move("layer/3", "layer/4"), "/layer: 0, 1, 2, 4 found; 0 to n-1"),
    "nothing else is among the layers": (stored("layer/version", 1), "/layer: 0, 1, 2, 3, version found; 0 to n-1"),
}


@pytest.mark.parametrize("limit", STORED)
def test_a_writer_that_oversteps_a_limit_of_the_format_is_found_by_the_reader(tmp_path, limit):
    bug, message = STORED[limit]
    path = tmp_path / "a.net"
    write(Network(tuple(layers())), path)
    with h5py.File(path, "r+") as file:
        bug(file)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: /layer")


def test_strides_that_are_stored_as_x_y_are_found_by_the_shape(tmp_path):
    path = tmp_path / "a.net"
    for name in ("stride", "padding", "dilation"):
        write(Network(tuple(layers())), path)
        with h5py.File(path, "r+") as file:
            stored(f"layer/1/{name}", lambda before: before[::-1])(file)
        with pytest.raises(UserError, match=r"/layer/1/shape: \(6, 5, 4\) found, but its input \(4, 7, 6\) makes it"):
            read(path)
