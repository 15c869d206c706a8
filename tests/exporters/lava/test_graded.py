"""Energy of sigma-delta files: events times true fan-out, counted again synapse by synapse; and what else takes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neurodeploy as nd
from neurodeploy.app.model import NirChoices, load_model
from neurodeploy.cli.main import app
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_energy.price.account import has_twins
from neurodeploy_exporters.lava.graded import SigmaDeltaNetwork
from neurodeploy_exporters.lava.graphs import check
from neurodeploy_exporters.lava.layers import ConvLayer, DenseLayer, FlattenLayer, InputLayer, Layer, SigmaDeltaConstants
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import simulate

FILES = Path(__file__).parents[2] / "files" / "lava"
STEPS, SAMPLES = 5, 2


def chain(*, encoder: bool = True, threshold: int = 3) -> Network:
    """Two convolutions, the second with stride and groups, and two dense layers; some weights are 0."""
    rng = np.random.default_rng(5)

    def even(*shape: int) -> Any:
        return rng.integers(-20, 21, shape) * 2 * (rng.random(shape) < 0.8)

    sends = SigmaDeltaConstants(threshold, "sigma-delta")
    entry = InputLayer(shape=(2, 5, 4), neuron=SigmaDeltaConstants(2, "delta") if encoder else None)
    return Network(
        (
            entry,
            ConvLayer(shape=(4, 5, 4), weight=even(4, 2, 3, 3), padding=(1, 1), neuron=sends, bias=np.array([9, -3, 0, 40])),
            ConvLayer(shape=(2, 3, 2), weight=even(2, 2, 3, 3), stride=(2, 2), padding=(1, 1), groups=2, neuron=sends),
            FlattenLayer(),
            DenseLayer(shape=(5,), weight=even(5, 12), neuron=sends),
            DenseLayer(shape=(3,), weight=even(3, 5), neuron=SigmaDeltaConstants(0, "sigma")),
        )
    )


def frames(seed: int, *shape: int) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.integers(-30, 31, (SAMPLES, STEPS, *shape)) * (rng.random((SAMPLES, STEPS, *shape)) < 0.4)).cumsum(1)


def reached(layer: Layer, source: tuple[int, ...], index: tuple[int, ...]) -> list[int]:
    """The weights of all synapses that a message of one neuron reaches, by looking at every target."""
    if isinstance(layer, DenseLayer):
        return [int(row[np.ravel_multi_index(index, source)]) for row in layer.weight]
    assert isinstance(layer, ConvLayer)
    outputs, inputs, height, width = layer.weight.shape
    channel, y, x = index
    group, found = channel // inputs, []
    for output in range(outputs):
        if output // (outputs // layer.groups) != group:
            continue
        for i in range(height):
            for j in range(width):
                down, right = y + layer.padding[0] - i, x + layer.padding[1] - j
                places = [divmod(down, layer.stride[0]), divmod(right, layer.stride[1])]
                if all(rest == 0 and 0 <= at < size for (at, rest), size in zip(places, layer.shape[1:], strict=True)):
                    found.append(int(layer.weight[output, channel % inputs, i, j]))
    return found


def brute_force(network: Network, samples: Any) -> dict[str, dict[str, float]]:
    """What every population sent, and every synapse did, from the simulator's messages, one by one."""
    synapses = [layer for layer in network.layers if isinstance(layer, ConvLayer | DenseLayer)]
    held = samples[:, -1:] if network.has_input_neurons else 0 * samples[:, -1:]
    whole = np.concatenate([samples, *[held] * len(synapses)], axis=1).swapaxes(0, 1)
    driven: dict[str, Any] = {"mode": "ain"} if network.has_input_neurons else {"input_message_bits": 16}
    run = {key: made for key, made in simulate(network, whole, len(whole), **driven).items() if key.endswith("_s")}
    sent = {key.removesuffix("_s"): made for key, made in run.items()}
    counts: dict[str, dict[str, float]] = {}
    for key, messages in sent.items():
        counts[key] = {"spikes": np.count_nonzero(messages) / SAMPLES, "spikes_value": np.abs(messages).sum() / SAMPLES}
    sources = [whole if not network.has_input_neurons else sent["L0_Input"], *list(sent.values())[network.has_input_neurons :]]
    for key, layer, messages in zip(list(sent)[network.has_input_neurons :], synapses, sources, strict=False):
        reach = {index: reached(layer, messages.shape[2:], index) for index in np.ndindex(messages.shape[2:])}
        events = [(index, count) for index in reach if (count := np.count_nonzero(messages[(..., *index)]))]
        counts[f"{key}.synapse0"] = {
            "sops": sum(count * len(reach[index]) for index, count in events) / SAMPLES,
            "sops_nonzero_weights": sum(count * sum(weight != 0 for weight in reach[index]) for index, count in events)
            / SAMPLES,
            "spikes_in": sum(count for _, count in events) / SAMPLES,
        }
    return counts


