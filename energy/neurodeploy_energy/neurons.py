"""Spiking neurons of this toolkit and of others, recognised by the names of their classes, and the axes that each expects.

No framework is imported. A class counts as a framework's if it, or a class it derives from, is defined in that package; so a
user's own subclass is recognised as what it derives from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Axes = Literal["step", "time first", "batch first", "flat", "time last"]
"""What a layer of neurons is called with: `[B, …]` once per time step, `[T, B, …]`, `[B, T, …]`, `[B·T, …]` or `[B, …, T]`."""


@dataclass(frozen=True)
class Convention:
    """How the neurons of one framework are called.

    Attributes:
        package: top-level package that defines the class, or a module in it.
        classes: names of the classes; all that derive from them are meant.
        axes: of input and output, or how to tell from a module.
        silent: names of those that integrate and never fire.
        perfect: names of those that do not leak.
    """

    package: str
    classes: frozenset[str]
    axes: Axes | Callable[[nn.Module], Axes]
    silent: frozenset[str] = frozenset()
    perfect: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Neurons:
    """What is known of a layer of neurons.

    Attributes:
        axes: what it is called with.
        fires: whether it emits spikes; else its outputs are membrane potentials.
        leaky: whether its potential decays.
    """

    axes: Axes
    fires: bool
    leaky: bool

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


_ALWAYS_SEVERAL = frozenset(
    {
        "PSN",
        "MaskedPSN",
        "SlidingPSN",
        "ILCBaseNode",
        "NoisyBaseNode",
        "NoisyNonSpikingBaseNode",
    }
)

_CONVENTIONS = [
    Convention(
        "neurodeploy.dynamics.layers",
        frozenset({"Neuron", "Integrator"}),
        "time first",
        silent=frozenset({"Integrator"}),
        perfect=frozenset({"Integrator"}),
    ),
    Convention("spikingjelly", _ALWAYS_SEVERAL, "time first", silent=frozenset({"NoisyNonSpikingBaseNode"})),
    Convention(
        "spikingjelly",
        frozenset(
            {
                "BaseNode",
                "SimpleBaseNode",
                "NonSpikingBaseNode",
                "ActivationAwareIFNode",
                "DSRIFNode",
                "DSRLIFNode",
                "GatedLIFNode",
                "FlexSN",
                "STBIFNode",
                "FewSpikeNode",
            }
        ),
        _by_step_mode,
        silent=frozenset({"NonSpikingBaseNode"}),
        perfect=frozenset(
            {
                "IFNode",
                "SimpleIFNode",
                "MultiStepIFNode",
                "HalfThresholdIFNode",
                "ActivationAwareIFNode",
                "NonSpikingIFNode",
                "DSRIFNode",
                "TernaryIFNode",
                "STBIFNode",
            }
        ),
    ),
    Convention(
        "snntorch",
        frozenset({"StateLeaky", "LinearLeaky", "AssociativeLeaky", "LeakyParallel", "LeakyKernel"}),
        "time first",
    ),
    Convention("snntorch", frozenset({"SpikingNeuron"}), "step"),
    Convention(
        "norse",
        frozenset({"SNNCell", "SNNRecurrentCell", "CobaLIFCell", "LIFMCRecurrentCell", "LIFMCRefracRecurrentCell"}),
        "step",
        silent=frozenset({"LICell", "LIBoxCell"}),
        perfect=frozenset({"IAFCell"}),
    ),
    Convention("norse", frozenset({"SNN", "SNNRecurrent"}), "time first", silent=frozenset({"LI"}), perfect=frozenset({"IAF"})),
    Convention(
        "sinabs",
        frozenset({"StatefulLayer"}),
        _squeezed,
        silent=frozenset({"ExpLeak"}),
        perfect=frozenset({"IAF", "IAFRecurrent"}),
    ),
    Convention("lava.lib.dl.slayer.neuron", frozenset({"Neuron"}), "time last"),
]
_REGISTERED: dict[str, Axes] = {}


def register_neuron(qualified_name: str, axes: Axes = "time first") -> None:
    """Teach the counter a class of spiking neurons, such as `my_package.neurons.LIF`.

    The module is called with currents and returns spikes of the same shape, or a tuple that begins with them.

    Args:
        qualified_name: module and class.
        axes: of currents and spikes: "step" `[B, …]` (one call per time step), "time first" `[T, B, …]`, "batch first"
            `[B, T, …]`, "flat" `[B·T, …]` or "time last" `[B, …, T]`.
    """
    _REGISTERED[qualified_name] = axes


def neurons_of(module: nn.Module) -> Neurons | None:
    """What is known of a layer of neurons; None if the module is none."""
    kinds = [(kind.__module__, kind.__qualname__) for kind in type(module).__mro__]
    for package, name in kinds:
        if f"{package}.{name}" in _REGISTERED:
            return Neurons(_REGISTERED[f"{package}.{name}"], True, True)
    convention = _convention(type(module))
    if convention is None:
        return None
    names = {name for _, name in kinds}
    axes = convention.axes if isinstance(convention.axes, str) else convention.axes(module)
    fires = not names & convention.silent and getattr(module, "spike_fn", True) is not None
    return Neurons(axes, fires, _leaks(module, names, convention))


def _leaks(module: nn.Module, names: set[str], convention: Convention) -> bool:
    decay = getattr(getattr(module, "constants", None), "decay", None)
    if convention.package == "neurodeploy.dynamics.layers" and isinstance(decay, float):
        return decay != 1
    return not names & convention.perfect


def _convention(kind: type[nn.Module]) -> Convention | None:
    if kind not in _KNOWN:
        _KNOWN[kind] = _find(kind)
    return _KNOWN[kind]


_KNOWN: dict[type[nn.Module], Convention | None] = {}
"""Classes that have been looked up: a model has few, and many modules."""


def _find(kind: type[nn.Module]) -> Convention | None:
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
