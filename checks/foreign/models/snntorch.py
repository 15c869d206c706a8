"""Networks of snnTorch: explicit states in a loop over time, as its tutorials have it, and hidden states."""

from collections.abc import Callable
from typing import Any

import snntorch
import torch
from snntorch import utils
from torch import Tensor, nn
from torch.nn import functional

from checks.foreign.networks import STEPS, Framework, Shape, Suite, number


def _reset(module: nn.Module) -> None:
    if any(getattr(part, "init_hidden", False) for part in module.modules()):
        utils.reset(module)


def _constants(spiking: nn.Module) -> dict[str, Any]:
    names = ("alpha", "beta", "threshold", "R", "C", "time_step", "V", "graded_spikes_factor")
    kept = {name: number(getattr(spiking, name)) for name in names if getattr(spiking, name, None) is not None}
    if isinstance(spiking, snntorch.RLeaky) and not spiking.all_to_all:
        kept["V"] = number(spiking.recurrent.V)
    return {**kept, "reset_mechanism": spiking.reset_mechanism, "reset_delay": getattr(spiking, "reset_delay", True)}


SUITE = Suite(
    Framework(
        "snntorch",
        "snnTorch",
        "snntorch",
        spiking=lambda module: isinstance(module, snntorch.SpikingNeuron),
        reset=_reset,
        constants=_constants,
    )
)

_CNN = {"shape": (1, 16, 16), "width": 8, "small": ((1, 10, 10), 2)}
_HIDDEN_CNN = {**_CNN, "small": ((1, 8, 8), 4)}
_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}


