"""Networks in plain torch whose neurons are written out in a loop over time, in the ways in which published code writes them.

The equations are those of TET (Deng et al. 2022), EnOF-SNN (Guo et al. 2024) and DIET-SNN (Rathi and Roy 2021), and of ten
ways more of writing a neuron down; the code was written for this suite.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from checks.foreign.networks import STEPS, Framework, Shape, Suite


def _reset(module: nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "forget"):
            part.forget()


SUITE = Suite(Framework("loops", "Plain torch", "torch", reset=_reset))

_CNN = {"shape": (2, 12, 12), "width": 6, "small": ((1, 6, 6), 2)}
_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}


class _Triangle(torch.autograd.Function):
    """A step; backwards a triangle around the threshold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.width = width
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * (1 / ctx.width**2) * (ctx.width - x.abs()).clamp(min=0), None


class _OverTime(nn.Module):
    """Applies layers to all steps as one batch: `[B, T, …]`."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        y = self.parts(x.flatten(0, 1).contiguous())
        return y.view(x.shape[0], x.shape[1], *y.shape[1:])


class _BatchFirstLIF(nn.Module):
    """`[B, T, …]` in and out."""

    def __init__(self, thresh: float = 1.0, tau: float = 0.5, gama: float = 1.0) -> None:
        super().__init__()
        self.thresh, self.tau, self.gama = thresh, tau, gama
        self.act = _Triangle.apply

    def forward(self, x: Tensor) -> Tensor:
        mem = 0
        spike_pot = []
        for t in range(x.shape[1]):
            mem = mem * self.tau + x[:, t, ...]
            spike = self.act(mem - self.thresh, self.gama)
            mem = (1 - spike) * mem
            spike_pot.append(spike)
        return torch.stack(spike_pot, dim=1)


class _RepeatedNet(nn.Module):
    """As TET has it: the image is repeated along time, layers see all steps as one batch."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        features = width * (shape[1] // 4) * (shape[2] // 4)
        self.features = nn.Sequential(
            _OverTime(nn.Conv2d(shape[0], width, 3, padding=1), nn.BatchNorm2d(width)),
            _BatchFirstLIF(),
            _OverTime(nn.AvgPool2d(2)),
            _OverTime(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)),
            _BatchFirstLIF(),
            _OverTime(nn.AvgPool2d(2)),
        )
        self.classifier = _OverTime(nn.Linear(features, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1).repeat(1, STEPS, 1, 1, 1)
        x = torch.flatten(self.features(x), 2)
        return self.classifier(x).mean(1)


@SUITE.network(
    "tet",
    "TET: the image repeated along time, layers over all steps, LIF by layer",
    "own loop",
    "static",
    layers=("lif1", "lif2"),
    fires="gt",
    layerwise=True,
    **_CNN,
)
def _tet(shape: Shape, width: int) -> nn.Module:
    return _RepeatedNet(shape, width)


class _TimeFirstLIF(nn.Module):
    """`[T·B, …]` in and out, as a batch norm in between wants it."""

    def __init__(self, step: int = STEPS, decay: float = 0.25, vth: float = 0.5) -> None:
        super().__init__()
        self.step, self.decay, self.vth = step, decay, vth

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(self.step, -1, *x.shape[1:])
        u = torch.zeros_like(x[0])
        out = torch.zeros_like(x)
        for i in range(self.step):
            u = u * self.decay + x[i]
            out[i] = torch.ge(u, self.vth).float()
            u = u * (1 - out[i])
        return out.flatten(0, 1)


class _ReluHead(nn.Module):
    """As EnOF-SNN has it: LIF layers, the last of which is a ReLU, so that the classifier reads richer features."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.spike1 = (
            nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            _TimeFirstLIF(),
        )
        self.conv2, self.bn2, self.spike2 = nn.Conv2d(width, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), _TimeFirstLIF()
        self.conv3, self.bn3 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).expand(STEPS, *x.shape).flatten(0, 1)
        x = self.spike1(self.bn1(self.conv1(x)))
        x = self.spike2(self.bn2(self.conv2(x)))
        x = functional.relu(self.bn3(self.conv3(x)))
        x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x).view(STEPS, -1, 10).mean(0)


@SUITE.network(
    "enof",
    "EnOF-SNN: LIF layers, a ReLU before the classifier, mean over time",
    "own loop",
    "static",
    layers=("spike1", "spike2"),
    fires="ge",
    layerwise=True,
    **_CNN,
)
def _enof(shape: Shape, width: int) -> nn.Module:
    return _ReluHead(shape, width)


class _LearntLeaks(nn.Module):
    """As DIET-SNN has it: leaks and thresholds are parameters, the spike before is subtracted, the read-out adds up."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(width * (shape[1] // 4) * (shape[2] // 4), 10, bias=False)
        self.leak = nn.ParameterDict({name: nn.Parameter(torch.tensor(value)) for name, value in (("l0", 0.9), ("l1", 0.75))})
        self.threshold = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(value)) for name, value in (("l0", 0.7), ("l1", 0.4))}
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        mem = {
            "l0": torch.zeros(x.size(0), self.conv1.out_channels, *size),
            "l1": torch.zeros(x.size(0), self.conv2.out_channels, size[0] // 2, size[1] // 2),
        }
        fired = {name: torch.zeros_like(values) for name, values in mem.items()}
        out_mem = torch.zeros(x.size(0), 10)
        for _ in range(STEPS):
            out = x
            for name, conv in (("l0", self.conv1), ("l1", self.conv2)):
                reset = self.threshold[name] * fired[name]
                mem[name] = self.leak[name] * mem[name] + conv(out) - reset
                mem_thr = mem[name] / self.threshold[name] - 1.0
                fired[name] = _Triangle.apply(mem_thr, 1.0)
                out = self.pool(fired[name])
            out_mem = out_mem + self.fc(out.reshape(x.size(0), -1))
        return out_mem


@SUITE.network(
    "diet",
    "DIET-SNN: leaks and thresholds are parameters, subtraction by the spike before, potentials added up",
    "own loop",
    "static",
    layers=("l0", "l1"),
    fires="gt",
    **_CNN,
)
def _diet(shape: Shape, width: int) -> nn.Module:
    return _LearntLeaks(shape, width)


class _Linears(nn.Module):
    """Two linear layers; what is between them is written by the subclasses."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, width), nn.Linear(width, 10)


_TWO = ("first", "second")


class _Where(_Linears):
    """Resets by torch.where; a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = torch.zeros(x.shape[1], self.fc1.out_features), torch.zeros(x.shape[1], 10)
        answers = []
        for step in x:
            mem1 = 0.8 * mem1 + self.fc1(step)
            spike1 = (mem1 >= 1.0).to(mem1.dtype)
            mem1 = torch.where(spike1.bool(), torch.zeros_like(mem1), mem1)
            mem2 = 0.8 * mem2 + self.fc2(spike1)
            spike2 = (mem2 >= 1.0).to(mem2.dtype)
            mem2 = torch.where(spike2.bool(), torch.zeros_like(mem2), mem2)
            answers.append(spike2)
        return torch.stack(answers)


@SUITE.network("where", "reset to zero by torch.where", "sequence", "sequence", layers=_TWO, fires="ge", **_MLP)
def _where(shape: Shape, width: int) -> nn.Module:
    return _Where(shape[0], width)


class _Masked(_Linears):
    """Resets in place, where a mask says so, and writes its answers into a tensor; a static sample."""

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = x.new_zeros(x.shape[0], self.fc1.out_features), x.new_zeros(x.shape[0], 10)
        counts = x.new_zeros(x.shape[0], 10)
        for _ in range(STEPS):
            mem1 = mem1 * 0.9 + self.fc1(x)
            spike1 = (mem1 >= 1.0).float()
            mem1[spike1 > 0] = 0.0
            mem2 = mem2 * 0.9 + self.fc2(spike1)
            spike2 = (mem2 >= 1.0).float()
            mem2[spike2 > 0] = 0.0
            counts += spike2
        return counts


@SUITE.network(
    "masked", "reset in place by a mask; spikes counted in place", "own loop", "static", layers=_TWO, fires="ge", **_MLP
)
def _masked(shape: Shape, width: int) -> nn.Module:
    return _Masked(shape[0], width)


class _Listed(_Linears):
    """Layer by layer: a function makes a list of steps, torch.stack a sequence of it; resets by subtraction."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fire(self.fc2(self.fire(self.fc1(x), 0.75, 0.5)), 0.5, 1.0)

    @staticmethod
    def fire(currents: Tensor, beta: float, threshold: float) -> Tensor:
        potential, spikes = torch.zeros_like(currents[0]), []
        for current in currents.unbind(0):
            potential = beta * potential + (1 - beta) * current
            spikes.append(torch.gt(potential, threshold).to(current))
            potential = potential - threshold * spikes[-1]
        return torch.stack(spikes, 0)


@SUITE.network(
    "listed",
    "layer by layer in a function, subtraction; list and torch.stack",
    "sequence",
    "sequence",
    layers=_TWO,
    fires="gt",
    layerwise=True,
    **_MLP,
)
def _listed(shape: Shape, width: int) -> nn.Module:
    return _Listed(shape[0], width)


class _Cell(nn.Module):
    """A neuron that keeps its potential."""

    def __init__(self, tau: float, threshold: float = 1.0) -> None:
        super().__init__()
        self.tau, self.threshold = tau, threshold
        self.mem: Tensor | None = None

    def forget(self) -> None:
        self.mem = None

    def forward(self, current: Tensor) -> Tensor:
        if self.mem is None:
            self.mem = torch.zeros_like(current)
        self.mem = self.mem + (current - self.mem) / self.tau
        spike = torch.heaviside(self.mem - self.threshold, torch.ones_like(self.mem))
        self.mem = self.mem * (1.0 - spike)
        return spike


class _CellNet(nn.Module):
    """A loop over cells, which it resets first."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.conv, self.lif1 = nn.Conv2d(shape[0], width, 3, padding=1), _Cell(2.0)
        self.fc, self.lif2 = nn.Linear(width * (shape[1] // 2) * (shape[2] // 2), 10), _Cell(4.0, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.lif1.forget()
        self.lif2.forget()
        total = 0
        for _ in range(STEPS):
            spikes = functional.max_pool2d(self.lif1(self.conv(x)), 2)
            total = total + self.lif2(self.fc(torch.flatten(spikes, 1)))
        return total / STEPS


@SUITE.network(
    "cell",
    "a class of LIF cells with self.mem, reset by the network's forward",
    "own loop",
    "static",
    layers=("lif1", "lif2"),
    fires="heaviside",
    **_CNN,
)
def _cell(shape: Shape, width: int) -> nn.Module:
    return _CellNet(shape, width)


class _Kept(_Linears):
    """States in the network itself; its caller has the loop, and resets it."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.forget()

    def forget(self) -> None:
        self.mem1, self.mem2 = 0.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.mem1 = self.mem1 + self.fc1(x)
        spike1 = _Triangle.apply(self.mem1 - 1.0, 1.0)
        self.mem1 = self.mem1 - spike1
        self.mem2 = self.mem2 + self.fc2(spike1)
        spike2 = _Triangle.apply(self.mem2 - 1.0, 1.0)
        self.mem2 = self.mem2 - spike2
        return spike2


@SUITE.network("kept", "IF whose states are in self; called once per step", "step", "sequence", layers=_TWO, fires="gt", **_MLP)
def _kept(shape: Shape, width: int) -> nn.Module:
    return _Kept(shape[0], width)


class _FedBack(_Linears):
    """Spikes of the step before come back through weights."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.back = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mem = spike = torch.zeros(x.shape[1], self.fc1.out_features)
        out = torch.zeros(x.shape[1], 10)
        for t in range(len(x)):
            mem = 0.75 * mem * (1 - spike) + self.back(spike) + self.fc1(x[t])
            spike = (mem >= 1.0) * 1.0
            out = 0.5 * out + self.fc2(spike)
        return out


@SUITE.network(
    "fed-back",
    "spikes come back through weights; a leaky read-out",
    "sequence",
    "sequence",
    layers=("first",),
    fires="ge",
    **_MLP,
)
def _fed_back(shape: Shape, width: int) -> nn.Module:
    return _FedBack(shape[0], width)


class _Signed(_Linears):
    """`[B, T, …]`; a spike is the positive part of a sign."""

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, answers = 0, 0, []
        for t in range(x.shape[1]):
            mem1 = 0.5 * mem1 + self.fc1(x[:, t])
            spike1 = torch.relu(torch.sign(mem1 - 1.0))
            mem1 = mem1 * (1 - spike1)
            mem2 = 0.5 * mem2 + self.fc2(spike1)
            spike2 = torch.relu(torch.sign(mem2 - 1.0))
            mem2 = mem2 * (1 - spike2)
            answers.append(spike2)
        return torch.stack(answers, 1)


@SUITE.network(
    "signed", "spikes by sign and ReLU; samples before steps", "batch first", "sequence", layers=_TWO, fires="relu", **_MLP
)
def _signed(shape: Shape, width: int) -> nn.Module:
    return _Signed(shape[0], width)


class _StraightThrough(_Linears):
    """A gradient by adding what is taken away again: spikes are 0 and 1 to rounding only."""

    @staticmethod
    def fire(mem: Tensor) -> Tensor:
        soft = torch.sigmoid(4 * (mem - 1.0))
        return (mem > 1.0).float().detach() + soft - soft.detach()

    def forward(self, x: Tensor) -> Tensor:
        mem1 = spike1 = torch.zeros(x.shape[1], self.fc1.out_features)
        mem2 = spike2 = torch.zeros(x.shape[1], 10)
        answers = []
        for step in range(x.shape[0]):
            mem1 = 0.875 * mem1 + self.fc1(x[step]) - spike1
            spike1 = self.fire(mem1)
            mem2 = 0.875 * mem2 + self.fc2(spike1) - spike2
            spike2 = self.fire(mem2)
            answers.append(spike2)
        return torch.stack(answers)


@SUITE.network(
    "straight-through",
    "spikes with a soft part that is added and taken away; subtraction by the spike before",
    "sequence",
    "sequence",
    layers=_TWO,
    fires="gt",
    **_MLP,
)
def _straight_through(shape: Shape, width: int) -> nn.Module:
    return _StraightThrough(shape[0], width)


class _Levels(_Linears):
    """Up to four spikes a step, by rounding and clamping, which are subtracted."""

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = torch.zeros(x.shape[1], self.fc1.out_features), torch.zeros(x.shape[1], 10)
        total = torch.zeros(x.shape[1], 10)
        for current in self.fc1(x):
            mem1 = 0.25 * mem1 + current
            spikes = torch.clamp(torch.round(mem1), 0, 4)
            mem1 = mem1 - spikes
            mem2 = 0.25 * mem2 + self.fc2(spikes)
            counts = torch.clamp(torch.round(mem2), 0, 4)
            mem2 = mem2 - counts
            total = total + counts
        return total / x.shape[0]


@SUITE.network(
    "levels", "up to four spikes per step, by round and clamp", "sequence", "sequence", layers=_TWO, fires="clamp", **_MLP
)
def _levels(shape: Shape, width: int) -> nn.Module:
    return _Levels(shape[0], width)


class _State(NamedTuple):
    """Of the two layers."""

    mem1: Tensor
    mem2: Tensor


class _Functional(_Linears):
    """The caller hands the state on; None at first."""

    def forward(self, x: Tensor, state: _State | None = None) -> tuple[Tensor, _State]:
        if state is None:
            state = _State(x.new_zeros(x.shape[0], self.fc1.out_features), x.new_zeros(x.shape[0], 10))
        spike1, mem1 = self.step(self.fc1(x), state.mem1)
        spike2, mem2 = self.step(self.fc2(spike1), state.mem2)
        return spike2, _State(mem1, mem2)

    @staticmethod
    def step(current: Tensor, mem: Tensor, decay: float = 0.75) -> tuple[Tensor, Tensor]:
        mem = decay * mem + (1 - decay) * current
        spike = mem.ge(0.5).type_as(mem)
        return spike, torch.where(spike == 1, -0.125, mem)


@SUITE.network(
    "functional",
    "a function of state and input, reset to -0.125; the caller hands the state on",
    "step with state",
    "static",
    layers=_TWO,
    fires="ge",
    **_MLP,
)
def _functional(shape: Shape, width: int) -> nn.Module:
    return _Functional(shape[0], width)
