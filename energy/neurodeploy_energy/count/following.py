"""What every operation of torch makes of what it reads: spikes stay spikes, whatever their height; all else is analog.

One entry for each kind of operation. What is not named here computes analog values of an ordinary network.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from torch import Tensor

from neurodeploy_energy.count.arithmetic import add, compare, count_over, is_zero_number, multiply
from neurodeploy_energy.count.arranging import Operand, as_analog, as_dense, choose, join, keep
from neurodeploy_energy.count.codes import LOOKUPS, coded
from neurodeploy_energy.count.membranes import shifted
from neurodeploy_energy.count.provenance import Origin, reads_of

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
    chain = None
    if counter.chains is not None and group not in ("random", "blank"):
        known = ((x, provenance.of(x)) for x in reads)
        chain = counter.chains.follow(name, [(x, one) for x, one in known if one is not None], args, made)
    for x in outputs:
        made_of = _copy(origin)
        made_of.chain = chain if x is made else None
        if changes or x is not made:
            made_of.signal = None
        provenance.mark(x, made_of, changes=int(changes))


def _copy(origin: Origin) -> Origin:
    copied = object.__new__(Origin)  # a call of the class with its 22 fields takes longer than most operations
    vars(copied).update(vars(origin))
    return copied


def _made(counter: Any, name: str, group: Group, reads: list[Tensor], args: Sequence[Any], made: Tensor) -> Origin | None:
    known = [(x, counter.provenance.of(x)) for x in reads]
    if name == "copy" and known[0][1] is not None and reads[0].numel() >= known[0][1].size:
        known = known[1:]  # all of it is overwritten
    # What nobody saw being made is a constant of the code where it meets other tensors; alone, its values must speak.
    operands = [(x, Origin("constant") if origin is None else origin) for x, origin in known]
    code = coded(counter, name, operands, args, made)
    if code is not None:
        return code
    if group == "join" and name in ("where", "masked_fill", "index_put", "masked_scatter"):
        return choose(counter, name, reads, made)
    if name in LOOKUPS:
        known, operands = known[:1], operands[:1]
    unknown = any(origin is None for _, origin in known)
    if unknown and all(origin.role == "constant" for _, origin in operands):
        return None
    data = [(x, origin) for x, origin in operands if origin.is_data]
    if not data:
        weight = any(origin.role == "weight" for _, origin in operands)
        return Origin("weight" if weight else "constant", fired=any(origin.fired for _, origin in operands))
    if name in _MASKS:
        return as_dense([origin for _, origin in data])
    if group == "compare":
        return compare(counter, operands, made)
    if group == "keep":
        return keep(name, data, made)
    if group == "join":
        return join(name, operands, made)
    return _computed(counter, name, group, operands, args, made)


def _computed(counter: Any, name: str, group: Group, operands: list[Operand], args: Sequence[Any], made: Tensor) -> Origin:
    """What arithmetic makes of data: potentials of neurons, if it works on some."""
    data = [(x, origin) for x, origin in operands if origin.is_data]
    origins = [origin for _, origin in data]
    whole = [(x, origin) for x, origin in data if x.numel() == made.numel()]
    at_rest = group == "add" and len(data) == 1 and any(is_zero_number(one) for one in args)
    sums, scales = group in ("add", "affine"), group in ("multiply", "affine") and len(data) < 2
    potentials = None if at_rest else counter.membranes.of(whole, sums=sums, scales=scales)
    if potentials is not None:
        names = counter.membranes.names(potentials.states)
        foreign = [x for x, origin in whole if origin.role == "spikes" and not origin.reads & names]
        if group == "add" and foreign:
            counter.residual(foreign)
        if len(data) == 1 and group in ("add", "multiply"):
            return shifted(potentials, *data[0], sums=group == "add")
        return potentials
    if group == "add":
        return add(counter, name, operands, data, args, made)
    if group == "multiply":
        return multiply(counter, name, operands, data, args, made)
    if group == "count":
        return count_over(counter, name, data[0], args, made)
    if group == "affine" and not any(origin.role in ("spikes", "dense", "mixed") for origin in origins):
        made_of = as_analog(origins)
        made_of.root = len(origins) == 1 and origins[0].root
        return made_of
    if group == "round" and counter.inside_neurons:
        return Origin("spikes", reads_of(origins), fired=True)
    return as_dense(origins)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for one in values:
            yield from _tensors(one)
