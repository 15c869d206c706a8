"""What holds for every network: one definition for teacher and student, the same taps, the same weights."""

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.io.errors import UserError
from neurodeploy.networks import Relu


def test_teacher_and_student_share_weights_shapes_and_tap_names(small, spiking):
    teacher, student = (small.build(activations).eval() for activations in (Relu(), spiking(3)))
    student.load_state_dict(teacher.state_dict())
    x = small.samples(5)
    answers = [teacher(x), student(x)]
    assert list(answers[0].taps) == list(answers[1].taps)
    for name, tap in answers[1].taps.items():
        assert tap.shape == (3, *answers[0].taps[name].shape[1:])
        assert set(tap.unique().tolist()) <= {0.0, 1.0}
    assert answers[0].step_logits.shape == (1, 5, 10)
    assert answers[1].step_logits.shape == (3, 5, 10)
    torch.testing.assert_close(answers[1].logits, answers[1].step_logits.mean(0))


def test_the_taps_are_the_activation_layers_in_the_order_in_which_they_compute(small, spiking):
    network = small.build(spiking())
    called = []
    for name, module in network.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _i, _o, name=name: called.append(name))
    assert list(network(small.samples(2)).taps) == called
    assert sum(isinstance(module, Neuron) for module in network.modules()) == len(called)


def test_features_are_what_the_classifier_reads(small, spiking):
    network = small.build(spiking(), trained=True)
    output = network(small.samples(4))
    assert isinstance(network.classifier, nn.Linear)
    assert output.features.shape == (3, 4, network.classifier.in_features)
    torch.testing.assert_close(network.classifier(output.features), output.step_logits)


def test_repact_turns_one_spiking_layer_the_last_that_the_classifier_needs_into_a_relu(small, spiking):
    plain, repact = (small.build(spiking(repact=flag)) for flag in (False, True))
    neurons = [[name for name, m in network.named_modules() if isinstance(m, Neuron)] for network in (plain, repact)]
    (changed,) = set(neurons[0]) - set(neurons[1])
    repact.load_state_dict(plain.state_dict())
    taps = repact(small.samples(8)).taps
    later = list(taps)[list(taps).index(changed) + 1 :]
    assert not later or later == [changed.replace("act2", "act_shortcut")]
    assert taps[changed].min() >= 0
    assert taps[changed].unique().numel() > 2


@pytest.mark.parametrize("code", ["direct", "poisson", "latency"])
@pytest.mark.parametrize("steps", [1, 4])
def test_every_code_and_number_of_steps_gives_logits_and_gradients(small, spiking, code, steps):
    network = small.build(spiking(steps, code))
    output = network(small.samples(4))
    assert output.step_logits.shape == (steps, 4, 10)
    output.logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_event_frames_pass_through_teacher_and_student_alike(small, spiking):
    x = small.samples(3, steps=4)
    for activations in (Relu(events=True), spiking(4, "events")):
        output = small.build(activations)(x)
        assert output.step_logits.shape == (4, 3, 10)
        assert all(tap.shape[:2] == (4, 3) for tap in output.taps.values())


def test_a_direct_coded_first_layer_is_computed_once_per_sample(small, spiking):
    network = small.build(spiking(7))
    first = next(module for module in network.modules() if isinstance(module, nn.Conv1d | nn.Conv2d))
    calls = []
    first.register_forward_hook(lambda _m, _i, output: calls.append(output.shape[:2]))
    network(small.samples(2))
    assert calls == [(1, 2)]


def test_direct_encoding_refuses_a_sequence():
    with pytest.raises(UserError, match="2 time steps found"):
        DirectEncoding(4)(torch.zeros(2, 1, 3))
    with pytest.raises(UserError, match="steps: 0 found"):
        DirectEncoding(0)
