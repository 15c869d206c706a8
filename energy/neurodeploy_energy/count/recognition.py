"""What a torch module is, for counting: spiking neurons, synapses, pooling, a residual sum, or nothing that costs.

Neurons of this toolkit and of others are recognised by the names of their classes; no framework is imported. A class counts as
a framework's if it, or a class it derives from, is defined in that package; so a user's own subclass is recognised as what it
derives from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, overload

from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.fanout import Windows, synapses_of

Axes = Literal["step", "time first", "batch first", "flat", "time last"]
"""What a layer of neurons is called with: `[B, …]` once per time step, `[T, B, …]`, `[B, T, …]`, `[B·T, …]` or `[B, …, T]`."""


@dataclass(frozen=True)
class NeuronConvention:
    """How the neurons of one framework are called.

    Attributes:
        package: top-level package that defines the class, or a module in it.
        classes: names of the classes; all that derive from them are meant.
        axes: of input and output, or how to tell from a module.
        silent: names of those that integrate and never fire.
        perfect: names of those that do not leak.
        graded: names of those that send graded messages: each is one event, whatever its value.
    """

    package: str
    classes: frozenset[str]
    axes: Axes | Callable[[nn.Module], Axes]
    silent: frozenset[str] = frozenset()
    perfect: frozenset[str] = frozenset()
    graded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NeuronLayer:
    """What is known of a layer of neurons.

    Attributes:
        axes: what it is called with.
        fires: whether it emits spikes; else its outputs are membrane potentials.
        leaky: whether its potential decays.
        states: values that each neuron keeps from step to step.
        operations: of one update, in words, where they are known; empty else.
        graded: whether it sends graded messages, each of which is one event, rather than spikes.
        height: of one spike, where it is declared; else it is seen.
        is_own: whether the class is of no known framework, so that what runs inside is looked at.
    """

    axes: Axes
    fires: bool
    leaky: bool
    states: int = 1
    operations: str = ""
    graded: bool = False
    height: float | None = None
    is_own: bool = False

    def by_row(self, x: Tensor) -> tuple[Tensor, int, bool]:
        """`x` as `[R, C, …]`, the number of time steps in it (0: unknown, R is batch times steps), and whether time runs
        faster than samples along the rows."""
        if self.axes == "step":
            return _with_channels(x), 1, False
        if self.axes == "flat":
            return _with_channels(x), 0, True
        if self.axes == "time last":
            x = x.movedim(-1, 0)
        rows = _with_channels(x.reshape(-1, *x.shape[2:]))
        return (rows, x.shape[1], True) if self.axes == "batch first" else (rows, x.shape[0], False)


def _with_channels(x: Tensor) -> Tensor:
    return x.unsqueeze(-1) if x.dim() == 1 else x


def _by_step_mode(module: nn.Module) -> Axes:
    """SpikingJelly's own switch; in its old package the class says it."""
    several = getattr(module, "step_mode", None) == "m" or type(module).__name__.startswith("MultiStep")
    return "time first" if several else "step"


def _squeezed(module: nn.Module) -> Axes:
    squeezes = any(kind.__name__ == "SqueezeMixin" for kind in type(module).__mro__)
    return "flat" if squeezes else "batch first"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS_SEVERAL = _names("PSN MaskedPSN SlidingPSN ILCBaseNode NoisyBaseNode NoisyNonSpikingBaseNode")

