"""Networks of Norse: cells with states in a loop, SequentialState, and whole sequences by Lift."""

from typing import Any

import norse.torch as norse
import torch
from norse.torch.module.iaf import IAFCell
from norse.torch.module.lif_refrac import LIFRefracCell
from torch import Tensor, nn
from torch.nn import functional

from checks.foreign.networks import Framework, Shape, Suite, number

_CELLS = (norse.LIFCell, norse.LIFBoxCell, norse.LIFRecurrentCell, norse.LIF, norse.LIFRecurrent, IAFCell, LIFRefracCell)


def _own_weights(neuron: nn.Module) -> list[Tensor]:
    weights = getattr(neuron, "input_weights", None)
    return [] if weights is None else [weights]


def _constants(neuron: nn.Module) -> dict[str, Any]:
    parameters, kept = neuron.p, {"dt": float(neuron.dt)}
    if isinstance(neuron, LIFRefracCell):
        kept["rho_reset"], parameters = number(parameters.rho_reset), parameters.lif
    names = ("tau_syn_inv", "tau_mem_inv", "v_leak", "v_th", "v_reset")
    return {**kept, **{name: number(getattr(parameters, name)) for name in names if hasattr(parameters, name)}}


SUITE = Suite(
    Framework(
        "norse",
        "Norse",
        "norse",
        spiking=lambda module: isinstance(module, _CELLS),
        weights=_own_weights,
        constants=_constants,
    )
)

_CNN = {"shape": (1, 16, 16), "width": 6, "small": ((1, 6, 6), 2)}
_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}
_SLOW = norse.LIFParameters(
    tau_syn_inv=torch.tensor(500.0), tau_mem_inv=torch.tensor(250.0), v_th=torch.tensor(0.5), v_reset=torch.tensor(-0.125)
)


class _DigitNet(nn.Module):
    """Convolution and pool, twice; a hidden linear layer; a leaky integrator whose potentials are the answer."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.features = 2 * width * (shape[1] // 4) * (shape[2] // 4)
        self.conv1, self.lif0 = nn.Conv2d(shape[0], width, 3, padding=1), norse.LIFCell()
        self.conv2, self.lif1 = nn.Conv2d(width, 2 * width, 3, padding=1), norse.LIFCell()
        self.fc1, self.lif2 = nn.Linear(self.features, 4 * width), norse.LIFCell()
        self.out = norse.LILinearCell(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        s0 = s1 = s2 = so = None
        voltages = []
        for ts in range(x.shape[0]):
            z = self.conv1(x[ts])
            z, s0 = self.lif0(z, s0)
            z = functional.max_pool2d(z, 2, 2)
            z = 10 * self.conv2(z)
            z, s1 = self.lif1(z, s1)
            z = functional.max_pool2d(z, 2, 2)
            z = z.view(-1, self.features)
            z = self.fc1(z)
            z, s2 = self.lif2(z, s2)
            v, so = self.out(functional.relu(z), so)
            voltages.append(v)
        return torch.stack(voltages)


class _StaticNet(nn.Module):
    """A static sample at each of 16 steps; the last potentials are the answer."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.l1, self.lif = nn.Linear(inputs, width), norse.LIFCell(p=norse.LIFParameters(tau_mem_inv=torch.tensor(400.0)))
        self.l2, self.li = nn.Linear(width, 10, bias=False), norse.LICell()

    def forward(self, x: Tensor) -> Tensor:
        hidden, output, voltage = None, None, x.new_zeros(x.shape[0], 10)
        for _ in range(16):
            spikes, hidden = self.lif(self.l1(x), hidden)
            voltage, output = self.li(self.l2(spikes), output)
        return voltage


def _mlp(shape: Shape, width: int, first: nn.Module, last: nn.Module) -> nn.Module:
    return norse.SequentialState(nn.Linear(shape[0], width), first, nn.Linear(width, 10), last)


@SUITE.network(
    "digits-cnn",
    "convolutions, max pool, LIFCell; LICell read-out; its own loop over a sequence",
    "sequence",
    "sequence",
    **_CNN,
)
def _digits_cnn(shape: Shape, width: int) -> nn.Module:
    return _DigitNet(shape, width)


@SUITE.network("static", "LIFCell with a slower membrane; LICell, last potentials; its own loop", "own loop", "static", **_MLP)
def _static(shape: Shape, width: int) -> nn.Module:
    return _StaticNet(shape[0], width)


@SUITE.network("lifbox-mlp", "SequentialState with LIFBoxCell", "step with state", "sequence", **_MLP)
def _lifbox(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, norse.LIFBoxCell(), norse.LIFBoxCell())


@SUITE.network("lif-mlp", "SequentialState with LIFCell: a current and a potential", "step with state", "sequence", **_MLP)
def _lif(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, norse.LIFCell(), norse.LIFCell())


@SUITE.network(
    "lif-constants",
    "LIFCell with time constants of 2 and 4 ms, threshold 0.5, reset to -0.125",
    "step with state",
    "sequence",
    **_MLP,
)
def _lif_constants(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, norse.LIFCell(p=_SLOW), norse.LIFCell(p=_SLOW))


@SUITE.network("iaf-mlp", "SequentialState with IAFCell", "step with state", "static", **_MLP)
def _iaf(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, IAFCell(), IAFCell())


@SUITE.network("conv", "SequentialState: convolutions, LIFBoxCell, average pool, LICell", "step with state", "sequence", **_CNN)
def _conv(shape: Shape, width: int) -> nn.Module:
    features = width * (shape[1] // 2) * (shape[2] // 2)
    return norse.SequentialState(
        nn.Conv2d(shape[0], width, 3, padding=1),
        norse.LIFBoxCell(),
        nn.AvgPool2d(2),
        nn.Conv2d(width, width, 3, padding=1),
        norse.LIFCell(),
        nn.Flatten(),
        nn.Linear(features, 10),
        norse.LICell(),
    )


@SUITE.network("recurrent", "LIFRecurrentCell, which has its weights in itself, LICell", "step with state", "sequence", **_MLP)
def _recurrent(shape: Shape, width: int) -> nn.Module:
    return norse.SequentialState(norse.LIFRecurrentCell(shape[0], width), nn.Linear(width, 10), norse.LICell())


@SUITE.network("refractory", "LIFRefracCell: silent for some steps after a spike", "step with state", "sequence", **_MLP)
def _refractory(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, LIFRefracCell(), norse.LICell())


@SUITE.network("lift", "convolution and pool by Lift, LIF of whole sequences", "sequence", "sequence", **_CNN)
def _lift(shape: Shape, width: int) -> nn.Module:
    features = width * (shape[1] // 2) * (shape[2] // 2)
    return norse.SequentialState(
        norse.Lift(nn.Conv2d(shape[0], width, 3, padding=1)),
        norse.LIF(),
        norse.Lift(nn.MaxPool2d(2)),
        norse.Lift(nn.Flatten()),
        norse.Lift(nn.Linear(features, 10)),
        norse.LIF(),
    )


@SUITE.network("lift-whole", "a SequentialState in Lift", "sequence", "sequence", **_MLP)
def _lift_whole(shape: Shape, width: int) -> nn.Module:
    return norse.Lift(_mlp(shape, width, norse.LIFCell(), norse.LICell()))


@SUITE.network("recurrent-sequence", "LIFRecurrent of whole sequences, LI", "sequence", "sequence", **_MLP)
def _recurrent_sequence(shape: Shape, width: int) -> nn.Module:
    return norse.SequentialState(norse.LIFRecurrent(shape[0], width), nn.Linear(width, 10), norse.LI())