class _TutorialNet(nn.Module):
    """Two linear layers; a static sample at every step; answers with the last layer's spikes and potentials."""

    def __init__(self, inputs: int, width: int, first: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.lif1 = first
        self.fc2 = nn.Linear(width, 10)
        self.lif2 = last

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spk2_rec = []
        mem2_rec = []
        for _ in range(STEPS):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class _EventNet(nn.Module):
    """Two layers with any number of states each; a sequence `[T, B, …]`; answers with the last layer's spikes."""

    def __init__(self, inputs: int, width: int, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(inputs, width), make(width)
        self.fc2, self.lif2 = nn.Linear(width, 10), make(10)

    def forward(self, data: Tensor) -> Tensor:
        first, second = (self._states(layer) for layer in (self.lif1, self.lif2))
        spk_rec = []
        for step in range(data.size(0)):
            spk, *first = self.lif1(self.fc1(data[step]), *first)
            out, *second = self.lif2(self.fc2(spk), *second)
            spk_rec.append(out)
        return torch.stack(spk_rec)

    @staticmethod
    def _states(layer: nn.Module) -> list[Tensor]:
        states = layer.reset_mem()
        return list(states) if isinstance(states, tuple) else [states]


class _RecurrentNet(nn.Module):
    """A recurrent layer, whose spikes are a state too, and a read-out layer."""

    def __init__(self, inputs: int, width: int, recurrent: nn.Module) -> None:
        super().__init__()
        self.fc1, self.rlif1 = nn.Linear(inputs, width), recurrent
        self.fc2, self.lif2 = nn.Linear(width, 10), snntorch.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        spk1, mem1 = self.rlif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        answers = []
        for step in range(x.size(0)):
            spk1, mem1 = self.rlif1(self.fc1(x[step]), spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            answers.append(spk2)
        return torch.stack(answers, dim=0)


class _ConvNet(nn.Module):
    """The tutorial's convolutional network: the pool is before the neuron."""

    def __init__(self, shape: Shape, width: int, norm: bool) -> None:
        super().__init__()
        side = ((shape[1] - 2) // 2 - 2) // 2
        self.conv1 = nn.Conv2d(shape[0], width, 3, bias=not norm)
        self.bn1 = nn.BatchNorm2d(width) if norm else None
        self.lif1 = snntorch.Leaky(beta=0.5)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, bias=not norm)
        self.bn2 = nn.BatchNorm2d(2 * width) if norm else None
        self.lif2 = snntorch.Leaky(beta=0.5)
        self.fc1 = nn.Linear(2 * width * side * side, 10)
        self.lif3 = snntorch.Leaky(beta=0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()
        spk3_rec, mem3_rec = [], []
        for _ in range(STEPS):
            cur1 = self.conv1(x)
            if self.bn1 is not None:
                cur1 = self.bn1(cur1)
            spk1, mem1 = self.lif1(functional.max_pool2d(cur1, 2), mem1)
            cur2 = self.conv2(spk1)
            if self.bn2 is not None:
                cur2 = self.bn2(cur2)
            spk2, mem2 = self.lif2(functional.max_pool2d(cur2, 2), mem2)
            cur3 = self.fc1(spk2.flatten(1))
            spk3, mem3 = self.lif3(cur3, mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)
        return torch.stack(spk3_rec), torch.stack(mem3_rec)


@SUITE.network("cnn", "the tutorial's CNN: convolution, max pool, Leaky, twice; its own loop", "own loop", "static", **_CNN)
def _cnn(shape: Shape, width: int) -> nn.Module:
    return _ConvNet(shape, width, norm=False)


@SUITE.network("cnn-bn", "the same with batch norm", "own loop", "static", **_CNN)
def _cnn_norm(shape: Shape, width: int) -> nn.Module:
    return _ConvNet(shape, width, norm=True)


def _tutorial(shape: Shape, width: int, **options: Any) -> nn.Module:
    return _TutorialNet(shape[0], width, snntorch.Leaky(**options), snntorch.Leaky(**options))


@SUITE.network("leaky", "the tutorial's MLP: Leaky, beta 0.95, late subtraction; its own loop", "own loop", "static", **_MLP)
def _leaky(shape: Shape, width: int) -> nn.Module:
    return _tutorial(shape, width, beta=0.95)


@SUITE.network("leaky-vector", "Leaky with a beta of its own for every neuron", "own loop", "static", **_MLP)
def _leaky_vector(shape: Shape, width: int) -> nn.Module:
    first, last = snntorch.Leaky(beta=torch.rand(width)), snntorch.Leaky(beta=0.5 + 0.5 * torch.rand(10))
    return _TutorialNet(shape[0], width, first, last)


@SUITE.network("leaky-zero", "Leaky, late reset to zero", "own loop", "static", **_MLP)
def _leaky_zero(shape: Shape, width: int) -> nn.Module:
    return _tutorial(shape, width, beta=0.9, reset_mechanism="zero")


@SUITE.network("leaky-none", "Leaky without reset", "own loop", "static", **_MLP)
def _leaky_none(shape: Shape, width: int) -> nn.Module:
    return _tutorial(shape, width, beta=0.7, reset_mechanism="none")


@SUITE.network(
    "leaky-learnt", "Leaky whose betas and thresholds are parameters, one for every neuron", "own loop", "static", **_MLP
)
def _leaky_learnt(shape: Shape, width: int) -> nn.Module:
    first, last = (
        snntorch.Leaky(beta=torch.rand(size), threshold=0.5 + torch.rand(size), learn_beta=True, learn_threshold=True)
        for size in (width, 10)
    )
    return _TutorialNet(shape[0], width, first, last)


@SUITE.network("leaky-now", "Leaky with reset_delay=False: subtraction at the spike", "own loop", "static", **_MLP)
def _leaky_now(shape: Shape, width: int) -> nn.Module:
    return _tutorial(shape, width, beta=0.9, reset_delay=False)


@SUITE.network("leaky-zero-now", "Leaky with reset_delay=False: to zero at the spike", "own loop", "static", **_MLP)
def _leaky_zero_now(shape: Shape, width: int) -> nn.Module:
    return _tutorial(shape, width, beta=0.9, reset_mechanism="zero", reset_delay=False)


@SUITE.network("sequence", "Leaky on a sequence, threshold 0.5", "sequence", "sequence", **_MLP)
def _sequence(shape: Shape, width: int) -> nn.Module:
    return _EventNet(shape[0], width, lambda _: snntorch.Leaky(beta=0.8, threshold=0.5))


@SUITE.network("hidden", "nn.Sequential of Leaky with init_hidden, called once per step", "step", "sequence", **_MLP)
def _hidden(shape: Shape, width: int) -> nn.Module:
    first = [nn.Linear(shape[0], width), snntorch.Leaky(beta=0.9, init_hidden=True)]
    return nn.Sequential(*first, nn.Linear(width, 10), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))


@SUITE.network("hidden-cnn", "nn.Sequential with pools before the neurons, init_hidden", "step", "static", **_HIDDEN_CNN)
def _hidden_cnn(shape: Shape, width: int) -> nn.Module:
    side = (shape[1] - 2) // 2
    first = [nn.Conv2d(shape[0], width, 3), nn.MaxPool2d(2), snntorch.Leaky(beta=0.5, init_hidden=True), nn.Flatten()]
    return nn.Sequential(*first, nn.Linear(width * side * side, 10), snntorch.Leaky(beta=0.5, init_hidden=True))


@SUITE.network("synaptic", "Synaptic: a current and a potential", "sequence", "sequence", **_MLP)
def _synaptic(shape: Shape, width: int) -> nn.Module:
    return _EventNet(shape[0], width, lambda _: snntorch.Synaptic(alpha=0.5, beta=0.8))


@SUITE.network("synaptic-zero", "Synaptic, late reset to zero, init_hidden", "step", "sequence", **_MLP)
def _synaptic_zero(shape: Shape, width: int) -> nn.Module:
    options: dict[str, Any] = {"alpha": 0.75, "beta": 0.5, "reset_mechanism": "zero", "init_hidden": True}
    return nn.Sequential(
        nn.Linear(shape[0], width), snntorch.Synaptic(**options), nn.Linear(width, 10), snntorch.Synaptic(**options)
    )


@SUITE.network("lapicque", "Lapicque: R and C", "sequence", "sequence", **_MLP)
def _lapicque(shape: Shape, width: int) -> nn.Module:
    return _EventNet(shape[0], width, lambda _: snntorch.Lapicque(R=1.0, C=4.0, time_step=1.0))


@SUITE.network("recurrent", "RLeaky, all to all", "sequence", "sequence", **_MLP)
def _recurrent(shape: Shape, width: int) -> nn.Module:
    return _RecurrentNet(shape[0], width, snntorch.RLeaky(beta=0.8, linear_features=width))


@SUITE.network("recurrent-own", "RLeaky, every neuron to itself", "sequence", "sequence", **_MLP)
def _recurrent_own(shape: Shape, width: int) -> nn.Module:
    return _RecurrentNet(shape[0], width, snntorch.RLeaky(beta=0.8, all_to_all=False, V=torch.rand(width) - 0.5))


@SUITE.network("alpha", "Alpha: a rising and a falling current", "sequence", "sequence", **_MLP)
def _alpha(shape: Shape, width: int) -> nn.Module:
    return _EventNet(shape[0], width, lambda _: snntorch.Alpha(alpha=0.9, beta=0.8))
