"""What is refused before and after a batch runs, in words: what cannot be counted, and values that are not finite."""

from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError

_LARGEST = 2.0**53
"""From here on whole numbers are not exact in double precision."""
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
_OPERATIONS = ("quantized::", "quantized_decomposed::", "torchao::")
"""Of converted graphs: eager, after torch.export, and torchao's."""


def check_model(model: nn.Module, steps: int | None, neurons: Any, name: str) -> None:
    """Refuse what hooks cannot see, and settings that are none.

    Raises:
        UserError: the model, or a part of it, is a TorchScript or quantised module, `steps` is below 1, or a layer named in
            `neurons` is not in the model.
    """
    if steps is not None and steps < 1:
        raise UserError(f"{name}: steps: {steps} found, a number of at least 1 expected")
    for layer, module in model.named_modules():
        where = f"layer {layer}: " if layer else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise UserError(
                f"{name}: {where}a TorchScript module, which hides what it computes; give the module it was made of"
            )
        if (what := _converted(module)) is not None:
            raise UserError(
                f"{name}: {where}{what}, a converted quantised module, which hides what integers it multiplies; give the "
                "module with fake quantisers that it was converted from, whose widths are read, or its ONNX file "
                "(QuantizeLinear, DequantizeLinear)"
            )
        for key, parameter in module._parameters.items():
            if parameter is not None and parameter.layout != torch.strided:
                raise UserError(
                    f"{name}: {where}{key} is a sparse tensor; make it dense with to_dense(): its zeros are counted"
                )
    layers = dict(model.named_modules()) if neurons else {}
    for layer in neurons:
        if layer not in layers:
            raise UserError(
                f"{name}: neurons: {layer!r} found, a layer of the model expected: {', '.join(filter(None, layers))}"
            )


def _converted(module: nn.Module) -> str | None:
    """What shows that a module was converted to run on integers: its class, an operation, or the class of a parameter."""
    kind = type(module)
    if kind.__module__.startswith(_QUANTISED):
        return kind.__name__
    if isinstance(module, torch.fx.GraphModule):
        for node in module.graph.nodes:
            operation = getattr(node.target, "name", None)
            if node.op == "call_function" and callable(operation) and str(operation()).startswith(_OPERATIONS):
                return str(operation())
    held = (type(parameter) for parameter in module._parameters.values() if parameter is not None)
    return next((one.__name__ for one in held if one.__module__.startswith("torchao.")), None)


def check_layout(x: Tensor, name: str) -> None:
    """Refuse tensors of another kind than dense ones of numbers.

    Raises:
        UserError: it is one.
    """
    if x.layout != torch.strided or x.is_quantized or x.is_complex():
        kind = "complex" if x.is_complex() else "quantised" if x.is_quantized else "sparse"
        raise UserError(f"{name}: the input is a {kind} tensor, a dense tensor of numbers expected (to_dense(), dequantize())")


def check_samples(x: Tensor, axis: int, before: int, name: str) -> None:
    """Refuse data that cannot be counted.

    Args:
        x: a batch.
        axis: of its samples.
        before: samples of the batches before it.
        name: of the model.

    Raises:
        UserError: one is not finite, or too large to be counted exactly; it is named.
    """
    values = x.detach()
    if not (values.is_floating_point() and not bool(values.isfinite().all())):
        if values.dtype == torch.bool or not values.numel() or float(values.abs().max()) < _LARGEST:
            return
        wrong, what = values.abs() >= _LARGEST, "a value of 2^53 or more, which cannot be counted exactly"
    else:
        wrong, what = ~values.isfinite(), "a value that is not finite"
    first, *place = wrong.movedim(axis, 0).nonzero()[0].tolist() if wrong.dim() else [0]
    at = f" ({values.movedim(axis, 0)[first][tuple(place)].item()} at {place})" if place else ""
    raise UserError(f"{name}: sample {before + first} holds {what}{at}; finite numbers expected")


def check_answer(answer: Any, batch: int, before: int, name: str) -> None:
    """Refuse a run whose values have grown beyond all bounds, so that nothing that was counted behind that is one.

    Raises:
        UserError: a value of the answer is not finite; its sample is named where the answer has them on its first axis.
    """
    first = answer[0] if isinstance(answer, tuple | list) and answer else answer
    if not isinstance(first, Tensor) or not first.is_floating_point() or bool(first.isfinite().all()):
        return
    wrong = ~first.isfinite()
    axis = next((axis for axis, size in enumerate(first.shape) if size == batch), None)
    sample = "some sample" if axis is None else f"sample {before + _first(wrong, axis)}"
    raise UserError(
        f"{name}: its answer to {sample} is not finite: the input is out of its range, or its weights are not finite"
    )


def _first(wrong: Tensor, axis: int) -> int:
    return int(wrong.movedim(axis, 0).flatten(1).any(1).nonzero()[0]) if wrong.dim() > 1 else int(wrong.nonzero()[0])
