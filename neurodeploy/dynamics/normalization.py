"""Batch norm whose training statistics are those of the whole batch, also when several processes share it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class CommonStatistics(nn.modules.batchnorm._BatchNorm):
    """A mixin for torch's batch norms: in training, mean and variance are taken over the samples of all processes.

    With equal weights and the same global batch, several processes then compute what one would have computed (up to the order
    of sums). torch's own SyncBatchNorm does this on GPUs alone. In one process this is torch's batch norm, unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, …]` → `[N, C, …]`."""
        shared = self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        return self._over_all_processes(x) if shared else super().forward(x)

    def _over_all_processes(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_full((1,), x.numel() / x.shape[1])
        sums = _Sum.apply(torch.cat([values.sum(axes), values.square().sum(axes), count]))  # type: ignore[no-untyped-call]
        total, squares, count = sums.split([x.shape[1], x.shape[1], 1])
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)  # a difference of rounded numbers may be below 0
        self._remember(mean, variance, count)
        shape = [1, -1, *([1] * (x.ndim - 2))]
        scale = (variance + self.eps).rsqrt()
        result = (values - mean.reshape(shape)) * scale.reshape(shape)
        if self.affine:
            result = result * self.weight.reshape(shape) + self.bias.reshape(shape)
        return result.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        unbiased = variance * (count / (count - 1).clamp_min(1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
