from functools import partial

import pytest
import torch
from pydantic import ValidationError

from neurodeploy.encoding import DirectEncoding
from neurodeploy.errors import UserError
from neurodeploy.layers import Neuron
from neurodeploy.networks import ConvNetSpec, Relu, ResNetSpec, Spiking
from neurodeploy.neurons import NeuronParameters
from neurodeploy.surrogate import Rectangle

SPECS = {
    "conv": ConvNetSpec(channels=(4, 6, 8), strides=(1, 2, 2)),
    "resnet": ResNetSpec(channels=(4, 8), blocks=(1, 2)),
}


def spiking(steps: int = 3, *, repact: bool = False) -> Spiking:
    return Spiking(partial(Neuron, NeuronParameters(0.25, 0.5), Rectangle()), steps, repact)


@pytest.mark.parametrize("kind", SPECS)
def test_teacher_and_student_share_weights_shapes_and_tap_names(kind):
    teacher, student = (SPECS[kind].build(1, 10, activations) for activations in (Relu(), spiking()))
    student.load_state_dict(teacher.state_dict())
    x = torch.rand(5, 1, 8, 8)
    answers = [teacher(x), student(x)]
    assert list(answers[0].taps) == list(answers[1].taps)
    for name, tap in answers[1].taps.items():
        assert tap.shape == (3, *answers[0].taps[name].shape[1:])
        assert set(tap.unique().tolist()) <= {0.0, 1.0}
    assert answers[0].step_logits.shape == (1, 5, 10)
    assert answers[1].step_logits.shape == (3, 5, 10)
    torch.testing.assert_close(answers[1].logits, answers[1].step_logits.mean(0))


@pytest.mark.parametrize("kind", SPECS)
def test_repact_turns_the_last_spiking_layer_alone_into_a_relu(kind):
    plain, repact = (SPECS[kind].build(1, 10, spiking(repact=flag)) for flag in (False, True))
    neurons = [[name for name, m in network.named_modules() if isinstance(m, Neuron)] for network in (plain, repact)]
    assert neurons[1] == neurons[0][:-1]
    repact.load_state_dict(plain.state_dict())
    last = list(repact(torch.rand(4, 1, 8, 8)).taps.values())[-1]
    assert last.min() >= 0
    assert last.unique().numel() > 2


def test_the_direct_coded_first_layer_is_computed_once_per_sample():
    network = SPECS["conv"].build(1, 10, spiking(7))
    calls = []
    network.get_submodule("conv1").register_forward_hook(lambda _m, _i, output: calls.append(output.shape))
    network(torch.rand(2, 1, 8, 8))
    assert calls == [(1, 2, 4, 8, 8)]


def test_direct_encoding_refuses_a_sequence():
    with pytest.raises(UserError, match="2 time steps found"):
        DirectEncoding(4)(torch.zeros(2, 1, 3))
    with pytest.raises(UserError, match="steps: 0 found"):
        DirectEncoding(0)


def test_a_network_definition_whose_lists_differ_in_length_is_refused():
    with pytest.raises(ValidationError, match="1 strides found, 2 expected"):
        ConvNetSpec(channels=(4, 4), strides=(1,))
    with pytest.raises(ValidationError, match="1 blocks found, 2 expected"):
        ResNetSpec(channels=(4, 4), blocks=(1,))
