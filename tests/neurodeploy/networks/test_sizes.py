"""Parameters of the full-size networks, against published numbers or sums by hand; no weight is ever allocated."""

from itertools import pairwise

import pytest
import torch

from neurodeploy.networks import ConvLinearSpec, DenseNetSpec, Relu, ResNet1dSpec, ResNetSpec, SvggSpec, VggSpec
from neurodeploy.networks.resnet import PRESETS


def parameters(spec, in_channels: int = 3, classes: int = 10) -> int:
    with torch.device("meta"):
        network = spec.build(in_channels, classes, Relu())
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("spec", "classes", "published"),
    [
        (ResNetSpec(preset="resnet18", stem="imagenet"), 1000, 11_689_512),
        (ResNetSpec(preset="resnet18"), 10, 11_173_962),
        (ResNetSpec(preset="resnet34"), 1000, 21_797_672),
        (DenseNetSpec(), 1000, 7_978_856),
    ],
    ids=["ResNet-18", "ResNet-18 for CIFAR", "ResNet-34", "DenseNet-121"],
)
def test_known_networks_have_their_published_number_of_parameters(spec, classes, published):
    assert parameters(spec, classes=classes) == published


VGG_CONVOLUTIONS = {
    5: [(3, 64), (64, 128), (128, 128)],
    7: [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512)],
    9: [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512)],
    11: [(3, 64), (64, 128), (128, 256), (256, 512), *[(512, 512)] * 4],
    16: [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *[(512, 512)] * 5],
}
VGG_PIXELS = {5: 8 * 8 * 128, 7: 4 * 4 * 512, 9: 2 * 2 * 512, 11: 2 * 2 * 512, 16: 2 * 2 * 512}


@pytest.mark.parametrize("depth", VGG_CONVOLUTIONS)
def test_a_plain_vgg_has_the_weights_of_its_layers_and_nothing_else(depth):
    convolutions = sum(9 * a * b for a, b in VGG_CONVOLUTIONS[depth])
    linear = VGG_PIXELS[depth] * 4096 + 4096 * 4096 + 4096 * 10
    assert parameters(VggSpec(depth=depth)) == convolutions + linear
    norms_and_biases = sum(2 * b for _, b in VGG_CONVOLUTIONS[depth]) + 4096 + 4096 + 10
    assert parameters(VggSpec(depth=depth, form="batch-norm")) == convolutions + linear + norms_and_biases


def test_vgg16_has_the_convolutions_of_the_original():
    without_linear_layers = parameters(VggSpec(depth=16, hidden=())) - 2 * 2 * 512 * 10
    assert without_linear_layers == 14_714_688 - 4_224  # the original's features, less their biases


def test_svgg_11_ends_on_one_pixel_of_512_channels():
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    assert parameters(SvggSpec()) == convolutions + 2 * (512 * 512 + 512) + 512 * 10 + 10


def basic_blocks(inputs: int, outputs: int, count: int) -> int:
    """A stage of standard blocks with batch norm; the first projects where the width changes."""
    first = 9 * inputs * outputs + 9 * outputs**2 + 4 * outputs
    projection = inputs * outputs + 2 * outputs if inputs != outputs else 0
    return first + projection + (count - 1) * (18 * outputs**2 + 4 * outputs)


def test_resnet_19_has_a_stem_of_128_channels_and_stages_of_3_3_and_2_blocks():
    stem = 27 * 128 + 256
    stages = basic_blocks(128, 128, 3) + basic_blocks(128, 256, 3) + basic_blocks(256, 512, 2)
    assert parameters(ResNetSpec(preset="resnet19")) == stem + stages + 5130


def test_the_wide_resnet_20_has_a_stem_of_three_convolutions():
    stem = 27 * 64 + 2 * 9 * 64 * 64 + 3 * 128
    stages = sum(basic_blocks(a, b, 2) for a, b in ((64, 64), (64, 128), (128, 256), (256, 512)))
    assert parameters(ResNetSpec(preset="resnet20-wide")) == stem + stages + 5130


def test_resnet_12_has_neither_batch_norm_nor_bias():
    stem = 27 * 64 + 2 * 9 * 64 * 64
    blocks = sum(9 * a * b + 9 * b * b + (a * b if a != b else 0) for a, b in ((64, 64), (64, 128), (128, 256), (256, 512)))
    assert parameters(ResNetSpec(preset="resnet12")) == stem + blocks + 5120


def test_the_keyword_spotter_has_seven_convolutions_and_a_classifier():
    expected = 10 * 64 * 7 + 128 + 6 * (64 * 64 * 3 + 128) + 64 * 35 + 35
    assert parameters(ResNet1dSpec(), in_channels=10, classes=35) == expected


def test_three_convolutions_and_two_linear_layers():
    expected = 9 * (3 * 64 + 64 * 128 + 128 * 256) + 4 * 4 * 256 * 1024 + 1024 * 10
    assert parameters(ConvLinearSpec()) == expected


@pytest.mark.parametrize("residual", ["standard", "sew", "ms"])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_kind_of_block_does_not_change_the_weights(preset, residual):
    assert parameters(ResNetSpec(preset=preset, residual=residual)) == parameters(ResNetSpec(preset=preset))
