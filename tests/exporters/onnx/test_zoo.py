"""Every network with every kind of neuron: the pieces are the whole, and the whole is the interpreter's, in chunks too."""

import numpy as np
import onnx
import pytest

from neurodeploy.graph import Graph, interpreter, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.onnx.target import calibrate
from neurodeploy_exporters.verify import verify

every_neuron = pytest.mark.parametrize("neuron", ["IF", "LIF", "PLIF", "CUBA"])
every_reset = pytest.mark.parametrize("reset", ["hard", "soft"])
with_and_without_repact = pytest.mark.parametrize("repact", [False, True], ids=["spikes", "repact"])


def samples(graph: Graph, count: int = 3) -> np.ndarray:
    """Multiples of 1/256."""
    return (np.random.default_rng(0).integers(0, 257, (count, *graph.input.shape)) / 256).astype(np.float32)


@every_neuron
@every_reset
@with_and_without_repact
def test_encoder_body_and_head_in_sequence_are_the_whole_bit_for_bit(zoo, small, neuron, reset, repact):
    network = zoo(small, neuron, reset, repact)
    x, layers = samples(network), network.spiking
    whole = Session(build(network, name="n"), also=layers).run({"input": x}, steps=4)
    parts = partition(network, spikes_only=False).parts
    assert [part.name for part in parts] in (["encoder", "body", "head"], ["encoder", "head"])
    pieces = Session([build(network, part, name=part.name) for part in parts], also=layers).run({"input": x}, steps=4)
    for tensor, value in whole.items():
        assert np.array_equal(pieces[tensor], value), tensor
    assert all(0 < whole[layer].mean() < 1 for layer in layers)


@every_neuron
@every_reset
def test_exact_models_fire_the_interpreters_spikes_whatever_chunks_a_sequence_comes_in(zoo, small, neuron, reset):
    network = to_grid(zoo(small, neuron, reset, neuron == "PLIF"))
    x, layers = samples(network, 2), network.spiking
    model = build(network, name="n", streaming=True, spike_counts=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    session = Session(model, also=layers)
    expected = interpreter.run(network, x, steps=8)
    at_once = session.run({"input": x}, steps=8)
    in_chunks = [session.run({"input": x}, steps=3)]
    states = {before: in_chunks[0][after] for before, after in session.states.items()}
    in_chunks.append(session.run({"input": x, **states}, steps=5))
    for layer in layers:
        assert np.array_equal(at_once[layer], expected[layer]), layer
        assert np.array_equal(np.concatenate([found[layer] for found in in_chunks]), expected[layer]), layer
        counts = expected[layer].reshape(8, 2, -1).sum(2)
        assert np.array_equal(at_once[f"{layer}.spikes"], counts)
    for before, after in session.states.items():
        assert before in session.inputs
        assert np.array_equal(at_once[after], in_chunks[-1][after]), after
    np.testing.assert_allclose(at_once["logits"], expected["logits"], atol=1e-5)
    assert np.array_equal(at_once["logits"], in_chunks[-1]["logits"])


@pytest.mark.parametrize("neuron", ["LIF", "CUBA"])
@with_and_without_repact
def test_models_in_integers_answer_the_same_whole_in_pieces_and_step_by_step(zoo, small, neuron, repact):
    network = zoo(small, neuron, "soft", repact)
    x, layers = samples(network), network.spiking
    grids = calibrate(network, x, 4)
    whole = Session(build(network, name="n", grids=grids), also=layers).run({"input": x}, steps=4)
    parts = partition(network, spikes_only=False).parts
    pieces = Session([build(network, part, name=part.name, grids=grids) for part in parts], also=layers)
    stream = Session(build(network, name="n", streaming=True, grids=grids), also=layers).stream()
    for found in (pieces.run({"input": x}, steps=4), stream.each_step(x, 4)):
        assert all(np.array_equal(found[layer], whole[layer]) for layer in layers)
        np.testing.assert_allclose(found["logits"], whole["logits"], atol=1e-5)


def test_a_membrane_shortcut_may_cross_a_cut_of_an_onnx_bundle_but_not_of_a_chips(zoo, small_named, tmp_path):
    network = zoo(small_named("resnet ms"), "LIF", "soft", True)
    with pytest.raises(UserError, match=r"node block2\.add: its values are not spikes and leave the body for block3\.add"):
        partition(network)
    folder = export(network, samples(network), tmp_path / "b", name="n", streaming=True)
    pieces = {piece.name: piece for piece in read_bundle(folder).manifest.pieces}
    assert pieces["body"].outputs == pieces["head"].inputs == ("block2.add", "block3.act2")
    assert verify(folder).findings == ()
