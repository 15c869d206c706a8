"""Folds average pooling into the synapse after it: both are linear, so one kernel does the work of two, exactly.

With a pooling window k and stride q, then a convolution with kernel w, stride s, dilation d and padding p:

```
y[o] = Σ_j w[j] · mean_{m<k} x[q (s o + d j − p) + m]  =  Σ_i w'[i] x[q s o + i − q p],    w'[q d j + m] += w[j] / |k|
```

With p > 0 this holds only where the pooling's zero padding is the input's: windows do not overlap (k ≤ q) and reach the border.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError


def fold_into_conv(pools: Sequence[ops.AvgPoolNode], shapes: Sequence[Shape], conv: ops.ConvNode) -> ops.ConvNode:
    """One convolution, with a float64 kernel, that does what the pools and the convolution do one after the other.

    Args:
        pools: in order of computation.
        shapes: of each pool's input, `(C, …)`.
        conv: reads the last pool.

    Raises:
        UserError: padding makes it impossible; the message names the pool.
    """
    for pool, shape in zip(reversed(pools), reversed(shapes), strict=True):
        _check_padding(pool, shape, conv)
        weight: Any = np.asarray(conv.weight, np.float64)
        kernel = weight.shape[2:]
        steps = tuple(q * d for q, d in zip(pool.stride, conv.dilation, strict=True))
        size = tuple(step * (n - 1) + k for step, n, k in zip(steps, kernel, pool.kernel, strict=True))
        folded: Any = np.zeros((*weight.shape[:2], *size))
        for offset in product(*map(range, pool.kernel)):
            spots = tuple(slice(m, m + step * (n - 1) + 1, step) for m, step, n in zip(offset, steps, kernel, strict=True))
            folded[(..., *spots)] += weight / prod(pool.kernel)
        conv = replace(
            conv,
            inputs=pool.inputs,
            weight=folded,
            stride=tuple(q * s for q, s in zip(pool.stride, conv.stride, strict=True)),
            padding=tuple(q * p for q, p in zip(pool.stride, conv.padding, strict=True)),
            dilation=(1,) * len(kernel),
        )
    return conv


def fold_into_linear(pools: Sequence[ops.AvgPoolNode], shapes: Sequence[Shape], weight: Any) -> Any:
    """The matrix `[N_out, C·H·W]`, float64, that does what the pools, a flatten and the matrix `weight` do.

    Args:
        pools: in order of computation.
        shapes: of each pool's input, `(C, …)`.
        weight: `[N_out, N_in]` over the flattened output of the last pool.
    """
    outputs = len(weight)
    folded: Any = np.asarray(weight, np.float64)
    for pool, shape in zip(reversed(pools), reversed(shapes), strict=True):
        counts = tuple((n - k) // q + 1 for n, k, q in zip(shape[1:], pool.kernel, pool.stride, strict=True))
        pooled = folded.reshape(outputs, shape[0], *counts)
        folded = np.zeros((outputs, *shape))
        for offset in product(*map(range, pool.kernel)):
            spots = tuple(slice(m, m + q * (n - 1) + 1, q) for m, q, n in zip(offset, pool.stride, counts, strict=True))
            folded[(..., *spots)] += pooled / prod(pool.kernel)
    return folded.reshape(outputs, -1)


def _check_padding(pool: ops.AvgPoolNode, shape: Shape, conv: ops.ConvNode) -> None:
    for size, k, q, p in zip(shape[1:], pool.kernel, pool.stride, conv.padding, strict=True):
        covered = (size - k) // q * q + q
        if p and (k > q or covered < size):
            raise UserError(
                f"node {pool.name}: average pooling of {size} values by windows of {k}, stride {q}, cannot be folded into "
                f"{conv.name}, whose padding is {p}; use windows that tile the input, or no padding"
            )
