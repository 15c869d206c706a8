"""Layers that multiply two signals."""

import torch
from torch import Tensor, nn


class Multiply(nn.Module):
    """`y = a · b`, value by value, of `[T, B, …]` each."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class MatMul(nn.Module):
    """`y = a @ b` over the last two axes, of `[T, B, …, N, K]` and `[T, B, …, K, M]`."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(a, b)
