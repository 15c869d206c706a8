"""Convolutions with windows of one value go by another way on a CPU: the values and gradients are torch's own."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.layers import Conv1d, Conv2d

CONVOLVES_ON_AND_ON = """
import torch
from neurodeploy.dynamics.layers import Conv2d

torch.manual_seed(0)
layer, kept = Conv2d(4, 6, 1, 2, bias=False), []
for number in range(400):
    x = torch.randn(1, 160, 4, 8, 8, requires_grad=True)
    layer(x).square().sum().backward()
    kept = [*kept[-6:], x.grad.clone(), torch.randn(17 + number % 50)]
"""


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, "valid"])
def test_single_values_with_a_stride_are_convolved_as_torch_does(groups, padding):
    torch.manual_seed(0)
    ours = Conv2d(4, 6, 1, 2, padding, groups=groups)
    plain = nn.Conv2d(4, 6, 1, 2, padding, groups=groups)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(3, 2, 4, 7, 8)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    mine, theirs = ours(one), plain(other.flatten(0, 1).contiguous()).unflatten(0, (3, 2))
    torch.testing.assert_close(mine, theirs)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


def test_single_values_of_a_line_with_a_stride_are_convolved_as_torch_does():
    torch.manual_seed(0)
    ours, plain = Conv1d(4, 6, 1, 3), nn.Conv1d(4, 6, 1, 3)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(3, 2, 4, 10)
    torch.testing.assert_close(ours(x), plain(x.flatten(0, 1)).unflatten(0, (3, 2)))


def test_training_it_leaves_the_memory_of_the_process_whole():
    done = subprocess.run([sys.executable, "-c", CONVOLVES_ON_AND_ON], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
