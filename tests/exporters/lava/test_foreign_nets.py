"""`.net` files of other programs: what Lava reads is read alike, what it drops or misreads is understood or refused by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neurodeploy.cli.main import app
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import AverageLayer, ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.reading import open_circuit
from neurodeploy_exporters.lava.simulate import simulate
from neurodeploy_exporters.lava.slayer import folded, pooling

RECORDED = Path(__file__).parents[2] / "files" / "lava"
NEURON = CubaConstants(4096, 1024, 100)
FIRES = CubaConstants(4096, 1024, 20)


def even(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(-40, 40, shape) * 2


def two_layers(path: Path) -> Path:
    """Six inputs, dense to four, dense to three."""
    layers = (
        DenseLayer(shape=(4,), weight=even(0, 4, 6), neuron=FIRES),
        DenseLayer(shape=(3,), weight=even(1, 3, 4), neuron=FIRES),
    )
    write(Network(layers), path)
    return path


def changed(path: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def put(key: str, value: Any) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        if key in file:
            del file[key]
        file[key] = value

    return change


# --- thresholds --------------------------------------------------------------------------------------------------------


def test_one_threshold_per_channel_gives_what_netx_computes(tmp_path):
    recorded = np.load(RECORDED / "netx_thresholds.npz")
    layer = ConvLayer(
        shape=(4, 6, 6),
        weight=recorded["weight"].astype(np.int64),
        padding=(1, 1),
        neuron=CubaConstants(4096, 1024, recorded["thresholds"]),
    )
    write(Network((InputLayer(shape=(1, 6, 6)), layer)), tmp_path / "a.net")
    found = simulate(read(tmp_path / "a.net"), recorded["input"][:, None], len(recorded["s"]))
    for what in "suv":
        np.testing.assert_array_equal(found[f"L0_Conv_{what}"][:, 0], recorded[what])


@settings(max_examples=25, deadline=None)
@given(
    thresholds=st.lists(st.integers(0, 400), min_size=3, max_size=3),
    decays=st.tuples(st.integers(0, 4096), st.integers(0, 4096)),
    seed=st.integers(0, 99),
)
def test_each_channel_fires_as_a_layer_of_its_own_with_that_threshold(thresholds, decays, seed):
    rng = np.random.default_rng(seed)
    weight, spikes = even(seed, 3, 5), rng.integers(0, 2, (9, 2, 5))
    weight[:, 0] |= 2
    layer = DenseLayer(shape=(3,), weight=weight, neuron=CubaConstants(*decays, np.array(thresholds)))
    whole = simulate(Network((layer,)), spikes, 12)
    for channel, threshold in enumerate(thresholds):
        alone = replace(layer, shape=(1,), weight=weight[channel : channel + 1], neuron=CubaConstants(*decays, threshold))
        found = simulate(Network((alone,)), spikes, 12)
        for what in "suv":
            np.testing.assert_array_equal(found[f"L0_Dense_{what}"][..., 0], whole[f"L0_Dense_{what}"][..., channel])


# --- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("weight_exp", np.array([2.0], np.float32), "2 found, 0 expected"),
        ("weight_exp", np.array([0, -1]), "-1 found, 0 expected"),
        ("wgtExp", 1, "1 found, 0 expected"),
        ("refDelay", 2, "2 found, 1 expected"),
        ("gradedSpike", True, "1 found, 0 expected"),
        ("messageBits", 8, "8 found, 0 expected"),
    ],
)
def test_what_netx_would_compute_otherwise_is_refused_by_name(tmp_path, name, value, shown):
    path = changed(two_layers(tmp_path / "a.net"), put(f"layer/1/neuron/{name}", value))
    with pytest.raises(UserError, match=f"/layer/1/neuron/{name}: {shown}"):
        read(path)


def test_plain_values_and_what_slayer_trained_with_are_read_over(tmp_path):
    path = two_layers(tmp_path / "a.net")
    before = read(path)
    extra = {"weight_exp": [0.0], "wgtExp": 0, "messageBits": 0, "scaleRho": 0.1, "tauRho": 1, "theta": 6400}
    for name, value in extra.items():
        changed(path, put(f"layer/0/neuron/{name}", value))
    for one, other in zip(before.layers, read(path).layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["layer/0/gain", "layer/0/neuron/vReset", "layer/1/recWeight", "layer/1/imag"])
def test_a_field_that_is_not_known_is_refused_rather_than_ignored(tmp_path, place):
    path = changed(two_layers(tmp_path / "a.net"), put(place, 3))
    with pytest.raises(UserError, match=f"/{place}: found; only .* expected .*remove it"):
        read(path)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("inFeatures", 7, "7 found, but the weight says 6"), ("outFeatures", [4, 1], r"\[4, 1\] found, but the weight says 4")],
)
def test_sizes_that_a_file_tells_twice_have_to_agree(tmp_path, name, value, shown):
    path = changed(two_layers(tmp_path / "a.net"), put(f"layer/0/{name}", value))
    with pytest.raises(UserError, match=f"/layer/0/{name}: {shown}"):
        read(path)


def test_a_kernel_size_in_any_of_its_forms_is_compared_with_the_weight(tmp_path):
    layer = ConvLayer(shape=(2, 3, 3), weight=even(0, 2, 1, 2, 2), neuron=NEURON)
    write(Network((InputLayer(shape=(1, 4, 4)), layer)), tmp_path / "a.net")
    for value in (2, [2], [2, 2]):
        read(changed(tmp_path / "a.net", put("layer/1/kernelSize", value)))
    with pytest.raises(UserError, match=r"/layer/1/kernelSize: \[2, 3\] found, but the weight says \(2, 2\)"):
        read(changed(tmp_path / "a.net", put("layer/1/kernelSize", [2, 3])))


# --- fewer layers ------------------------------------------------------------------------------------------------------


def test_layers_after_the_last_one_wanted_are_not_even_read(tmp_path):
    path = changed(two_layers(tmp_path / "a.net"), put("layer/1/type", b"anything"))
    with pytest.raises(UserError, match="/layer/1/type: 'anything' found"):
        read(path)
    assert len(read(path, num_layers=1).layers) == 1
    assert open_circuit(path, num_layers=1).populations[0].shape == (4,)
    np.save(tmp_path / "x.npy", np.ones((3, 1, 6)))
    np.savez(tmp_path / "x.npz", input=np.ones((3, 1, 6)))
    for command in (["map", str(path)], ["simulate", str(path), "--input", str(tmp_path / "x.npz")]):
        assert CliRunner().invoke(app, command).exit_code != 0
        assert CliRunner().invoke(app, [*command, "--num-layers", "1"]).exit_code == 0


def test_more_layers_than_there_are_means_all_of_them(tmp_path):
    assert len(read(two_layers(tmp_path / "a.net"), num_layers=9).layers) == 2


# --- the input's shape -------------------------------------------------------------------------------------------------


def test_a_file_that_begins_with_flatten_is_mapped_with_and_without_a_shape(tmp_path):
    path = two_layers(tmp_path / "a.net")
    with h5py.File(path, "r+") as file:
        for number in (1, 0):
            file.move(f"layer/{number}", f"layer/{number + 1}")
        file["layer/0/type"] = b"flatten"
    assert open_circuit(path).input_shape == (6,)
    assert open_circuit(path, input_shape=(1, 2, 3)).input_shape == (1, 2, 3)
    result = CliRunner().invoke(app, ["map", str(path), "--input-shape", "1,2,3", "--json"])
    assert result.exit_code == 0
    with pytest.raises(UserError, match=r"/layer/1: input of shape \(8,\) found, \(6,\) expected"):
        open_circuit(path, input_shape=(2, 2, 2))


def test_a_shape_that_contradicts_the_file_is_refused(tmp_path):
    path = tmp_path / "a.net"
    write(Network((InputLayer(shape=(6,)), DenseLayer(shape=(4,), weight=even(0, 4, 6), neuron=NEURON))), path)
    result = CliRunner().invoke(app, ["map", str(path), "--input-shape", "7"])
    assert result.exit_code != 0
    with pytest.raises(UserError, match=r"a.net: input_shape: \(7,\) found, but the network says \(6,\)"):
        open_circuit(path, input_shape=(7,))


def test_a_flatten_of_what_is_flat_is_not_written(tmp_path):
    """netx turns three axes around there, and fails at one."""
    network = read(two_layers(tmp_path / "a.net"))
    one, two = network.layers
    write(Network((one, FlattenLayer(), two)), tmp_path / "b.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


# --- recurrent layers of SpyTorch2Loihi --------------------------------------------------------------------------------


def test_a_recurrent_layer_of_spytorch2loihi_is_one_of_netx_under_other_names(tmp_path):
    layer = DenseLayer(shape=(5,), weight=even(0, 5, 6), weight_rec=even(1, 5, 5), neuron=CubaConstants(2315, 327, 30))
    write(Network((layer,)), tmp_path / "a.net")
    (tmp_path / "b.net").write_bytes((tmp_path / "a.net").read_bytes())
    with h5py.File(tmp_path / "b.net", "r+") as file:
        file.move("layer/0/weight_rec", "layer/0/recWeight")
        put("layer/0/type", np.array([b"recurrent"]))(file)
        put("layer/0/shape", [5, 1, 1])(file)
    spikes = np.random.default_rng(2).integers(0, 2, (20, 3, 6))
    one, other = (simulate(read(tmp_path / name), spikes, 20) for name in ("a.net", "b.net"))
    assert one["L0_RecurrentDense_s"].any()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])


# --- pooling of SLAYER -------------------------------------------------------------------------------------------------


def pooled(number: int, recorded: Any) -> ConvLayer:
    stride, padding, dilation = (tuple(map(int, pair)) for pair in recorded[f"{number}_geometry"])
    before = recorded[f"{number}_input"].shape
    shape = recorded[f"{number}_output"].shape if recorded[f"{number}_output"].size else (before[0], 1, 1)
    kernel = recorded[f"{number}_kernel"].astype(np.int64)
    return pooling(shape, kernel, before=before, stride=stride, padding=padding, dilation=dilation, neuron=NEURON)


@pytest.mark.parametrize("number", range(9))
def test_pooling_sums_what_slayer_sums_or_is_refused_where_slayer_mixes_channels(number):
    recorded = np.load(RECORDED / "slayer_pool.npz")
    if not recorded[f"{number}_output"].size:
        with pytest.raises(UserError, match="run into the next channel in SLAYER"):
            pooled(number, recorded)
        return
    layer = replace(pooled(number, recorded), neuron=CubaConstants(4096, 4096, 1 << 17))
    shape = recorded[f"{number}_input"].shape
    found = simulate(
        Network((InputLayer(shape=shape), layer)),
        recorded[f"{number}_input"][None, None],
        2,
        input_message_bits=8,
        record=["u"],
    )
    np.testing.assert_array_equal(found["L0_Conv_u"][1, 0] >> 6, recorded[f"{number}_output"])


def pool_file(path: Path, *, rows: int = 4, **fields: Any) -> Path:
    """A convolution of 2 channels, and a pooling layer behind it."""
    layer = ConvLayer(shape=(2, rows, 4), weight=even(3, 2, 1, 1, 1) | 2, neuron=FIRES)
    write(Network((InputLayer(shape=(1, rows, 4)), layer)), path)
    pool = {
        "type": b"pool",
        "shape": [2, -(-rows // 2), 2],
        "kernelSize": [2, 2],
        "stride": [2, 2],
        "padding": [0, 0],
        "dilation": [1, 1],
        "weight": np.full((1, 1, 2, 2, 1), 30.0),
    } | fields
    with h5py.File(path, "r+") as file:
        for name, value in pool.items():
            file[f"layer/2/{name}"] = value
        file.copy("layer/1/neuron", "layer/2/neuron")
    return path


@pytest.mark.parametrize("rows", [4, 5])
def test_a_pooling_layer_fires_as_the_convolution_that_it_is(tmp_path, rows):
    network = read(pool_file(tmp_path / "a.net", rows=rows))
    write(network, tmp_path / "b.net")
    spikes = np.random.default_rng(0).integers(0, 2, (8, 2, 1, rows, 4))
    one, other = simulate(network, spikes, 10), simulate(read(tmp_path / "b.net"), spikes, 10)
    assert one["L1_Conv_s"].any()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])
    windows = np.zeros((10, 2, 2, rows + rows % 2, 4), np.int64)
    windows[1:, :, :, :rows] = one["L0_Conv_s"][:-1]
    sums = windows.reshape(10, 2, 2, -1, 2, 2, 2).sum((4, 6)) * 30
    np.testing.assert_array_equal(one["L1_Conv_u"], 64 * sums)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": np.full((2, 1, 2, 2), 30)}, r"/layer/2/weight: shape \(2, 1, 2, 2\) found, one kernel"),
        ({"weight": np.full((2, 2), 30)}, r"/layer/2/weight: shape \(2, 2\) found, one kernel"),
        ({"weight": np.full((1, 1, 0, 2), 30), "kernelSize": [0, 2]}, r"/layer/2/weight of shape \(0, 2\)"),
        ({"stride": [0, 2]}, r"/layer/2/stride: \(0, 2\) found"),
        ({"stride": [1, 2]}, "windows of 2 rows in steps of 1 over 4 rows"),
        ({"padding": [1, 0]}, "with 1 added above and below"),
        ({"shape": [2, 1, 2]}, r"/layer/2/shape: \(2, 1, 2\) found, but its input \(2, 4, 4\) makes it \(2, 2, 2\)"),
        ({"shape": [4]}, r"/layer/2/shape: \(4,\) found, \(C, H, W\) expected"),
        ({"delay": 1}, "/layer/2/delay: found on a pooling layer"),
        ({"groups": 2}, "/layer/2/groups: found; only"),
    ],
)
def test_a_pooling_layer_that_is_no_convolution_is_refused_by_its_place(tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        read(pool_file(tmp_path / "a.net", **fields))


# --- averages of SLAYER ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(groups=st.integers(1, 4), size=st.integers(1, 4), outputs=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_dense_layer_behind_an_average_reads_every_neuron_of_a_group_alike(groups, size, outputs, seed):
    first = DenseLayer(shape=(groups * size,), weight=even(seed, groups * size, 5) | 2, neuron=FIRES)
    weight = even(seed + 1, outputs, groups) // size * size
    weight[:, 0] = 2 * size
    second = DenseLayer(shape=(outputs,), weight=weight, neuron=FIRES)
    network = Network(folded([first, AverageLayer(groups), FlattenLayer(), second]))
    found = simulate(network, np.random.default_rng(seed).integers(0, 2, (9, 1, 5)), 12)
    means = found["L0_Dense_s"].reshape(12, 1, groups, size).sum(-1) @ (weight // size).T
    np.testing.assert_array_equal(found["L1_Dense_u"][1:] >> 6, means[:-1])


def with_average(path: Path, *, last: bool, **fields: Any) -> Path:
    """The two dense layers, and an average between them or behind them."""
    two_layers(path)
    with h5py.File(path, "r+") as file:
        number = 2 if last else 1
        if not last:
            file.move("layer/1", "layer/2")
        for name, value in ({"type": b"average", "shape": [4, 1, 1]} | fields).items():
            if value is not None:
                file[f"layer/{number}/{name}"] = value
    return path


def test_an_average_of_single_neurons_changes_nothing(tmp_path):
    spikes = np.random.default_rng(0).integers(0, 2, (8, 2, 6))
    one = simulate(read(with_average(tmp_path / "a.net", last=False)), spikes, 10)
    other = simulate(read(two_layers(tmp_path / "b.net")), spikes, 10)
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])


def test_an_average_at_the_end_is_left_to_the_host(tmp_path):
    network = read(with_average(tmp_path / "a.net", last=True, shape=[3]))
    assert isinstance(network.layers[-1], AverageLayer)
    assert [block.key for block in network.blocks()] == ["L0_Dense", "L1_Dense"]
    with pytest.raises(UserError, match="/layer/2: average found, which no neurons compute"):
        write(network, tmp_path / "b.net")


@pytest.mark.parametrize(
    ("last", "fields", "message"),
    [
        (True, {"shape": None}, "/layer/2/shape: missing, the number of groups expected .*--num-layers"),
        (True, {"shape": [2]}, "/layer/2/shape: 2 groups found, a divisor of the 3 neurons"),
        (False, {"shape": [2]}, r"/layer/2: input of shape \(4,\)|/layer/2/weight: "),
        (False, {"shape": [3]}, "/layer/1/shape: 3 groups found, a divisor of the 4 neurons"),
    ],
)
def test_an_average_that_cannot_be_read_is_refused_by_its_place(tmp_path, last, fields, message):
    with pytest.raises(UserError, match=message):
        read(with_average(tmp_path / "a.net", last=last, **fields))


def test_weights_that_an_average_would_make_fractions_are_refused():
    layers = [
        DenseLayer(shape=(4,), weight=even(0, 4, 6), neuron=NEURON),
        AverageLayer(2),
        DenseLayer(shape=(1,), weight=np.array([[2, 3]]), neuron=NEURON),
    ]
    with pytest.raises(UserError, match="/layer/2/weight: 3 found behind an average over 2 neurons, multiples of 2 expected"):
        folded(layers)


def test_only_a_dense_layer_can_read_an_average():
    layers = [
        DenseLayer(shape=(4,), weight=even(0, 4, 6), neuron=NEURON),
        AverageLayer(2),
        ConvLayer(shape=(1, 1, 1), weight=even(1, 1, 1, 1, 1), neuron=NEURON),
    ]
    with pytest.raises(UserError, match="/layer/1: an average before /layer/2 found; only a dense layer"):
        folded(layers)