_CONVENTIONS = [
    NeuronConvention(
        "neurodeploy",
        _names("Neuron Integrator Cell"),
        "time first",
        silent=_names("Integrator"),
        perfect=_names("Integrator"),
    ),
    NeuronConvention(
        "neurodeploy_exporters.lava.graded",
        _names("SigmaDelta"),
        "time first",
        perfect=_names("SigmaDelta"),
        graded=_names("SigmaDelta"),
    ),
    NeuronConvention("spikingjelly", _ALWAYS_SEVERAL, "time first", silent=_names("NoisyNonSpikingBaseNode")),
    NeuronConvention(
        "spikingjelly",
        _names(
            "BaseNode SimpleBaseNode NonSpikingBaseNode ActivationAwareIFNode DSRIFNode DSRLIFNode GatedLIFNode FlexSN "
            "STBIFNode FewSpikeNode"
        ),
        _by_step_mode,
        silent=_names("NonSpikingBaseNode"),
        perfect=_names(
            "IFNode SimpleIFNode MultiStepIFNode HalfThresholdIFNode ActivationAwareIFNode NonSpikingIFNode DSRIFNode "
            "TernaryIFNode STBIFNode"
        ),
    ),
    NeuronConvention(
        "snntorch",
        _names("StateLeaky LinearLeaky AssociativeLeaky LeakyParallel LeakyKernel"),
        "time first",
    ),
    NeuronConvention("snntorch", _names("SpikingNeuron"), "step"),
    NeuronConvention(
        "norse",
        _names("SNNCell SNNRecurrentCell CobaLIFCell LIFMCRecurrentCell LIFMCRefracRecurrentCell"),
        "step",
        silent=_names("LICell LIBoxCell"),
        perfect=_names("IAFCell"),
    ),
    NeuronConvention("norse", _names("SNN SNNRecurrent"), "time first", silent=_names("LI"), perfect=_names("IAF")),
    NeuronConvention(
        "sinabs",
        _names("StatefulLayer"),
        _squeezed,
        silent=_names("ExpLeak"),
        perfect=_names("IAF IAFRecurrent"),
    ),
    NeuronConvention("lava.lib.dl.slayer.neuron", _names("Neuron"), "time last"),
]
_AXES: tuple[Axes, ...] = ("step", "time first", "batch first", "flat", "time last")
_REGISTERED: dict[str, NeuronLayer] = {}
_Class = TypeVar("_Class", bound=type)


def declared(axes: str, height: float | None = None) -> NeuronLayer:
    """A layer of neurons as its user says.

    Raises:
        UserError: there are no such axes, or no such height.
    """
    if axes not in _AXES:
        raise UserError(f"axes: {axes!r} found, one of {', '.join(map(repr, _AXES))} expected")
    if height is not None and not 0 < height < float("inf"):
        raise UserError(f"height: {height} found, a positive number expected")
    return NeuronLayer(axes, True, True, height=height, is_own=True)


@overload
def register_neuron(neurons: str, axes: Axes = ..., *, height: float | None = ...) -> None: ...
@overload
def register_neuron(neurons: _Class, axes: Axes = ..., *, height: float | None = ...) -> _Class: ...
@overload
def register_neuron(neurons: None = ..., axes: Axes = ..., *, height: float | None = ...) -> Callable[[_Class], _Class]: ...
def register_neuron(neurons: Any = None, axes: Axes = "time first", *, height: float | None = None) -> Any:
    """Teach the counter a class of spiking neurons: by name, `my_package.neurons.LIF`, or as `@register_neuron(axes="step")`.

    The module is called with currents and returns spikes of the same shape, or a tuple that begins with them.

    Args:
        neurons: module and class as text, or the class itself; None: a decorator of the class.
        axes: of currents and spikes: "step" `[B, …]` (one call per time step), "time first" `[T, B, …]`, "batch first"
            `[B, T, …]`, "flat" `[B·T, …]` or "time last" `[B, …, T]`.
        height: value of one spike, where it is not 1 and what runs in the module does not tell it.

    Raises:
        UserError: there are no such axes, or no such height.
    """
    layer = declared(axes, height)
    if neurons is None:
        return partial(register_neuron, axes=axes, height=height)
    if isinstance(neurons, str):
        _REGISTERED[neurons] = layer
        return None
    _REGISTERED[f"{neurons.__module__}.{neurons.__qualname__}"] = layer
    return neurons


def neurons_of(module: nn.Module) -> NeuronLayer | None:
    """What is known of a layer of neurons; None if the module is none."""
    kinds = [(kind.__module__, kind.__qualname__) for kind in type(module).__mro__]
    for package, name in kinds:
        if f"{package}.{name}" in _REGISTERED:
            return _REGISTERED[f"{package}.{name}"]
    convention = _convention(type(module))
    if convention is None:
        return None
    names = {name for _, name in kinds}
    axes = convention.axes if isinstance(convention.axes, str) else convention.axes(module)
    fires = not names & convention.silent and getattr(module, "spike_fn", True) is not None
    update = getattr(module, "update", None) if convention.package == "neurodeploy" else None
    if update is not None:  # its operations are data
        leaky, states = update.cost.multiplications > 0, len(update.initial)
        return NeuronLayer(axes, getattr(module, "spiking", True), leaky, states, str(update.cost))
    states = getattr(module, "states", 1) if convention.graded else 1
    return NeuronLayer(axes, fires, _leaks(module, names, convention), states, graded=bool(names & convention.graded))


