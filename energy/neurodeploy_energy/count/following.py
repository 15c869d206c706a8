"""What every operation of torch makes of what it reads: spikes stay spikes, whatever their height; all else is analog.

One entry for each kind of operation. What is not named here computes analog values of an ordinary network.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from neurodeploy_energy.count.membranes import shifted
from neurodeploy_energy.count.provenance import Origin, Role, reads_of

Group = Literal["keep", "join", "add", "multiply", "compare", "count", "sum", "affine", "blank", "random", "round", "analog"]


def _names(group: Group, text: str) -> dict[str, Group]:
    return dict.fromkeys(text.split(), group)


_GROUPS: dict[str, Group] = {
    **_names(
        "keep",
        "clone _to_copy copy contiguous repeat index index_select gather constant_pad_nd reflection_pad1d reflection_pad2d "
        "reflection_pad3d replication_pad1d replication_pad2d replication_pad3d flip roll amax amin max min "
        "max_pool2d_with_indices "
        "max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d maximum minimum relu clamp clamp_min clamp_max abs "
        "im2col unfold_copy upsample_nearest1d upsample_nearest2d upsample_nearest3d channel_shuffle pixel_shuffle "
        "pixel_unshuffle "
        "native_channel_shuffle tril triu take masked_select sort bitwise_not logical_not bitwise_and logical_and bitwise_or "
        "logical_or positive _unsafe_index hardtanh _reshape_copy view_copy expand_copy cummax topk "
        "_pack_padded_sequence _pad_packed_sequence",
    ),
    **_names("join", "cat stack where masked_fill masked_scatter index_put index_copy scatter slice_scatter select_scatter"),
    **_names("add", "add sub rsub"),
    **_names("multiply", "mul div neg"),
    **_names("compare", "gt ge lt le heaviside sign"),
    **_names("count", "sum mean cumsum"),
    **_names(
        "affine",
        "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm batch_norm lerp "
        "addcmul addcdiv avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_bilinear2d upsample_linear1d",
    ),
    **_names("blank", "zeros_like ones_like empty_like full_like new_zeros new_ones new_full new_empty zero fill"),
    **_names("random", "rand_like randn_like randint_like bernoulli normal uniform poisson native_dropout multinomial"),
    **_names(
        "round", "round floor ceil trunc fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask"
    ),
}
_MASKS = frozenset(["eq", "ne", "isnan", "isinf", "isfinite", "argmax", "argmin", "nonzero", "any", "all"])
_KNOWN: dict[Any, tuple[str, Group, bool]] = {}


def _known(func: Any) -> tuple[str, Group, bool]:
    """An operation's name, group, and whether it changes what it reads."""
    if func not in _KNOWN:
        name = func.name().split("::")[-1].split(".")[0]
        name = name[:-1] if name.endswith("_") and not name.startswith("__") else name
        _KNOWN[func] = name, _GROUPS.get(name, "analog"), bool(func._schema.is_mutable)
    return _KNOWN[func]


def follow(counter: Any, func: Any, args: Sequence[Any], output: Any) -> None:
    """Note what an operation has made."""
    outputs = list(_tensors(output))
    if not outputs or outputs[0].numel() == 0:
        return
    name, group, changes = _known(func)
    made = outputs[0]
    reads = list(_tensors(args))
    if not changes and reads:
        memory = made.untyped_storage()._cdata
        if any(x.untyped_storage()._cdata == memory for x in reads):
            return  # a view: known by its storage
    provenance = counter.provenance
    if group == "random" or (not reads and name.startswith("rand")):
        counter.draws = True
        probabilities = [known for known in map(provenance.of, reads) if known is not None and known.role == "input"]
        if name in ("bernoulli", "poisson") and probabilities:  # events drawn from the data
            origin: Origin | None = Origin("spikes", reads_of(probabilities), True, single=name == "bernoulli")
        else:
            origin = provenance.of(reads[0]) if reads and name == "native_dropout" else Origin("constant", fired=True)
    elif group == "blank" or not reads:
        changed = provenance.of(reads[0]) if changes and reads else None
        partly = changed is not None and reads[0].numel() < changed.size
        origin = changed if partly else Origin("constant")
    else:
        origin = _made(counter, name, group, reads, args, made)
    if origin is None:
        return
    for x in outputs:
        made_of = _copy(origin)
        if changes or x is not made:
            made_of.signal = None
        provenance.mark(x, made_of, changes=int(changes))


def _copy(origin: Origin) -> Origin:
    values = {key: getattr(origin, key) for key in origin.__dataclass_fields__}
    return Origin(**values)


