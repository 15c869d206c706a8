import pytest
import torch

from neurodeploy.dynamics.layers import Dropout
from neurodeploy.networks import Relu


def test_the_mask_is_the_same_at_all_time_steps_and_differs_between_samples():
    torch.manual_seed(0)
    y = Dropout(0.5)(torch.ones(6, 3, 4, 5, 5))
    assert torch.equal(y, y[:1].expand_as(y))
    assert not torch.equal(y[0, 0], y[0, 1])
    assert set(y.unique().tolist()) == {0.0, 2.0}


def test_each_call_draws_a_mask_of_its_own():
    torch.manual_seed(0)
    layer, x = Dropout(0.5), torch.ones(2, 1, 100)
    assert not torch.equal(layer(x), layer(x))


def test_evaluation_and_a_rate_of_zero_leave_the_input_alone():
    x = torch.rand(2, 3, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_gradients_pass_where_the_mask_does():
    torch.manual_seed(0)
    x = torch.ones(3, 2, 8, requires_grad=True)
    y = Dropout(0.25)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize("name", ["vgg plain", "resnet12"])
def test_a_networks_dropouts_act_in_training_alone(small_named, name, spiking):
    small = small_named(name)
    x = small.samples(2)
    for activations in (Relu(), spiking(4)):
        network = small.build(activations)
        assert not torch.equal(network(x).logits, network(x).logits)
        network.eval()
        assert torch.equal(network(x).logits, network(x).logits)


def test_one_mask_holds_for_all_steps_inside_a_spiking_network(small_named, spiking):
    network = small_named("vgg plain").build(spiking(5))
    masks = []
    network.hidden_dropout1.register_forward_hook(lambda _m, inputs, output: masks.append((inputs[0], output)))
    torch.manual_seed(3)
    network(small_named("vgg plain").samples(4))
    ((spikes, kept),) = masks
    dropped = (spikes == 1) & (kept == 0)
    fires_and_passes = (spikes == 1) & (kept != 0)
    assert dropped.any()
    assert not (dropped.any(0) & fires_and_passes.any(0)).any()
