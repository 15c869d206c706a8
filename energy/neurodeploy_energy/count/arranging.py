"""What is made of tensors whose values are moved, joined, or chosen by a mask: they stay what they were."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from neurodeploy_energy.count.membranes import shifted
from neurodeploy_energy.count.provenance import Origin, Role, reads_of

Operand = tuple[Tensor, Origin]
"""A tensor that an operation reads, and what it is."""


def any_fired(origins: Sequence[Origin]) -> bool:
    return any(one.fired for one in origins)


def as_dense(origins: Sequence[Origin]) -> Origin:
    return Origin("dense", reads_of(origins), any_fired(origins))


def as_analog(origins: Sequence[Origin]) -> Origin:
    roles = {one.role for one in origins}
    role: Any = next(role for role in ("dense", "mixed", "currents", "input", "messages", "spikes") if role in roles)
    return Origin("dense" if role in ("mixed", "messages", "spikes") else role, reads_of(origins), any_fired(origins))


def keep(name: str, data: list[Operand], made: Tensor) -> Origin:
    """Values that are read, some of them, in another order."""
    origins = [origin for _, origin in data]
    if all(one.is_events for one in origins):
        heights = {one.height for one in origins}
        kept = Origin(events_role(origins), reads_of(origins), any_fired(origins))
        kept.height, kept.single = (heights.pop() if len(heights) == 1 else None), all(one.single for one in origins)
        x, origin = data[0]
        same = made.shape == x.shape and made.stride() == x.stride() and len(data) == 1 and x.numel() == origin.size
        if origin.signal is not None and same:
            kept.signal = origin.signal if name in ("clone", "_to_copy") else None
        return kept
    if name in ("relu", "clamp", "clamp_min", "clamp_max", "abs", "hardtanh"):
        return as_dense(origins)
    if len(origins) == 1 and origins[0].role == "mixed":
        return Origin("mixed", origins[0].reads, origins[0].fired)
    kept = as_analog(origins)
    if len(data) == 1 and made.numel() == data[0][0].numel():
        origin = origins[0]
        kept.states, kept.fresh, kept.inflow = origin.states, origin.fresh, origin.inflow
        kept.leaky, kept.decays = origin.leaky, origin.decays
        shifted(kept, *data[0], sums=False)
    return kept


def events_role(origins: Sequence[Origin]) -> Role:
    """Spikes, or graded messages if there is one: each counts once among others too."""
    return "messages" if any(one.role == "messages" for one in origins) else "spikes"


def join(name: str, operands: list[Operand], made: Tensor) -> Origin:
    """Tensors side by side: one that holds spikes and analog values is told apart value by value."""
    data = [(x, origin) for x, origin in operands if origin.is_data]
    roles = {origin.role for _, origin in data}
    origins = [origin for _, origin in data]
    weights = any(origin.role == "weight" for _, origin in operands)
    if roles <= {"spikes", "messages"} and not weights:
        return keep(name, data, made)
    if ("spikes" in roles or "mixed" in roles) and "messages" not in roles:
        return Origin("mixed", reads_of(origins), any_fired(origins))
    if roles == {"input"} and any(origin.role == "constant" for _, origin in operands):
        return Origin("mixed", reads_of(origins), any_fired(origins))  # such as a state of spikes that has not fired yet
    return as_analog(origins)


def choose(counter: Any, name: str, reads: list[Tensor], made: Tensor) -> Origin | None:
    """`where`, `masked_fill` and their like: values by a mask, which is itself the answer where it chooses between numbers."""
    provenance = counter.provenance
    mask_at = 0 if name == "where" else 1
    origins = [provenance.of(x) for x in reads]
    known = [(x, Origin("constant") if origin is None else origin) for x, origin in zip(reads, origins, strict=True)]
    if any(origin is None for origin in origins) and all(origin.role == "constant" for _, origin in known):
        return None
    mask = known[mask_at] if len(known) > mask_at else None
    values = [one for at, one in enumerate(known) if at != mask_at]
    data = [one for one in values if one[1].is_data]
    if mask is not None and mask[1].role == "spikes":
        potentials = counter.membranes.of([*data, mask], sums=False, scales=False) if data else None
        if potentials is not None:
            return potentials
        if not data:
            numbers = [float(x) for x, _ in values if x.numel() == 1]
            height = abs(sum(numbers)) if len(numbers) == 2 and 0 in numbers else None
            return Origin("spikes", mask[1].reads, mask[1].fired, height=height, single=True)
    if not data:
        return as_dense([mask[1]]) if mask is not None and mask[1].is_data else Origin("constant")
    if all(origin.is_events for _, origin in data) and not any(origin.role == "weight" for _, origin in values):
        return keep(name, data, made)
    return as_analog([origin for _, origin in data])
