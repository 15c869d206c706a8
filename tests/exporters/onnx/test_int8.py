"""8-bit integers: what is rounded, what stays, and how honestly the difference is told."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.onnx.target import calibrate
from neurodeploy_exporters.verify import verify


def wide(channels: int = 48) -> Graph:
    """Large enough that weights are most of the file."""
    rng = np.random.default_rng(0)

    def conv(name: str, source: str, inputs: int) -> ops.ConvNode:
        weight = rng.normal(0, 0.5 / np.sqrt(inputs), (channels, inputs, 3, 3)).astype(np.float32)
        geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
        return ops.ConvNode(
            name=name, inputs=(source,), weight=weight, bias=rng.normal(0, 0.1, channels).astype("f"), **geometry
        )

    def neuron(name: str, source: str) -> ops.NeuronNode:
        return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, 0.5, "soft"))

    return Graph(
        [
            ops.InputNode(name="input", shape=(1, 8, 8)),
            conv("first", "input", 1),
            ops.EncodeNode(name="encode", inputs=("first",), steps=4),
            neuron("a", "encode"),
            conv("second", "a", channels),
            neuron("b", "second"),
            ops.AvgPoolNode(name="pool", inputs=("b",), kernel=(2, 2), stride=(2, 2)),
            conv("third", "pool", channels),
            neuron("c", "third"),
            ops.AddNode(name="sum", inputs=("c", "c")),
            ops.FlattenNode(name="flatten", inputs=("sum",)),
            ops.LinearNode(name="classifier", inputs=("flatten",), weight=rng.normal(0, 0.05, (10, channels * 16)).astype("f")),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


@pytest.fixture
def bundle8(graph, digits, tmp_path):
    """A bundle in 8-bit integers that streams and counts."""
    x, labels = digits
    return export(
        graph("resnet", "soft", True),
        x[:8],
        tmp_path / "b",
        name="n",
        quantize="int8",
        calibration=x[100:140],
        test=(x, labels),
        streaming=True,
        spike_counts=True,
    )


def test_weights_are_bytes_and_the_file_is_less_than_a_third(digits):
    network = wide()
    plain = build(network, name="n").SerializeToString()
    model = build(network, name="n", grids=calibrate(network, digits[0][:20], 4))
    assert len(model.SerializeToString()) < len(plain) / 3
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for layer in ("first", "second", "third", "classifier"):
        assert kinds[f"{layer}.weight"] == TensorProto.INT8
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def test_spikes_their_pools_and_sums_lose_nothing_and_only_currents_made_of_them_are_rounded(digits):
    network, x = wide(), digits[0][:20]
    grids = calibrate(network, x, 4)
    assert set(grids) == {"a", "second", "pool", "third", "flatten"}
    assert [(grids[name].scale, grids[name].zero) for name in ("a", "pool", "flatten")] == [(1.0, 0), (0.25, 0), (1.0, 0)]
    layers = ["a", "a.whole", "pool", "pool.whole", "flatten", "flatten.whole", "second", "second.sums"]
    found = Session(build(network, name="n", grids=grids), also=layers).run({"input": x}, steps=4)
    for name in ("a", "pool", "flatten"):
        assert np.array_equal(found[f"{name}.whole"].reshape(-1), found[name].reshape(-1)), name
    grid = grids["second"]
    within = np.clip(found["second.sums"], -grid.zero * grid.scale, (255 - grid.zero) * grid.scale)
    assert np.abs(within - found["second"]).max() <= grid.scale / 2 * 1.01


def test_the_weights_are_off_by_half_a_step_of_their_channel_at_most(digits):
    network = wide()
    model = build(network, name="n", grids=calibrate(network, digits[0][:20], 4))
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for layer in ("first", "second", "third", "classifier"):
        node, steps = network[layer], tensors[f"{layer}.weight.scale"]
        integers = tensors[f"{layer}.weight"] if isinstance(node, ops.ConvNode) else tensors[f"{layer}.weight"].T
        error = np.abs(integers.reshape(len(steps), -1) * steps[:, None] - node.weight.reshape(len(steps), -1))
        assert (error <= steps[:, None] / 2 * 1.001).all()
        assert np.abs(integers).max() == 127


def test_a_channel_of_zeros_and_one_of_mere_bias_survive(digits):
    network = wide()
    weight, bias = network["second"].weight.copy(), network["second"].bias.copy()
    weight[0] = bias[0] = 0
    weight[1], bias[1] = 0, 3.0
    weight[2], bias[2] = 1e-12, 3.0
    second = replace(network["second"], weight=weight, bias=bias)
    changed = Graph([second if node.name == "second" else node for node in network.nodes])
    x = digits[0][:5]
    found = Session(build(changed, name="n", grids=calibrate(changed, x, 4)), also=["second"]).run({"input": x}, steps=4)
    assert np.abs(found["second"][:, 0]).max() == 0
    np.testing.assert_allclose(found["second"][:, 1:3], 3, atol=0.05)


def test_events_of_whole_numbers_lose_nothing_either():
    network = Graph(
        [
            ops.InputNode(name="input", shape=(2, 6, 6), timed=True),
            ops.ConvNode(
                name="conv",
                inputs=("input",),
                weight=np.random.default_rng(0).normal(0, 0.5, (4, 2, 3, 3)).astype("f"),
                stride=(1, 1),
                padding=(0, 0),
                dilation=(1, 1),
            ),
            ops.NeuronNode(name="n", inputs=("conv",), parameters=NeuronParameters(0.5, 0.5, "hard")),
            ops.FlattenNode(name="flatten", inputs=("n",)),
            ops.TimeMeanNode(name="mean", inputs=("flatten",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    events = np.random.default_rng(1).integers(0, 4, (5, 3, 2, 6, 6)).astype(np.float32)
    assert set(calibrate(network, events, 5)) == {"input", "conv"}
    assert set(calibrate(network, events / 3, 5)) == set()


def test_the_manifest_tells_every_difference_and_calls_nothing_exact(bundle8, graph, digits):
    manifest, network = read_bundle(bundle8).manifest, graph("resnet", "soft", True)
    x, labels = digits
    whole = Session.of_bundle(bundle8, also=network.spiking)
    answers = whole.answer(x, steps=4).logits.argmax(-1)
    plain = Session(build(network, name="n")).answer(x, steps=4).logits.argmax(-1)
    found, expected = whole.run({"input": x[:8]}, steps=4), interpreter.run(network, x[:8], steps=4)
    wrong = sum(int((found[layer] != expected[layer]).sum()) for layer in network.spiking)
    agreement = manifest.agreement
    assert agreement.reference == "float"
    assert agreement.mismatched_spikes == wrong == manifest.sample.allowed_mismatched_spikes > 0
    assert agreement.mismatch_rate == wrong / agreement.spikes_compared
    assert (agreement.answers_compared, agreement.changed_answers) == (200, int((answers != plain).sum()))
    assert manifest.accuracy["exported"].correct == int((answers == labels).sum())
    assert manifest.quantization["kind"] == "int8"
    assert "exact" not in (bundle8 / "manifest.json").read_text()


def test_a_bundle_in_integers_is_verified_within_what_was_measured(bundle8):
    outcome = verify(bundle8)
    assert outcome.findings == ()
    assert 0 < sum(outcome.mismatched_spikes.values()) <= 3 * read_bundle(bundle8).manifest.sample.allowed_mismatched_spikes


def test_a_bundle_in_integers_with_other_weights_is_not_verified(bundle8):
    model = onnx.load(bundle8 / "whole.onnx")
    tensor = next(
        tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4
    )
    tensor.raw_data = bytes(len(tensor.raw_data))
    onnx.save(model, bundle8 / "whole.onnx")
    assert any("spikes differ from the sample" in finding for finding in verify(bundle8).findings)


def test_no_calibration_inputs_and_the_target_lava_are_refused(graph, digits, tmp_path):
    with pytest.raises(UserError, match="int8: no calibration inputs found; give training samples"):
        export(graph("conv"), digits[0][:2], tmp_path / "b", name="n", quantize="int8")
    with pytest.raises(UserError, match=r"quantize: .int8. found, .* lava has 8-bit weights always"):
        lava.export(graph("conv"), digits[0][:2], tmp_path / "b", name="n", quantize="int8")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused_by_name(digits):
    network = wide()
    network["second"].weight[0, 0, 0, 0] = np.inf
    with pytest.raises(UserError, match="node second: currents that are not finite found"):
        calibrate(network, digits[0][:4], 4)


def test_it_has_operators_that_onnxs_own_reference_runs(tmp_path):
    graph, x = wide(4), np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    folder = export(graph, x, tmp_path / "b", name="n", quantize="int8", calibration=x, spike_counts=True)
    model = onnx.load(folder / "whole.onnx")
    assert [one.version for one in model.opset_import] == [19]
    names = [value.name for value in model.graph.output]
    theirs = dict(zip(names, ReferenceEvaluator(model).run(None, {"input": x, "steps": np.array([4])}), strict=True))
    ours = Session(model).run({"input": x}, steps=4)
    assert np.array_equal(theirs["a.spikes"], ours["a.spikes"])
    asked = export(graph, x, tmp_path / "c", name="n", quantize="int8", calibration=x, opset=18)
    assert [one.version for one in onnx.load(asked / "whole.onnx").opset_import] == [18]
