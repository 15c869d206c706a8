"""What is made of tensors by comparisons, sums and products: spikes, potentials, or analog values."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurodeploy_energy.count.arranging import Operand, as_analog, as_dense, events_role, keep
from neurodeploy_energy.count.membranes import shifted
from neurodeploy_energy.count.provenance import Origin, reads_of


def compare(counter: Any, operands: list[Operand], made: Tensor) -> Origin:
    """A comparison: of data an event of an encoder, of a potential its neurons' spikes, of analog values a mask."""
    data = [(x, origin) for x, origin in operands if origin.is_data]
    reads = reads_of(origin for _, origin in data)
    drawn = any(other.role == "constant" and other.fired for _, other in operands)
    larger = all(made.numel() > x.numel() for x, _ in data)
    if made.dim() > 0 and (drawn or larger) and counter.of_data(reads):
        # events drawn from the data, or of data that are held against a number for each step, in one step or in all at once
        return Origin("spikes", reads, True, single=True)
    analog = [one for one in data if one[1].is_analog and one[0].numel() == made.numel()]
    if not analog or made.dim() == 0:  # one answer for a whole batch, such as whether any value is large, is no neuron's
        if all(origin.role == "spikes" for _, origin in data):
            return Origin("spikes", reads, True, single=True)
        return as_dense([origin for _, origin in data])
    if counter.inside_neurons:
        return Origin("spikes", reads, True, single=True)
    x, origin = next((one for one in analog if one[1].states), analog[0])
    return counter.threshold(x, origin, made)


def is_zero_number(value: Any) -> bool:
    """Whether an operation is given the number 0."""
    return isinstance(value, int | float) and value == 0


def add(counter: Any, name: str, operands: list[Operand], data: list[Operand], args: Sequence[Any], made: Tensor) -> Origin:
    """A sum: of spikes that meet, a residual sum; of a state and what comes to it, a scan; of currents, nothing."""
    origins = [origin for _, origin in data]
    if len(data) == 1:
        x, origin = data[0]
        number = any(is_zero_number(one) for one in args)
        state = any(not other.is_data and y.numel() == made.numel() and y.dim() > 1 for y, other in operands)
        if origin.is_events:
            if number or state:
                return keep(name, data, made)
            scalar = len(operands) == 1 or all(y.numel() == 1 for y, o in operands if not o.is_data)
            if origin.single and scalar:  # such as 1 - z: it is still one event or none
                return Origin("spikes", origin.reads, origin.fired, height=None, single=True)
            return as_dense(origins)
        result = _carried(as_analog(origins), origins)
        if origin.role == "currents" and x.numel() < made.numel():
            return result
        if state or number:  # a state at rest, and what comes first
            result.sums |= {counter.sum_site()}
            return result
        return shifted(result, x, origin, sums=True)
    spikes = [one for one in data if one[1].is_events]
    same = all(x.shape == made.shape for x, _ in data)
    if spikes and same and "dense" not in {one.role for one in origins}:
        firsts = reads_of(origin for _, origin in data[1:])
        own = reads_of(origin for origin in origins if not origin.is_events) & reads_of(origin for _, origin in spikes)
        over_time = len(spikes) == len(data) and (origins[0].reads <= firsts or firsts <= origins[0].reads)
        coded = counter.of_data(reads_of(origins))  # part of an encoder, such as events of either sign
        # spikes of the same neurons in several steps are counted by whoever reads the sum
        if not over_time and not own and not coded:
            counter.residual([x for x, _ in data])
    if len(spikes) == len(data):
        heights = {origin.height for origin in origins}
        height = heights.pop() if len(heights) == 1 else None
        return Origin(events_role(origins), reads_of(origins), True, height=height)
    result = _carried(as_analog(origins), origins)
    if same:
        site = counter.sum_site()
        if any(site in origin.sums and origin.scaled for origin in origins):
            counter.scan(made)
        result.sums, result.scaled = result.sums | {site}, False
    return result


def _carried(made: Origin, origins: Sequence[Origin]) -> Origin:
    """Sums that a value comes from, elementwise."""
    made.sums = frozenset().union(*(one.sums for one in origins))
    made.scaled = any(one.scaled for one in origins if one.sums)
    return made


def multiply(
    counter: Any, name: str, operands: list[Operand], data: list[Operand], args: Sequence[Any], made: Tensor
) -> Origin:
    """A product: by a number it scales; of activations it is counted, unless it is part of neurons or of an encoder."""
    origins = [origin for _, origin in data]
    if len(data) == 1:
        x, origin = data[0]
        if origin.is_events:
            number = next((one for one in args if isinstance(one, int | float)), None)
            if number is None and len(operands) > 1:
                other = next(y for y, o in operands if not o.is_data)
                number = float(other) if other.numel() == 1 else None
            height = None if number is None or origin.height is None else _scaled(name, origin.height, float(number))
            if name == "neg":
                height = origin.height
            return Origin(origin.role, origin.reads, origin.fired, height=height, single=origin.single)
        if name == "div" and isinstance(args[0], Tensor) and args[0] is not x:
            return as_dense(origins)
        result = _carried(as_analog(origins), origins)
        result.scaled = bool(result.sums) and name != "neg"
        return shifted(result, x, origin, sums=False) if x.numel() == made.numel() else result
    if name == "div":
        return as_dense(origins)
    spikes, analog = (reads_of(o for o in origins if o.is_events == fires) for fires in (True, False))
    own = bool(spikes & analog) or counter.membranes.are_one(origins)
    if not own and not counter.of_data(reads_of(origins)):
        # a state and the spikes that reset it are part of the neurons' update, and so is a threshold made of spikes
        counter.elementwise([x for x, _ in data], origins, made)
    if all(one.is_events for one in origins):
        heights = [one.height for one in origins]
        single = all(one.single for one in origins)
        known = None if None in heights else torch.tensor(heights, dtype=torch.float64).prod().item()
        return Origin(events_role(origins), reads_of(origins), True, height=known, single=single)
    made_of = as_dense(origins)
    made_of.is_product = True
    made_of.sums = _carried(made_of, origins).sums
    made_of.scaled = False  # the product is counted as one
    return made_of


def _scaled(name: str, height: float, number: float) -> float | None:
    if number == 0:
        return None
    return abs(height / number if name == "div" else height * number)


def count_over(counter: Any, name: str, one: Operand, args: Sequence[Any], made: Tensor) -> Origin:
    """A sum or mean over axes: of spikes it counts them, and so do their readers."""
    x, origin = one
    axes = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else None
    summed = tuple(range(x.dim())) if axes is None or len(axes) == 0 else tuple(axis % x.dim() for axis in axes)
    over_time = counter.is_time(x, summed)
    if name != "cumsum" and not over_time:
        counter.column_sum(x, origin, summed, made)
    if origin.is_events:
        items = max(1, x.numel() // max(1, made.numel()))
        height = origin.height if name != "mean" or origin.height is None else origin.height / items
        return Origin(origin.role, origin.reads, origin.fired, height=height)
    return as_analog([origin])
