"""Linear chains: layers of synapses, batch norms and paddings with nothing between them that is not linear, and sums of such.

A toolchain for inference makes one layer of them, as it folds a batch norm: RepConv, RepVGG, factorised layers. Whether that
computes what the chain does is tried on the data, borders and all: padding between two layers of which the first has a bias is
no zero any more, and then they stay apart.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from neurodeploy_energy.count.fanout import Synapses
from neurodeploy_energy.count.fusing import Layer, computes, one_after, side_by_side

_RECENT = 16
"""Inputs of layers that are kept in case that another layer goes on: of those that ran last."""
_NORMS = frozenset(["native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm"])
_KEPT = frozenset(["clone", "_to_copy", "copy", "contiguous", "_reshape_copy", "view_copy"])


@dataclass(eq=False)
class Chain:
    """What one tensor is as a linear function of another.

    Attributes:
        source: that other tensor, if it is still there; `version` of it.
        origin: what is known of the source.
        synapses: of the one layer that computes the same.
        shape: of one sample at its output.
        members: rows of the layers that it is made of.
        matrix: the weight of that layer in torch's layout, without the scales; None for ones on the diagonal.
        bias: whether it has one.
        scales: factors of its output channels that came later, as arguments of batch norms and numbers.
        padding: before and after, per spatial axis, that came later.
        prefixes: chains that it goes on from.
        used: whether something that is not linear reads it; `extended` whether something that is does.
    """

    source: Callable[[], Tensor | None]
    version: int
    origin: Any
    synapses: Synapses
    shape: tuple[int, ...]
    members: tuple[str, ...]
    matrix: Tensor | None
    bias: bool = False
    scales: tuple[Any, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    prefixes: tuple["Chain", ...] = ()
    used: bool = False
    extended: bool = False

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """`padding`, zeros if there is none."""
        return self.padding or tuple((0, 0) for _ in self.shape[1:])

    @property
    def scaled(self) -> tuple[Any, ...]:
        """`scales` as far as they differ where the same layers are run: numbers by value."""
        return tuple(scale if isinstance(scale, float) else "norm" for scale in self.scales)

    @property
    def is_free(self) -> bool:
        """Whether no part of it is needed for anything else."""
        return all(not one.used and one.is_free for one in self.prefixes)

    def layer(self) -> Layer:
        """The one layer that computes the same, without a bias."""
        return self.synapses, self.weight()

    def weight(self) -> Tensor:
        """`[O, I / groups, …]`, float64, its scales applied."""
        ones = torch.ones(self.shape[0], 1, *[1] * (len(self.shape) - 1), dtype=torch.float64)
        whole = ones if self.matrix is None else self.matrix.detach().double()
        for scale in self.scales:
            whole = whole * (scale if isinstance(scale, float) else scale().double().reshape(-1, *[1] * (whole.dim() - 1)))
        return whole


class Chains:
    """Chains of one batch, and what is known of how they fold.

    Attributes:
        apart: row → why it is not folded with the one before.
    """

    def __init__(self) -> None:
        self.apart: dict[str, str] = {}
        self._ends: list[tuple[Chain, Tensor]] = []
        self._recent: deque[Tensor] = deque(maxlen=_RECENT)
        self._folds: dict[tuple[Any, ...], tuple[tuple[Tensor, ...], Layer | None]] = {}
        self._weights: dict[tuple[int, int], Tensor] = {}

    def forget(self) -> None:
        """A batch ends."""
        self._ends.clear()
        self._recent.clear()

    def to_fold(self) -> Iterator[tuple[Chain, Tensor, Tensor]]:
        """Chains that are computed as one layer, each once, with what they read and their weights."""
        for one, source in self._ends:
            if one.is_free and (one.used or not one.extended) and source._version == one.version:
                key = id(one.matrix), len(one.scales)
                if key not in self._weights:
                    self._weights[key] = one.weight()
                yield one, source, self._weights[key]

    def layer(
        self, label: str, synapses: Synapses, weight: Tensor, x: Tensor, origin: Any, output: Tensor, *, bias: bool
    ) -> Chain:
        """The chain that a layer of synapses ends: that of its input and itself, or itself alone."""
        shape = tuple(output.shape[output.dim() - synapses.axes :])
        before: Chain | None = None if origin is None else origin.chain
        source = None if before is None else before.source()
        if before is not None and source is not None and self._fits(before, synapses, x, source):
            key = (before.members, before.synapses, before.scaled, before.padding, label, synapses)
            fused = self._fused(
                key,
                (before,),
                weight,
                source,
                output,
                lambda: one_after(before.layer(), before.pads, (synapses, weight.detach().double())),
            )
            if fused is not None:
                before.extended = True
                return self._grown(source, before, (before,), (*before.members, label), fused, shape, bias=bias)
            self.apart[label] = (
                f"not folded with {', '.join(before.members)}: one layer would compute other values at the borders, where what "
                f"pads between them is not what comes of zeros, or elsewhere"
            )
        if before is not None:
            before.used = True
        self._recent.append(x)
        return Chain(ref(x), x._version, origin, synapses, shape, (label,), weight, bias)

    def _fits(self, before: Chain, synapses: Synapses, x: Tensor, source: Tensor) -> bool:
        """Whether a layer reads all that a chain computes, and nothing else."""
        if not before.members or synapses.mode != "zeros" or before.synapses.mode != "zeros":
            return False
        made = tuple(x.shape[x.dim() - synapses.axes :])
        grown = tuple(size + sum(pads) for size, pads in zip(before.shape[1:], before.pads, strict=True))
        if synapses.kind != before.synapses.kind or made != (before.shape[0], *grown) or source._version != before.version:
            return False
        rows = source.numel() // prod(source.shape[source.dim() - synapses.axes :])
        return x.numel() == rows * prod(made)

    def _grown(
        self,
        source: Tensor,
        first: Chain,
        prefixes: tuple[Chain, ...],
        members: tuple[str, ...],
        fused: Layer,
        shape: tuple[int, ...],
        *,
        bias: bool,
    ) -> Chain:
        made = Chain(first.source, first.version, first.origin, fused[0], shape, members, fused[1], bias, prefixes=prefixes)
        self._ends.append((made, source))
        return made

    def _fused(
        self,
        key: tuple[Any, ...],
        parts: Sequence[Chain],
        weight: Tensor | None,
        source: Tensor,
        output: Tensor,
        make: Callable[[], Layer | None],
    ) -> Layer | None:
        """One layer for several, made and tried once for the same weights; None if it does not compute what they do."""
        weights = tuple(one for one in (*(part.matrix for part in parts), weight) if one is not None)
        key = (*key, *((id(one), one._version) for one in weights))
        if key not in self._folds:
            made = make()
            exact = made is not None and computes(*made, source, output)
            self._folds[key] = weights, made if exact else None
        return self._folds[key][1]

    def follow(self, name: str, reads: Sequence[tuple[Tensor, Any]], args: Sequence[Any], made: Tensor) -> Chain | None:
        """The chain that an operation goes on with; None if it is not linear, and then it uses what it reads.

        Args:
            name: of the operation.
            reads: tensors that it reads and what they are, where that is known.
            args: all that it is given.
            made: its output.
        """
        held = [(x, origin) for x, origin in reads if origin.chain is not None]
        if not held and name not in _NORMS:
            return None
        data = [(x, origin) for x, origin in reads if origin.is_data]
        if len(data) == 1:
            x, origin = data[0]
            if not held:
                return self._identity(x, origin, args) if x is args[0] else None
            step = self._step(name, x, origin.chain, args, made)
            if step is not None:
                return step
        elif name == "add" and len(data) == len(held) == 2:
            both = self._sum(held[0][1].chain, held[1][1].chain, made)
            if both is not None:
                return both
        for _, origin in held:
            origin.chain.used = True
        return None

    def _step(self, name: str, x: Tensor, chain: Chain, args: Sequence[Any], made: Tensor) -> Chain | None:
        """What is linear and no layer: a batch norm, a number, zeros around, a bias, a copy."""
        if x is not args[0]:
            return None
        others = any(isinstance(one, Tensor) and one is not x for one in args)
        number = next((float(one) for one in args if type(one) in (int, float)), 0.0)
        scales, padding = chain.scales, chain.padding
        if name in _NORMS:
            scales = (*scales, _factor_of(args))
        elif name in ("mul", "div") and number and not others:
            scales = (*scales, number if name == "mul" else 1 / number)
        elif name == "constant_pad_nd":
            axes = len(chain.shape) - 1
            pads = [*args[1], *[0] * (2 * axes - len(args[1]))]
            if len(pads) != 2 * axes:
                return None
            pairs = zip(chain.pads, zip(pads[-2::-2], pads[::-2], strict=True), strict=True)
            padding = tuple((a + b, c + d) for (a, c), (b, d) in pairs)
        elif name not in _KEPT and not (name in ("add", "sub") and made.shape == x.shape):
            return None
        chain.extended = True
        step = replace(chain, scales=scales, padding=padding, prefixes=(chain,), used=False, extended=False)
        source = step.source()
        if len(step.members) > 1 and source is not None:
            self._ends.append((step, source))
        return step

    def _sum(self, one: Chain, other: Chain, made: Tensor) -> Chain | None:
        first, second = one.source(), other.source()
        if first is None or second is None or one.padding or other.padding or set(one.members) & set(other.members):
            return None
        axes = one.synapses.axes
        same = first.data_ptr() == second.data_ptr() and first.numel() == second.numel() and one.version == other.version
        same = same and first.shape[first.dim() - axes :] == second.shape[second.dim() - axes :]
        if not same or first._version != one.version or one.shape != other.shape or one.synapses.kind != other.synapses.kind:
            return None
        if {one.synapses.mode, other.synapses.mode} != {"zeros"}:
            return None
        key = (one.members, other.members, one.synapses, other.synapses, one.scaled, other.scaled)
        fused = self._fused(key, (one, other), None, first, made, lambda: side_by_side(one.layer(), other.layer()))
        if fused is None:
            return None
        one.extended = other.extended = True
        members = (*one.members, *other.members)
        return self._grown(first, one, (one, other), members, fused, one.shape, bias=one.bias or other.bias)

    def _identity(self, x: Tensor, origin: Any, args: Sequence[Any]) -> Chain | None:
        """A batch norm of what is no layer's: a branch that a sum with a layer of the same input takes in."""
        if x.dim() < 3:
            return None
        ones = (1,) * (x.dim() - 2)
        none = tuple((0, 0) for _ in ones)
        synapses = Synapses("conv", stride=ones, padding=none, dilation=ones, groups=x.shape[1])
        self._recent.append(x)
        return Chain(ref(x), x._version, origin, synapses, tuple(x.shape[1:]), (), None, True, scales=(_factor_of(args),))


def _factor_of(args: Sequence[Any]) -> Callable[[], Tensor]:
    """Of a batch norm: what it multiplies each channel by, computed if anybody asks."""
    weight, variance = args[1], args[4]
    epsilon = next(one for one in args[:4:-1] if isinstance(one, float))  # the last number that is none of cuDNN's switches
    return lambda: (torch.ones_like(variance) if weight is None else weight).double() / (variance.double() + epsilon).sqrt()
