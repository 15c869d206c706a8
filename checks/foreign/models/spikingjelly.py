"""Networks of SpikingJelly: step modes `m` and `s`, its layers, containers, neurons, and two of its model zoo."""

import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from checks.foreign.networks import STEPS, Framework, Shape, Suite, number


def _zoo(name: str) -> ModuleType:
    """A file of its model zoo. It takes one function of torchvision, which downloads weights; that is left out."""
    for stand_in in ("torchvision", "torchvision._internally_replaced_utils"):
        sys.modules.setdefault(stand_in, ModuleType(stand_in))
    vars(sys.modules["torchvision._internally_replaced_utils"]).setdefault("load_state_dict_from_url", None)
    return import_module(f"spikingjelly.activation_based.model.{name}")


sew_resnet, spiking_resnet, spikformer = _zoo("sew_resnet"), _zoo("spiking_resnet"), _zoo("spikformer")
parametric_lif_net = _zoo("parametric_lif_net")


def _constants(spiking: nn.Module) -> dict[str, Any]:
    kept = {"v_threshold": spiking.v_threshold, "v_reset": spiking.v_reset}
    if isinstance(spiking, neuron.ParametricLIFNode):
        return {**kept, "reciprocal_tau": number(spiking.w.sigmoid()), "decay_input": spiking.decay_input}
    if isinstance(spiking, neuron.CUBALIFNode):
        return {**kept, "c_decay": spiking.c_decay, "v_decay": spiking.v_decay}
    if isinstance(spiking, neuron.LIFNode):
        return {**kept, "tau": float(spiking.tau), "decay_input": spiking.decay_input}
    return kept


SUITE = Suite(
    Framework(
        "spikingjelly",
        "SpikingJelly",
        "spikingjelly",
        spiking=lambda module: isinstance(module, neuron.BaseNode),
        reset=functional.reset_net,
        threshold="v_threshold",
        constants=_constants,
    )
)

Neuron = partial[nn.Module]
_LIF = partial(neuron.LIFNode, tau=2.0)
_IF = partial(neuron.IFNode)


def _features(shape: Shape, pools: int) -> int:
    return (shape[1] // 2**pools) * (shape[2] // 2**pools)


def _conv(inputs: int, outputs: int, spiking: Neuron, pool: nn.Module, norm: nn.Module | None = None) -> list[nn.Module]:
    conv = layer.Conv2d(inputs, outputs, 3, padding=1, bias=norm is None)
    return [conv, *([] if norm is None else [norm]), spiking(), pool]


def _in_mode(mode: str, *parts: nn.Module) -> nn.Sequential:
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, mode)
    return net


def _mlp(shape: Shape, width: int, spiking: Neuron, mode: str = "m") -> nn.Sequential:
    return _in_mode(mode, layer.Linear(shape[0], width), spiking(), layer.Linear(width, 10), spiking())


class _Repeated(nn.Module):
    """Repeats a static sample, and answers with the mean over time."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.unsqueeze(0).repeat(STEPS, *[1] * x.ndim)).mean(0)


class _Counted(nn.Module):
    """Feeds a static sample step by step, and adds up what fires."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        total = self.net(x)
        for _ in range(1, STEPS):
            total = total + self.net(x)
        return total / STEPS


