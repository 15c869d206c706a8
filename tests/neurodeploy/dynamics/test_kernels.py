"""Every kernel fires the reference's spikes and has its gradients: Triton's run in its interpreter, Inductor's are compiled."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics import kernels
from neurodeploy.dynamics.kernels import compiled, convolution, handwritten, memory, reference
from neurodeploy.dynamics.layers import Conv1d, Conv2d, Neuron
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters, Reset
from neurodeploy.dynamics.surrogates import SURROGATES, ArcTangent, Rectangle
from neurodeploy.io.errors import UserError


def test_the_fused_kernel_equals_the_reference_in_tritons_interpreter(tmp_path):
    """In a process of its own: Triton decides when it is imported whether it interprets."""
    pytest.importorskip("triton", reason="Triton is not installed")
    script = Path(__file__).with_name("fused_agrees.py")
    environment = {"TRITON_INTERPRET": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")
@pytest.mark.parametrize("reset", RESETS)
def test_the_compiled_kernel_equals_the_reference(reset):
    generator = torch.Generator().manual_seed(0)
    x, a = (torch.randn(3, 4, 37, generator=generator) for _ in range(2))
    v0, b = (torch.randn(4, 37, generator=generator) for _ in range(2))
    answers, gradients = [], []
    for kernel in (compiled, reference):
        inputs = [x.clone().requires_grad_(), v0.clone().requires_grad_()]
        spikes, v = kernel.multi_step(*inputs, NeuronParameters(0.3, 0.7, reset), ArcTangent(), detach_reset=reset == "soft")
        answers.append((spikes, v))
        gradients.append(torch.autograd.grad((spikes * a).sum() + (v * b).sum(), inputs))
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@dataclass(frozen=True)
class Learned:
    decay: torch.Tensor
    threshold: torch.Tensor
    reset: Reset


def test_the_compiled_kernel_hands_learned_constants_to_the_handwritten_one():
    decay, threshold = (torch.tensor(value, requires_grad=True) for value in (0.3, 0.7))
    spikes, _ = compiled.multi_step(torch.rand(3, 5), torch.zeros(5), Learned(decay, threshold, "hard"), ArcTangent())
    spikes.sum().backward()
    assert decay.grad is not None
    assert threshold.grad < 0


@settings(max_examples=10)
@given(st.sampled_from(["reference", "handwritten"]), st.integers(0, 100))
def test_a_kernel_can_be_chosen_for_a_block_of_code(name, seed):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    layer = Neuron(NeuronParameters(0.5, 0.5), Rectangle())
    with kernels.using(name):
        chosen = layer(x.requires_grad_())
    assert ("MultiStep" in type(chosen.grad_fn).__name__) is (name == "handwritten")
    assert torch.equal(chosen, layer(x))


def test_the_choice_ends_with_its_block_even_when_that_fails():
    layer, x = Neuron(NeuronParameters()), torch.rand(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="stop"), kernels.using("reference"):
        raise RuntimeError("stop")
    assert "MultiStep" in type(layer(x).grad_fn).__name__


def test_an_unknown_kernel_is_refused_and_an_absent_package_named(monkeypatch):
    with pytest.raises(
        UserError, match="kernel 'quantum': not known; there are reference, handwritten, native, fused, compiled"
    ):
        kernels.using("quantum").__enter__()
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "neurodeploy.dynamics.kernels.fused", raising=False)
    with pytest.raises(UserError, match="kernel 'fused': needs the package triton"):
        kernels.using("fused").__enter__()


def test_every_surrogate_has_a_form_in_the_fused_kernel_and_others_are_refused():
    fused = pytest.importorskip("neurodeploy.dynamics.kernels.fused", reason="Triton is not installed")
    assert set(SURROGATES.values()) == set(fused._SLOPES)

    class Own:
        def derivative(self, x, threshold):  # noqa: ARG002
            return x

    x, v0 = torch.rand(2, 3), torch.zeros(3)
    with pytest.raises(UserError, match="no form in the fused kernel; use one of rectangle"):
        fused.multi_step(x, v0, NeuronParameters(), Own())
    with pytest.raises(UserError, match=r"torch\.float16 found, float32 or float64 expected"):
        fused.multi_step(x.half(), v0.half(), NeuronParameters(), Rectangle())


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 100),
)
def test_a_convolution_in_slices_is_torchs_own(samples, side, stride, groups, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 3, (samples, 2, 6 * side, 6), generator=generator).float().requires_grad_()
    weight, b = (torch.randint(-8, 9, s, generator=generator).div(8).requires_grad_() for s in ((4, 2 // groups, 3, 3), (4,)))
    inputs = [x, weight, b] if bias else [x, weight]
    where = ((stride, 1), (1, 0), (1, 1), groups)
    expected = torch.nn.functional.conv2d(x, weight, b if bias else None, *where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_SLICE", 2 << 10)
        found = convolution.sliced(x, weight, b if bias else None, convolution.ConvolutionSettings(*where))
        weights = torch.randint(-4, 5, expected.shape, generator=generator).float()
        gradients = torch.autograd.grad((found * weights).sum(), inputs)
    assert torch.equal(found, expected)
    for one, other in zip(gradients, torch.autograd.grad((expected * weights).sum(), inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("layer", "shape"), [(Conv1d(2, 3, 3, padding=1, dilation=2), (3, 2, 2, 50)), (Conv2d(2, 3, 3, 2), (3, 2, 2, 9, 8))]
)
def test_a_large_batch_is_convolved_in_slices_and_a_small_one_at_once(layer, shape, monkeypatch):
    x = torch.rand(shape)
    monkeypatch.setattr(convolution, "_MANY_CHANNELS", 2)
    whole = layer(x)
    monkeypatch.setattr(convolution, "_SLICE", 256)
    in_slices = layer(x)
    torch.testing.assert_close(in_slices, whole)
    whole.square().sum().backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    in_slices.square().sum().backward()
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    with torch.no_grad():
        assert torch.equal(layer(x), in_slices)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("detach", [False, True])
def test_the_result_does_not_depend_on_the_blocks(reset, learned, detach, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    x, a = (torch.randn(5, 4, 37, generator=generator, dtype=torch.float64) for _ in range(2))
    v0, b = (torch.randn(4, 37, generator=generator, dtype=torch.float64) for _ in range(2))
    answers, gradients = [], []
    for size in (1 << 17, 35):
        monkeypatch.setattr(handwritten, "_BLOCK", size)
        inputs = [x.clone().requires_grad_(), v0.clone().requires_grad_()]
        dynamics = NeuronParameters(0.3, 0.7, reset)
        if learned:
            inputs += [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.3, 0.7)]
            dynamics = Learned(*inputs[2:], reset)
        spikes, v = handwritten.multi_step(*inputs[:2], dynamics, ArcTangent(), detach_reset=detach)
        with torch.no_grad():
            again = handwritten.multi_step(*inputs[:2], dynamics, ArcTangent(), detach_reset=detach)
        assert torch.equal(again[0], spikes)
        assert torch.equal(again[1], v)
        answers.append((spikes, v))
        gradients.append(torch.autograd.grad((spikes * a).sum() + (v * b).sum(), inputs))
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_current_that_is_the_same_memory_at_every_step_or_in_any_order_is_no_different():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for current in (x.expand(3, 4, 6), torch.stack([x, -x, x]).transpose(1, 2)):
        leaf = current.detach().requires_grad_()
        plain = current.clone(memory_format=torch.contiguous_format).requires_grad_()
        found, expected = (Neuron(NeuronParameters(0.5))(x) for x in (leaf, plain))
        assert torch.equal(found, expected)
        found.cos().sum().backward()
        expected.cos().sum().backward()
        assert torch.equal(leaf.grad, plain.grad)


@pytest.mark.parametrize("kernel", ["handwritten", "native", "compiled"])
@pytest.mark.parametrize("learned", [False, True])
def test_the_gradient_of_a_current_that_is_repeated_over_time_goes_to_what_is_repeated(kernel, learned):
    if kernel in ("native", "compiled") and shutil.which("g++") is None:
        pytest.skip("these kernels need a compiler")
    generator = torch.Generator().manual_seed(3)
    x, weight = torch.randn(6, 5, generator=generator), torch.randn(5, 7, generator=generator)
    a = torch.randn(4, 6, 7, generator=generator)
    found = []
    for name in ("reference", kernel):
        inputs = [weight.clone().requires_grad_()]
        dynamics = NeuronParameters(0.4, 0.6, "soft")
        if learned:
            inputs += [torch.tensor(value, requires_grad=True) for value in (0.4, 0.6)]
            dynamics = Learned(inputs[1], inputs[2], "soft")
        current = (x @ inputs[0]).unsqueeze(0).expand(4, -1, -1)
        assert memory.repeated(current).shape == (1, 6, 7)
        with kernels.using(name):
            spikes, _ = kernels.multi_step(current, torch.zeros(6, 7), dynamics, ArcTangent())
        found.append((spikes, *torch.autograd.grad((spikes * a).sum(), inputs)))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_only_plain_views_of_what_is_repeated_are_passed_over():
    y = torch.rand(6, 7, requires_grad=True) * 2
    assert memory.repeated(y.expand(4, 6, 7)) is not None
    assert memory.repeated(y.unflatten(1, (7, 1)).unsqueeze(0).expand(4, -1, -1, -1)) is not None
    watched = y.expand(4, 6, 7)
    watched.retain_grad()
    leaf = torch.rand(1, 6, 7).expand(4, 6, 7).requires_grad_()
    for current in (watched, leaf, y[:3].expand(4, 3, 7), y.t().expand(4, 7, 6), y.expand(1, 6, 7), torch.rand(4, 6, 7)):
        assert memory.repeated(current) is None
    with torch.no_grad():
        assert memory.repeated((y * 1).expand(4, 6, 7)) is None


def test_a_convolution_in_slices_has_second_derivatives():
    x, weight = torch.rand(4, 2, 5, 5, requires_grad=True), torch.rand(3, 2, 3, 3, requires_grad=True)
    geometry = convolution.ConvolutionSettings((1, 1), (1, 1), (1, 1), 1)
    second = []
    for run in (lambda: convolution.sliced(x, weight, None, geometry), lambda: geometry.convolve(x, weight, None)):
        (slope,) = torch.autograd.grad(run().square().sum(), x, create_graph=True)
        second.append(torch.autograd.grad(slope.square().sum(), (x, weight)))
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other)
