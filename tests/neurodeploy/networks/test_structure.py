"""Which layers stand where: resolutions, pools, dropouts and shortcuts, as the papers draw them."""

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.layers import Dropout
from neurodeploy.networks import Relu, ResNet1dSpec, ResNetSpec, SvggSpec, VggSpec
from neurodeploy.networks.resnet import PRESETS


def tap_shapes(spec, shape) -> dict[str, tuple[int, ...]]:
    """Tap → its shape per sample, without computing anything."""
    with torch.device("meta"):
        taps = spec.build(shape[0], 10, Relu()).eval()(torch.empty(1, *shape)).taps
    return {name: tuple(tap.shape[2:]) for name, tap in taps.items()}


def test_vgg9_halves_the_resolution_four_times():
    sides = [shape[1:] for shape in tap_shapes(VggSpec(depth=9), (3, 32, 32)).values()]
    assert sides == [(32, 32), (16, 16), (16, 16), (8, 8), (8, 8), (4, 4), (2, 2), (), ()]


def test_svgg11_halves_the_resolution_with_its_strides():
    shapes = tap_shapes(SvggSpec(), (3, 32, 32))
    assert [shape[1] for name, shape in shapes.items() if name.startswith("act")] == [16, 8, 8, 4, 4, 2, 2, 1]
    assert list(shapes)[-2:] == ["hidden_act1", "hidden_act2"]


@pytest.mark.parametrize(
    ("preset", "side", "stem", "blocks"),
    [
        ("resnet12", 32, [32, 32, 32], [16, 8, 4, 2]),
        ("resnet18", 32, [32], [32, 16, 8, 4]),
        ("resnet19", 32, [32], [32, 16, 8]),
        ("resnet20-wide", 32, [32, 32, 32], [16, 8, 4, 2]),
        ("resnet34", 224, [112], [56, 28, 14, 7]),
    ],
)
def test_a_preset_has_the_resolutions_of_its_paper(preset, side, stem, blocks):
    shapes = tap_shapes(ResNetSpec(preset=preset), (3, side, side))
    assert [shape[1] for name, shape in shapes.items() if name.startswith("stem")] == stem
    found = [shape[1:] for name, shape in shapes.items() if name.endswith("act2")]
    expected = [(size, size) for size, count in zip(blocks, PRESETS[preset]["blocks"], strict=True) for _ in range(count)]
    assert found == expected


def test_the_keyword_spotter_keeps_the_length():
    shapes = tap_shapes(ResNet1dSpec(), (10, 49))
    assert list(shapes) == ["stem", *(f"block{i}.act{j}" for i in (1, 2, 3) for j in (1, 2))]
    assert set(shapes.values()) == {(64, 49)}


def test_a_plain_vgg_pools_or_drops_out_behind_each_convolution():
    network = VggSpec(layers=(4, "A", 6, 6), hidden=(8, 8), size=8).build(1, 10, Relu())
    rates = {name: module.p for name, module in network.named_modules() if isinstance(module, Dropout)}
    assert rates == {"dropout2": 0.2, "dropout3": 0.2, "hidden_dropout1": 0.5, "hidden_dropout2": 0.5}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(getattr(module, "bias", None) is None for module in network.modules())


def test_a_vgg_with_batch_norm_drops_out_its_hidden_layers_alone():
    network = VggSpec(layers=(4, 6), hidden=(8,), size=4, form="batch-norm").build(1, 10, Relu())
    assert [name for name, module in network.named_modules() if isinstance(module, Dropout)] == ["hidden_dropout1"]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 2


def test_the_plain_resnet_drops_out_in_its_stem_and_inside_its_blocks():
    network = ResNetSpec(preset="resnet12", channels=(2, 2), blocks=(1, 1)).build(1, 10, Relu())
    dropouts = [name for name, module in network.named_modules() if isinstance(module, Dropout)]
    assert dropouts == ["dropout", "dropout2", "block1.dropout", "block2.dropout"]


def test_shortcuts_pool_or_stride_and_keep_their_names():
    def shortcut(kind: str) -> list[str]:
        network = ResNetSpec(channels=(2, 4), blocks=(1, 1), shortcut=kind).build(1, 10, Relu())
        return [type(layer).__name__ for layer in network.get_submodule("block2.shortcut")]

    assert shortcut("conv") == ["Conv2d", "BatchNorm2d"]
    assert shortcut("avg-pool") == ["Halve", "Conv2d", "BatchNorm2d"]


def test_the_default_resnet_keeps_the_names_of_its_weights():
    network = ResNetSpec(channels=(2, 4), blocks=(1, 1)).build(1, 10, Relu())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block1 = ["conv1.weight", *(f"bn1.{n}" for n in norm), "conv2.weight", *(f"bn2.{n}" for n in norm)]
    block2 = [*block1, "shortcut.0.weight", *(f"shortcut.1.{n}" for n in norm)]
    expected = {"conv.weight", *(f"bn.{n}" for n in norm), "classifier.weight", "classifier.bias"}
    expected |= {f"block1.{name}" for name in block1} | {f"block2.{name}" for name in block2}
    assert set(network.state_dict()) == expected


def test_the_vgg_of_event_cameras_is_a_list_of_layers():
    spec = VggSpec(layers=(64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512, "A"), hidden=(), form="batch-norm", size=48)
    with torch.device("meta"):
        network = spec.build(2, 10, Relu(events=True))
        output = network(torch.empty(1, 10, 2, 48, 48))
    assert output.step_logits.shape == (10, 1, 10)
    assert network.classifier.in_features == 3 * 3 * 512