@pytest.mark.parametrize("encoder", [True, False])
def test_rows_are_those_of_a_count_message_by_message(tmp_path, encoder):
    network, x = chain(encoder=encoder), frames(1, 2, 5, 4) * (1 if encoder else 64)
    write(network, tmp_path / "n.net")
    report = nd.energy(tmp_path / "n.net", torch.from_numpy(x).float())
    expected = brute_force(network, x)
    assert {row.name for row in report.layers} == set(expected)
    for name, counts in expected.items():
        for field, value in counts.items():
            assert getattr(report.layer(name), field) == value, (name, field)
    later = [row for row in report.layers if row.kind == "graded synapse"]
    assert len(later) == 4
    assert min(row.sops for row in later) > 0
    assert max(row.sops / row.dense_macs for row in later) < 0.95
    assert report.total.macs == 0


def test_updates_are_active_where_a_sum_arrives_or_a_message_leaves(tmp_path):
    network, x = chain(), frames(2, 2, 5, 4)
    write(network, tmp_path / "n.net")
    report = nd.energy(tmp_path / "n.net", torch.from_numpy(x).float())
    whole = np.concatenate([x, *[x[:, -1:]] * 4], axis=1).swapaxes(0, 1)
    found = simulate(network, whole, len(whole), mode="ain")
    added = np.diff(found["L3_Dense_u"], axis=0, prepend=0)
    active = np.count_nonzero((added != 0) | (found["L3_Dense_s"] != 0))
    row = report.layer("L3_Dense")
    assert row.updates_active == active / SAMPLES
    assert row.updates_active + row.updates_idle == 5 * (STEPS + 4)
    assert row.memory.potential_reads == 3 * 5 * (STEPS + 4)  # sum, activation, and what was held back


def test_a_change_in_the_last_frame_is_counted_to_the_last_layer(tmp_path):
    write(chain(threshold=0), tmp_path / "n.net")
    x = np.zeros((1, 3, 2, 5, 4), np.float32)
    x[:, -1] = 50
    rows = {row.name: row for row in nd.energy(tmp_path / "n.net", torch.from_numpy(x)).layers}
    still = {row.name: row for row in nd.energy(tmp_path / "n.net", torch.zeros(1, 3, 2, 5, 4)).layers}
    assert rows["L4_Dense.synapse0"].sops > still["L4_Dense.synapse0"].sops


def test_an_operation_costs_a_multiplication_too_and_a_chip_of_spikes_has_no_price_for_it(tmp_path):
    write(chain(), tmp_path / "n.net")
    x = torch.from_numpy(frames(3, 2, 5, 4)).float()
    report = nd.energy(tmp_path / "n.net", x, profiles=["cmos45-int8", "loihi1", "spinnaker2"])
    assert report.energy("cmos45-int8").total_uj == pytest.approx(0.23e-6 * report.total.sops)
    for chip in ("loihi1", "spinnaker2"):
        energy = report.energy(chip)
        assert energy.total_uj == 0
        assert energy.says_nothing
        assert energy.left_out[0] == f"{report.total.sops:,.0f} synaptic operations of graded messages"
    assert not has_twins(report)
    assert "no cost under loihi1" in " ".join(str(report).split())
    held = nd.energy(tmp_path / "n.net", x, baseline=tmp_path / "n.net", profiles=["cmos45-int8", "loihi1"])
    assert held.comparison is not None
    assert [pair.change_percent for pair in held.comparison.energies] == [0, None]


