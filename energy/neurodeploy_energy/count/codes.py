"""Spikes that a model's own code makes of its data: predicates, bits, and marks at the places that the data say.

Latency and rank-order codes, bit planes, differences and populations are written in many ways. What all have in common is that
an answer of yes or no, a bit, or a mark comes of the data alone, in each time step anew: an event, as of any other encoder.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurodeploy_energy.count.arranging import Operand, any_fired, as_dense
from neurodeploy_energy.count.provenance import Origin, reads_of

LOOKUPS = frozenset(["index", "index_select", "gather", "take", "masked_select", "_unsafe_index", "embedding"])
"""Operations that read a table at the places that others say."""
_MARKS = {"scatter": (2, 3), "scatter_add": (2, 3), "index_fill": (2, 3), "index_add": (2, 3), "index_put": (1, 2)}
"""Operations that write values at the places that others say → where among their arguments places and values are."""
_BITS = frozenset(
    ["remainder", "fmod", "floor_divide", "bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__"]
)
_BITS |= {f"{prefix}{one}{suffix}" for one in ("and", "or", "xor") for prefix, suffix in (("bitwise_", ""), ("__", "__"))}
_ANSWERS = frozenset(["eq", "ne", "logical_not", "logical_and", "logical_or", "logical_xor"])
_COMPARED = frozenset(["gt", "ge", "lt", "le"])
"""Thresholds, which may be those of neurons (see `arithmetic.compare`)."""


def coded(counter: Any, name: str, operands: list[Operand], args: Sequence[Any], made: Tensor) -> Origin | None:
    """The spikes of an encoder; None if an operation makes none.

    Args:
        counter: that counts.
        name: of the operation.
        operands: tensors that it reads.
        args: all that it is given.
        made: its output.
    """
    if name in LOOKUPS:
        return _looked_up(counter, operands, made)
    if name in _MARKS:
        return _marked(counter, name, args, made)
    answers = made.dtype == torch.bool and made.dim() > 0 and name not in _COMPARED
    if not answers and name not in _BITS:
        return None
    origins = [origin for _, origin in operands if origin.is_data]
    reads = reads_of(origins)
    if all(origin.is_events for origin in origins):
        if not origins or name not in _ANSWERS:
            return None if name not in _BITS or not counter.of_data(reads) else _event(reads, made)
        return Origin("spikes", reads, any_fired(origins), single=True)  # such as z != 0
    if not counter.of_data(reads):
        return None
    return Origin("spikes", reads, True, single=True) if answers else _event(reads, made)


def _event(reads: frozenset[str], made: Tensor) -> Origin | None:
    """Events if each value is one height or 0; None else."""
    height = _height(made)
    return None if height is None else Origin("spikes", reads, True, height=height, single=True)


def _height(made: Tensor) -> float | None:
    """Of marks, where all have the same; 1 if there are none."""
    if made.dtype == torch.bool:
        return 1.0
    if made.is_complex() or not made.numel():
        return None
    values = made.detach().abs()
    top = values.max()
    return (float(top) or 1.0) if bool(((values == 0) | (values == top)).all()) else None


def _looked_up(counter: Any, operands: list[Operand], made: Tensor) -> Origin | None:
    """What stands in a table of numbers or weights depends on the data where they say which; None if they do not."""
    (_, table), *places = operands
    origins = [origin for _, origin in places if origin.is_data]
    if table.is_data or not origins:
        return None
    code = _event(reads_of(origins), made) if table.role == "constant" and counter.of_data(reads_of(origins)) else None
    return as_dense(origins) if code is None else code


def _marked(counter: Any, name: str, args: Sequence[Any], made: Tensor) -> Origin | None:
    """Numbers of the code that are written at places which the data say: marks, or how many there are."""
    at, what = _MARKS[name]
    places = [origin for x in _tensors(args[at]) if (origin := counter.provenance.of(x)) is not None and origin.is_data]
    before, values = counter.provenance.of(args[0]), [counter.provenance.of(x) for x in _tensors(args[what])]
    reads = reads_of(places)
    if before is not None and before.is_events and before.is_data:
        reads |= before.reads
    elif before is not None and before.role != "constant":
        return None
    if not places or not counter.of_data(reads) or any(value is not None and value.role != "constant" for value in values):
        return None
    code = _event(reads, made)
    if name.endswith("_add"):  # several marks at one place are as many spikes
        unit = _height(args[what])
        single = code is not None and code.height == unit
        return None if unit is None else Origin("spikes", reads, True, height=unit, single=single)
    blank = before is None or not before.is_data
    return as_dense(places) if code is None and blank else code  # such as the ranks of values, which are no events


def _tensors(value: Any) -> Iterator[Tensor]:
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, Tensor):
            yield one
