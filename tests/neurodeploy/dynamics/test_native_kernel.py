"""The kernel in C has the handwritten one's bits, and nothing waits for it, or needs it."""

import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics import kernels
from neurodeploy.dynamics.kernels import choice, handwritten, native
from neurodeploy.dynamics.layers import LIF, Conv2d
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.dynamics.surrogates import SURROGATES, ArcTangent
from neurodeploy.io.errors import UserError

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, native._COMPILERS)), reason="the kernel in C needs a C compiler")


@pytest.fixture(scope="module")
def library():
    found = native.BUILD.result()
    assert found is not None, native.BUILD.state
    return found


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@needs_compiler
@settings(max_examples=40, deadline=None)
@given(
    reset=st.sampled_from(RESETS),
    surrogate=st.sampled_from(sorted(SURROGATES)),
    detach=st.booleans(),
    decay=st.floats(0, 1),
    threshold=st.floats(0.01, 10),
    shape=st.sampled_from([(1, 1), (3, 7), (4, 2, 5, 3), (17, 1029), (2, 3, 4, 9, 9)]),
    seed=st.integers(0, 1000),
)
def test_spikes_potentials_and_gradients_are_those_of_the_handwritten_kernel_bit_for_bit(
    library, reset, surrogate, detach, decay, threshold, shape, seed
):
    generator = torch.Generator().manual_seed(seed)
    x, gs = (torch.randn(shape, generator=generator) for _ in range(2))
    v0, gv = (torch.randn(shape[1:], generator=generator) for _ in range(2))
    x.view(-1)[0] = float("inf")
    if len(shape) == 5:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    answers = []
    for step in (lambda *a, **k: native.run(library, *a, **k), handwritten.multi_step):
        inputs = [x.clone().requires_grad_(), v0.clone().requires_grad_()]
        neuron = NeuronParameters(decay, threshold, reset)
        spikes, v = step(*inputs, neuron, SURROGATES[surrogate](), detach_reset=detach)
        answers.append((spikes, v, *torch.autograd.grad((spikes, v), inputs, (gs, gv))))
    for one, other in zip(*answers, strict=True):
        assert torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))
        assert one.stride() == other.stride()


@needs_compiler
def test_it_runs_on_several_threads_with_the_same_bits(library):
    x, found = torch.randn(5, 40_000), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            current = x.clone().requires_grad_()
            spikes, _ = native.run(library, current, torch.zeros(40_000), NeuronParameters(0.5), ArcTangent())
            found.append((spikes, *torch.autograd.grad(spikes.cos().sum(), current)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@needs_compiler
def test_it_is_what_layers_use_without_being_asked_once_it_is_there(library):
    x = torch.rand(4, 2, 3, 9, 9, requires_grad=True)
    assert "Native" in type(LIF()(x).grad_fn).__name__
    with kernels.using("handwritten"):
        assert "Handwritten" in type(LIF()(x).grad_fn).__name__
    assert "Handwritten" in type(LIF()(x.double()).grad_fn).__name__
    assert library.path.exists()


@needs_compiler
def test_training_has_the_same_weights_with_it_and_without(library):
    weights = []
    for kernel in ("native", "handwritten"):
        torch.manual_seed(0)
        network = torch.nn.Sequential(Conv2d(2, 8, 3), LIF(0.5), Conv2d(8, 4, 3), LIF(0.5, reset="soft"))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            with kernels.using(kernel):
                network(torch.rand(3, 4, 2, 12, 12)).mean(0).square().sum().backward()
            optimizer.step()
        weights.append([parameter.detach().clone() for parameter in network.parameters()])
    assert library is not None
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_a_layer_does_not_wait_for_the_compiler(monkeypatch):
    build, forever = native.Build(), threading.Event()
    monkeypatch.setattr(native, "BUILD", build)
    monkeypatch.setattr(native, "_made", forever.wait)
    x = torch.rand(4, 6, requires_grad=True)
    assert "Handwritten" in type(LIF()(x).grad_fn).__name__
    assert build.state == "being built"
    forever.set()


def test_without_a_compiler_the_handwritten_kernel_runs_and_the_reason_is_said(monkeypatch, no_home):
    build = native.Build()
    monkeypatch.setattr(native, "BUILD", build)
    monkeypatch.setattr(native.shutil, "which", lambda _: None)
    assert build.result() is None
    assert build.state == "unavailable: no C compiler (cc, gcc, clang) on the path"
    assert "Handwritten" in type(LIF()(torch.rand(4, 6, requires_grad=True)).grad_fn).__name__
    with pytest.raises(UserError, match="kernel 'native': unavailable: no C compiler"), kernels.using("native"):
        LIF()(torch.rand(4, 6))
    assert not list(no_home.iterdir())


@needs_compiler
@pytest.mark.usefixtures("no_home")
def test_what_computes_other_bits_than_torch_is_not_used(monkeypatch, tmp_path):
    wrong = tmp_path / "wrong.c"
    wrong.write_text(
        native.SOURCES[0].read_text().replace("fmaf(scale * through, before[i], grad)", "grad + scale * through * before[i]")
    )
    monkeypatch.setattr(native, "SOURCES", (wrong, *native.SOURCES[1:]))
    build = native.Build()
    assert build.result() is None
    assert "computes other bits than torch here (reset hard" in build.state


@needs_compiler
def test_it_is_built_once_and_kept_where_nobody_else_can_write(monkeypatch, no_home):
    first = native.Build()
    kept = first.result().path
    assert kept.is_relative_to(no_home / ".cache" / "neurodeploy" / "kernels")
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.parent.stat().st_mode & 0o077 == 0
    made = []
    compile_ = native._compile
    monkeypatch.setattr(native, "_compile", lambda *a, **k: made.append(a) or compile_(*a, **k))
    assert native.Build().result().path == kept
    assert not made
    kept.chmod(0o666)
    assert native.Build().result() is not None
    assert made


@needs_compiler
def test_a_home_that_cannot_be_written_is_no_hindrance(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert native.Build().result() is not None


@needs_compiler
@pytest.mark.parametrize("pause", [0.0, 0.3, 0.6])
def test_a_process_that_ends_during_the_build_ends_well(no_home, pause):
    code = f"""
import time, torch
from neurodeploy.dynamics.layers import LIF
LIF()(torch.rand(4, 6))
time.sleep({pause})
"""
    environment = os.environ | {"HOME": str(no_home)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_a_second_derivative_is_refused_instead_of_being_left_out(library):
    x = torch.rand(4, 6, requires_grad=True)
    spikes, _ = native.run(library, x, torch.zeros(6), NeuronParameters(0.5), ArcTangent())
    (slope,) = torch.autograd.grad(spikes.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_learned_constants_and_integers_do_not_go_to_it(monkeypatch):
    monkeypatch.setattr(choice.native, "run", lambda *_a, **_k: pytest.fail("went to the kernel in C"))
    neuron = kernels.multi_step
    parameters = type("Learned", (), {"decay": torch.tensor(0.5), "threshold": 1.0, "reset": "hard"})()
    neuron(torch.rand(3, 4), torch.zeros(4), parameters, ArcTangent())
    neuron(torch.rand(3, 4).half(), torch.zeros(4).half(), NeuronParameters(0.5), ArcTangent())
