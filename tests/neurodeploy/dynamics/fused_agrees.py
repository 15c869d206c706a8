"""Run with TRITON_INTERPRET=1: the fused kernel fires the reference's spikes, with its gradients, over random shapes."""

from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.kernels import fused, reference
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.dynamics.surrogates import SURROGATES


@dataclass(frozen=True)
class Learned:
    decay: torch.Tensor
    threshold: torch.Tensor
    reset: str


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    st.integers(1, 6),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.sampled_from(RESETS),
    st.sampled_from(sorted(SURROGATES)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.5, 1.7]),
    st.integers(0, 1000),
)
def agree(steps, shape, reset, surrogate, detach, learned, dtype, decay, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    x, v0, a, b = (torch.randn(s, generator=generator, dtype=dtype) for s in ((steps, *shape), shape, (steps, *shape), shape))
    answers, gradients = [], []
    for kernel in (fused, reference):
        inputs = [x.clone().requires_grad_(), v0.clone().requires_grad_()]
        dynamics = NeuronParameters(decay, threshold, reset)
        if learned:
            inputs += [torch.tensor(value, dtype=dtype, requires_grad=True) for value in (decay, threshold)]
            dynamics = Learned(*inputs[2:], reset)
        spikes, v = kernel.multi_step(*inputs[:2], dynamics, SURROGATES[surrogate](), detach_reset=detach)
        answers.append((spikes, v))
        total = (spikes * a).sum() + (v * b).sum()
        gradients.append(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True))
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


agree()
