"""What a recipe may say of a network, and how it is told what it may not."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkSpec, Relu, ResNetSpec, SvggSpec, VggSpec
from neurodeploy.networks.resnet import PRESETS

read = TypeAdapter(NetworkSpec).validate_python


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "conv", "channels": [4], "strides": [1]},
        {"kind": "vgg", "depth": 9},
        {"kind": "vgg", "layers": [4, "A", 8], "size": [16, 8]},
        {"kind": "conv-linear"},
        {"kind": "svgg"},
        {"kind": "resnet", "preset": "resnet20-wide", "residual": "sew"},
        {"kind": "resnet1d"},
        {"kind": "densenet", "growth": 4, "blocks": [2, 2]},
    ],
    ids=str,
)
def test_settings_survive_json_so_that_checkpoints_keep_them(settings):
    spec = read(settings)
    assert TypeAdapter(NetworkSpec).validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("preset", PRESETS)
def test_a_recipe_may_name_a_preset_and_change_what_it_likes(preset):
    spec = read({"kind": "resnet", "preset": preset})
    for name, value in PRESETS[preset].items():
        assert getattr(spec, name) == value
    assert read({"kind": "resnet", "preset": preset, "form": "batch-norm", "residual": "ms"}).form == "batch-norm"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "conv", "channels": [4, 4], "strides": [1]}, r"1 strides found, 2 expected \(one per entry of channels\)"),
        ({"kind": "resnet", "channels": [4, 4], "blocks": [1]}, "1 blocks found, 2 expected"),
        ({"kind": "resnet", "preset": "resnet20-wide", "blocks": [2]}, "1 blocks found, 4 expected"),
        ({"kind": "resnet", "preset": "resnet50"}, "resnet.preset\n  Input should be 'resnet12'"),
        ({"kind": "resnet", "preset": ["resnet18"]}, "resnet.preset\n  Input should be 'resnet12'"),
        ({"kind": "resnet", "channels": [4], "blocks": [1], "residual": "dense"}, "'standard', 'sew' or 'ms'"),
        ({"kind": "resnet", "channels": [4], "blocks": [1], "stem": "pool"}, "'conv', 'three-conv' or 'imagenet'"),
        ({"kind": "resnet"}, "resnet.channels\n  Field required"),
        ({"kind": "vgg"}, "either depth or layers expected"),
        ({"kind": "vgg", "depth": 9, "layers": [4]}, "either depth or layers expected"),
        ({"kind": "vgg", "depth": 13}, "vgg.depth\n  Input should be 5, 7, 9, 11 or 16"),
        ({"kind": "vgg", "layers": ["A", 4]}, "entry 1 is a pool without a convolution before it"),
        ({"kind": "vgg", "layers": [4, "A", "A"]}, "entry 3 is a pool without a convolution before it"),
        ({"kind": "vgg", "layers": [4, "M"]}, "'A'"),
        ({"kind": "vgg", "depth": 5, "dropout": 1.0}, "vgg.dropout\n  Input should be less than 1"),
        ({"kind": "vgg", "depth": 5, "form": "bn"}, "'plain' or 'batch-norm'"),
        ({"kind": "svgg", "strides": [2]}, "1 strides found, 8 expected"),
        ({"kind": "conv-linear", "channels": [4, 4]}, "conv-linear.channels"),
        ({"kind": "resnet1d", "kernels": [7, 4]}, "kernel 4: an odd number expected"),
        ({"kind": "resnet1d", "kernels": [7]}, "1 kernels found, 2 expected"),
        ({"kind": "resnet1d", "blocks": [1, 1]}, "2 blocks found, 1 expected"),
        ({"kind": "densenet", "growth": 0}, "densenet.growth"),
        ({"kind": "transformer"}, "'conv', 'conv-linear', 'densenet', 'resnet', 'resnet1d', 'svgg', 'vgg'"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValidationError, match=message):
        read(settings)


def test_a_resolution_that_runs_out_is_refused_with_the_name_of_the_pool():
    with pytest.raises(UserError, match=r"layer pool6: a resolution of 1×1 is left for its average pool of 2×2"):
        VggSpec(depth=9, size=8).build(3, 10, Relu())
    with pytest.raises(UserError, match=r"layer pool1: a resolution of 1×8"):
        VggSpec(layers=(4, "A"), size=(1, 8)).build(3, 10, Relu())
    with pytest.raises(UserError, match=r"layer stem_pool: a resolution of 1×1"):
        ResNetSpec(channels=(2,), blocks=(1,), stem="three-conv").build(1, 3, Relu())(torch.rand(2, 1, 1, 1))


def test_an_odd_resolution_beside_a_pooled_shortcut_is_refused_with_its_name():
    network = ResNetSpec(channels=(2, 4, 4), blocks=(1, 1, 1), shortcut="avg-pool").build(1, 3, Relu())
    assert network(torch.rand(2, 1, 8, 8)).logits.shape == (2, 3)
    with pytest.raises(UserError, match=r"layer block3\.shortcut\.0: a resolution of 3×5 found, even sides expected"):
        network(torch.rand(2, 1, 6, 10))
    with pytest.raises(UserError, match=r"layer block3\.shortcut\.0: a resolution of 1×1 is left"):
        network(torch.rand(2, 1, 2, 2))


@pytest.mark.parametrize("spec", [VggSpec(layers=(2, "A"), hidden=(4,), size=8), SvggSpec(channels=(2,), strides=(1,), size=8)])
def test_samples_of_another_size_than_the_networks_are_refused(spec, spiking):
    network = spec.build(1, 3, spiking())
    with pytest.raises(UserError, match=r"samples of 16×8 pixels found, 8×8 expected; set network\.size"):
        network(torch.rand(2, 1, 16, 8))


def test_strided_networks_take_samples_of_one_pixel():
    for spec in (ResNetSpec(channels=(2, 4), blocks=(1, 1)), SvggSpec(channels=(2, 4), strides=(2, 2), hidden=(), size=1)):
        assert spec.build(1, 3, Relu()).eval()(torch.rand(2, 1, 1, 1)).logits.shape == (2, 3)