def test_a_profile_of_ones_own_prices_operations_updates_and_messages(tmp_path):
    write(chain(), tmp_path / "n.net")
    own = tmp_path / "mine.toml"
    own.write_text(
        'title = "own"\nsource = "my board"\nyear = 2026\nscope = "core"\nbasis = "measured"\n'
        "[cost_pj]\nac = 1\nmac = 7\nneuron_update_active = 3\nneuron_update_idle = 2\nspike = 5\n"
    )
    report = nd.energy(tmp_path / "n.net", torch.from_numpy(frames(3, 2, 5, 4)).float(), profiles=[str(own)])
    total = report.total
    expected = 7 * total.sops + 3 * total.updates_active + 2 * total.updates_idle + 5 * total.spikes
    assert report.energy("mine").total_uj == pytest.approx(expected * 1e-6)


def test_the_recorded_network_is_counted_in_batches_as_at_once():
    x = np.load(FILES / "netx_sdnn.npz")["input"]
    network = SigmaDeltaNetwork(read(FILES / "sdnn.net").circuit())
    samples = torch.from_numpy(np.stack([x, x[::-1], 2 * x])).float()
    whole = account(network, samples)
    assert account(network, samples.split(1)).layers == whole.layers
    recorded = np.load(FILES / "netx_sdnn.npz")
    sent = network.messages(samples[:1])
    for key, messages in sent.items():
        np.testing.assert_array_equal(messages[:16, 0].numpy(), recorded[f"{key}_s"], err_msg=key)


def test_static_frames_are_read_as_often_as_one_says(tmp_path):
    write(chain(), tmp_path / "n.net")
    x = torch.from_numpy(frames(4, 2, 5, 4)[:, 0]).float()
    model = load_model(tmp_path / "n.net", NirChoices(steps=3))
    held = x.unsqueeze(1).expand(-1, 3, 2, 5, 4)
    assert account(model.module, x).layers == nd.energy(tmp_path / "n.net", held).layers


def test_samples_of_another_shape_or_with_fractions_are_refused(tmp_path):
    write(chain(), tmp_path / "n.net")
    with pytest.raises(
        UserError, match=r"n.net: samples of shape \(2, 5, 4\) found, \[N, T, 2, 5, 4\], or \[N, 2, 5, 4\] with"
    ):
        nd.energy(tmp_path / "n.net", torch.zeros(2, 5, 4))
    with pytest.raises(UserError, match=r"n.net: fractions found in the samples, whole numbers expected"):
        nd.energy(tmp_path / "n.net", torch.full((1, 2, 2, 5, 4), 0.5))
    with pytest.raises(UserError, match=r"n.net: L0_Input: step 1: a state left Lava's 32 bits"):
        nd.energy(tmp_path / "n.net", torch.full((1, 2, 2, 5, 4), 2.0**25))


@pytest.mark.parametrize("encoder", [True, False])
def test_a_file_is_verified_by_running_it_twice(tmp_path, encoder, monkeypatch):
    write(chain(encoder=encoder), tmp_path / "n.net")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "n.net")])
    assert result.exit_code == 0, result.output
    assert "message values" in result.output
    found = check(tmp_path / "n.net")
    assert found.passed
    assert found.spikes > 100
    monkeypatch.setattr("neurodeploy_exporters.lava.graded._CONV_PERIOD", 64)
    assert "population L1_Conv" in "".join(check(tmp_path / "n.net").findings) or not encoder


@pytest.mark.parametrize("target", ["onnx", "lava", "nir"])
def test_no_target_takes_it_and_one_line_says_why(tmp_path, target):
    write(chain(), tmp_path / "n.net")
    np.save(tmp_path / "x.npy", frames(1, 2, 5, 4))
    options = ["--input", str(tmp_path / "x.npy"), "--target", target, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["export", str(tmp_path / "n.net"), *options])
    assert isinstance(result.exception, UserError)
    assert "sigma-delta neurons (SDNN)" in str(result.exception)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"n: sigma-delta neurons \(SDNN\).*neurodeploy simulate, map, verify or energy"):
        nd.export(tmp_path / "n.net", target, tmp_path / "out", inputs=torch.zeros(1, 2, 2, 5, 4))