def _made(counter: Any, name: str, group: Group, reads: list[Tensor], args: Sequence[Any], made: Tensor) -> Origin | None:
    known = [(x, counter.provenance.of(x)) for x in reads]
    if name == "copy" and known[0][1] is not None and reads[0].numel() >= known[0][1].size:
        known = known[1:]  # all of it is overwritten
    if group == "join" and name in ("where", "masked_fill", "index_put", "masked_scatter"):
        return _chosen(counter, name, reads, made)
    if name in ("index", "index_select", "gather", "take", "masked_select", "_unsafe_index", "embedding"):
        known = known[:1]
    unknown = any(origin is None for _, origin in known)
    # What nobody saw being made is a constant of the code where it meets other tensors; alone, its values must speak.
    operands = [(x, Origin("constant") if origin is None else origin) for x, origin in known]
    if unknown and all(origin.role == "constant" for _, origin in operands):
        return None
    data = [(x, origin) for x, origin in operands if origin.is_data]
    if not data:
        weight = any(origin.role == "weight" for _, origin in operands)
        return Origin("weight" if weight else "constant", fired=any(origin.fired for _, origin in operands))
    origins = [origin for _, origin in data]
    if name in _MASKS:
        return Origin("dense", reads_of(origins), fired=any(one.fired for one in origins))
    if group == "compare":
        return _compared(counter, operands, made)
    if group == "keep":
        return _kept(name, data, made)
    if group == "join":
        return _joined(name, operands, made)
    whole = [(x, origin) for x, origin in data if x.numel() == made.numel()]
    at_rest = group == "add" and len(data) == 1 and any(_is_zero(one) for one in args)
    potentials = (
        None
        if at_rest
        else counter.membranes.of(
            whole, sums=group in ("add", "affine"), scales=group in ("multiply", "affine") and len(data) < 2
        )
    )
    if potentials is not None:
        names = counter.membranes.names(potentials.states)
        foreign = [x for x, origin in whole if origin.role == "spikes" and not origin.reads & names]
        if group == "add" and foreign:
            counter.residual(foreign)
        if len(data) == 1 and group in ("add", "multiply"):
            return shifted(potentials, *data[0], sums=group == "add")
        return potentials
    if group == "add":
        return _added(counter, name, operands, data, args, made)
    if group == "multiply":
        return _multiplied(counter, name, operands, data, args, made)
    if group == "count":
        return _counted(counter, name, data[0], args, made)
    if group == "affine" and not any(origin.role in ("spikes", "dense", "mixed") for origin in origins):
        made_of = _analog(origins)
        made_of.root = len(origins) == 1 and origins[0].root
        return made_of
    if group == "round" and counter.inside_neurons:
        return Origin("spikes", reads_of(origins), fired=True)
    return _dense(origins)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for one in values:
            yield from _tensors(one)


def _fired(origins: Sequence[Origin]) -> bool:
    return any(one.fired for one in origins)


def _dense(origins: Sequence[Origin]) -> Origin:
    return Origin("dense", reads_of(origins), _fired(origins))


def _analog(origins: Sequence[Origin]) -> Origin:
    roles = {one.role for one in origins}
    role: Any = next(role for role in ("dense", "mixed", "currents", "input", "messages", "spikes") if role in roles)
    return Origin("dense" if role in ("mixed", "messages", "spikes") else role, reads_of(origins), _fired(origins))


def _kept(name: str, data: list[tuple[Tensor, Origin]], made: Tensor) -> Origin:
    """Values that are read, some of them, in another order."""
    origins = [origin for _, origin in data]
    if all(one.is_events for one in origins):
        heights = {one.height for one in origins}
        kept = Origin(_events(origins), reads_of(origins), _fired(origins))
        kept.height, kept.single = (heights.pop() if len(heights) == 1 else None), all(one.single for one in origins)
        x, origin = data[0]
        same = made.shape == x.shape and made.stride() == x.stride() and len(data) == 1 and x.numel() == origin.size
        if origin.signal is not None and same:
            kept.signal = origin.signal if name in ("clone", "_to_copy") else None
        return kept
    if name in ("relu", "clamp", "clamp_min", "clamp_max", "abs", "hardtanh"):
        return _dense(origins)
    if len(origins) == 1 and origins[0].role == "mixed":
        return Origin("mixed", origins[0].reads, origins[0].fired)
    kept = _analog(origins)
    if len(data) == 1 and made.numel() == data[0][0].numel():
        origin = origins[0]
        kept.states, kept.fresh, kept.inflow = origin.states, origin.fresh, origin.inflow
        kept.leaky, kept.decays = origin.leaky, origin.decays
        shifted(kept, *data[0], sums=False)
    return kept


def _events(origins: Sequence[Origin]) -> Role:
    """Spikes, or graded messages if there is one: each counts once among others too."""
    return "messages" if any(one.role == "messages" for one in origins) else "spikes"


def _joined(name: str, operands: list[tuple[Tensor, Origin]], made: Tensor) -> Origin:
    """Tensors side by side: one that holds spikes and analog values is told apart value by value."""
    data = [(x, origin) for x, origin in operands if origin.is_data]
    roles = {origin.role for _, origin in data}
    origins = [origin for _, origin in data]
    weights = any(origin.role == "weight" for _, origin in operands)
    if roles <= {"spikes", "messages"} and not weights:
        return _kept(name, data, made)
    if ("spikes" in roles or "mixed" in roles) and "messages" not in roles:
        return Origin("mixed", reads_of(origins), _fired(origins))
    if roles == {"input"} and any(origin.role == "constant" for _, origin in operands):
        return Origin("mixed", reads_of(origins), _fired(origins))  # such as a state of spikes that has not fired yet
    return _analog(origins)


