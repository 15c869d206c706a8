"""What every network is built with: activations for teacher or student, outputs with taps, settings, and fresh weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod, sqrt
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from neurodeploy.dynamics.encoders import DirectCode, EncoderSettings, LatencyCode, PoissonCode, host_encoding
from neurodeploy.dynamics.encodings import EventInput, StaticInput
from neurodeploy.dynamics.layers import Neuron, TimeMean
from neurodeploy.dynamics.recomputation import ends, has_neurons, recomputed


class NetworkOutput(NamedTuple):
    """Answer of a network for a batch of B samples.

    Attributes:
        logits: `[B, K]`, the mean over time of `step_logits`.
        step_logits: `[T, B, K]`.
        features: `[T, B, F]`, what the classifier reads.
        taps: activation layer name → its output `[T, B, …]`, in the order of depth; teacher and student share the names.
    """

    logits: Tensor
    step_logits: Tensor
    features: Tensor
    taps: Mapping[str, Tensor]


def classifier_of(network: nn.Module) -> nn.Module | None:
    """The layer of a network of this toolkit that makes logits of features: `classifier`, or that named `classifier_name`."""
    layers = dict(network.named_modules())
    return layers.get(getattr(network, "classifier_name", "classifier"))


class LayeredNetwork(nn.Module):
    """Layers one after the other, some of them taps, then a classifier and the mean over time.

    A subclass calls `append` for each layer in the order of computation, then `classify`. A layer may answer with taps of its
    own, `(taps, output)`; they are named `layer.tap`.
    """

    batch_axis: ClassVar[int] = 0
    """Of the samples that `forward` takes; who counts operations need not find it out."""
    recompute: bool = False
    """In training, only what enters a layer with neurons, or leaves the last one, is kept for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self._path: list[str] = []
        self._taps: list[str] = []

    def append(self, name: str, layer: nn.Module, *, tap: bool = False) -> None:
        """The next layer; as a tap, its output is an activation that teacher and student share."""
        self.add_module(name, layer)
        self._path.append(name)
        if tap:
            self._taps.append(name)

    def classify(self, features: int, classes: int, *, bias: bool = True) -> None:
        """The end of the network."""
        self.classifier = nn.Linear(features, classes, bias=bias)
        self.readout = TimeMean()

    def forward(self, sample: Tensor) -> NetworkOutput:
        """`[B, C, …]`, or event frames `[B, T, C, …]` → `NetworkOutput`.

        Raises:
            UserError: samples of other axes or another resolution than the network reads; names the layer.
        """
        x, taps = sample, dict[str, Tensor]()
        again = self.recompute and torch.is_grad_enabled()
        *segments, last = self._segments() if again else [self._path]
        for segment in segments:
            found, x = recomputed(partial(self._through, segment), [x], map(self.get_submodule, segment))
            taps |= found
        found, x = self._through(last, x)
        taps |= found
        step_logits = self.classifier(x)
        return NetworkOutput(self.readout(step_logits), step_logits, x, taps)

    def _through(self, path: Sequence[str], x: Any) -> tuple[dict[str, Tensor], Any]:
        """The taps of these layers, one after the other, and what leaves the last."""
        taps: dict[str, Tensor] = {}
        for name in path:
            x = self.get_submodule(name)(x)
            if isinstance(x, tuple):
                inner, x = x
                taps |= {f"{name}.{tap}": value for tap, value in inner.items()}
            if name in self._taps:
                taps[name] = x
        return taps, x

    def _segments(self) -> list[list[str]]:
        """The layers up to and with each that has neurons, as far as they are to be computed again, and the rest."""
        places = [place + 1 for place, name in enumerate(self._path) if has_neurons(self.get_submodule(name))]
        return [self._path[start:stop] for start, stop in pairwise((0, *ends(places), len(self._path)))]


Code = Literal["direct", "poisson", "latency", "events"]


_CODES: dict[str, EncoderSettings] = {"direct": DirectCode(), "poisson": PoissonCode(), "latency": LatencyCode()}


class Activations(Protocol):
    """Makes a network's activation layers and says how a static sample becomes a sequence."""

    def make(self, *, last: bool = False) -> nn.Module:
        """A new activation layer; `last` marks the one before the classifier."""
        ...

    def entry(self) -> nn.Module:
        """The layer that makes of a sample what the first synapse layer reads: `[T, B, …]`, with T = 1 if it is constant."""
        ...

    def encoding(self) -> nn.Module:
        """The layer that turns the first layer's current into a sequence of T steps, if it is constant."""
        ...


