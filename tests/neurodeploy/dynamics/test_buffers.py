"""Large activations are in buffers that are used again, and that nobody shares."""

import gc
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from neurodeploy.dynamics.kernels import convolution, memory
from neurodeploy.dynamics.kernels.memory import Buffers, empty
from neurodeploy.dynamics.layers import LIF

MIB = 1 << 20


@pytest.fixture
def buffers(monkeypatch):
    own = Buffers()
    monkeypatch.setattr(memory, "BUFFERS", own)
    return own


def test_a_large_tensor_is_like_any_other(buffers):
    large, small = (empty((n, 1 << 10), torch.zeros(1, dtype=torch.float64)) for n in (5 << 10, 2))
    assert large.fill_(1).sum() == 5 << 20
    assert large.dtype == small.dtype == torch.float64
    assert small.shape == (2, 1 << 10)
    assert large.is_contiguous()
    assert buffers.mapped == 40 * MIB
    last = empty((8, 32, 64, 64), torch.zeros(1), channels_last=True)
    assert last.shape == (8, 32, 64, 64)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_memory_is_used_again_only_once_nothing_refers_to_it(buffers):
    first = empty((3, MIB), torch.zeros(1))
    address, view = first.data_ptr(), first[1:].transpose(0, 1)
    del first
    second = empty((3, MIB), torch.zeros(1)).fill_(7)
    assert second.data_ptr() != address
    view.fill_(1)
    assert second.eq(7).all()
    del view
    assert empty((3, MIB), torch.zeros(1)).data_ptr() == address
    assert buffers.mapped == 24 * MIB


def test_what_autograd_saved_is_not_overwritten(buffers):
    def step():
        x = empty((2, MIB), torch.zeros(1)).fill_(3).requires_grad_()
        return x, (x * x).sum()

    x, loss = step()
    for _ in range(3):
        step()
    loss.backward()
    assert x.grad.eq(6).all()
    assert buffers.mapped <= 32 * MIB


@pytest.mark.usefixtures("buffers")
def test_the_steps_of_a_training_map_nothing_anew(monkeypatch):
    made = []
    chunk = memory._chunk
    monkeypatch.setattr(memory, "_chunk", lambda size: made.append(size) or chunk(size))
    for _ in range(4):
        sizes = (4, 4, 8, 2, 16, 4, 8)
        held = [empty((size, MIB // 4), torch.zeros(1)) for size in sizes]
        while len(held) > 1:
            del held[len(held) // 2]
            last = empty((1, MIB), torch.zeros(1))
        del held, last
        gc.collect()
        after, made[:] = len(made), []
    assert after == 0


def test_no_more_is_kept_than_was_in_use_and_a_little(buffers):
    for size in (64, 2, 32, 4, 16, 8, 128, 6):
        x = empty((size, MIB // 4), torch.zeros(1))
        assert buffers.mapped <= 128 * MIB * Buffers._SPARE + 2 * MIB
        del x
    buffers.release()
    assert buffers.mapped == 0


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="tells by /proc")
def test_gaps_that_are_too_small_hold_no_pages_beside_what_takes_their_place(buffers):
    wide = empty((16, MIB), torch.zeros(1)).fill_(1)
    before = resident()
    del wide
    kept = empty((4, MIB), torch.zeros(1)).fill_(2)
    again = empty((16, MIB), torch.zeros(1)).fill_(3)
    assert buffers.mapped == 128 * MIB
    assert resident() - before < 24 * MIB  # 16 of 64 are in use, and 64 beside them
    gap = empty((12, MIB), torch.zeros(1)).fill_(4)
    assert kept.eq(2).all()
    assert again.eq(3).all()
    assert gap.eq(4).all()
    assert buffers.mapped == 128 * MIB


def test_what_is_in_use_survives_a_release(buffers):
    held = empty((3, MIB), torch.zeros(1)).fill_(5)
    buffers.release()
    others = [empty((3, MIB), torch.zeros(1)).fill_(i) for i in range(3)]
    assert held.eq(5).all()
    assert all(other.eq(i).all() for i, other in enumerate(others))


def test_a_traced_module_has_no_buffer_of_now_in_it(buffers):
    layer = LIF()
    x = torch.rand(2, 4, 8, 256, 256)
    traced = torch.jit.trace(layer, x, check_trace=False)
    assert buffers.mapped == 0
    assert torch.equal(traced(1 - x), layer(1 - x))
    assert torch.equal(traced(x), layer(x))


def test_threads_get_memory_of_their_own(buffers):
    wrong = []

    def work(number):
        for _ in range(30):
            one, other = (empty((MIB,), torch.zeros(1)).fill_(number + i / 2) for i in range(2))
            if not (one.eq(number).all() and other.eq(number + 0.5).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    buffers.release()
    assert buffers.mapped == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_child_does_not_write_into_the_activations_of_its_parent():
    code = """
import os, torch
from neurodeploy.dynamics.kernels.memory import empty
x = empty((2, 1 << 20), torch.zeros(1)).fill_(1)
child = os.fork()
if not child:
    x.fill_(2)
    empty((2, 1 << 20), torch.zeros(1)).fill_(3)
    os._exit(0)
os.waitpid(child, 0)
assert x.eq(1).all()
"""
    # of several threads of torch none is left in a child, which waits for them: with torch alone too
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=alone)


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(3, 2, True), (1, 1, False), (5, 1, True)])
def test_a_convolution_in_kept_buffers_has_torchs_own_bits(buffers, kernel, stride, bias):
    generator = torch.Generator().manual_seed(0)
    geometry = convolution.ConvolutionSettings((stride, stride), (kernel // 2,) * 2, (1, 1), 1)
    x = torch.randn(300, 32, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    weight, offset = torch.randn(16, 32, kernel, kernel, generator=generator), torch.randn(16, generator=generator)
    assert convolution.worth_keeping(x, weight, geometry)
    assert not convolution.worth_keeping(x[:50], weight, geometry)
    found = []
    for run in (convolution.kept, lambda *a: a[3].convolve(*a[:3])):
        inputs = [one.clone().requires_grad_() for one in (x, weight, *([offset] if bias else []))]
        y = run(*inputs, *([] if bias else [None]), geometry)
        found.append((y.detach(), *torch.autograd.grad(y.cos().sum(), inputs)))
    assert buffers.mapped > 0
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_a_convolution_in_kept_buffers_has_second_derivatives():
    x, weight = torch.rand(4, 2, 5, 5, requires_grad=True), torch.rand(3, 2, 3, 3, requires_grad=True)
    geometry = convolution.ConvolutionSettings((1, 1), (1, 1), (1, 1), 1)
    second = []
    for run in (lambda: convolution.kept(x, weight, None, geometry), lambda: geometry.convolve(x, weight, None)):
        (slope,) = torch.autograd.grad(run().square().sum(), x, create_graph=True)
        second.append(torch.autograd.grad(slope.square().sum(), (x, weight)))
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other)
