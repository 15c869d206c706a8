"""A trained network as exporters take it: the layer that makes spikes of a sample stays with the host."""

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.app.deployment import calibration_inputs, check_targets, deploy
from neurodeploy.data import Digits
from neurodeploy.dynamics.encodings import DirectEncoding, LatencyEncoding, PoissonEncoding, StaticInput
from neurodeploy.dynamics.layers import Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse, text_of

DATA = Digits().load()


def network(*entry: nn.Module) -> nn.Module:
    classifier = nn.Linear(64, 10)
    return nn.Sequential(*entry, Flatten(), classifier, Neuron(NeuronParameters(0.5, 0.5, "hard")), TimeMean()).eval()


@pytest.mark.parametrize(("code", "kind"), [(PoissonEncoding(5, seed=3), "Poisson"), (LatencyEncoding(5), "latency")])
def test_the_graph_begins_behind_the_code_and_the_host_does_what_the_layer_did(code, kind):
    trained = network(code)
    found = deploy(trained, DATA)
    assert found.graph.input.timed
    assert found.graph.steps is None
    assert f"{kind} code ({code.extra_repr()})" in found.encoding
    samples = DATA.test_samples[:4]
    assert torch.equal(torch.from_numpy(found.inputs(samples)), code.eval()(samples))
    with torch.no_grad():
        assert torch.equal(found.module()(samples), trained(samples))
    assert any(isinstance(module, type(code)) for module in trained.modules())  # the network itself is left as it was


def test_a_direct_code_stays_in_the_graph():
    found = deploy(network(StaticInput(), DirectEncoding(3)), DATA)
    assert (found.code, found.encoding, found.graph.steps) == (None, None, 3)
    assert torch.equal(torch.from_numpy(found.inputs(DATA.test_samples[:4])), DATA.test_samples[:4])
    inputs, labels = found.test
    assert inputs.shape == DATA.test_samples.shape
    assert len(labels) == len(inputs)


def test_a_network_of_few_levels_is_no_network_to_deploy_and_the_message_says_what_is():
    relu = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).eval()
    with pytest.raises(UserError, match=r"no target has them; deploy its spiking twin: neurodeploy\.spiking"):
        deploy(nd.qcfs(relu, DATA.train_samples[:50]), DATA)


def test_two_codes_are_refused_by_name():
    with pytest.raises(UserError, match="layer 1: a second code found, one expected, at the network's input"):
        deploy(network(PoissonEncoding(2), LatencyEncoding(2)), DATA)


def test_calibration_inputs_are_spread_over_the_training_set():
    data = Digits().load()
    inputs = calibration_inputs(data, 64)
    assert inputs.shape == (64, 1, 8, 8)
    assert np.array_equal(inputs, data.train_samples[:: len(data.train_labels) // 64][:64].numpy())
    assert calibration_inputs(data, 0) is None
    assert len(calibration_inputs(data, 10**6)) == len(data.train_labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((('reset = "hard"', 'reset = "soft"'),), "node act2: .*reset"),
        (
            (('kind = "conv"\nchannels = [16, 32, 32, 64]\nstrides = [1, 2, 1, 2]', 'kind = "densenet"'),),
            "spiking activations found, ReLU expected",
        ),
    ],
)
def test_what_a_target_cannot_express_is_refused_from_the_untrained_network(change, message):
    text = text_of("digits")
    for before, after in change:
        assert before in text
        text = text.replace(before, after)
    recipe = parse(text, origin="test")
    with pytest.raises(UserError, match=message):
        check_targets(recipe, recipe.data.load())


def test_negative_spikes_are_refused_before_the_training_where_a_chip_takes_none():
    signed = 'code = { kind = "poisson", signed = true }\nsteps = 4'
    normal = 'kind = "digits"\nnormalize = { mean = [0.5], std = [0.5] }'
    text = text_of("digits").replace("steps = 4", signed, 1).replace('kind = "digits"', normal)
    recipe = parse(text, origin="test")
    with pytest.raises(UserError, match=r"node .*: a value of -1 found .* \(signed = false\)"):
        check_targets(recipe, recipe.data.load())
    alone = parse(text.replace('targets = ["onnx", "lava"]', 'targets = ["onnx"]'), origin="test")
    check_targets(alone, alone.data.load())


def test_the_check_leaves_the_random_numbers_as_they_were():
    recipe = parse(text_of("digits"), origin="test")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_targets(recipe, recipe.data.load())
    assert torch.equal(torch.rand(4), expected)
