"""Thresholds against the numpy interpreter. Weights and samples lie on a coarse binary grid, so that sums are exact."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.conversion import Method, convert
from neurodeploy.conversion.thresholds import positive_percentile
from neurodeploy.graph import interpreter, ops
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import Relu, VggSpec

SPEC = VggSpec(layers=(6, "A", 8, "A"), hidden=(12,), size=8)
LAYERS = ("act1", "act2", "hidden_act1")
STEPS = 12


@pytest.fixture(scope="module")
def coarse():
    """A network without bias and batch norm, weights multiples of 1/16."""
    torch.manual_seed(3)
    network = SPEC.build(1, 10, Relu()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 16).round() / 16)
    return network


def currents(network, samples) -> dict[str, np.ndarray]:
    """Activation layer → what it reads, computed by the reference interpreter."""
    graph = trace(network, (1, 8, 8))
    tensors = interpreter.run(graph, samples.numpy())
    return {node.name: tensors[node.inputs[0]] for node in graph.nodes if isinstance(node, ops.NeuronNode | ops.ReluNode)}


@pytest.mark.parametrize("percentile", [100.0, 99.0, 50.0])
def test_a_threshold_is_the_largest_current_of_its_layer_in_the_spiking_network(coarse, samples, percentile):
    network = convert(coarse, SPEC, samples, steps=STEPS, method=Method(percentile=percentile), batch_size=100)
    for layer, seen in currents(network, samples).items():
        assert seen.shape[:2] == (STEPS, len(samples))
        expected = np.percentile(seen[seen > 0].astype(np.float64), percentile)
        assert network.get_submodule(layer).constants.threshold == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("percentile", [100.0, 99.9])
def test_a_threshold_from_the_teacher_is_its_largest_activation_over_the_one_before(coarse, samples, percentile):
    network = convert(coarse, SPEC, samples, steps=STEPS, method=Method("activations", percentile=percentile))
    before = 1.0
    for layer, seen in currents(coarse, samples).items():
        largest = np.percentile(seen[seen > 0].astype(np.float64), percentile)
        assert network.get_submodule(layer).constants.threshold == pytest.approx(largest / before, rel=1e-5)
        before = largest


def test_the_threshold_of_least_error_is_that_of_a_search_in_numpy(coarse, samples):
    network = convert(coarse, SPEC, samples, steps=4, method=Method("error"))
    a = np.maximum(currents(coarse, samples)["act1"].astype(np.float64), 0)
    candidates = a.max() * (1 - 0.01 * np.arange(95))
    errors = [np.mean((a - theta / 4 * np.floor(np.clip(a * 4 / theta, 0, 4))) ** 2) for theta in candidates]
    found = network.act1.constants.threshold
    assert errors[np.abs(candidates - found).argmin()] == pytest.approx(min(errors), rel=1e-3)
    assert found < 0.9 * candidates[0]


def test_every_threshold_is_scaled_and_the_next_layer_sees_it(coarse, samples):
    whole, scaled = (convert(coarse, SPEC, samples, steps=STEPS, method=Method(scale=scale)) for scale in (1.0, 0.5))
    assert scaled.act1.constants.threshold == pytest.approx(whole.act1.constants.threshold / 2, rel=1e-6)
    seen = currents(scaled, samples)
    for layer in LAYERS:
        assert scaled.get_submodule(layer).constants.threshold == pytest.approx(seen[layer].max() / 2, rel=1e-6)


@given(
    percentile=st.one_of(st.floats(0.1, 100), st.just(100.0)),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    seed=st.integers(0, 10_000),
)
def test_a_percentile_over_batches_is_numpys_over_all_values(percentile, sizes, seed):
    values = torch.randn(3, sum(sizes), 4, generator=torch.Generator().manual_seed(seed))
    values[0, 0, 0] = values[0, 0, 0].abs() + 0.1
    found = positive_percentile(values.split(sizes, 1), sum(sizes), percentile)
    expected = np.percentile(values[values > 0].numpy().astype(np.float64), percentile)
    assert found == pytest.approx(expected, rel=1e-6)


def test_there_is_no_percentile_where_nothing_is_positive():
    assert positive_percentile([-torch.ones(2, 3, 4)], 3, 99.0) is None