def _leaks(module: nn.Module, names: set[str], convention: NeuronConvention) -> bool:
    decay = getattr(getattr(module, "constants", None), "decay", None)
    if convention.package == "neurodeploy" and isinstance(decay, float):
        return decay != 1
    return not names & convention.perfect


def _convention(kind: type[nn.Module]) -> NeuronConvention | None:
    if kind not in _KNOWN:
        _KNOWN[kind] = _find(kind)
    return _KNOWN[kind]


_KNOWN: dict[type[nn.Module], NeuronConvention | None] = {}
"""Classes that have been looked up: a model has few, and many modules."""


def _find(kind: type[nn.Module]) -> NeuronConvention | None:
    for convention in _CONVENTIONS:
        for base in kind.__mro__:
            inside = f"{base.__module__}.".startswith(f"{convention.package}.")
            if inside and base.__qualname__ in convention.classes:
                return convention
    return None


def reset_states(model: nn.Module) -> None:
    """Set the neurons of other frameworks back to their first state, where they keep it between calls.

    Ours, Norse's and those of snnTorch that are handed their state keep none.
    """
    for module in model.modules():
        convention = _convention(type(module))
        if convention is None:
            continue
        name = {"spikingjelly": "reset", "sinabs": "reset_states", "snntorch": "reset_mem"}.get(convention.package)
        reset = getattr(module, name, None) if name else None
        if callable(reset) and not (convention.package == "snntorch" and not getattr(module, "init_hidden", False)):
            reset()


Kind = Literal[
    "synapse",
    "neuron",
    "average pool",
    "max pool",
    "sum",
    "recurrent",
    "activation",
    "messages",
    "events",
    "seen inside",
    "free",
]
"""`messages`: graded messages of neurons elsewhere enter here. `events`: an encoder, which makes spikes of the data.
`seen inside`: its operations are counted one by one where they run (see `functional.py`), not by the module."""

_SUMS = {"neurodeploy.Add", "sinabs.layers.merge.Merge"}
_GLOBAL_POOLS = {"neurodeploy.GlobalAvgPool1d": 1, "neurodeploy.GlobalAvgPool2d": 2}
"""Class of a global average pool → number of spatial axes that it sums over."""
_OWN_AVERAGE_POOLS = {*_GLOBAL_POOLS, "neurodeploy.PaddedAvgPool"}
_OWN_MAX_POOLS = {"neurodeploy.GlobalMaxPool1d", "neurodeploy.PaddedMaxPool"}
_FREE_NAMES = _names(
    "neurodeploy.DirectEncoding neurodeploy.EventInput neurodeploy.StaticInput neurodeploy.Delay neurodeploy.Flatten "
    "neurodeploy.TimeMean neurodeploy.Pad neurodeploy.Slice neurodeploy.Concat neurodeploy.Reshape neurodeploy.Permute "
    "neurodeploy.Normalize neurodeploy.Quantize "
    "sinabs.layers.pool2d.SumPool2d sinabs.layers.reshape.UnflattenTime "
    "snntorch._layers.bntt.BatchNormTT1d snntorch._layers.bntt.BatchNormTT2d "
    "spikingjelly.activation_based.layer.dropout.Dropout spikingjelly.activation_based.layer.dropout.Dropout2d "
    "neurodeploy.LowPass"  # the synaptic current of the neurons that read it, part of their update
)


def _torch(text: str) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(nn, name) for name in text.split())


