"""The moving average of the weights, samples held out, and the best weights so far."""

import pytest
import torch
from torch import nn

from neurodeploy.data import Digits
from neurodeploy.io.errors import UserError
from neurodeploy.training.optimisation import MovingAverage
from neurodeploy.training.stopping import Best, split

DATA = Digits().load()


def test_the_average_weighs_each_update_by_its_age():
    network = nn.Linear(2, 1, bias=False).double()
    values = [torch.full((1, 2), float(value), dtype=torch.float64) for value in (4, 1, 7)]
    network.weight.data.copy_(values[0])
    average = MovingAverage(network, 0.75)
    for value in values[1:]:
        network.weight.data.copy_(value)
        average.update()
    expected = 0.75**2 * 4 + 0.75 * 0.25 * 1 + 0.25 * 7
    assert average.state["weight"].tolist() == [[pytest.approx(expected)] * 2]


def test_the_average_follows_batch_norms_statistics_and_copies_its_counter():
    network = nn.BatchNorm1d(3)
    average = MovingAverage(network, 0.5)
    network(torch.randn(10, 3))
    average.update()
    assert torch.allclose(average.state["running_mean"], network.running_mean / 2)
    assert average.state["num_batches_tracked"] == 1


def test_an_average_goes_on_from_a_kept_state():
    network = nn.Linear(1, 1)
    kept = {name: torch.full_like(value, 8.0) for name, value in network.state_dict().items()}
    average = MovingAverage(network, 0.5, kept)
    network.load_state_dict({name: torch.zeros_like(value) for name, value in kept.items()})
    average.update()
    assert all(value.item() == 4 for value in average.state.values())


def test_held_out_samples_are_the_same_for_a_seed_and_never_trained_on():
    one, other = split(DATA, 200, seed=3), split(DATA, 200, seed=4)
    assert torch.equal(one.validation, split(DATA, 200, seed=3).validation)
    assert not torch.equal(one.validation, other.validation)
    assert torch.equal(torch.cat([one.train, one.validation]).sort().values, torch.arange(1297))
    assert len(one.validation) == 200
    assert torch.equal(split(DATA, 0, seed=3).train, torch.arange(1297))


def test_holding_everything_out_is_refused():
    with pytest.raises(UserError, match="validation_samples: 1297 found, fewer than the 1297 training samples expected"):
        split(DATA, 1297, seed=0)


def test_the_best_weights_are_those_of_the_first_highest_accuracy():
    network, best = nn.Linear(1, 1), Best()
    for value, accuracy in enumerate((50.0, 60.0, 60.0, 55.0)):
        nn.init.constant_(network.weight, value)
        best.see(accuracy, network)
    assert (best.accuracy, best.epochs_since) == (60.0, 2)
    assert best.state["weight"].item() == 1
