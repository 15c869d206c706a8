"""The models: how each is made, what it is run on, and which values are known of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from checks.references.sources import (
    NEUROBENCH,
    QKFORMER,
    SEW_RESNET,
    SPIKE_DRIVEN,
    SPIKFORMER,
    SPIKINGFORMER,
    Repository,
    module_of,
)


@dataclass(frozen=True)
class Known:
    """A value that is known of a model from elsewhere.

    Attributes:
        value: per sample.
        of: "padded macs" (on analog values, with padding, the first layer in every step), "padded macs and head" (and those of
            a last layer that reads means of spikes), "dense" (every synapse in every step, spikes or not, padding aside) or
            "syops macs" (what syops counts, batch norm and pools included).
        where: it comes from.
        tolerance: of the value, where it was published rounded.
    """

    value: float
    of: str
    where: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Reference:
    """A public model.

    Attributes:
        name: as in the publication.
        repository: its code; None: a package's.
        make: from the repository's folder.
        inputs: one batch.
        steps: where the model takes one step in a call.
        time_axis: of the inputs, with `steps`.
        batch_axis: of the inputs, where it is not to be looked for.
        weights: "random", or where they come from.
        known: values to check.
        flat: end of the names of layers of neurons that get time and batch in one axis; the batch is then one sample.
    """

    name: str
    repository: Repository | None
    make: Callable[[Path], nn.Module]
    inputs: Callable[[], Tensor]
    steps: int | None = None
    time_axis: int | None = None
    batch_axis: int | None = None
    weights: str = "random"
    known: tuple[Known, ...] = field(default=())
    flat: str = ""


def images(size: int, batch: int = 2) -> Tensor:
    """Uniform noise `[B, 3, size, size]`."""
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def events(*shape: int, rate: float, signed: bool = False) -> Tensor:
    """Events at a rate, and with either sign if they have one."""
    generator = torch.Generator().manual_seed(0)
    found = (torch.rand(shape, generator=generator) < rate).float()
    return found * (2 * torch.randint(0, 2, shape, generator=generator) - 1) if signed else found


def _vision(path: Path, name: str, size: int, classes: int, **settings: object) -> nn.Module:
    model: nn.Module = getattr(module_of(path), name)(
        img_size_h=size,
        img_size_w=size,
        in_channels=3,
        num_classes=classes,
        qkv_bias=False,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        sr_ratios=1,
        **settings,
    )
    return model


def spikformer(folder: Path) -> nn.Module:
    """Spikformer-4-384 for CIFAR-10, as its `cifar10.yml` says."""
    path = folder / "cifar10" / "model.py"
    return _vision(path, "spikformer", 32, 10, patch_size=4, embed_dims=384, num_heads=12, mlp_ratios=4, depths=4, T=4)


def spikformer_imagenet(folder: Path) -> nn.Module:
    """Spikformer-8-512 for ImageNet, as its file makes it."""
    model: nn.Module = module_of(folder / "imagenet" / "model.py").spikformer()
    return model


def spikingformer(folder: Path) -> nn.Module:
    """Spikingformer-8-512 for ImageNet, as its file makes it."""
    path = folder / "imagenet" / "model.py"
    return _vision(path, "Spikingformer", 224, 1000, patch_size=16, embed_dims=512, num_heads=8, mlp_ratios=4, depths=8, T=4)


def qkformer(folder: Path) -> nn.Module:
    """QKFormer-10-384 for ImageNet, T = 4."""
    model: nn.Module = module_of(folder / "imagenet" / "qkformer.py").QKFormer_10_384(T=4)
    return model


class Answers(nn.Module):
    """Of a model that answers with more than its logits these alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.model(x)[0]
        return answer


def spike_driven(folder: Path) -> nn.Module:
    """Spike-driven Transformer 8-384 for ImageNet, as its configuration says."""
    made = module_of(folder / "model" / "spikeformer.py").SpikeDrivenTransformer(
        img_size_h=224, img_size_w=224, in_channels=3, num_classes=1000, embed_dims=384, num_heads=8, depths=8, sr_ratios=1, T=4
    )
    return Answers(made)


