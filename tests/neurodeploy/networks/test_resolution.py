"""Samples whose axes are not those that a network reads."""

import re

import pytest
import torch

from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, DenseNetSpec, Relu, ResNet1dSpec, ResNetSpec, VggSpec

IMAGE_NETWORKS = [
    ConvNetSpec(channels=(4, 4), strides=(1, 2)),
    DenseNetSpec(growth=4, blocks=(1, 1, 1, 1), stem="conv"),
    ResNetSpec(channels=(4,), blocks=(1,)),
    VggSpec(layers=(4, "A"), hidden=(4,), size=(10, 49)),
]


@pytest.mark.parametrize("spec", IMAGE_NETWORKS, ids=lambda spec: spec.kind)
def test_a_network_over_images_refuses_sequences_and_says_which_layout_it_reads(spec):
    network = spec.build(10, 3, Relu())
    with pytest.raises(
        UserError, match=re.escape("samples of shape (10, 49) found, (C, H, W) expected by this network")
    ) as caught:
        network(torch.zeros(2, 10, 49))
    assert 'set data.layout = "image"' in str(caught.value)


def test_a_network_over_sequences_refuses_images_and_event_frames():
    spec = ResNet1dSpec(channels=(4, 4), blocks=(1,))
    for events, samples in ((False, torch.zeros(2, 1, 49, 10)), (True, torch.zeros(2, 3, 1, 49, 10))):
        with pytest.raises(UserError, match=re.escape("samples of shape (1, 49, 10) found, (C, L) expected")) as caught:
            spec.build(1, 3, Relu(events=events))(samples)
        assert 'set data.layout = "sequence"' in str(caught.value)
