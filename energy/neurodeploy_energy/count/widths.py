"""How wide the integers are that a quantised torch network multiplies: fake-quantised ones, as in training, and brevitas'.

A layer multiplies integers where its weights come from a quantiser and its inputs from another. Who made a tensor is known by
running one batch: quantisers mark what they make, and layers that keep or drop values pass the mark on.
"""

from collections.abc import Callable
from contextlib import suppress
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor, nn

Widths = dict[str, tuple[int, int]]

_GRID_KEPT = (nn.ReLU, nn.Flatten, nn.Identity, nn.Dropout, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.Unflatten)


def quantised_layers(model: nn.Module) -> dict[str, int]:
    """Layer → bits of its weights, of those whose weights go through a quantiser."""
    return {name: bits for name, module in model.named_modules() if (bits := _weight_bits(module))}


def integer_widths(model: nn.Module, *inputs: Tensor) -> Widths:
    """Layer → bits of its weights and of its inputs; 0 for inputs that are not known to be integers.

    Args:
        model: in evaluation mode.
        inputs: of one batch, run once, if there are quantisers at all.
    """
    layers = quantised_layers(model)
    if not layers or not inputs:
        return {}
    found: Widths = {name: (bits, 0) for name, bits in layers.items()}
    marks = _Marks()
    handles = []
    for name, module in model.named_modules():
        if made := _made_bits(module):
            handles.append(module.register_forward_hook(marks.setting(made)))
        elif isinstance(module, _GRID_KEPT):
            handles.append(module.register_forward_hook(marks.passing_on))
        if name in layers:
            handles.append(module.register_forward_pre_hook(marks.reading(found, name)))
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


class _Marks:
    """Which memory holds integers of how many bits; views of a tensor are in the same."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}
        self._held: list[Tensor] = []  # so that no other tensor gets the memory

    def of(self, value: Any) -> int:
        tensor = getattr(value, "value", value)  # brevitas answers a tuple with its scale
        return self._bits.get(tensor.untyped_storage().data_ptr(), 0) if isinstance(tensor, Tensor) else 0

    def mark(self, value: Any, bits: int) -> None:
        tensor = getattr(value, "value", value)
        if isinstance(tensor, Tensor):
            self._bits[tensor.untyped_storage().data_ptr()] = bits
            self._held.append(tensor)

    def setting(self, bits: int) -> Callable[..., None]:
        return lambda _module, _inputs, output: self.mark(output, bits)

    def passing_on(self, _module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and (bits := self.of(inputs[0])):
            self.mark(output, bits)

    def reading(self, found: Widths, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            found[name] = (found[name][0], self.of(inputs[0]) if inputs else 0)

        return hook


def _levels(lowest: Any, highest: Any) -> int:
    return max(1, ceil(log2(float(highest) - float(lowest) + 1)))


def _made_bits(module: nn.Module) -> int:
    """Bits of what a module makes, if it is a quantiser of activations, or ends with one."""
    for one in (module, getattr(module, "activation_post_process", None)):
        if bits := _fake_bits(one):
            return bits
    quantiser = getattr(module, "act_quant", None) or getattr(module, "output_quant", None)
    return _brevitas_bits(quantiser)


def _weight_bits(module: nn.Module) -> int:
    """Bits of the weights of a convolution or linear layer, if they go through a quantiser."""
    if not isinstance(getattr(module, "weight", None), Tensor):
        return 0
    if bits := _fake_bits(getattr(module, "weight_fake_quant", None)):
        return bits
    return _brevitas_bits(getattr(module, "weight_quant", None))


def _fake_bits(quantiser: Any) -> int:
    """Bits of one of torch.ao's fake quantisers; 0 for anything else, and for one that is switched off."""
    if not hasattr(quantiser, "quant_min") or not hasattr(quantiser, "fake_quant_enabled"):
        return 0
    return _levels(quantiser.quant_min, quantiser.quant_max) if quantiser.fake_quant_enabled.all() else 0


def _brevitas_bits(quantiser: Any) -> int:
    """Bits of one of brevitas' proxies; 0 for none, and for one that is switched off."""
    if quantiser is None or not getattr(quantiser, "is_quant_enabled", False):
        return 0
    with suppress(Exception):  # a proxy that has seen nothing yet knows no width
        width: Any = quantiser.bit_width
        return int(width())
    return 0
