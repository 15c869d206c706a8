"""ONNX files without spikes: counted as the torch modules they were made of, with the widths of their integers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report, account, account_onnx
from neurodeploy_energy.count.onnx_file import OnnxNetwork
from neurodeploy_energy.price.profiles import load

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RANDOM = np.random.default_rng(0)


def saved(path: Path, nodes, constants, *, shape=("n", 2, 6, 6), output="y") -> OnnxNetwork:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return OnnxNetwork(path)


def sparse(*shape) -> np.ndarray:
    return (RANDOM.normal(size=shape) * (RANDOM.random(shape) < 0.6)).astype(np.float32)


def by_hand(x, weight, *, stride, pads, groups=1) -> tuple[int, int]:
    """Multiplications of a convolution, but for those on padding, and those of two values that are not zero; one at a time."""
    top, left, bottom, right = pads
    sides = ((top, bottom), (left, right))
    padded, real = np.pad(x, ((0, 0), (0, 0), *sides)), np.pad(np.ones(x.shape[2:], int), sides)
    count = effective = 0
    inside = weight.shape[1]
    for sample in padded:
        for o, kernel in enumerate(weight):
            first = o // (len(weight) // groups) * inside
            for i in range(0, sample.shape[1] - kernel.shape[1] + 1, stride[0]):
                for j in range(0, sample.shape[2] - kernel.shape[2] + 1, stride[1]):
                    window = sample[first : first + inside, i : i + kernel.shape[1], j : j + kernel.shape[2]]
                    count += inside * int(real[i : i + kernel.shape[1], j : j + kernel.shape[2]].sum())
                    effective += int(((window != 0) & (kernel != 0)).sum())
    return count, effective


@pytest.mark.parametrize(("stride", "pads", "groups"), [((1, 1), (1, 1, 1, 1), 1), ((2, 1), (0, 1, 2, 0), 2)])
def test_a_convolution_is_counted_as_by_hand_with_odd_padding_strides_and_groups(tmp_path, stride, pads, groups):
    weight, x = sparse(4, 2 // groups, 3, 3), sparse(3, 2, 6, 6)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=stride, pads=pads, group=groups)
    counts = saved(tmp_path / "m.onnx", [node], {"w": weight}).count(torch.from_numpy(x).split(2))
    (row,) = counts.layers
    macs, effective = by_hand(x, weight, stride=stride, pads=pads, groups=groups)
    assert (row.name, row.macs * 3, row.effective_macs * 3) == ("conv", pytest.approx(macs), pytest.approx(effective))
    assert (row.geometry.stride, row.geometry.groups, row.geometry.in_channels) == (stride, groups, 2)
    assert (counts.samples, counts.uncounted, row.weight_bits, row.activation_bits) == (3, {}, 0, 0)


def quantised(tmp_path, kind=np.int8) -> OnnxNetwork:
    """Convolution, ReLU, pool and classifier, on values that were quantised; a residual sum in between."""
    weights = {"w": RANDOM.integers(-7, 8, (2, 2, 3, 3)).astype(kind), "v": RANDOM.integers(-7, 8, (8, 5)).astype(np.int8)}
    constants = {
        **weights,
        **{"s": np.float32(0.1), "z": np.uint8(0), "zw": kind(0), "zv": np.int8(0), "shape": np.array([-1, 8])},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], "conv", pads=(1, 1, 1, 1)),
        helper.make_node("Add", ["c", "xd"], ["a"], "add"),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"]),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["ad"]),
        helper.make_node("Relu", ["ad"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=(3, 3), strides=(3, 3)),
        helper.make_node("Reshape", ["p", "shape"], ["f"]),
        helper.make_node("DequantizeLinear", ["v", "s", "zv"], ["vd"]),
        helper.make_node("MatMul", ["f", "vd"], ["y"], "classifier"),
    ]
    return saved(tmp_path / "q.onnx", nodes, constants)


def test_what_was_quantised_has_its_widths_through_relu_pool_and_reshape(tmp_path):
    counts = quantised(tmp_path).count([torch.rand(5, 2, 6, 6)])
    rows = {row.name: row for row in counts.layers}
    assert [(rows[n].weight_bits, rows[n].activation_bits) for n in ("conv", "classifier")] == [(8, 8), (8, 8)]
    assert rows["classifier"].macs == 40
    assert (rows["add"].kind, rows["add"].analog_adds) == ("sum", 72)
    assert counts.uncounted == {}


def test_wider_weights_are_known_by_their_type(tmp_path):
    weight = RANDOM.integers(-7, 8, (3, 2, 1, 1)).astype(np.int32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"], "conv"),
    ]
    network = saved(tmp_path / "m.onnx", nodes, {"w": weight, "s": np.float32(0.1), "z": np.int8(0)})
    (row,) = network.count([torch.rand(1, 2, 6, 6)]).layers
    assert (row.weight_bits, row.activation_bits) == (32, 8)


def test_integers_count_as_zero_at_their_zero_point(tmp_path):
    x, zero = torch.zeros(1, 2, 6, 6), np.uint8(128)
    x[0, 0, 2, 2] = 3.0
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("ConvInteger", ["xq", "w", "z"], ["i"], "conv"),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    weight = np.ones((4, 2, 3, 3), np.int8)
    network = saved(tmp_path / "m.onnx", nodes, {"w": weight, "s": np.float32(0.1), "z": zero})
    (row,) = network.count([x]).layers
    assert (row.effective_macs, row.inputs.analog, row.weight_bits, row.activation_bits) == (4 * 9, 1, 8, 8)


def test_an_int8_network_is_priced_by_its_integers_and_a_float_network_by_its_floats(tmp_path):
    report = account_onnx(quantised(tmp_path), torch.rand(5, 2, 6, 6), profiles=["cmos45-fp32", "cmos45-int8", "loihi1"])
    macs, adds = report.total.macs, report.total.analog_adds
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(1e-6 * (0.23 * macs + 0.9 * adds))
    assert report.energy("cmos45-int8").total_uj == pytest.approx(1e-6 * (0.23 * macs + 0.03 * adds))
    assert report.energy("loihi1").chip_uj == 0
    assert report.energy("loihi1").total_uj == report.energy("loihi1").host_uj > 0
    narrow = Report("m", 1, 1, (LayerRow("a", "synapse", macs=100, weight_bits=4, activation_bits=8),), {}, report.profiles)
    assert narrow.energy("cmos45-int8").total_uj == pytest.approx(1e-6 * 100 * (0.2 / 2 + 0.03))
    assert load("cmos45-int32").mac_pj(8, 8) == pytest.approx(3.1 / 16 + 0.1)


def test_the_answers_are_those_of_the_file(tmp_path):
    weight = RANDOM.normal(size=(72, 3)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], "fc")]
    network, x = saved(tmp_path / "m.onnx", nodes, {"w": weight}), torch.rand(4, 2, 6, 6)
    assert torch.allclose(network.answers(x), x.flatten(1) @ torch.from_numpy(weight), atol=1e-5)


def test_what_has_no_rule_is_named_and_a_file_of_nothing_else_refused(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Softmax", ["c"], ["s"], "soft"),
        helper.make_node("Mul", ["s", "c"], ["y"], "gate"),
    ]
    network = saved(tmp_path / "m.onnx", nodes, {"w": sparse(2, 2, 1, 1)})
    found = network.count([torch.rand(1, 2, 6, 6)])
    assert found.uncounted == {"soft": "Softmax has no counting rule", "gate": "Mul has no counting rule"}
    empty = saved(tmp_path / "e.onnx", [helper.make_node("Softmax", ["x"], ["y"])], {})
    with pytest.raises(UserError, match=r"e\.onnx: no layer that can be counted; Conv, Gemm or MatMul expected"):
        empty.count([torch.rand(1, 2, 6, 6)])


def test_damaged_files_and_samples_that_do_not_fit_are_refused_in_one_line(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for name, message in (("broken.onnx", "not readable as an ONNX model"), ("absent.onnx", "no such file")):
        with pytest.raises(UserError, match=message):
            OnnxNetwork(tmp_path / name)
    network = saved(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": sparse(2, 2, 1, 1)})
    with pytest.raises(UserError, match=r"m\.onnx: does not run on samples \(3, 6, 6\): ") as caught:
        network.count([torch.rand(1, 3, 6, 6)])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="sample 0 holds values that are no finite float32"):
        network.count([torch.full((1, 2, 6, 6), torch.nan)])
    with pytest.raises(UserError, match="no samples given"):
        network.count([])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_a_padded_convolution_costs_what_the_same_torch_module_does(tmp_path, kind, groups):
    layer, x = kind(2, 4, 3, stride=2, padding=1, groups=groups, bias=False), torch.rand(3, 2, 6, 6)
    operator = "Conv" if kind is torch.nn.Conv2d else "ConvTranspose"
    node = helper.make_node(operator, ["x", "w"], ["y"], "conv", strides=(2, 2), pads=(1, 1, 1, 1), group=groups)
    (row,) = saved(tmp_path / "m.onnx", [node], {"w": layer.weight.detach().numpy()}).count([x]).layers
    (theirs,) = account(layer, x).layers
    assert (row.macs, row.effective_macs, row.geometry) == (theirs.macs, theirs.effective_macs, theirs.geometry)
