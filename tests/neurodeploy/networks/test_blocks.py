"""The three kinds of residual blocks, written out by hand."""

import torch

from neurodeploy.networks import Relu, ResNetSpec


def built(spiking, residual: str, *, repact: bool = False):
    torch.manual_seed(0)
    network = ResNetSpec(channels=(3, 4), blocks=(1, 1), residual=residual).build(1, 5, spiking(4, repact=repact))
    for _ in range(20):
        network(X)  # so that the batch norms know their input
    return network.eval()


X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_standard_block_fires_after_its_sum(spiking):
    network = built(spiking, "standard")
    taps, block = network(X).taps, network.block2
    current = block.bn2(block.conv2(taps["block2.act1"])) + block.shortcut(taps["block1.act2"])
    torch.testing.assert_close(block.act2(current), taps["block2.act2"])


def test_a_sew_block_adds_the_spikes_of_its_shortcut_to_its_own(spiking):
    network = built(spiking, "sew")
    output, block = network(X), network.block2
    taps = output.taps
    entering = taps["stem"] + taps["block1.act2"]
    assert set(entering.unique().tolist()) == {0.0, 1.0, 2.0}
    torch.testing.assert_close(block.act1(block.bn1(block.conv1(entering))), taps["block2.act1"])
    torch.testing.assert_close(block.act_shortcut(block.shortcut(entering)), taps["block2.act_shortcut"])
    leaving = taps["block2.act2"] + taps["block2.act_shortcut"]
    torch.testing.assert_close(leaving.mean((-2, -1)), output.features)


def test_an_ms_block_adds_currents_and_fires_before_its_convolutions(spiking):
    network = built(spiking, "ms")
    output = network(X)
    current = network.encoding(network.bn(network.conv(X.unsqueeze(0))))
    for block in (network.block1, network.block2):
        inner = block.act2(block.bn1(block.conv1(block.act1(current))))
        current = block.bn2(block.conv2(inner)) + block.shortcut(current)
    torch.testing.assert_close(network.act(current), output.taps["act"])
    assert list(output.taps) == ["block1.act1", "block1.act2", "block2.act1", "block2.act2", "act"]


def test_repact_stands_after_the_sum_in_standard_and_ms_networks_and_before_it_in_sew(spiking):
    for residual, place in (("standard", "block2.act2"), ("sew", "block2.act2"), ("ms", "act")):
        network = built(spiking, residual, repact=True)
        kinds = {name: type(module) for name, module in network.named_modules() if "act" in name.rpartition(".")[2]}
        assert [name for name, kind in kinds.items() if kind is torch.nn.ReLU] == [place]


def test_the_teacher_of_each_kind_is_the_same_network_with_relus():
    for residual in ("standard", "sew", "ms"):
        network = ResNetSpec(channels=(3, 4), blocks=(1, 1), residual=residual).build(1, 5, Relu())
        assert all(tap.min() >= 0 for tap in network(X).taps.values())
