"""Sessions over several pieces and streams: what is kept between calls, what is counted, and what is refused."""

import numpy as np
import onnx
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build, export


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-8, 9, shape).astype(np.float32) / 8


def late(delay: int = 2) -> Graph:
    """Fed by events: a synaptic current, a delay around a neuron, and an output that integrates."""
    parameters = NeuronParameters(0.5, 0.5, "soft")
    return Graph(
        [
            ops.InputNode(name="input", shape=(6,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=weights(5, 6)),
            ops.LowPassNode(name="n.current", inputs=("fc",), decay=0.5),
            ops.NeuronNode(name="n", inputs=("n.current",), parameters=parameters),
            ops.DelayNode(name="later", inputs=("n",), steps=delay),
            ops.LinearNode(name="inner", inputs=("n",), weight=weights(5, 5)),
            ops.AddNode(name="sum", inputs=("inner", "later")),
            ops.NeuronNode(name="m", inputs=("sum",), parameters=parameters),
            ops.LinearNode(name="classifier", inputs=("m",), weight=weights(3, 5)),
            ops.LowPassNode(name="integrator", inputs=("classifier",), decay=1.0),
            ops.TimeMeanNode(name="mean", inputs=("integrator",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def events(steps: int = 16, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (steps, batch, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def streaming(graph, digits, tmp_path_factory):
    """An exact bundle that streams and counts."""
    folder = tmp_path_factory.mktemp("streaming") / "bundle"
    return export(graph("resnet"), digits[0][:4], folder, name="n", quantize="exact", streaming=True, spike_counts=True)


@pytest.mark.parametrize("delay", [1, 2, 5, 40])
@pytest.mark.parametrize("chunks", [[16], [4, 4, 4, 4], [1] * 16, [7, 1, 8]], ids=str)
def test_currents_delays_and_integrators_give_the_interpreters_tensors_in_chunks_of_any_length(delay, chunks):
    network, x = late(delay), events()
    layers = [node.name for node in network.nodes if isinstance(node, ops.Recurrent)]
    expected = interpreter.run(network, x)
    stream = Session(build(network, name="n", streaming=True), also=layers).stream()
    starts = np.cumsum([0, *chunks[:-1]])
    found = [stream.step(x[start : start + size]) for start, size in zip(starts, chunks, strict=True)]
    for layer in layers:
        assert np.array_equal(np.concatenate([answer.tensors[layer] for answer in found]), expected[layer]), layer
    np.testing.assert_allclose(found[-1].logits, expected["logits"], rtol=1e-6)
    whole = Session(build(network, name="n"), also=layers).answer(x)
    assert all(np.array_equal(whole.tensors[layer], expected[layer]) for layer in layers)
    np.testing.assert_allclose(whole.logits, expected["logits"], rtol=1e-6)


def test_the_answer_of_a_stream_is_the_mean_over_all_steps_so_far():
    network, x = late(), events()
    stream = Session(build(network, name="n", streaming=True)).stream()
    for step in range(16):
        expected = interpreter.run(network, x[: step + 1])["logits"]
        np.testing.assert_allclose(stream.step(x[step]).logits, expected, rtol=1e-6)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize("chunk", [1, 4, 16])
def test_a_stream_of_a_bundle_counts_the_interpreters_spikes_whole_and_in_pieces(streaming, graph, digits, pieces, chunk):
    network, x = to_grid(graph("resnet")), digits[0][:5]
    session = Session.of_bundle(streaming, pieces=pieces)
    stream = session.stream()
    answers = [stream.step(x, steps=chunk) for _ in range(16 // chunk)]
    expected = interpreter.run(network, x, steps=16)
    assert set(answers[0].spike_counts) == set(network.spiking)
    for layer in network.spiking:
        counts = np.concatenate([answer.spike_counts[layer] for answer in answers])
        assert counts.dtype == np.int64
        assert np.array_equal(counts, expected[layer].reshape(16, 5, -1).sum(2)), layer
    np.testing.assert_allclose(answers[-1].logits, expected["logits"], atol=1e-5)
    assert np.array_equal(session.answer(x, steps=16).logits, answers[-1].logits)


def test_one_sample_step_by_step_is_one_sample_at_once_in_float_too(graph, digits):
    network = graph("conv", "soft")
    session = Session(build(network, name="n", streaming=True), also=network.spiking)
    at_once, stream = session.answer(digits[0][:1], steps=12), session.stream()
    steps = [stream.step(digits[0][:1]) for _ in range(12)]
    for layer in network.spiking:
        assert np.array_equal(np.concatenate([step.tensors[layer] for step in steps]), at_once.tensors[layer])


def test_a_reset_stream_begins_again_and_may_take_other_samples(streaming, digits):
    stream = Session.of_bundle(streaming).stream()
    first = stream.step(digits[0][:2]).logits
    assert not np.array_equal(stream.step(digits[0][:2]).logits, first)
    with pytest.raises(UserError, match=r"samples of shape \(3, 1, 8, 8\) found, \(2, 1, 8, 8\) as before expected; call"):
        stream.step(digits[0][:3])
    stream.reset()
    assert np.array_equal(stream.step(digits[0][:2]).logits, first)
    stream.reset()
    assert stream.step(digits[0][:3]).logits.shape == (3, 10)


def test_two_streams_of_a_session_do_not_meet(streaming, digits):
    session = Session.of_bundle(streaming)
    one, other = session.stream(), session.stream()
    first = one.step(digits[0][:2]).logits
    one.step(digits[0][:2])
    assert np.array_equal(other.step(digits[0][:2]).logits, first)


def test_a_model_without_states_does_not_stream(bundles):
    with pytest.raises(UserError, match=r"whole\.onnx: keeps no state between calls; export with --streaming"):
        Session(bundles["onnx"] / "whole.onnx").stream()


def test_a_bundle_runs_whole_or_in_pieces_with_the_same_answer(bundles, digits):
    whole, pieces = (Session.of_bundle(bundles["onnx"], pieces=pieces, also=["act2"]) for pieces in (False, True))
    assert set(pieces.inputs) == {"input", "steps"}
    one, other = whole.answer(digits[0], steps=4), pieces.answer(digits[0], steps=4)
    assert np.array_equal(one.logits, other.logits)
    assert np.array_equal(one.tensors["act2"], other.tensors["act2"])
    assert one.spike_counts == {}


def test_pieces_of_another_format_are_refused_by_name(bundles):
    with pytest.raises(UserError, match=r"body\.net: format 'net' found, onnx expected"):
        Session.of_bundle(bundles["lava"])


def test_a_session_of_nothing_and_one_with_no_thread_are_refused(bundles):
    with pytest.raises(UserError, match="session: no model found"):
        Session([])
    with pytest.raises(UserError, match="session: 0 threads found, at least 1 expected"):
        Session(bundles["onnx"] / "whole.onnx", threads=0)


def test_the_number_of_threads_changes_no_bit(bundles, digits):
    one, two = (Session(bundles["onnx"] / "whole.onnx", threads=threads) for threads in (1, 2))
    assert np.array_equal(one.answer(digits[0], steps=4).logits, two.answer(digits[0], steps=4).logits)


def test_a_piece_that_reads_two_tensors_asks_for_them_by_name(graph):
    network = graph("resnet", "soft", True)
    head = Session(build(network, partition(network).head, name="head"))
    with pytest.raises(UserError, match=r"head: takes block1\.act2, block2\.act1; give tensors by name to run\(\)"):
        head.answer(np.zeros((4, 2, 4, 8, 8), np.float32))


def test_steps_are_refused_where_sequences_enter():
    stream = Session(build(late(), name="n", streaming=True)).stream()
    with pytest.raises(UserError, match="steps: 2 found, none expected of a network fed by sequences"):
        stream.step(events(1)[0], steps=2)


@pytest.mark.parametrize("steps", [0, -1])
def test_a_stream_does_not_go_on_by_no_step(streaming, digits, steps):
    with pytest.raises(UserError, match=f"steps: {steps} found, at least 1 expected"):
        Session.of_bundle(streaming).stream().step(digits[0][:2], steps=steps)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("states", "{"),
        ("states", "[" * 100_000),
        ("states", "[]"),
        ("states", '{"n.v0": 1}'),
        ("states", '{"absent": "n.v"}'),
        ("states", '{"n.v0": "absent"}'),
        ("spike_counts", '{"n": "absent"}'),
    ],
)
def test_metadata_that_names_no_tensors_is_refused(key, value):
    model = build(late(), name="n", streaming=True, spike_counts=True)
    next(entry for entry in model.metadata_props if entry.key == key).value = value
    with pytest.raises(UserError, match=f"^n: metadata {key}: a JSON object of the model's inputs and outputs expected$"):
        Session(model)


def test_a_state_of_an_absurd_size_is_not_made():
    model = build(late(), name="n", streaming=True)
    (state,) = (value for value in model.graph.input if value.name == "later.waiting0")
    state.type.tensor_type.shape.dim[0].dim_value = 1 << 60
    with pytest.raises(UserError, match=r"n: (ONNX Runtime cannot load it|state later\.waiting0: .* cannot begin with zeros)"):
        Session(model).answer(events())


def test_a_layer_named_like_a_state_is_refused():
    parameters = NeuronParameters(0.5, 0.5, "hard")
    network = Graph(
        [
            ops.InputNode(name="input", shape=(3,), timed=True),
            ops.NeuronNode(name="n", inputs=("input",), parameters=parameters),
            ops.NeuronNode(name="n.v", inputs=("n",), parameters=parameters),
            ops.TimeMeanNode(name="mean", inputs=("n.v",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    with pytest.raises(UserError, match=r"node n\.v: another tensor of the ONNX model has this name; rename the layer"):
        build(network, name="n")


def test_inner_tensors_have_their_shapes_for_those_who_look_at_the_model(graph):
    model = build(graph("conv"), name="n", streaming=True)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    assert shapes["act2"] == ["T", "B", 6, 4, 4]
    assert shapes["conv2"] == ["T*B", 6, 4, 4]
    assert shapes["act2.v0"] == shapes["act2.v"] == ["B", 6, 4, 4]
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