def _scale(net: nn.Module, factor: float) -> None:
    """Batch norms with which deep networks fire almost as much as they should, so that not much is left to search."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(module.weight, factor)


_CNN = {"shape": (2, 16, 16), "width": 8, "small": ((1, 4, 4), 3)}
_MLP = {"shape": (40,), "width": 32, "small": ((12,), 10)}


@SUITE.network(
    "cnn-max-bn", "convolutions with batch norm, LIF, max pool; mode m, its own repetition", "own loop", "static", **_CNN
)
def _cnn_max(shape: Shape, width: int) -> nn.Module:
    blocks = [
        *_conv(shape[0], width, _LIF, layer.MaxPool2d(2), layer.BatchNorm2d(width)),
        *_conv(width, width, _LIF, layer.MaxPool2d(2), layer.BatchNorm2d(width)),
    ]
    head = [layer.Flatten(), layer.Linear(width * _features(shape, 2), 10, bias=False), _LIF()]
    return _Repeated(_in_mode("m", *blocks, *head))


@SUITE.network("cnn-average", "convolutions, IF, average pool; mode m", "sequence", "sequence", **_CNN)
def _cnn_average(shape: Shape, width: int) -> nn.Module:
    blocks = [*_conv(shape[0], width, _IF, layer.AvgPool2d(2)), *_conv(width, width, _IF, layer.AvgPool2d(2))]
    return _in_mode("m", *blocks, layer.Flatten(), layer.Linear(width * _features(shape, 2), 10), _IF())


@SUITE.network("cnn-average-bn", "convolutions with batch norm, LIF, average pool; mode s", "step", "sequence", **_CNN)
def _cnn_average_norm(shape: Shape, width: int) -> nn.Module:
    blocks = _conv(shape[0], width, _LIF, layer.AvgPool2d(2), layer.BatchNorm2d(width))
    return _in_mode("s", *blocks, layer.Flatten(), layer.Linear(width * _features(shape, 1), 10), _LIF())


@SUITE.network("cnn-max", "convolutions without norm, LIF, max pool; mode s", "step", "static", **_CNN)
def _cnn_max_plain(shape: Shape, width: int) -> nn.Module:
    blocks = _conv(shape[0], width, _LIF, layer.MaxPool2d(2))
    return _in_mode("s", *blocks, layer.Flatten(), layer.Linear(width * _features(shape, 1), 10), _LIF())


@SUITE.network("tdbn", "ThresholdDependentBatchNorm2d; mode m", "sequence", "sequence", **_CNN)
def _tdbn(shape: Shape, width: int) -> nn.Module:
    spiking = partial(neuron.LIFNode, tau=1.5, decay_input=False, v_threshold=0.5)
    norms = [layer.ThresholdDependentBatchNorm2d(1.0, 0.5, width) for _ in range(2)]
    blocks = [
        *_conv(shape[0], width, spiking, layer.AvgPool2d(2), norms[0]),
        *_conv(width, width, spiking, layer.AvgPool2d(2), norms[1]),
    ]
    return _in_mode("m", *blocks, layer.Flatten(), layer.Linear(width * _features(shape, 2), 10), spiking())


@SUITE.network("lif", "LIF that decays its input, tau 2; mode m", "sequence", "sequence", **_MLP)
def _lif(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, _LIF)


@SUITE.network("lif-undecayed", "LIF that does not decay its input, tau 4/3; mode m", "sequence", "sequence", **_MLP)
def _lif_undecayed(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.LIFNode, tau=4 / 3, decay_input=False))


@SUITE.network("lif-slow", "LIF with tau 10 and threshold 0.3; mode s", "step", "static", **_MLP)
def _lif_slow(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.LIFNode, tau=10.0, v_threshold=0.3), "s")


@SUITE.network("lif-loop", "LIF; mode s in a loop of its own that counts spikes", "own loop", "static", **_MLP)
def _lif_loop(shape: Shape, width: int) -> nn.Module:
    return _Counted(_mlp(shape, width, _LIF, "s"))


@SUITE.network("if", "IF; mode m", "sequence", "sequence", **_MLP)
def _if(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, _IF)


@SUITE.network("plif", "ParametricLIFNode; mode m", "sequence", "sequence", **_MLP)
def _plif(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.ParametricLIFNode, init_tau=3.0))


@SUITE.network("lif-soft", "LIF with soft reset; mode m", "sequence", "sequence", **_MLP)
def _lif_soft(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.LIFNode, tau=2.0, v_reset=None))


@SUITE.network("if-soft", "IF with soft reset; mode s", "step", "static", **_MLP)
def _if_soft(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.IFNode, v_reset=None), "s")


@SUITE.network("lif-reset", "LIF that is reset to -0.25, tau 1.5; mode m", "sequence", "sequence", **_MLP)
def _lif_reset(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.LIFNode, tau=1.5, v_reset=-0.25))


@SUITE.network(
    "lif-reset-undecayed", "LIF that is reset to 0.125 and does not decay its input; mode s", "step", "sequence", **_MLP
)
def _lif_reset_undecayed(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.LIFNode, tau=4.0, v_reset=0.125, decay_input=False), "s")


@SUITE.network("cuba", "CUBALIFNode; mode m", "sequence", "sequence", **_MLP)
def _cuba(shape: Shape, width: int) -> nn.Module:
    return _mlp(shape, width, partial(neuron.CUBALIFNode, c_decay=0.5, v_decay=0.75))


@SUITE.network("containers", "plain torch layers in SeqToANNContainer, LIF in mode m", "sequence", "sequence", **_CNN)
def _containers(shape: Shape, width: int) -> nn.Module:
    conv = layer.SeqToANNContainer(nn.Conv2d(shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
    head = layer.SeqToANNContainer(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(width * _features(shape, 1), 10))
    return nn.Sequential(conv, _LIF(step_mode="m"), head, _LIF(step_mode="m"))


@SUITE.network("multi-step-container", "layers and neurons of mode s in MultiStepContainer", "sequence", "sequence", **_MLP)
def _multi_step(shape: Shape, width: int) -> nn.Module:
    return layer.MultiStepContainer(nn.Linear(shape[0], width), _LIF(), nn.Linear(width, 10), _IF())


@SUITE.network("dropout", "dropout behind every layer; mode m", "sequence", "sequence", **_MLP)
def _dropout(shape: Shape, width: int) -> nn.Module:
    first = [layer.Linear(shape[0], width, bias=False), _LIF(), layer.Dropout(0.5)]
    return _in_mode("m", *first, layer.Linear(width, 10), _LIF(), layer.Dropout(0.2))


@SUITE.network("synapse-filter", "SynapseFilter before each linear layer; mode m", "sequence", "sequence", **_MLP)
def _synapse_filter(shape: Shape, width: int) -> nn.Module:
    first = [layer.SynapseFilter(tau=2.0), layer.Linear(shape[0], width), _LIF()]
    return _in_mode("m", *first, layer.SynapseFilter(tau=4.0, learnable=True), layer.Linear(width, 10), _IF())


@SUITE.network("recurrent", "LIF in LinearRecurrentContainer; mode m", "sequence", "sequence", **_MLP)
def _recurrent(shape: Shape, width: int) -> nn.Module:
    loop = layer.LinearRecurrentContainer(_LIF(), width, width, step_mode="m")
    return nn.Sequential(
        layer.Linear(shape[0], width, step_mode="m"), loop, layer.Linear(width, 10, step_mode="m"), _LIF(step_mode="m")
    )


class _SewBlock(nn.Module):
    """Convolutions whose spikes are joined with those of the block's input."""

    def __init__(self, channels: int, join: str) -> None:
        super().__init__()
        self.conv1, self.sn1 = self._half(channels)
        self.conv2, self.sn2 = self._half(channels)
        self.join = join

    @staticmethod
    def _half(channels: int) -> tuple[nn.Module, nn.Module]:
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        return layer.SeqToANNContainer(conv, nn.BatchNorm2d(channels)), neuron.IFNode(step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        out = self.sn2(self.conv2(self.sn1(self.conv1(x))))
        return out + x if self.join == "add" else x * (1.0 - out)


def _sew(shape: Shape, width: int, join: str) -> nn.Module:
    stem = [layer.SeqToANNContainer(nn.Conv2d(shape[0], width, 3, padding=1), nn.BatchNorm2d(width)), _IF(step_mode="m")]
    head = layer.SeqToANNContainer(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return _Repeated(nn.Sequential(*stem, _SewBlock(width, join), _SewBlock(width, join), head))


_SEW = {**_CNN, "small": ((1, 3, 3), 2)}


@SUITE.network("sew-add", "two SEW residual blocks, ADD", "own loop", "static", **_SEW)
def _sew_add(shape: Shape, width: int) -> nn.Module:
    return _sew(shape, width, "add")


@SUITE.network("sew-iand", "two SEW residual blocks, IAND", "own loop", "static", **_SEW)
def _sew_iand(shape: Shape, width: int) -> nn.Module:
    return _sew(shape, width, "iand")


@SUITE.network("sew-resnet18", "SEW-ResNet-18 of its model zoo, ADD", "sequence", "sequence", shape=(3, 32, 32), width=64)
def _sew_resnet18(_: Shape, __: int) -> nn.Module:
    net = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode, num_classes=10)
    functional.set_step_mode(net, "m")
    _scale(net, 0.5)
    return net


@SUITE.network(
    "spiking-resnet18",
    "Spiking ResNet-18 of its model zoo: sums before neurons",
    "sequence",
    "sequence",
    shape=(3, 32, 32),
    width=64,
)
def _spiking_resnet18(_: Shape, __: int) -> nn.Module:
    net = spiking_resnet.spiking_resnet18(spiking_neuron=neuron.LIFNode, num_classes=10, v_threshold=0.7)
    functional.set_step_mode(net, "m")
    return net


@SUITE.network(
    "gesture-net",
    "DVSGestureNet of its model zoo: five max pools, voting",
    "sequence",
    "sequence",
    shape=(2, 128, 128),
    width=6,
)
def _gesture_net(_: Shape, width: int) -> nn.Module:
    net = parametric_lif_net.DVSGestureNet(channels=width, spiking_neuron=neuron.ParametricLIFNode, init_tau=2.0)
    functional.set_step_mode(net, "m")
    _scale(net, 2.0)
    return net


@SUITE.network(
    "spikformer",
    "Spikformer of its model zoo: two blocks, self-attention by spikes",
    "own loop",
    "static",
    shape=(3, 32, 32),
    width=64,
)
def _spikformer(shape: Shape, width: int) -> nn.Module:
    net = spikformer.Spikformer(
        T=STEPS,
        in_channels=shape[0],
        img_size_h=shape[1],
        img_size_w=shape[2],
        patch_size=4,
        num_classes=10,
        embed_dims=width,
        num_heads=4,
        mlp_ratio=2.0,
        depths=2,
    )
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    _scale(net, 1.5)
    return net
