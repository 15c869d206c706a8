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


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("inf"), float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(UserError, match=f"neuron threshold: {threshold} found, a positive number expected"):
        ThresholdNeuron(IF).set_threshold(threshold)