_FREE = _torch(
    "Identity Flatten Unflatten Dropout Dropout1d Dropout2d Dropout3d AlphaDropout BatchNorm1d BatchNorm2d BatchNorm3d "
    "SyncBatchNorm ZeroPad1d ZeroPad2d ZeroPad3d ChannelShuffle PixelShuffle Embedding"
)
_ACTIVATIONS = _torch(
    "ReLU Hardtanh GELU SiLU Mish Sigmoid Tanh ELU CELU SELU LeakyReLU PReLU RReLU Softplus Softsign Hardswish Hardsigmoid "
    "Softmax LogSoftmax Softmin LogSigmoid Softshrink Hardshrink Tanhshrink Threshold GLU LayerNorm GroupNorm RMSNorm "
    "InstanceNorm1d InstanceNorm2d InstanceNorm3d LocalResponseNorm"
)
_MAX_POOLS = _torch("MaxPool1d MaxPool2d MaxPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d")
_AVERAGE_POOLS = _torch("AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d")
_SEEN_INSIDE = _torch("MultiheadAttention RNNCellBase Bilinear")


def kind_of(module: nn.Module) -> Kind | None:
    """How a module is counted; None if it is unknown."""
    names = _names_of(type(module))
    if neurons_of(module) is not None:
        return "neuron"
    if synapses_of(module) is not None:
        return "synapse" if _runs_as_torch(module) else "seen inside"
    if names & _OWN_AVERAGE_POOLS or isinstance(module, _AVERAGE_POOLS):
        return "average pool"
    if isinstance(module, _MAX_POOLS) or names & _OWN_MAX_POOLS:
        return "max pool"
    if names & _SUMS:
        return "sum"
    if isinstance(module, nn.RNNBase):
        return "recurrent"
    if "neurodeploy_exporters.lava.graded.GradedInput" in names:
        return "messages"
    if "neurodeploy.HostEncoding" in names:
        return "events"
    if isinstance(module, _ACTIVATIONS):
        return "activation"
    if isinstance(module, _SEEN_INSIDE):
        return "seen inside"
    if isinstance(module, _FREE) or names & _FREE_NAMES:
        return "free"
    return None


def _runs_as_torch(module: nn.Module) -> bool:
    """Whether a layer of synapses computes with its own weight what torch's class does, and nothing changes it on the way."""
    theirs: Any = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    hooks = (module._forward_pre_hooks, module._forward_hooks)
    known = type(module).__module__.split(".")[0] in ("neurodeploy", "spikingjelly")  # they fold time into the batch
    return (type(module).forward is theirs.forward or known) and "forward" not in vars(module) and not any(hooks)


def summing_windows(module: nn.Module) -> tuple[int, Windows] | None:
    """An average pool as a sum over windows that do not overlap, and its sample's number of axes.

    Such a pool folds into the next synapse layer. None if windows overlap or are padded: then it does not.
    """
    for name in _names_of(type(module)) & _GLOBAL_POOLS.keys():
        return 1 + _GLOBAL_POOLS[name], Windows()
    for axes, (pool, adaptive) in enumerate(_POOLS, start=1):
        if isinstance(module, adaptive) and _each(module.output_size, axes) == (1,) * axes:
            return 1 + axes, Windows()
        if isinstance(module, pool):
            kernel = _each(module.kernel_size, axes)
            stride = _each(module.stride, axes)
            padded = any(_each(module.padding, axes)) or module.ceil_mode
            if not padded and all(s >= k for k, s in zip(kernel, stride, strict=True)):
                return 1 + axes, Windows(kernel, stride)
    return None


_POOLS: tuple[tuple[type, type], ...] = (
    (nn.AvgPool1d, nn.AdaptiveAvgPool1d),
    (nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    (nn.AvgPool3d, nn.AdaptiveAvgPool3d),
)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value or 0),) * axes


def _names_of(kind: type[nn.Module]) -> frozenset[str]:
    """Qualified, of a class and all that it derives from; of ours without the module in it, which may move."""
    if kind not in _NAMES:
        names = ((one.__module__, one.__qualname__) for one in kind.__mro__)
        own = (f"neurodeploy.{name}" if home.startswith("neurodeploy.") else f"{home}.{name}" for home, name in names)
        _NAMES[kind] = frozenset(own)
    return _NAMES[kind]


_NAMES: dict[type[nn.Module], frozenset[str]] = {}