def _chosen(counter: Any, name: str, reads: list[Tensor], made: Tensor) -> Origin | None:
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
        return _dense([mask[1]]) if mask is not None and mask[1].is_data else Origin("constant")
    if all(origin.is_events for _, origin in data) and not any(origin.role == "weight" for _, origin in values):
        return _kept(name, data, made)
    return _analog([origin for _, origin in data])


def _compared(counter: Any, operands: list[tuple[Tensor, Origin]], made: Tensor) -> Origin:
    data = [(x, origin) for x, origin in operands if origin.is_data]
    drawn = any(other.role == "constant" and other.fired for _, other in operands)
    if drawn and made.dim() > 0 and data and all(origin.role == "input" for _, origin in data):
        # events drawn from the data, in one step or, where the draws have a time axis of their own, in all
        return Origin("spikes", reads_of(origin for _, origin in data), True, single=True)
    if len(data) == 1 and data[0][1].role == "input" and made.numel() > data[0][0].numel():
        # events of data that are held against a number for each step, as they are where steps are compared one by one
        return Origin("spikes", data[0][1].reads, True, single=True)
    analog = [one for one in data if one[1].is_analog and one[0].numel() == made.numel()]
    if not analog or made.dim() == 0:  # one answer for a whole batch, such as whether any value is large, is no neuron's
        if all(origin.role == "spikes" for _, origin in data):
            return Origin("spikes", reads_of(o for _, o in data), True, single=True)
        return _dense([origin for _, origin in data])
    if counter.inside_neurons:
        return Origin("spikes", reads_of(o for _, o in data), True, single=True)
    x, origin = next((one for one in analog if one[1].states), analog[0])
    return counter.threshold(x, origin, made)


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def _added(
    counter: Any,
    name: str,
    operands: list[tuple[Tensor, Origin]],
    data: list[tuple[Tensor, Origin]],
    args: Sequence[Any],
    made: Tensor,
) -> Origin:
    origins = [origin for _, origin in data]
    if len(data) == 1:
        x, origin = data[0]
        number = any(_is_zero(one) for one in args)
        state = any(not other.is_data and y.numel() == made.numel() and y.dim() > 1 for y, other in operands)
        if origin.is_events:
            if number or state:
                return _kept(name, data, made)
            scalar = len(operands) == 1 or all(y.numel() == 1 for y, o in operands if not o.is_data)
            if origin.single and scalar:  # such as 1 - z: it is still one event or none
                return Origin("spikes", origin.reads, origin.fired, height=None, single=True)
            return _dense(origins)
        result = _carried(_analog(origins), origins)
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
        if not over_time and not own:  # spikes of the same neurons in several steps are counted by whoever reads the sum
            counter.residual([x for x, _ in data])
    if len(spikes) == len(data):
        heights = {origin.height for origin in origins}
        height = heights.pop() if len(heights) == 1 else None
        return Origin(_events(origins), reads_of(origins), True, height=height)
    result = _carried(_analog(origins), origins)
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


def _multiplied(
    counter: Any,
    name: str,
    operands: list[tuple[Tensor, Origin]],
    data: list[tuple[Tensor, Origin]],
    args: Sequence[Any],
    made: Tensor,
) -> Origin:
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
            return _dense(origins)
        result = _carried(_analog(origins), origins)
        result.scaled = bool(result.sums) and name != "neg"
        return shifted(result, x, origin, sums=False) if x.numel() == made.numel() else result
    if name == "div":
        return _dense(origins)
    spikes, analog = (reads_of(o for o in origins if o.is_events == fires) for fires in (True, False))
    own = bool(spikes & analog) or counter.membranes.are_one(origins)
    if not own:  # a state and the spikes that reset it are part of the neurons' update, and so is a threshold made of spikes
        counter.elementwise([x for x, _ in data], origins, made)
    if all(one.is_events for one in origins):
        heights = [one.height for one in origins]
        single = all(one.single for one in origins)
        known = None if None in heights else torch.tensor(heights, dtype=torch.float64).prod().item()
        return Origin(_events(origins), reads_of(origins), True, height=known, single=single)
    made_of = _dense(origins)
    made_of.is_product = True
    made_of.sums = _carried(made_of, origins).sums
    made_of.scaled = False  # the product is counted as one
    return made_of


def _scaled(name: str, height: float, number: float) -> float | None:
    if number == 0:
        return None
    return abs(height / number if name == "div" else height * number)


def _counted(counter: Any, name: str, one: tuple[Tensor, Origin], args: Sequence[Any], made: Tensor) -> Origin:
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
    return _analog([origin])