def sew_resnet18(folder: Path) -> nn.Module:
    """SEW-ResNet18 for ImageNet, ADD, T = 4; the last batch norms of its blocks begin at 1: with 0, no sum would exceed 1."""
    model: nn.Module = module_of(folder / "imagenet" / "sew_resnet.py").sew_resnet18(T=4, connect_f="ADD")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return model


def vgg16(_folder: Path) -> nn.Module:
    """VGG-16 (configuration D of Simonyan and Zisserman, 2015) for CIFAR-10, with one linear layer, as is usual there."""
    layers: list[nn.Module] = []
    channels = 3
    for stage, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, stage, 3, padding=1), nn.ReLU()]
            channels = stage
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def speech_snn(folder: Path) -> nn.Module:
    """NeuroBench's SNN for Google Speech Commands, with its weights."""
    network: nn.Module = module_of(folder / "examples" / "gsc" / "SNN.py").net
    network.load_state_dict(_state(folder / "examples" / "gsc" / "model_data" / "s2s_gsc_snntorch"))
    return network


def speech_ann(folder: Path) -> nn.Module:
    """NeuroBench's M5 for Google Speech Commands, with its weights."""
    network: nn.Module = module_of(folder / "examples" / "gsc" / "ANN.py").M5()
    network.load_state_dict(_state(folder / "examples" / "gsc" / "model_data" / "m5_ann"))
    return network


def gesture_snn(folder: Path) -> nn.Module:
    """NeuroBench's SNN for DVS gestures, with its weights."""
    network: nn.Module = module_of(folder / "examples" / "dvs_gesture" / "snn.py").Net()
    network.load_state_dict(_state(folder / "examples" / "dvs_gesture" / "model_data" / "dvs_gesture_snn"))
    return network


def _state(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


EARLIER = "counted by an earlier version of this package, with padding and in every step"
README = "README of syops-counter, on trained weights"
MODELS = (
    Reference(
        "Spikformer-4-384, CIFAR-10",
        SPIKFORMER,
        spikformer,
        partial(images, 32),
        known=(Known(5_312_256, "padded macs and head", EARLIER),),
    ),
    Reference("Spikformer-8-512, ImageNet", SPIKFORMER, spikformer_imagenet, partial(images, 224, 1)),
    Reference(
        "Spikingformer-8-512, ImageNet",
        SPIKINGFORMER,
        spikingformer,
        partial(images, 224, 1),
        known=(Known(347_328_512, "padded macs and head", EARLIER),),
    ),
    Reference("QKFormer-10-384, ImageNet", QKFORMER, qkformer, partial(images, 224, 1), flat=".attn.proj_lif"),
    Reference("Spike-driven Transformer-8-384, ImageNet", SPIKE_DRIVEN, spike_driven, partial(images, 224, 1)),
    Reference(
        "SEW-ResNet18, ImageNet",
        SEW_RESNET,
        sew_resnet18,
        partial(images, 224, 1),
        known=(Known(2.75e9, "syops macs", README, 0.005e9),),
    ),
    Reference("VGG-16, CIFAR-10", None, vgg16, partial(images, 32), known=(Known(313_201_664, "padded macs", EARLIER),)),
    Reference(
        "NeuroBench GSC, SNN",
        NEUROBENCH,
        speech_snn,
        partial(events, 8, 200, 20, rate=0.2, signed=True),
        200,
        1,
        0,
        "of the repository",
        (Known(29_030_400, "dense", "its benchmark_snn.py"),),
    ),
    Reference(
        "NeuroBench GSC, M5",
        NEUROBENCH,
        speech_ann,
        lambda: torch.randn(4, 1, 8000, generator=torch.Generator().manual_seed(0)),
        weights="of the repository",
        known=(Known(1_880_256, "dense", "its benchmark_ann.py"),),
    ),
    Reference(
        "NeuroBench DVS gesture, SNN",
        NEUROBENCH,
        gesture_snn,
        partial(events, 2, 20, 2, 32, 32, rate=0.05),
        20,
        1,
        0,
        "of the repository",
    ),
)