@dataclass(frozen=True)
class Relu:
    """The teacher's activations: ReLU everywhere, one time step, or one per event frame.

    Attributes:
        events: samples are event frames `[B, T, …]`; the answer is the mean over them.
    """

    events: bool = False

    def make(self, *, last: bool = False) -> nn.Module:  # noqa: ARG002
        return nn.ReLU()

    def entry(self) -> nn.Module:
        return EventInput() if self.events else StaticInput()

    def encoding(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class SpikingActivations:
    """The student's activations: spiking neurons over T steps.

    Attributes:
        neuron: makes a layer of spiking neurons, such as `functools.partial(layers.Neuron, parameters, surrogate)`.
        steps: T.
        code: how a sample becomes spikes: "direct" (its current is repeated), "poisson", "latency", or settings of an encoder;
            or "events": it is event frames `[B, T, …]` already, and `steps` is their number.
        repact: replace the last spiking layer by a ReLU applied at every step, without a membrane (RepAct, EnOF-SNN).
    """

    neuron: Callable[[], nn.Module]
    steps: int
    repact: bool = False
    code: Code | EncoderSettings = "direct"

    def make(self, *, last: bool = False) -> nn.Module:
        return nn.ReLU() if last and self.repact else self.neuron()

    def entry(self) -> nn.Module:
        if self.code == "events":
            return EventInput()
        return StaticInput() if isinstance(self._encoder, DirectCode) else host_encoding(self._encoder, self.steps)

    def encoding(self) -> nn.Module:
        direct = self.code != "events" and isinstance(self._encoder, DirectCode)
        return self._encoder.build(self.steps) if direct else nn.Identity()

    @property
    def _encoder(self) -> EncoderSettings:
        return self.code if isinstance(self.code, EncoderSettings) else _CODES[self.code]


Width = Annotated[int, Field(ge=1, le=65536)]
Stride = Annotated[int, Field(ge=1, le=8)]
Count = Annotated[int, Field(ge=1, le=100)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Side | tuple[Side, Side]
"""Resolution of a sample: the side of a square, or height and width."""


class NetworkSettings(BaseModel):
    """Validated settings of one kind of network.

    A subclass names its `kind`, and its `network`, which takes the settings as keyword arguments; or has a `build` of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    network: ClassVar[Callable[..., nn.Module]]

    def arguments(self) -> dict[str, Any]:
        """What `network` is called with, besides the arguments of `build`."""
        return self.model_dump(exclude={"kind"})

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        """The network with fresh weights.

        Args:
            in_channels: channels of a sample, or of one event frame.
            classes: K.
            activations: ReLU (teacher) or spiking (student).

        Raises:
            UserError: the network cannot be built so; the message names the layer or the setting.
        """
        return type(self).network(in_channels, classes, activations=activations, **self.arguments())


def one_per(what: str, found: int, of: str, expected: int) -> None:
    """Refuse two lists of settings that differ in length.

    Raises:
        ValueError: with both lengths, as pydantic wants it.
    """
    if found != expected:
        raise ValueError(f"{found} {what} found, {expected} expected (one per {of})")


_AFTER_A_POOL = 1.5


def initialise(network: nn.Module, activations: Activations, *, normalised: bool) -> None:
    """Draw the weights of all layers but the classifier, which keeps torch's own initialisation, as batch norms do.

    - Convolutions with a batch norm: Kaiming normal, `std² = 2 / (k² C_out)`, as in the public code of EnOF-SNN's authors. The
      batch norm undoes their scale.
    - Layers without, in a ReLU network: Kaiming normal, `std² = 2 / fan_in`.
    - Layers without, in a spiking network of threshold θ: `std = 3 θ / √fan_in`. Spikes of rate r then make currents of
      deviation `3 θ √r`, and `r = P(N(0, 9 θ² r) > θ)` is stable at r ≈ 1/4: a layer that is fed at that rate fires at that
      rate. Kaiming's would let the spikes of thresholds of 1 and more die within a few layers. Our working form.
    - The two above are 1.5 times as large behind an average pool, whose mean of four independent spikes of rate 1/4, or of four
      rectified normal values, has about 1/1.5² of their power. Our working form.

    Biases of linear layers start at 0.

    Args:
        network: with its classifier at `network.classifier`, and its layers in the order of computation.
        activations: what the network was built with.
        normalised: whether a batch norm follows each convolution.
    """
    probe = activations.make()
    gain = 3 * probe.constants.threshold if isinstance(probe, Neuron) else sqrt(2)
    pooled = False
    for module in network.modules():
        pooled = pooled or isinstance(module, nn.AvgPool2d)
        if module is network.classifier or not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            continue
        if normalised and not isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            scale = gain * (_AFTER_A_POOL if pooled else 1)
            nn.init.normal_(module.weight, 0.0, scale / sqrt(prod(module.weight.shape[1:])))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        pooled = False
