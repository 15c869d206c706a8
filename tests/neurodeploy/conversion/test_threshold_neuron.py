import pytest
import torch

from neurodeploy.dynamics.layers import Neuron, ThresholdNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError

IF = NeuronParameters(1.0, 0.7, "soft")
CURRENT = torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(0))


def test_it_fires_as_the_plain_neuron_of_its_constants():
    neuron = ThresholdNeuron(IF)
    assert neuron.constants.threshold == pytest.approx(0.7)
    assert torch.equal(neuron(CURRENT), Neuron(neuron.constants)(CURRENT))
    neuron.set_threshold(1.3)
    assert neuron.constants.threshold == pytest.approx(1.3)
    assert (neuron.constants.decay, neuron.constants.reset) == (1.0, "soft")
    assert torch.equal(neuron(CURRENT), Neuron(neuron.constants)(CURRENT))
    assert not torch.equal(neuron(CURRENT), ThresholdNeuron(IF)(CURRENT))


def test_its_state_dict_carries_the_threshold():
    neuron, other = ThresholdNeuron(IF), ThresholdNeuron(NeuronParameters(1.0, 2.0, "soft"))
    other.load_state_dict(neuron.state_dict())
    assert other.constants == neuron.constants


def test_the_threshold_is_learned_on_request_only():
    fixed, learned = ThresholdNeuron(IF), ThresholdNeuron(IF, learn_threshold=True)
    current = CURRENT.clone().requires_grad_()
    (fixed(current).sum() + learned(current).sum()).backward()
    assert fixed.log_threshold.grad is None
    assert learned.log_threshold.grad < 0  # a higher threshold makes fewer spikes


def test_the_leak_is_learned_on_request_and_begins_at_one():
    learned = ThresholdNeuron(IF, learn_decay=True)
    assert learned.constants == ThresholdNeuron(IF).constants
    assert torch.equal(learned(CURRENT), ThresholdNeuron(IF)(CURRENT))
    assert set(learned.state_dict()) == {"log_threshold", "learned_decay"}
    assert set(ThresholdNeuron(IF).state_dict()) == {"log_threshold"}


def _decay_gradient(decay: float, sign: float) -> float:
    neuron = ThresholdNeuron(IF, learn_decay=True)
    with torch.no_grad():
        neuron.learned_decay.fill_(decay)
    (sign * neuron(CURRENT).sum()).backward()
    return neuron.learned_decay.grad.item()


@pytest.mark.parametrize("outside", [1.0, 1.5])
def test_a_leak_at_the_end_of_its_range_or_beyond_learns_to_come_back_and_not_to_leave(outside):
    assert _decay_gradient(outside, -1.0) == 0  # more spikes would need a leak above 1
    assert _decay_gradient(outside, 1.0) > 0  # fewer need one below


@pytest.mark.parametrize("outside", [0.0, -0.5])
def test_the_same_holds_at_zero(outside):
    assert _decay_gradient(outside, 1.0) == 0
    assert _decay_gradient(outside, -1.0) < 0


def test_a_leak_inside_its_range_has_the_gradient_of_the_update():
    assert _decay_gradient(0.6, 1.0) == pytest.approx(-_decay_gradient(0.6, -1.0)) != 0


def test_whatever_an_optimiser_makes_of_it_the_leak_that_is_computed_with_and_exported_is_from_0_to_1():
    neuron = ThresholdNeuron(IF, learn_decay=True)
    with torch.no_grad():
        neuron.learned_decay.fill_(1.25)
    assert neuron.constants.decay == 1
    assert torch.equal(neuron(CURRENT), ThresholdNeuron(IF)(CURRENT))


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("inf"), float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(UserError, match=f"neuron threshold: {threshold} found, a positive number expected"):
        ThresholdNeuron(IF).set_threshold(threshold)
