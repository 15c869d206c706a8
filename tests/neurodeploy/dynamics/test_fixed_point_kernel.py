"""The fixed-point kernel fires what `cuba_step` fires, bit for bit, and has the gradient of its equations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.kernels import fixed_point
from neurodeploy.dynamics.layers import FixedPointNeuron
from neurodeploy.dynamics.neurons import CubaParameters, cuba_step
from neurodeploy.dynamics.surrogates import SURROGATES, ArcTangent, spike
from neurodeploy.io.errors import UserError

decays = st.one_of(st.sampled_from([0, 1, 2048, 4095, 4096]), st.integers(0, 4096))
thresholds = st.one_of(st.sampled_from([1, (1 << 17) - 1]), st.integers(1, 1000))
constants = st.builds(CubaParameters, decays, decays, thresholds, st.sampled_from([0, -4096, 4095, 17]))
sizes = st.sampled_from([3, 200, 5_000, 1 << 17, 1 << 20, 1 << 24])


def sums_of(steps: int, neurons: int, size: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-size, size + 1, (steps, 2, neurons), generator=generator).to(dtype)


def by_steps(sums: torch.Tensor, parameters: CubaParameters) -> torch.Tensor:
    u, fired = torch.zeros(sums.shape[1:], dtype=torch.int64), []
    v = torch.zeros_like(u)
    for a in sums.long():
        s, u, v = cuba_step(u, v, a, parameters)
        fired.append(s)
    return torch.stack(fired).to(sums.dtype)


@settings(max_examples=200, deadline=None)
@given(constants, st.integers(1, 12), sizes, st.integers(0, 1000), st.sampled_from([torch.float32, torch.float64]))
def test_every_spike_is_that_of_the_step_in_integers(parameters, steps, size, seed, dtype):
    sums = sums_of(steps, 7, size, seed, dtype)
    expected = by_steps(sums, parameters)
    assert torch.equal(fixed_point.multi_step(sums, parameters, ArcTangent()), expected)
    assert torch.equal(fixed_point.multi_step(sums.requires_grad_(), parameters, ArcTangent()), expected)


class Whole(torch.autograd.Function):
    """Rounds towards zero; its gradient is 1."""

    @staticmethod
    def forward(_, x):
        return x.trunc()

    @staticmethod
    def backward(_, grad):
        return grad


def restated(sums, parameters, surrogate, *, detach_reset):
    """The equations in units of the threshold, differentiated by autograd; rounding adds what it adds, without a gradient."""
    unit = 64 * parameters.threshold
    u = v = torch.zeros_like(sums[0])
    spikes = []
    for a in sums:
        u = Whole.apply(u * (1 - parameters.i_decay / 4096)) + 64 * a
        v = Whole.apply(v * (1 - parameters.v_decay / 4096)) + u + 64 * parameters.bias
        s = spike(v / unit, 1.0, surrogate)
        v = v * (1 - (s.detach() if detach_reset else s))
        spikes.append(s)
    return torch.stack(spikes)


@settings(max_examples=100, deadline=None)
@given(constants, st.integers(1, 8), st.integers(0, 1000), st.sampled_from(sorted(SURROGATES)), st.booleans())
def test_the_gradient_is_that_of_the_equations_straight_through_their_rounding(parameters, steps, seed, kind, detach):
    surrogate = SURROGATES[kind]()
    reach = max(3, min(2 * parameters.threshold, 2_000))  # nothing wraps nor saturates
    sums = sums_of(steps, 5, reach, seed, torch.float64)
    weights = torch.randn(sums.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradients, fired = [], []
    for run in (fixed_point.multi_step, restated):
        x = sums.clone().requires_grad_()
        spikes = run(x, parameters, surrogate, detach_reset=detach)
        fired.append(spikes)
        gradients.append(torch.autograd.grad((spikes * weights).sum(), x)[0])
    assert torch.equal(*fired)
    torch.testing.assert_close(*gradients)


def test_the_gradient_passes_through_a_potential_that_saturates_and_a_current_that_wraps():
    sums = torch.full((2, 1, 1), float(1 << 17)).requires_grad_()  # 64 times it is 2²³, the first value that does not wrap
    parameters = CubaParameters(v_decay=0, threshold=(1 << 17) - 1)
    for value in (0, 1):
        x = (sums.detach() + value).requires_grad_()
        fixed_point.multi_step(x, parameters, ArcTangent()).sum().backward()
        assert (x.grad != 0).all()


def test_the_result_does_not_depend_on_the_blocks(monkeypatch):
    parameters, found = CubaParameters(1000, 2048, 70, 5), []
    for size in (1 << 16, 16):
        monkeypatch.setattr(fixed_point, "_BLOCK", size)
        x = sums_of(6, 37, 200, 0).requires_grad_()
        spikes = fixed_point.multi_step(x, parameters, ArcTangent())
        found.append((spikes, torch.autograd.grad((spikes * sums_of(6, 37, 9, 1)).sum(), x)[0]))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_sums_that_are_whole_only_up_to_rounding_are_taken_as_whole():
    sums = sums_of(5, 50, 100, 0)
    parameters = CubaParameters(v_decay=2048, threshold=40)
    assert torch.equal(fixed_point.multi_step(sums + 1e-3, parameters, ArcTangent()), by_steps(sums, parameters))


def test_only_the_charged_potentials_are_saved_for_the_backward_pass():
    kept = []
    x = sums_of(4, 30, 100, 0, torch.float64).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        fixed_point.multi_step(x, CubaParameters(v_decay=1, threshold=9), ArcTangent())
    assert [(tensor.shape, tensor.dtype) for tensor in kept] == [(x.shape, torch.float32)]


def test_a_layer_of_them_has_the_constants_of_a_leaky_neuron_with_hard_reset():
    layer = FixedPointNeuron(1024, 70, surrogate=ArcTangent())
    assert (layer.constants.decay, layer.constants.threshold, layer.constants.reset) == (0.75, 70, "hard")
    sums = sums_of(6, 20, 100, 0)
    assert torch.equal(layer(sums), by_steps(sums, layer.cuba))
    assert "v_decay=1024" in repr(layer)
    with pytest.raises(UserError, match="neuron threshold: 0 found"):
        FixedPointNeuron(0, 0)
