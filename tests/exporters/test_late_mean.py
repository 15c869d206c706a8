"""Networks whose answer leaves out the first time steps: exported, read back and verified, or refused with what to do."""

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import nir
from neurodeploy_exporters.lava import wiring
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.graph import read_graph

SAMPLES = torch.rand(24, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def twin(steps=8, **settings):
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 5))
    return nd.spiking(nn.Sequential(*layers).eval(), SAMPLES, steps=steps, **{"reset": "hard", "evaluate_after": 3} | settings)


@pytest.fixture(scope="module")
def model():
    return nd.deploy(twin(), SAMPLES)


def events(skip):
    weight = np.random.default_rng(0).integers(-8, 9, (3, 4)).astype(np.float32) / 8
    return Graph(
        [
            ops.InputNode(name="input", shape=(4,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=weight),
            ops.DelayNode(name="later", inputs=("fc",), steps=2),  # ONNX has slices of its own for it
            ops.TimeMeanNode(name="mean", inputs=("later",), skip=skip),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize("target", ["onnx", "lava", "nir"])
def test_a_bundle_that_skips_answers_what_the_network_answers(model, target, quantize, tmp_path):
    bundle = nd.export(model, target, tmp_path / target, samples=4, quantize=quantize)
    check = nd.verify(bundle)
    assert check.passed
    assert check.mismatches == 0 < check.spikes_compared
    assert nd.load(bundle.folder).module.graph.skipped == 3
    if quantize == "none" and target != "lava":
        with torch.no_grad():
            wanted = twin()(torch.from_numpy(bundle.sample().inputs)).logits
        np.testing.assert_allclose(bundle.sample().logits, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("skip", [0, 1, 7])
def test_onnx_runtime_leaves_out_the_steps_that_the_interpreter_leaves_out_and_the_model_is_the_graph_again(skip, tmp_path):
    graph, x = events(skip), np.random.default_rng(1).integers(0, 2, (8, 3, 4)).astype(np.float32)
    onnx = build(graph, name="late")
    assert np.array_equal(Session(onnx).answer(x).logits, interpreter.run(graph, x)["logits"])
    (tmp_path / "late.onnx").write_bytes(onnx.SerializeToString())
    again = read_graph(tmp_path / "late.onnx")
    assert [(node.name, node.inputs) for node in again.nodes] == [(node.name, node.inputs) for node in graph.nodes]
    assert again.skipped == skip


@pytest.mark.parametrize("pieces", [False, True])
def test_an_onnx_bundle_refuses_to_run_for_no_more_steps_than_it_skips(model, pieces, tmp_path):
    bundle = nd.export(model, "onnx", tmp_path / "onnx", samples=4)
    session = Session.of_bundle(bundle.folder, pieces=pieces)
    assert np.isfinite(session.answer(SAMPLES[:2].numpy(), steps=4).logits).all()
    with pytest.raises(UserError, match=r"its answer skips the first 3 time steps, and 3 found; run it for more"):
        session.answer(SAMPLES[:2].numpy(), steps=3)


def test_a_sequence_of_no_more_steps_than_an_onnx_model_skips_is_refused():
    with pytest.raises(UserError, match="skips the first 7 time steps, and 7 found"):
        Session(build(events(7), name="late")).answer(np.zeros((7, 1, 4), np.float32))


def test_a_stream_cannot_skip_and_says_what_to_do(model, tmp_path):
    with pytest.raises(UserError, match=r"node mean \(TimeMean\): skips the first 3 time steps.*export without streaming"):
        nd.export(model, "onnx", tmp_path / "onnx", samples=4, streaming=True)


def test_a_nir_file_says_in_words_and_numbers_what_other_readers_have_to_leave_out(model, tmp_path):
    bundle = nd.export(model, "nir", tmp_path / "nir", samples=4)
    with h5py.File(bundle.folder / "whole.nir") as file:
        metadata = {key: value[()] for key, value in file["node/metadata"].items()}
    assert metadata["logits"].decode() == "the mean of the output over the time steps after the first 3, which it leaves out"
    assert metadata["logits_skip"] == 3
    assert "take the mean of its output over those after the first 3" in json.dumps(bundle.manifest.notes)
    assert nir.read(bundle.folder / "whole.nir").skipped == 3


def test_a_nir_file_of_a_mean_over_all_steps_says_what_it_said_before(tmp_path):
    nir.write(events(0), tmp_path / "all.nir")
    with h5py.File(tmp_path / "all.nir") as file:
        metadata = file["node/metadata"]
        assert metadata["logits"][()].decode() == "the mean of the output over time"
        assert "logits_skip" not in metadata


@pytest.mark.parametrize(("skip", "read"), [(0, "after the last step"), (3, "every step")])
def test_a_chip_sends_the_currents_of_every_step_where_its_host_leaves_out_the_first(skip, read, tmp_path):
    deployed = nd.deploy(twin(evaluate_after=skip), SAMPLES)
    bundle = nd.export(deployed, "lava", tmp_path / "lava", samples=4, quantize="exact", head_cut="last-synapse")
    (body,) = (piece for piece in bundle.manifest.chain if piece.name == "body")
    assert [tensor.read for tensor in body.graded] == [read]
    assert nd.verify(bundle).passed


def test_no_neuron_of_a_chip_adds_up_what_a_mean_skips(model):
    (readout,) = wiring.readouts(model.graph, partition(model.graph).head)
    assert not readout.integrates


def test_energy_is_counted_as_without_skipping(model):
    report = nd.energy(model, SAMPLES[:8])
    whole = nd.energy(nd.deploy(twin(evaluate_after=0), SAMPLES), SAMPLES[:8])
    assert report.total == whole.total
